"""What lies in a folder of results: its figures and where they came from; a folder that appears whole."""

import errno
import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from depthscope.errors import BadInputError
from depthscope.memory import once, unchanged
from depthscope.reading import json_of, reader
from depthscope.workspace.atomic import atomic_folder, is_temporary, write_text
from depthscope.workspace.hold import holding

RECORDED_VERSIONS = ("depthscope", "torch", "lightning-fabric", "numpy", "opencv-python-headless", "pycolmap")


REFUSALS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.EFBIG,
    errno.EIO,
    errno.ENAMETOOLONG,
)
"""What an operating system answers where it cannot write: disk full, not allowed, below a file, failing."""


@contextmanager
def writing_folder(out: Path, *, inputs: tuple[Path, ...] = ()) -> Iterator[Path]:
    """A folder to write in that becomes `out` when all went well, and vanishes when anything failed.

    An older result of this package at `out` stays until then, and is replaced.

    Args:
        out: The folder.
        inputs: What the result is made from; none of it may lie in `out`, where it would be replaced, or hold it.

    Raises:
        BadInputError: The place cannot be written, holds something that is not a result of this package, or an input;
            another process works in it.
    """
    out = Path(out)
    for given in inputs:
        if Path(given).resolve().is_relative_to(out.resolve()):
            raise BadInputError(f"{out} holds the input {given}", "a folder beside it", "choose another place to write")
    with telling_write_errors(out), holding(out, inputs):
        if any(out.iterdir()) and not (out / "result.json").is_file():
            raise BadInputError(
                f"{out} exists and is not a result of depthscope", "a new or empty folder", "choose another --out"
            )
        with atomic_folder(out) as draft:
            yield draft


@contextmanager
def telling_write_errors(out: Path) -> Iterator[None]:
    """Turns the operating system's refusals to write into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise BadInputError(
            f"cannot write {out} ({error.strerror})",
            "a writable folder on a disk with space",
            "free space, or choose another --out",
        ) from error


def write_result(folder: Path, figures: dict[str, Any]) -> Path:
    """``result.json``; numbers that are not finite become null, since JSON has no name for them."""
    return write_text(folder / "result.json", json.dumps(_plain(figures), indent=2) + "\n")


@reader("a folder written by depthscope")
def read_result(folder: Path) -> dict[str, Any]:
    """The figures of a result folder.

    Raises:
        BadInputError: There are none.
    """
    path = Path(folder) / "result.json"
    if not path.exists():
        raise BadInputError(f"{folder} has no result.json", "a folder written by depthscope", "check the path")
    return once(
        "figures",
        path,
        lambda: json_of(path, "the figures of a result", remedy="run the command that wrote it again"),
        size=lambda found: 16 * len(str(found)),
        copy=deepcopy,
    )


def write_provenance(folder: Path, *, options: dict[str, Any], inputs: dict[str, str], seconds: float) -> Path:
    """``provenance.yaml``: the command, options, input hashes, versions, machine and duration."""
    record = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "options": _plain(options),
        "inputs": inputs,
        "versions": versions(),
        "machine": f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(seconds, 2),
    }
    return write_text(folder / "provenance.yaml", yaml.safe_dump(record, sort_keys=False))


def versions() -> dict[str, str]:
    """Versions of this package and of the libraries that results depend on."""
    found = {}
    for name in RECORDED_VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def content_hash(*paths: Path) -> str:
    """SHA-256 over the bytes of files, and of the files of folders in the order of their names.

    What a process is still writing, or was writing when it was killed, does not count.
    """
    if len(paths) == 1:
        return once("hash", Path(paths[0]), lambda: _content_hash(*paths), size=len, copy=unchanged)
    return _content_hash(*paths)


def _content_hash(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(_files_of(path)) if path.is_dir() else [path]:
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def _files_of(folder: Path) -> Iterator[Path]:
    """The files of a folder and its folders, but for temporaries."""
    for item in folder.iterdir():
        if is_temporary(item):
            continue
        if item.is_dir() and not item.is_symlink():
            yield from _files_of(item)
        elif item.is_file():
            yield item


def _plain(value: Any) -> Any:
    """The value in terms of JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    if (listed := getattr(value, "tolist", None)) is not None:
        return _plain(listed())
    return value
