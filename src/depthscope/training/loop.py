"""The training loop: the only one."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from depthscope.errors import BadInputError, InterruptedRunError
from depthscope.threads import usable_cores
from depthscope.training.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint
from depthscope.training.devices import Fabric, resolved_device
from depthscope.training.draws import Draws, batches
from depthscope.training.interruption import interruption
from depthscope.training.logs import RunLog
from depthscope.training.options import Training, resolved_precision
from depthscope.training.processes import processes_of
from depthscope.training.resume import check_same_record
from depthscope.training.task import Task
from depthscope.training.train_state import TrainState, not_finite

Validation = Callable[[nn.Module], dict[str, float]]
"""Measures a network; the value named "score" decides which checkpoint is best (smaller is better)."""


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
    """The devices to train on: those that torchrun or srun started processes for, else as many as the options say.

    Raises:
        BadInputError: Other numbers of processes were started than the options say, or the batch cannot be shared.
    """
    import lightning_fabric

    processes = processes_of(os.environ, options.devices)
    if options.batch % processes.world:
        raise BadInputError(
            f"training.batch {options.batch} on {processes.world} processes", "a multiple of the processes"
        )
    for name in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    device_type = options.accelerator
    if device_type == "auto":
        device_type = resolved_device()
    precision = resolved_precision(options.precision, device_type)
    fabric = lightning_fabric.Fabric(
        accelerator=device_type,
        devices=processes.here,
        num_nodes=processes.machines,
        strategy="ddp" if processes.world > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )
    fabric.launch()
    if device_type == "cpu" and processes.here > 1:  # each has its share of the cores
        torch.set_num_threads(max(1, min(torch.get_num_threads(), usable_cores() // processes.here)))
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
    train_state, progress = TrainState.of(task, options, fabric), _Progress()
    if resume:
        saved = load_checkpoint(out / LAST)
        train_state.restore(saved)
        progress = _Progress.of(saved)
        check_same_record(progress.record, record, out)
        progress.pending = [(step, fabric.to_device(values)) for step, values in progress.pending]
    progress.record = record or {}
    out.mkdir(parents=True, exist_ok=True)

    first, before, waited = progress.step, progress.seconds, 0.0
    start = time.perf_counter()
    stream = batches(draws, first, options.steps, options.batch, fabric.global_rank, fabric.world_size, options.workers)
    silent = not fabric.is_global_zero
    with interruption() as stop, RunLog(out, first, options.steps, quiet=quiet, silent=silent) as log:
        pending = progress.pending
        train_state.network.train()
        while progress.step < options.steps:
            asked = time.perf_counter()
            batch = fabric.to_device(next(stream))
            waited += time.perf_counter() - asked

            pending.append((progress.step, train_state.step(batch, progress.step)))
            progress.step += 1
            done = progress.step
            stopped = _any_process(fabric, stop())
            last = done == options.steps or stopped
            if done % options.log_every == 0 or done == options.steps or _due(done, options):
                progress.losses = _means(fabric, pending, options.batch)
                pending.clear()
                elapsed = time.perf_counter() - start
                rate = (done - first) * options.batch / elapsed
                pace = {"pairs_per_second": rate, "data_wait": waited / elapsed}
                log.losses(done, progress.losses, pace)
                log.show(done, _line({**progress.losses, **pace}, progress.validation))
            elif last:
                _means(
                    fabric, pending, options.batch
                )  # which tells a loss that is no number; they are logged when it goes on
            if validate is not None and (done % options.validate_every == 0 or done == options.steps):
                progress.validation = _validated(fabric, validate, train_state.averaged)
                log.validation(done, progress.validation)
                _keep_if_best(progress, train_state, out)
            if done % options.save_every == 0 or last:
                progress.seconds = before + time.perf_counter() - start
                _save(progress, train_state, out)
            if stopped and (more or done < options.steps):
                raise InterruptedRunError(
                    f"stopped after {done} of {options.steps} steps, saved in {out}", "", "go on with --resume"
                )

    elapsed = max(time.perf_counter() - start, 1e-9)
    train_state.finish()
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
    """How far a run is; `pending` are the losses of the steps since the last line of the log."""

    step: int = 0
    seconds: float = 0.0
    validation: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    pending: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, content: dict[str, Any]) -> "_Progress":
        """That of a checkpoint; what is neither its own nor of the train state is the record."""
        own = {"step", "seconds", "validation", "best", "losses"}
        others = own | {"layout", "training_network", "network", "optimiser"}
        record = {name: value for name, value in content.items() if name not in {*others, "pending"}}
        found: dict[str, Any] = {name: content.get(name) for name in own}
        whole = isinstance(found["step"], int) and isinstance(found["seconds"], float | int) and found["step"] >= 0
        whole = whole and all(isinstance(found[name], dict) for name in ("validation", "best", "losses"))
        pending = content.get("pending", [])
        whole = whole and isinstance(pending, list) and all(_is_step(row) for row in pending)
        if not whole:
            raise BadInputError(
                f"the checkpoint says that {str(found['step'])[:40]} steps were done",
                "a whole checkpoint",
                "train again",
            )
        return cls(**found, pending=pending, record=record)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "validation": self.validation,
            "best": self.best,
            "losses": self.losses,
            "pending": [(step, {name: x.cpu() for name, x in values.items()}) for step, values in self.pending],
            **self.record,
        }


def _is_step(row: object) -> bool:
    """Whether something read from a checkpoint is the number of a step with its losses."""
    match row:
        case (int(), {"loss": Tensor(), **others}):
            return all(isinstance(value, Tensor) for value in others.values())
        case _:
            return False


def _keep_if_best(progress: _Progress, train_state: TrainState, out: Path) -> None:
    """Keeps the mean weights where no validation was better."""
    if not progress.validation["score"] < progress.best.get("score", float("inf")):
        return
    progress.best = {**progress.validation, "step": float(progress.step)}
    if train_state.fabric.is_global_zero:
        content = {"network": train_state.averaged.state_dict(), "step": progress.step, **progress.record}
        save_checkpoint(out / BEST, content)


def _save(progress: _Progress, train_state: TrainState, out: Path) -> None:
    """Saves all that a resumed run needs."""
    train_state.check_weights(progress.step - 1)
    if train_state.fabric.is_global_zero:
        save_checkpoint(out / LAST, {**train_state.state(), **progress.state()})
    train_state.fabric.barrier()


def _means(fabric: Fabric, pending: list[tuple[int, dict[str, Tensor]]], batch: int) -> dict[str, float]:
    """Means over the steps since the last line, and over all processes; reads the device once."""
    names = list(pending[0][1])
    table = torch.stack([torch.stack([values[name].float() for name in names]) for _, values in pending])
    if fabric.world_size > 1:
        table = cast(Tensor, fabric.all_reduce(table, reduce_op="mean"))
    table = table.cpu()
    bad = (~table[:, names.index("loss")].isfinite()).nonzero().flatten().tolist()
    if bad:
        raise not_finite("the loss of", pending[bad[0]][0], batch)
    return dict(zip(names, table.mean(0).tolist(), strict=True))


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
