"""What a run says of itself: a CSV file, TensorBoard, and a progress bar (plain lines where there is no terminal)."""

import csv
import sys
import time
from pathlib import Path
from types import TracebackType

from depthscope.progress import Lines
from depthscope.workspace import write_text

TABLES = ("log.csv", "validation.csv", "speed.csv")
"""The last one apart, since it alone differs between two runs of the same recipe."""


class RunLog:
    """An open log of a run; lines after `step` of an interrupted run are cut off when it resumes."""

    def __init__(self, folder: Path, step: int, steps: int, *, quiet: bool = False, silent: bool = False) -> None:
        """Opens the files of `folder`. `quiet` shows no progress; `silent` writes nothing either (other processes)."""
        self._tables = {} if silent else {name: _Table(folder / name, step) for name in TABLES}
        self._board = None
        if not silent:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)
        self._steps, self._lines = steps, None if silent else Lines(shown=False)
        self._bar = None if quiet or silent else _Bar(step, steps) if sys.stdout.isatty() else _Lines(steps)

    def __enter__(self) -> "RunLog":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._board is not None:
            self._board.close()
        if self._bar is not None:
            self._bar.stop()

    def losses(self, step: int, values: dict[str, float], pace: dict[str, float]) -> None:
        """A line of ``log.csv``, means since the line before, and one of ``speed.csv``."""
        self._write("log.csv", "train", step, values)
        self._write("speed.csv", "train", step, pace)

    def validation(self, step: int, values: dict[str, float]) -> None:
        """A line of ``validation.csv``."""
        self._write("validation.csv", "validation", step, values)

    def _write(self, table: str, group: str, step: int, values: dict[str, float]) -> None:
        if self._board is None:
            return
        self._tables[table].append(step, values)
        for name, value in values.items():
            self._board.add_scalar(f"{group}/{name}", value, step)

    def show(self, step: int, text: str) -> None:
        """Moves the progress display."""
        if self._bar is not None:
            self._bar.update(step, text)
        if self._lines is not None:
            self._lines.update(f"train {step}/{self._steps}  {text}")


class _Table:
    """A CSV file that grows by whole lines; a torn one, left by a process that was killed, is cut off."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        if step == 0 or not path.is_file():
            path.unlink(missing_ok=True)
            return
        head, *lines = path.read_text("utf-8").splitlines(keepends=True) or [""]
        if not head.endswith("\n"):
            path.unlink()
            return
        whole = [line for line in lines if line.endswith("\n") and int(line.split(",", 1)[0]) <= step]
        write_text(path, "".join([head, *whole]))

    def append(self, step: int, values: dict[str, float]) -> None:
        new = not self._path.is_file()
        with self._path.open("a", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            if new:
                writer.writerow(["step", *values])
            writer.writerow([step, *(f"{value:.6g}" for value in values.values())])


class _Bar:
    """A rich progress bar."""

    def __init__(self, step: int, steps: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._task = self._progress.add_task("", total=steps, completed=step)

    def start(self) -> None:
        self._progress.start()

    def update(self, step: int, text: str) -> None:
        self._progress.update(self._task, completed=step, description=text)

    def stop(self) -> None:
        self._progress.stop()


class _Lines:
    """A line every ten seconds."""

    def __init__(self, steps: int) -> None:
        self._steps, self._last = steps, 0.0

    def start(self) -> None:
        self._last = time.monotonic()

    def update(self, step: int, text: str) -> None:
        if step == self._steps or time.monotonic() - self._last > 10:
            self._last = time.monotonic()
            print(f"train {step}/{self._steps}  {text}", flush=True)

    def stop(self) -> None:
        pass
