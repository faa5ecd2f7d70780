"""Files and folders that appear whole or not at all.

Everything is written under a temporary name beside its place, flushed to disk, and renamed. The temporary's name tells
the process that writes it, so that those of processes that were killed can be told from those of living ones.
"""

import atexit
import ctypes
import errno
import itertools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from depthscope.workspace.process import is_dead, owner

TEMPORARY = re.compile(r"\.([0-9a-f]{8}-\d+-[0-9a-f]+)-\d+\.partial\.")
"""Start of a temporary's name: its owner, and its number within that process."""

FLUSHED_ONE_BY_ONE = 32
"""Files of a folder up to which each is flushed by itself; with more the whole file system is, once."""

REMOVALS, PAUSE_S = 100, 0.02
"""How often a folder is removed in which something still writes, and the pause between."""

RENAME_EXCHANGE, AT_FDCWD = 2, -100

_numbers = itertools.count(1)

_drafts: set[Path] = set()
"""Temporaries of this process that are not known to be gone."""


def temporary(path: Path, process: str = "", number: int | None = None) -> Path:
    """A temporary name beside a path, with the same ending.

    Args:
        path: Where the content is to be in the end.
        process: Its owner; this process by default.
        number: Tells it from others of this owner and path; a new one by default.
    """
    number = next(_numbers) if number is None else number
    return path.with_name(f".{process or owner()}-{number}.partial.{path.name}")


def is_temporary(path: Path) -> bool:
    """Whether a path is a temporary of any process."""
    return TEMPORARY.match(path.name) is not None


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path to write a file at; it takes the place of `path` at the end, or vanishes if anything fails."""
    path = Path(path)
    with _draft(path) as draft:
        yield draft
        flush(draft)
        os.replace(draft, path)


def write_bytes(path: Path, content: bytes) -> Path:
    """Writes a file whole or not at all."""
    with atomic_file(path) as draft:
        draft.write_bytes(content)
    return path


def write_text(path: Path, text: str) -> Path:
    """Writes a file in UTF-8 whole or not at all; lines end as they do in the text."""
    return write_bytes(path, text.encode())


@contextmanager
def atomic_folder(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A temporary folder to write in; it takes the place of `path` at the end, or vanishes if anything fails.

    Args:
        path: The folder. What is there stays until the new one is whole, and is then removed.
        replace: Otherwise a folder with content that is there at the end, made by another process meanwhile, stays.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path
    sweep(path.parent, deep=False)
    with _draft(path) as draft:
        draft.mkdir(parents=True)
        yield draft
        flush_folder(draft)
        put_in_place(draft, path, replace=replace)


def put_in_place(draft: Path, path: Path, *, replace: bool = True) -> None:
    """Gives a whole folder its name; an older folder of this name is then at `draft`."""
    try:
        os.rename(draft, path)  # also over an empty folder
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if replace:
            _exchange(draft, path)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder among the system's temporary files, removed at the end; those of killed processes are removed too."""
    place = Path(tempfile.gettempdir())
    sweep(place, deep=False)
    with _draft(place / "depthscope") as folder:
        folder.mkdir(mode=0o700)
        yield folder


def sweep(folder: Path, *, deep: bool = True) -> None:
    """Removes the temporaries of processes that have ended; those of living processes stay.

    Args:
        folder: Where to look.
        deep: Look into its folders as well.
    """
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            if (found := TEMPORARY.match(name)) is not None:
                if is_dead(found[1]):
                    remove(Path(place) / name)
                if name in folders:
                    folders.remove(name)
        if not deep:
            return


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A temporary name beside a path; what was made there is removed in the end."""
    draft = temporary(path)
    _drafts.add(draft)
    try:
        yield draft
    finally:
        remove(draft)
        _drafts.discard(draft)


@atexit.register
def remove_drafts() -> None:
    """Removes the temporaries that are left at the end of a program, after an interruption while one was removed."""
    own = owner()
    for draft in [*_drafts]:
        if (found := TEMPORARY.match(draft.name)) is not None and found[1] == own:  # not those of a forked process
            remove(draft)
        _drafts.discard(draft)


def remove(path: Path) -> None:
    """Removes a file or folder as far as that is allowed; Ctrl-C acts once it is gone."""
    try:
        _remove(path)
    except KeyboardInterrupt:
        _remove(path)
        raise


def _remove(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return
    for _ in range(REMOVALS):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                break
        if not path.exists():
            return
        time.sleep(PAUSE_S)  # a thread that an interruption has cut off ends what it writes
    shutil.rmtree(path, ignore_errors=True)


def empty(folder: Path) -> None:
    """Removes what is in a folder, which stays: it may be held."""
    for item in folder.iterdir() if folder.is_dir() else ():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Has the system write a file to disk, so that a power failure after the rename does not leave an empty one."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot
            raise
    finally:
        os.close(number)


def flush_folder(folder: Path) -> None:
    """Likewise for all files of a folder."""
    files = [Path(place) / name for place, _, names in os.walk(folder) for name in names]
    files = [file for file in files if file.is_file() and not file.is_symlink()]
    if len(files) > FLUSHED_ONE_BY_ONE and _flush_file_system(folder):
        return
    for file in files:
        flush(file)


def _flush_file_system(folder: Path) -> bool:
    """Flushes the file system that a folder lies on; whether the system can."""
    try:
        call = ctypes.CDLL(None).syncfs
    except (OSError, AttributeError):
        return False
    number = os.open(folder, os.O_RDONLY)
    try:
        return call(number) == 0
    finally:
        os.close(number)


def _exchange(draft: Path, path: Path) -> None:
    """Swaps two folders in one step where the system can, so that there is no moment without one."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
        if call(AT_FDCWD, os.fsencode(draft), AT_FDCWD, os.fsencode(path), RENAME_EXCHANGE) == 0:
            return
    except (OSError, AttributeError):
        pass
    old = temporary(path)
    os.rename(path, old)
    try:
        os.rename(draft, path)
    except OSError:
        os.rename(old, path)
        raise
    remove(old)
