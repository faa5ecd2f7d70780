"""One process for a folder: a second one is refused, and what a killed one left is removed."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.workspace.atomic import sweep

try:
    import fcntl
except ImportError:  # Windows has none: folders are not held there
    fcntl = None

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
"""Where launchers say which of several processes of one training this is; the first one holds the folder for all."""

_held: dict[Path, int] = {}
"""Folders that this process holds, with the open folder's number: held in a forked process too, so it closes them."""


@contextmanager
def holding(out: Path, inputs: Sequence[Path] = ()) -> Iterator[None]:
    """Holds a folder for this process while it works in it; the folder is made where it is missing.

    The hold is a lock on the folder itself (``flock``), which the system gives up when the process ends in whatever
    way: there is no file that could be left behind. A folder held by this process already is just used. At the start
    temporaries of dead processes are removed, in the folder and beside it. A folder that was made here and is empty at
    the end is removed.

    Args:
        out: The folder.
        inputs: What the work reads; none of it may hold `out`.

    Raises:
        BadInputError: Another process holds it, it lies in an input, or it is a file.
    """
    out = Path(out)
    check_outside(out, inputs)
    if out.exists() and not out.is_dir():
        raise BadInputError(f"cannot write {out}: it is a file", "a folder to write in", "choose another --out")
    place = out.resolve()
    if place in _held or _is_helper():
        place.mkdir(parents=True, exist_ok=True)
        yield
        return
    made = [folder for folder in (place, *place.parents) if not folder.exists()]
    number = _locked(place, out)
    _held[place] = number
    whole = False
    try:
        sweep(place.parent, deep=False)
        sweep(place)
        yield
        whole = True
    finally:
        if not whole:
            sweep(place)  # what children that were ended left behind
        for folder in made:  # innermost first; never one that holds anything
            with suppress(OSError):
                folder.rmdir()
        if _held.pop(place, -1) >= 0:
            os.close(number)


def check_outside(out: Path, inputs: Sequence[Path]) -> None:
    """Refuses a place to write that lies in a folder that is read: the next reading would find the result there.

    Raises:
        BadInputError: It does.
    """
    for given in inputs:
        if Path(given).is_dir() and Path(out).resolve().is_relative_to(Path(given).resolve()):
            raise BadInputError(f"{out} lies in the input {given}", "a folder outside of it", "choose another --out")


def _locked(place: Path, out: Path) -> int:
    """The number of the open, locked folder."""
    while True:
        place.mkdir(parents=True, exist_ok=True)
        if fcntl is None:
            return -1
        number = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):  # network folders that cannot be locked
                return number
            os.close(number)
            raise BadInputError(
                f"another depthscope process{_holder(place)} is working in {out}",
                "a folder of its own for each process",
                "wait until it ends, or choose another --out",
            ) from error
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), os.stat(place)):
                return number
        os.close(number)  # it was replaced between opening and locking: the new one decides


def _holder(place: Path) -> str:
    """The process that has locked a folder, in words; "" where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        number = place.stat().st_ino
        for line in Path("/proc/locks").read_text("utf-8").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].rsplit(":", 1)[1] == str(number):
                return f" (number {fields[4]})"
    return ""


def _is_helper() -> bool:
    """Whether this is another process of a training than its first."""
    return any(os.environ.get(name, "0").strip() not in ("", "0") for name in RANKS)


def _close_in_child() -> None:
    for number in _held.values():
        if number >= 0:
            os.close(number)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
