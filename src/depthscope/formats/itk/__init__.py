"""Files that ITK reads, in a child process with limits of time and memory: damaged ones crash or hang the library.

A child takes some 0.4 s to start, so many files are better asked about in one call.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from depthscope.errors import BadInputError
from depthscope.reading import explained
from depthscope.workspace import scratch_folder

CHILD = Path(__file__).with_name("child.py")

STARTING_S = 120.0
"""For Python and ITK to be loaded, from a slow disk if need be."""

READING_S, BYTES_PER_S = 10.0, 2_000_000
"""For the reading itself: this, and a second for so many bytes."""

MEMORY_BYTES, MEMORY_PER_BYTE = 600 << 20, 60
"""For the reading itself: this, and so much for each byte of the files; medical images compress to a third."""


def read_image(paths: Sequence[Path], expected: str, remedy: str = "export it again") -> SimpleITK.Image:
    """One volume: of a file, or of the slices of a series in the order given.

    Raises:
        BadInputError: ITK cannot read it, or crashed or did not come to an end over it.
    """
    with scratch_folder() as place:
        answer = _asked("image", paths, place, expected, remedy)
        voxels = np.load(place / "voxels.npy", mmap_mode="r", allow_pickle=False)
        image = SimpleITK.GetImageFromArray(voxels, isVector=answer["components"] > 1)
        del voxels
    image.SetOrigin(answer["origin"])
    image.SetSpacing(answer["spacing"])
    image.SetDirection(answer["direction"])
    for key, value in answer["tags"].items():
        image.SetMetaData(key, value)
    return image


def read_headers(paths: Sequence[Path], expected: str, remedy: str = "export it again") -> list[dict[str, Any]]:
    """Size, origin, spacing, direction, components and tags of each file; ``{"error": why}`` for one that has none."""
    return _asked("headers", paths, None, expected, remedy)["headers"]


def dicom_series(folder: Path, remedy: str = "export it again") -> dict[str, list[str]]:
    """The files of each DICOM series in a folder, in their order."""
    return _asked("series", [folder], None, "a folder of DICOM slices", remedy)["series"]


def read_transform(path: Path, expected: str, remedy: str = "write it again") -> np.ndarray:
    """The 4x4 matrix of a linear ITK transform, from points of the fixed image to those of the moving one.

    Raises:
        BadInputError: It cannot be read, or is not linear in three dimensions.
    """
    answer = _asked("transform", [path], None, expected, remedy)
    if answer["dimension"] != 3:
        raise BadInputError(f"{path} is a transform of {answer['dimension']} dimensions", expected, remedy)
    probes = np.array(answer["probes"], np.float64)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = (probes[1:4] - probes[0]).T, probes[0]
    asked = np.array([[3.0, -5.0, 7.0], [-100.0, 80.0, 60.0]])
    left = np.abs(asked @ matrix[:3, :3].T + matrix[:3, 3] - probes[4:]).max()
    if not left <= 1e-6 * (1 + np.abs(probes).max()):  # NaN also comes here
        raise BadInputError(f"{path} is no linear transform", expected, remedy)
    return matrix


def _asked(what: str, paths: Sequence[Path], place: Path | None, expected: str, remedy: str) -> dict[str, Any]:
    """The child's answer, or what went wrong as an error that names the file."""
    if place is None:
        with scratch_folder() as own:
            return _asked(what, paths, own, expected, remedy)
    named = paths[0] if len(paths) == 1 else Path(paths[0]).parent
    try:
        size = sum(_bytes(Path(path)) for path in paths)
        seconds = READING_S + size / BYTES_PER_S
        request = {
            "what": what,
            "paths": [str(path) for path in paths],
            "memory_bytes": MEMORY_BYTES + MEMORY_PER_BYTE * size,
            "cpu_seconds": int(seconds) + 1,
        }
        (place / "request.json").write_text(json.dumps(request))
        problem = _run(place, seconds)
        answer = {} if problem else json.loads((place / "answer.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise explained(error, named, expected, remedy) from error
    problem = problem or answer.get("error", "")
    if problem:
        raise BadInputError(f"{named} cannot be read ({problem})", expected, remedy)
    return answer


def _bytes(path: Path) -> int:
    """Of a file, or of the files in a folder."""
    if path.is_dir():
        return sum(inner.stat().st_size for inner in path.iterdir() if inner.is_file())
    return path.stat().st_size


def _run(place: Path, seconds: float) -> str:
    """Runs the child on the request in a folder; what became of it in words, or "" if it answered."""
    quiet = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1", "MALLOC_ARENA_MAX": "1"}  # threads reserve address space
    with (place / "log.txt").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-I", str(CHILD), str(place)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | quiet,
            process_group=0,
        )
        assert child.stdout is not None
        try:
            for limit in (STARTING_S, seconds):  # its line, then the end of its output
                if not select.select([child.stdout], [], [], limit)[0]:
                    return f"reading it did not end within {limit:.0f} s"
                if not os.read(child.stdout.fileno(), 64):
                    break
            child.wait()
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
    if (place / "answer.json").is_file() and child.returncode == 0:
        return ""
    if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return "reading it did not end in time, or took too much memory"
    return (
        f"it crashes the library that reads it: {signal.Signals(-child.returncode).name}"
        if child.returncode < 0
        else _last(place)
    )


def _last(place: Path) -> str:
    lines = (place / "log.txt").read_text(errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "ITK could not be started")
