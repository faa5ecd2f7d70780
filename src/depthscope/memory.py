"""Values that one run has read, decoded or written once, and its later stages need not read again.

Files are checkpoints: a stage writes its result so that a later call can go on, and within one run the next stage gets
the value itself. Inside `keeping`, readers give what is kept under the identity of a file on disk (device, number,
size and time), which stays the same when a temporary folder takes its final name and changes with every new content.
Memory is bounded: what was used longest ago is dropped, and is read from its file when it is asked for again.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")

BUDGET_BYTES = 1 << 30
"""What values may take in all: some 250 frames of 1280 x 1024, or 1,000 depth maps with their deviations."""

Identity = tuple[tuple[int, int, int, int], ...]


class Kept:
    """Values by kind and by the identity of their files.

    Args:
        budget_bytes: Of all values together.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self.budget_bytes, self.bytes = budget_bytes, 0
        self._values: OrderedDict[tuple[str, Identity], tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def find(self, kind: str, identity: Identity) -> tuple[Any] | None:
        """The value in a tuple of its own, or None."""
        with self._lock:
            found = self._values.get((kind, identity))
            if found is None:
                return None
            self._values.move_to_end((kind, identity))
            return (found[0],)

    def put(self, kind: str, identity: Identity, value: Any, size_bytes: int) -> None:
        """Keeps a value, and drops others until there is room."""
        with self._lock:
            _, before = self._values.pop((kind, identity), (None, 0))
            self.bytes -= before
            if size_bytes > self.budget_bytes:
                return
            self._values[kind, identity] = value, size_bytes
            self.bytes += size_bytes
            while self.bytes > self.budget_bytes:
                _, (_, dropped) = self._values.popitem(last=False)
                self.bytes -= dropped


_kept: Kept | None = None


@contextmanager
def keeping(budget_bytes: int = BUDGET_BYTES) -> Iterator[Kept]:
    """Keeps what is read and written meanwhile; within another call of this, that one's memory is used.

    Args:
        budget_bytes: Of all values together.
    """
    global _kept
    if _kept is not None:
        yield _kept
        return
    _kept = Kept(budget_bytes)
    try:
        yield _kept
    finally:
        _kept = None


def identity_of(*paths: Path) -> Identity:
    """What tells the content of files, and of all files below folders, from any other; raises OSError."""
    files = []
    for path in paths:
        found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        files += [path, *found] if path.is_dir() else found
    stats = [file.stat() for file in files]
    return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for s in stats)


def array_bytes(value: Any) -> int:
    """Of an array or a tensor."""
    return int(value.nbytes)


def cloned(value: Any) -> Any:
    """A tensor of its own: whoever reads an image may draw on it."""
    return value.clone()


def unchanged(value: Value) -> Value:
    """The value itself, where nobody can change it."""
    return value


def once(
    kind: str,
    path: Path,
    read: Callable[[], Value],
    *,
    size: Callable[[Value], int] = array_bytes,
    copy: Callable[[Value], Value] = cloned,
) -> Value:
    """What `read` gives, or what it gave before for the same content of a file or folder.

    Args:
        kind: What is read; one path may be read in several ways.
        path: The file or folder.
        read: Reads it.
        size: Of a value, in bytes.
        copy: Of a value, for each who asks.
    """
    if _kept is None:
        return read()
    try:
        identity = identity_of(path)
    except OSError:  # the reader says what is wrong
        return read()
    found = _kept.find(kind, identity)
    if found is None:
        value = read()
        _kept.put(kind, identity, copy(value), size(value))
        return value
    return copy(found[0])


def keep(kind: str, path: Path, value: Any) -> None:
    """Keeps a tensor that was just written to a file, as its reader would give it."""
    if _kept is not None:
        _kept.put(kind, identity_of(path), cloned(value), array_bytes(value))
