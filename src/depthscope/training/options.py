"""How a network is trained: optimiser, schedule, precision, and how often to look at it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import cos, pi
from typing import Literal

import torch

from depthscope.errors import BadInputError


@dataclass(frozen=True)
class Adam:
    """Adam with decoupled weight decay."""

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        if not all(0 <= beta < 1 for beta in self.betas) or not 0 <= self.weight_decay < float("inf"):
            raise BadInputError(
                f"betas {self.betas} and weight_decay {self.weight_decay}", "0 to below 1 each, and 0 or more"
            )

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of these parameters."""
        return torch.optim.AdamW(
            parameters, lr=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay, foreach=True
        )


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum."""

    learning_rate: float = 1e-3
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        if not 0 <= self.momentum < 1:
            raise BadInputError(f"a momentum of {self.momentum}", "0 to below 1")

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of these parameters."""
        return torch.optim.SGD(parameters, lr=self.learning_rate, momentum=self.momentum, foreach=True)


def _check_rate(rate: float) -> None:
    if not 0 < rate < 10:
        raise BadInputError(f"a learning rate of {rate}", "more than 0 and less than 10")


@dataclass(frozen=True)
class Constant:
    """The same learning rate throughout."""

    def __call__(self, step: int, steps: int) -> float:
        """The factor on the learning rate at this step."""
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """A linear warm-up, then half a cosine down to `last`."""

    warmup: float = 0.05
    last: float = 0.01

    def __post_init__(self) -> None:
        if not (0 <= self.warmup < 1 and 0 <= self.last <= 1):
            raise BadInputError(f"a warmup of {self.warmup} and last {self.last}", "0 to below 1, and 0 to 1")

    def __call__(self, step: int, steps: int) -> float:
        """The factor on the learning rate at this step."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return (step + 1) / rising
        share = (step - rising) / max(1, steps - rising)
        return self.last + (1 - self.last) * (1 + cos(pi * share)) / 2


@dataclass(frozen=True)
class Triangular:
    """Up and down between `low` and 1 in a straight line, `half_cycle` steps each way (Smith 2017)."""

    low: float = 0.1
    half_cycle: int = 2000

    def __post_init__(self) -> None:
        if not 0 < self.low <= 1 or self.half_cycle < 1:
            raise BadInputError(f"low {self.low} and half_cycle {self.half_cycle}", "above 0 to 1, and 1 or more")

    def __call__(self, step: int, steps: int) -> float:
        """The factor on the learning rate at this step."""
        phase = (step / self.half_cycle) % 2
        return self.low + (1 - self.low) * (phase if phase < 1 else 2 - phase)


@dataclass(frozen=True)
class Drop:
    """The full learning rate, then a share of it for the rest."""

    after: float = 0.75
    share: float = 0.1

    def __post_init__(self) -> None:
        if not (0 <= self.after <= 1 and 0 < self.share <= 1):
            raise BadInputError(f"after {self.after} and share {self.share}", "0 to 1, and above 0 to 1")

    def __call__(self, step: int, steps: int) -> float:
        """The factor on the learning rate at this step."""
        return 1.0 if step < round(self.after * steps) else self.share


@dataclass(frozen=True)
class Training:
    """Options of the training loop.

    Attributes:
        steps: Optimiser steps.
        batch: Pairs or snippets in each step, over all devices together.
        optimiser: `Adam` or `Sgd`.
        schedule: Factor on the learning rate over the steps.
        clip_norm: Largest norm of the gradient; None leaves it.
        ema: Decay of the running mean of weights that is validated and exported; 0 turns it off.
        precision: "auto" takes bf16 where the device computes in it, else fp32. Geometry and losses are always fp32.
        channels_last: Memory layout of the network's images.
        compile: Compile the network (slow to start; worth it on a GPU).
        workers: Processes that gather batches; 0 gathers in the training process.
        seed: Of weights, draws and augmentation.
        validate_every: Steps from one validation to the next.
        save_every: Steps from one checkpoint to the next.
        log_every: Steps from one line of the logs to the next.
        accelerator: "auto", "cpu", "cuda" or "mps".
        devices: Devices on this machine to train on together. Where torchrun or srun started the processes, 1 means as
            many as they are, on all machines.
    """

    steps: int = 2000
    batch: int = 8
    optimiser: Adam | Sgd = field(default_factory=Adam)
    schedule: Constant | Cosine | Triangular | Drop = field(default_factory=Constant)
    clip_norm: float | None = None
    ema: float = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    channels_last: bool = True
    compile: bool = False
    workers: int = 0
    seed: int = 0
    validate_every: int = 500
    save_every: int = 500
    log_every: int = 20
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every", "save_every", "log_every", "devices"):
            if getattr(self, name) < 1:
                raise BadInputError(f"training.{name} {getattr(self, name)}", "1 or more")
        if self.batch % self.devices:
            raise BadInputError(f"training.batch {self.batch} on {self.devices} devices", "a multiple of the devices")
        if self.workers < 0:
            raise BadInputError(f"training.workers {self.workers}", "0 or more")
        if not 0 <= self.ema < 1:
            raise BadInputError(f"training.ema {self.ema}", "0 to below 1")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise BadInputError(f"training.clip_norm {self.clip_norm}", "more than 0, or none")


def resolved_precision(precision: str, device_type: str) -> Literal["fp32", "bf16"]:
    """What "auto" means on this device: bf16 only where there are units that compute in it."""
    if precision != "auto":
        return precision  # type: ignore[return-value]
    if device_type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device_type == "cpu":
        return "bf16" if computes_in_bf16() else "fp32"
    return "fp32"


def computes_in_bf16() -> bool:
    """Whether this CPU multiplies bf16 in units of its own (AVX512-BF16 or AMX), and the library uses them.

    A CPU that merely has AVX512 converts every number first, and one without it takes a reference kernel: both are
    slower than fp32.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
