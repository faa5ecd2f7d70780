"""How far long work is: a bar on a terminal, plain lines elsewhere, and the growing ``log.txt`` of a case."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Any

LOG_FILE = "log.txt"
"""Of a case."""

EVERY_S = 10.0
"""Between two lines about the same work."""

_log: ContextVar[Path | None] = ContextVar("log", default=None)


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Sends the lines of `log` and of all progress within to a file, which grows.

    Args:
        path: Of the file; lines are appended.
    """
    token = _log.set(path)
    try:
        yield
    finally:
        _log.reset(token)


def log(line: str) -> None:
    """Appends a line with the time to the log, if there is one; a disk that is full does not end the work."""
    path = _log.get()
    if path is None:
        return
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {line}\n")
    except OSError:
        pass  # the same fault meets the results, and is reported there


def suggest(command: str) -> None:
    """Prints the command that comes next; nothing within a case, whose next stage follows by itself."""
    if _log.get() is None:
        print(f"next: {command}", flush=True)


class Lines:
    """Lines about one piece of work: one each `every_s` at most.

    Args:
        every_s: Between two lines.
        shown: Whether lines are printed too; by default where standard output is no terminal, which has a bar.
    """

    def __init__(self, every_s: float | None = None, shown: bool | None = None) -> None:
        self._every_s = EVERY_S if every_s is None else every_s
        self._shown = not sys.stdout.isatty() if shown is None else shown
        self._last = time.monotonic()

    def update(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Tells how far the work is.

        Args:
            text: What is done.
            done: How much of it.
            total: Of how much, or None where that is not known.
        """
        if time.monotonic() - self._last < self._every_s:
            return
        self._last = time.monotonic()
        count = "" if done is None else f" {done}" if total is None else f" {done}/{total}"
        log(f"{text}{count}")
        if self._shown:
            print(f"{text}{count}", flush=True)


def track(items: Iterable[Any], title: str, total: int | None = None) -> Iterator[Any]:
    """The items one by one, with a bar on a terminal, lines elsewhere, and lines in the log.

    Args:
        items: What is worked on.
        title: What is done with them.
        total: How many they are, or None where that is not known.
    """
    from rich.console import Console
    from rich.progress import track as bar

    console, lines = Console(), Lines()
    shown = bar(items, title, total=total, console=console, disable=not console.is_terminal)
    for number, item in enumerate(shown, 1):
        yield item
        lines.update(title, number, total)
