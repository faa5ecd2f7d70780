"""The process in which ITK reads a file from outside: damaged ones crash or hang it, and then only this ends.

Run by its path, not as a module, so that nothing but ITK is imported. It is given a folder with ``request.json``
(``what``: one of `READERS`; ``paths``; ``memory_bytes`` and ``cpu_seconds`` it may take beside what it started with),
prints a line once it is ready to read, and leaves ``answer.json``, and ``voxels.npy`` where there is an image.
"""

import contextlib
import ctypes
import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

PROBES = np.vstack([np.zeros(3), np.eye(3), [[3.0, -5.0, 7.0], [-100.0, 80.0, 60.0]]])
"""Points that show what a transform does: the first four give its matrix, the others whether that is all."""


def image(paths: list[str], folder: Path) -> dict[str, Any]:
    """One volume: of a file, or of the slices of a series in their order."""
    if len(paths) == 1:
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(paths[0])
        found = reader.Execute()
    else:
        series = SimpleITK.ImageSeriesReader()
        series.SetFileNames(paths)
        found = series.Execute()
    np.save(folder / "voxels.npy", SimpleITK.GetArrayViewFromImage(found))
    return {
        "origin": found.GetOrigin(),
        "spacing": found.GetSpacing(),
        "direction": found.GetDirection(),
        "components": found.GetNumberOfComponentsPerPixel(),
        "tags": {key: _printable(found.GetMetaData(key)) for key in found.GetMetaDataKeys()},
    }


def headers(paths: list[str], _: Path) -> dict[str, Any]:
    """Size, geometry and tags of each file, without its voxels; the error instead where there is one."""
    return {"headers": [_header(path) for path in paths]}


def series(paths: list[str], _: Path) -> dict[str, Any]:
    """The files of each DICOM series in a folder, in their order."""
    found = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(paths[0])
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames
    return {"series": {name: list(names(paths[0], name)) for name in found}}


def transform(paths: list[str], _: Path) -> dict[str, Any]:
    """Where a transform takes `PROBES`."""
    found = SimpleITK.ReadTransform(paths[0])
    return {"dimension": found.GetDimension(), "probes": [found.TransformPoint(point) for point in PROBES.tolist()]}


READERS = {"image": image, "headers": headers, "series": series, "transform": transform}


def _header(path: str) -> dict[str, Any]:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(path)
    reader.LoadPrivateTagsOn()
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        return {"error": _why(error)}
    return {
        "size": reader.GetSize(),
        "origin": reader.GetOrigin(),
        "spacing": reader.GetSpacing(),
        "direction": reader.GetDirection(),
        "components": reader.GetNumberOfComponents(),
        "tags": {key: _printable(reader.GetMetaData(key)) for key in reader.GetMetaDataKeys()},
    }


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8", "replace")


def _why(error: Exception) -> str:
    """What ITK says, without the place in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return last.split("): ", 1)[-1][:200]


def _limited(memory_bytes: int, cpu_seconds: int) -> None:
    """Ends this process with its parent, and where it takes more than it may."""
    with contextlib.suppress(OSError, AttributeError):  # Linux only
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    with contextlib.suppress(OSError, ValueError):  # a harder limit is set already
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
        pages = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
        most = pages * resource.getpagesize() + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(folder: Path) -> None:
    """Answers the request in a folder."""
    request = json.loads((folder / "request.json").read_text("utf-8"))
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    _limited(request["memory_bytes"], request["cpu_seconds"])
    print("ready", flush=True)
    try:
        answer = READERS[request["what"]](request["paths"], folder)
    except Exception as error:  # whatever ITK throws, in words
        answer = {"error": "it asks for too much memory" if isinstance(error, MemoryError) else _why(error)}
    (folder / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
