"""What the readers of datasets share: numbered files, tables of numbers, poses as matrices, a camera beside them."""

import re
from collections.abc import Sequence as Series
from pathlib import Path

import numpy as np
import torch

from depthscope.errors import BadInputError, require_file
from depthscope.formats import camera_file
from depthscope.geometry import Camera, RigidMotion
from depthscope.ground_truth import DepthEncoding, DepthFile
from depthscope.reading import reader
from depthscope.video import check_sizes, image_size

CAMERA = "camera.yaml"


@reader("a folder that may be listed")
def numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """The files of a folder whose whole name fits a pattern, by the number in its first group, in order.

    Raises:
        BadInputError: Two files have the same number.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        fits = re.fullmatch(pattern, path.name, re.IGNORECASE)
        if fits is None or path.name.startswith("."):
            continue
        number = int(fits.group(1))
        if number in found:
            raise BadInputError(f"{path} and {found[number].name} have the same number", "one file for each frame")
        found[number] = path
    return dict(sorted(found.items()))


def depth_beside(
    frames: dict[int, Path], maps: dict[int, Path], encoding: DepthEncoding, seems: str, pattern: str
) -> tuple[DepthFile, ...]:
    """The depth file of every frame.

    Args:
        frames: The frames by number.
        maps: The depth files by number.
        encoding: How they are to be read.
        seems: What the folder looks like, in words.
        pattern: How the depth files are called.

    Raises:
        BadInputError: There is none at all, or one frame has none.
    """
    if not maps:
        raise BadInputError(f"{seems}, but no depth", pattern, "download the depth of this clip too")
    missing = [frames[n].name for n in frames if n not in maps]
    if missing:
        raise BadInputError(
            f"{frames[next(iter(frames))].parent}: {len(missing)} of {len(frames)} frames have no depth, the first "
            f"is {missing[0]}",
            f"one map for each frame, like {next(iter(maps.values())).name}",
            "download the clip again, or move these frames away",
        )
    return tuple(DepthFile(maps[n], encoding) for n in frames)


@reader("rows of numbers")
def rows_of_numbers(path: Path, columns: Series[int], separators: str = r"[,\s]+") -> np.ndarray:
    """A text file of numbers, one row for each line that is not empty or a comment.

    Args:
        path: The file.
        columns: How many numbers a line may have.
        separators: What stands between numbers.

    Raises:
        BadInputError: The file is missing, or a line is damaged; it names the line.
    """
    path = require_file(path, "a file of this layout")
    rows, expected = [], " or ".join(map(str, columns))
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        words = [word for word in re.split(separators, line.strip()) if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) not in columns:
            raise BadInputError(f"{path}, line {number}: {line.strip()[:60]!r}", f"{expected} numbers", "correct it")
        if not np.isfinite(row).all():
            raise BadInputError(f"{path}, line {number}: a number is not finite", f"{expected} numbers", "correct it")
        rows.append(row)
    if not rows or len({len(row) for row in rows}) > 1:
        raise BadInputError(
            f"{path} holds {'no numbers' if not rows else 'lines of different lengths'}", f"lines of {expected}"
        )
    return np.array(rows)


def motions_of_matrices(matrices: np.ndarray, path: Path) -> RigidMotion:
    """Motions from 4x4 matrices, (frames, 4, 4), checked.

    Raises:
        BadInputError: One of them is not a rigid motion; it names the first.
    """
    values = torch.from_numpy(np.asarray(matrices, dtype=np.float64).copy())
    motions = RigidMotion(values[:, :3, :3], values[:, :3, 3])
    for number, (defect, last) in enumerate(zip(motions.defects(), values[:, 3].tolist(), strict=True), 1):
        if not defect and np.abs(np.array(last) - [0, 0, 0, 1]).max() > 1e-4:
            defect = f"one that ends in {last}"
        if defect:
            raise BadInputError(
                f"{path}: pose {number} is {defect}", "a rigid motion that ends in 0 0 0 1", "download it again"
            )
    u, _, vt = torch.linalg.svd(motions.rotation)  # printed digits: the nearest rotation
    return RigidMotion(u @ vt, motions.translation)


def lines_of_frames(lines: int, frames: dict[int, Path], path: Path, first: int | None) -> tuple[list[int], str]:
    """Which line of a file belongs to each frame, by the frame's number and never by its position among the frames.

    Args:
        lines: How many lines there are.
        frames: The frames by number, in order.
        path: The file.
        first: The number of the frame of the first line where the layout says it, else None: 0 or 1, if only one fits.

    Returns:
        The line of each frame, counted from 0, and how they were paired, in words.

    Raises:
        BadInputError: The numbers of the frames go beyond the lines, or leave open which is the first.
    """
    numbers = list(frames)
    where = f"{path} holds {lines} poses for {len(numbers)} frames with numbers {numbers[0]} to {numbers[-1]}"
    unbroken = numbers[-1] - numbers[0] + 1 == len(numbers) == lines
    fitting = [start for start in (0, 1) if numbers[0] >= start and numbers[-1] - start < lines]
    if unbroken:
        start = numbers[0]
    elif first in fitting or len(fitting) == 1:
        start = fitting[0] if first not in fitting else first
    elif fitting:
        raise BadInputError(
            f"{where}: they may count from 0 or from 1", "the first or the last frame among them", "keep frame 0 or 1"
        )
    else:
        raise BadInputError(where, "one pose for each frame", "download both again, or number the frames as the poses")
    assert start is not None
    return [n - start for n in numbers], f"line 1 of {path.name} belongs to frame {start}"


def size_of(frames: Series[Path]) -> tuple[int, int]:
    """The size of all frames.

    Raises:
        BadInputError: One of them is damaged or of another size.
    """
    size = image_size(frames[0])
    check_sizes(frames[1:], size, f"{frames[0].name}, the first frame")
    return size


def camera_beside(places: Series[Path], size_px: tuple[int, int]) -> Camera | None:
    """The ``camera.yaml`` in the first of some folders that has one.

    Raises:
        BadInputError: It is for another image size.
    """
    for place in places:
        if (place / CAMERA).is_file():
            camera = camera_file.read(place / CAMERA)
            if camera.size_px != size_px:
                raise BadInputError(
                    f"{place / CAMERA} is for {camera.size_px} pixels", f"{size_px} as the frames", "scale it"
                )
            return camera
    return None
