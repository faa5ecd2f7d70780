"""The training loop: the only one."""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from depthscope.errors import BadInputError, DepthscopeError, InterruptedRunError
from depthscope.training.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint
from depthscope.training.draws import Draws, batches
from depthscope.training.logs import RunLog
from depthscope.training.options import Training, resolved_precision
from depthscope.training.task import Task

Validation = Callable[[nn.Module], dict[str, float]]
"""Measures a network; the value named "score" decides which checkpoint is best (smaller is better)."""


MACHINE_OPTIONS = ("workers", "accelerator", "devices")
"""Options of `Training` that do not decide the weights: a run may go on with others."""


class NonFiniteLossError(DepthscopeError):
    """A loss was not a number; the draws that caused it can be replayed alone."""


@dataclass(frozen=True)
class TrainingResult:
    """What came of a run.

    Attributes:
        steps: Steps done in all.
        seconds: Time of the loop in all, interruptions left out.
        pairs_per_second: Examples per second over this session, all devices together.
        data_wait: Share of that time spent waiting for batches.
        precision: "fp32" or "bf16".
        validation: The last validation.
        best: The validation of the best checkpoint, with its step.
        losses: Means of the last logged lines.
    """

    steps: int
    seconds: float
    pairs_per_second: float
    data_wait: float
    precision: str
    validation: dict[str, float]
    best: dict[str, float]
    losses: dict[str, float]


def launched(options: Training) -> Fabric:
    """The devices to train on; several are joined here (or by torchrun or SLURM, which Fabric recognises)."""
    for name in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    device_type = options.accelerator
    if device_type == "auto":
        device_type = "cuda" if torch.cuda.is_available() else "cpu"
    precision = resolved_precision(options.precision, device_type)
    fabric = Fabric(
        accelerator=device_type,
        devices=options.devices,
        strategy="ddp" if options.devices > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def train(
    task: Task,
    draws: Draws,
    options: Training,
    out: Path,
    *,
    validate: Validation | None = None,
    record: dict[str, Any] | None = None,
    resume: bool = False,
    fabric: Fabric | None = None,
    more: bool = False,
    quiet: bool = False,
) -> TrainingResult:
    """Minimises the task's loss over `options.steps` steps, and leaves checkpoints and logs in `out`.

    An interrupted run that is resumed ends with the same weights as an uninterrupted one, bit for bit on one machine.

    Args:
        task: A network and its loss.
        draws: Where batches come from, by draw number.
        options: See `Training`.
        out: Folder for ``checkpoint.pt``, ``best.pt``, ``log.csv`` and ``tensorboard/``.
        validate: Measured every `validate_every` steps on the averaged weights.
        record: What the checkpoints shall carry beside the weights (recipe, provenance).
        resume: Go on from the checkpoint in `out`.
        fabric: Devices, where they were launched before.
        more: Whether more training follows this one, so that a stop in its last step is an interruption too.
        quiet: No progress display.

    Raises:
        InterruptedRunError: SIGINT or SIGTERM came; the state was saved and can be resumed.
        NonFiniteLossError: A loss was NaN or infinite.
        BadInputError: There is nothing to resume, or the folder cannot be written.
    """
    fabric = fabric or launched(options)
    if options.batch % fabric.world_size:
        raise BadInputError(
            f"training.batch {options.batch} on {fabric.world_size} processes", "a multiple of the processes"
        )
    network = fabric.to_device(task.network)
    if options.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = deepcopy(network).eval().requires_grad_(False)
    compiled = torch.compile(network) if options.compile else network
    wrapped, optimiser = fabric.setup(cast(nn.Module, compiled), options.optimiser.build(network.parameters()))
    progress = _Progress()
    if resume:
        progress = _restore(load_checkpoint(out / LAST), network, averaged, optimiser)
        _same_record(progress.record, record, out)
    progress.record = record or {}
    out.mkdir(parents=True, exist_ok=True)

    first, before, waited = progress.step, progress.seconds, 0.0
    start = time.perf_counter()
    stream = batches(draws, first, options.steps, options.batch, fabric.global_rank, fabric.world_size, options.workers)
    silent = not fabric.is_global_zero
    with interruption() as stop, RunLog(out, first, options.steps, quiet=quiet, silent=silent) as log:
        pending: list[tuple[int, dict[str, Tensor]]] = []
        network.train()
        while progress.step < options.steps:
            asked = time.perf_counter()
            batch = fabric.to_device(next(stream))
            waited += time.perf_counter() - asked

            _set_rate(optimiser, options, progress.step)
            losses = task.loss(wrapped, batch)
            optimiser.zero_grad(set_to_none=True)
            fabric.backward(losses["loss"])
            if options.clip_norm is not None:
                nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm, foreach=True)
            optimiser.step()
            _average(averaged, network, options.ema, progress.step)

            pending.append((progress.step, {name: value.detach() for name, value in losses.items()}))
            progress.step += 1
            done = progress.step
            stopped = _any_process(fabric, stop())
            last = done == options.steps or stopped
            if done % options.log_every == 0 or last or _due(done, options):
                progress.losses = _means(pending, options.batch)
                pending = []
                elapsed = time.perf_counter() - start
                rate = (done - first) * options.batch / elapsed
                figures = {**progress.losses, "pairs_per_second": rate, "data_wait": waited / elapsed}
                log.losses(done, figures)
                log.show(done, _line(figures, progress.validation))
            if validate is not None and (done % options.validate_every == 0 or done == options.steps):
                progress.validation = _validated(fabric, validate, averaged)
                log.validation(done, progress.validation)
                if progress.validation["score"] < progress.best.get("score", float("inf")):
                    progress.best = {**progress.validation, "step": float(done)}
                    if fabric.is_global_zero:
                        save_checkpoint(out / BEST, {"network": averaged.state_dict(), "step": done, **progress.record})
            if done % options.save_every == 0 or last:
                progress.seconds = before + time.perf_counter() - start
                _check_weights(network, done - 1, options.batch)
                if fabric.is_global_zero:
                    save_checkpoint(out / LAST, _state(progress, network, averaged, optimiser))
                fabric.barrier()
            if stopped and (more or done < options.steps):
                raise InterruptedRunError(
                    f"stopped after {done} of {options.steps} steps, saved in {out}", "", "go on with --resume"
                )

    elapsed = max(time.perf_counter() - start, 1e-9)
    network.load_state_dict(averaged.state_dict())
    return TrainingResult(
        steps=progress.step,
        seconds=progress.seconds,
        pairs_per_second=(progress.step - first) * options.batch / elapsed,
        data_wait=waited / elapsed,
        precision="bf16" if "bf16" in str(fabric._precision.precision) else "fp32",
        validation=progress.validation,
        best=progress.best,
        losses=progress.losses,
    )


@dataclass
class _Progress:
    """How far a run is."""

    step: int = 0
    seconds: float = 0.0
    validation: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Turns SIGINT and SIGTERM into a question that is asked between steps; a second signal acts as usual."""
    asked = False

    def note(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:  # not in the main thread: the owner of the process decides
        pass
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set_rate(optimiser: Any, options: Training, step: int) -> None:
    for group in optimiser.param_groups:
        group["lr"] = options.optimiser.learning_rate * options.schedule(step, options.steps)


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Running mean of the weights; short at the start, so that random weights are forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, now in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)
    for mean, now in zip(averaged.buffers(), network.buffers(), strict=True):
        mean.copy_(now)


def _means(pending: list[tuple[int, dict[str, Tensor]]], batch: int) -> dict[str, float]:
    """Means over the steps since the last line; reads the device once."""
    names = list(pending[0][1])
    table = torch.stack([torch.stack([values[name].float() for name in names]) for _, values in pending]).cpu()
    bad = (~table[:, names.index("loss")].isfinite()).nonzero().flatten().tolist()
    if bad:
        raise _not_finite("the loss of", pending[bad[0]][0], batch)
    return dict(zip(names, table.mean(0).tolist(), strict=True))


def _check_weights(network: nn.Module, step: int, batch: int) -> None:
    """A finite loss may have a gradient that is not; weights spoiled by one never reach a checkpoint."""
    if not all(bool(p.isfinite().all()) for p in network.parameters()):
        raise _not_finite("a gradient up to", step, batch)


def _not_finite(what: str, step: int, batch: int) -> NonFiniteLossError:
    return NonFiniteLossError(
        f"{what} step {step} is not finite (draws {step * batch} to {(step + 1) * batch - 1})",
        "a number",
        "lower the learning rate, or replay these draws to find the frame; the last checkpoint is whole",
    )


def _due(step: int, options: Training) -> bool:
    return step % options.save_every == 0 or step % options.validate_every == 0


def _validated(fabric: Fabric, validate: Validation, network: nn.Module) -> dict[str, float]:
    with torch.no_grad(), fabric.autocast():
        return {name: float(value) for name, value in validate(network).items()}


def _any_process(fabric: Fabric, stop: bool) -> bool:
    if fabric.world_size == 1:
        return stop
    asked = cast(Tensor, fabric.all_reduce(torch.tensor(float(stop), device=fabric.device), reduce_op="sum"))
    return bool(asked > 0)


def _line(figures: dict[str, float], validation: dict[str, float]) -> str:
    shown = [f"loss {figures['loss']:.4g}", f"{figures['pairs_per_second']:.1f} pairs/s"]
    if validation:
        shown.append(f"validation {validation['score']:.4f}")
    if figures["data_wait"] > 0.02:
        shown.append(f"waiting for data {figures['data_wait']:.0%}")
    return "  ".join(shown)


def _state(progress: _Progress, network: nn.Module, averaged: nn.Module, optimiser: Any) -> dict[str, Any]:
    return {
        "step": progress.step,
        "seconds": progress.seconds,
        "validation": progress.validation,
        "best": progress.best,
        "losses": progress.losses,
        "training_network": network.state_dict(),
        "network": averaged.state_dict(),
        "optimiser": optimiser.state_dict(),
        **progress.record,
    }


def _restore(content: dict[str, Any], network: nn.Module, averaged: nn.Module, optimiser: Any) -> _Progress:
    try:
        network.load_state_dict(content["training_network"])
        averaged.load_state_dict(content["network"])
        optimiser.load_state_dict(content["optimiser"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise BadInputError(
            f"the checkpoint holds another network ({str(error).splitlines()[0]})",
            "one made by the same recipe",
            "resume with the recipe it was trained with, or choose another --out",
        ) from error
    known = {"layout", "step", "seconds", "validation", "best", "losses", "training_network", "network", "optimiser"}
    return _Progress(
        step=content["step"],
        seconds=content["seconds"],
        validation=content["validation"],
        best=content["best"],
        losses=content["losses"],
        record={name: value for name, value in content.items() if name not in known},
    )


def check_resumable(out: Path, record: dict[str, Any]) -> None:
    """Refuses to go on with the run in `out` under another record, before anything is made for it.

    Raises:
        BadInputError: There is nothing to resume, or it has another recipe or other sequences.
    """
    _same_record(load_checkpoint(out / LAST), record, out)


def _same_record(saved: dict[str, Any], given: dict[str, Any] | None, out: Path) -> None:
    """A run goes on only with the recipe and the sequences it began with; the machine may be another."""
    given = given or {}
    before, now = (_deciding_lines(record.get("recipe")) for record in (saved, given))
    if "recipe" in given and before != now:
        changed = [f"'{b.strip()}' to '{n.strip()}'" for b, n in zip(before, now, strict=False) if b != n]
        raise BadInputError(
            f"{out} was trained with another recipe (changed: {', '.join(changed[:3]) or 'its length'})",
            "the same one",
            "leave the options away to resume, or choose another --out",
        )
    if "sequences" in given and saved.get("sequences") != given["sequences"]:
        raise BadInputError(
            f"{out} was trained on other sequences ({', '.join(saved.get('sequences', ()))})",
            "the same ones in the same order",
            "give those to resume, or choose another --out",
        )
    if "masked" in given and saved.get("masked", []) != given["masked"]:
        raise BadInputError(
            f"{out} was trained with masks of {', '.join(saved.get('masked', [])) or 'no sequence'}",
            "the same to go on",
            "give the same --masks to resume, or choose another --out",
        )


def _deciding_lines(recipe: object) -> list[str]:
    """The lines of a recipe but for those that say who computes it."""
    return [line for line in str(recipe).splitlines() if line.split(":")[0].strip() not in MACHINE_OPTIONS]
