"""What a run trains: a network, the running mean of its weights, and the optimiser."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from depthscope.errors import BadInputError, DepthscopeError
from depthscope.training.devices import Fabric
from depthscope.training.options import Training
from depthscope.training.task import Task


class NonFiniteLossError(DepthscopeError):
    """A loss was not a number; the draws that caused it can be replayed alone."""


@dataclass(frozen=True, eq=False)
class TrainState:
    """A task on its devices.

    Attributes:
        task: The network and its loss.
        options: See `Training`.
        fabric: The devices.
        network: The task's, on its device.
        averaged: With the running mean of its weights: what is validated and kept.
        wrapped: The network as Fabric runs it, compiled where that was asked for.
        optimiser: Of its weights.
    """

    task: Task
    options: Training
    fabric: Fabric
    network: nn.Module
    averaged: nn.Module
    wrapped: nn.Module
    optimiser: Any

    @classmethod
    def of(cls, task: Task, options: Training, fabric: Fabric) -> "TrainState":
        """The task at its first step."""
        network = fabric.to_device(task.network)
        if options.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        averaged = deepcopy(network).eval().requires_grad_(False)
        compiled = cast(nn.Module, torch.compile(network) if options.compile else network)
        wrapped, optimiser = fabric.setup(compiled, options.optimiser.build(network.parameters()))
        return cls(task, options, fabric, network, averaged, wrapped, optimiser)

    def step(self, batch: Any, number: int) -> dict[str, Tensor]:
        """One step down the loss of a batch; the losses by name."""
        options = self.options
        for group in self.optimiser.param_groups:
            group["lr"] = options.optimiser.learning_rate * options.schedule(number, options.steps)
        losses = self.task.loss(self.wrapped, batch)
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(losses["loss"])
        if options.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), options.clip_norm, foreach=True)
        self.optimiser.step()
        self._average(number)
        return {name: value.detach() for name, value in losses.items()}

    @torch.no_grad()
    def _average(self, number: int) -> None:
        """Running mean of the weights; short at the start, so that random weights are forgotten."""
        decay = min(self.options.ema, (1 + number) / (10 + number))
        for mean, now in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)
        for mean, now in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            mean.copy_(now)

    def check_weights(self, number: int) -> None:
        """A finite loss may have a gradient that is not; weights spoiled by one never reach a checkpoint.

        Raises:
            NonFiniteLossError: They are spoiled.
        """
        if not all(bool(weights.isfinite().all()) for weights in self.network.parameters()):
            raise not_finite("a gradient up to", number, self.options.batch)

    def finish(self) -> None:
        """Leaves the mean weights in the task's network."""
        self.network.load_state_dict(self.averaged.state_dict())

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {
            "training_network": self.network.state_dict(),
            "network": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Goes back to a checkpoint.

        Raises:
            BadInputError: It is of another network.
        """
        try:
            self.network.load_state_dict(content["training_network"])
            self.averaged.load_state_dict(content["network"])
            self.optimiser.load_state_dict(content["optimiser"])
        except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise BadInputError(
                f"the checkpoint holds another network ({str(error).split(chr(10))[0]})",
                "one made by the same recipe",
                "resume with the recipe it was trained with, or choose another --out",
            ) from error


def not_finite(what: str, step: int, batch: int) -> NonFiniteLossError:
    """The error that names the draws of a step."""
    return NonFiniteLossError(
        f"{what} step {step} is not finite (draws {step * batch} to {(step + 1) * batch - 1})",
        "a number",
        "lower the learning rate, or replay these draws to find the frame; the last checkpoint is whole",
    )
