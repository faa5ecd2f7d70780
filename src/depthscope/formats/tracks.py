"""Points followed through a clip as a CSV file: ``frame,point,x,y,confidence``, one row for a point in a frame.

Places are pixels of the video, the centre of the top left one at (0.5, 0.5). Frames are called as their files, without
an ending; those of a video are ``frame_000000`` and so on.
"""

import csv
from collections.abc import Iterable, Sequence as Rows
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from depthscope.errors import BadInputError
from depthscope.reading import reader, reading, text_of

HEAD = ("frame", "point", "x", "y", "confidence")


@dataclass(frozen=True, eq=False)
class Tracks:
    """Rows of a file of tracks.

    Attributes:
        frames: What the frame of each row is called.
        points: Number of the point.
        places: (x, y) in pixels of the video.
        confidence: 0..1.
    """

    frames: tuple[str, ...]
    points: Int[np.ndarray, " rows"]
    places: Float[np.ndarray, "rows 2"]
    confidence: Float[np.ndarray, " rows"]

    def __len__(self) -> int:
        return len(self.frames)


def write(path: Path, rows: Iterable[tuple[str, int, float, float, float]]) -> Path:
    """Writes rows of frame, point, x, y and confidence; they are drawn one at a time."""
    with Path(path).open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HEAD)
        for frame, point, x, y, sure in rows:
            writer.writerow([frame, point, f"{x:.3f}", f"{y:.3f}", f"{sure:.4f}"])
    return Path(path)


@reader("a table of tracks")
def read(path: Path) -> Tracks:
    """Reads a file of tracks.

    Raises:
        BadInputError: It is missing or has other columns, a value is no number, or a point is in a frame twice.
    """
    lines = _lines(Path(path))
    if not lines or tuple(lines[0]) != HEAD:
        raise BadInputError(
            f"{path} begins with '{','.join(lines[0]) if lines else ''}'",
            ",".join(HEAD),
            "give tracks.csv of depthscope predict",
        )
    values = _numbers(path, [(*row[1:],) for row in lines[1:]], 4, 2)
    frames = tuple(row[0] for row in lines[1:])
    points = values[:, 0].astype(np.int64)
    pairs = set(zip(frames, points.tolist(), strict=True))
    if len(pairs) < len(frames):
        raise BadInputError(f"{path} has a point twice in a frame", "one row for each", "write it again")
    confidence = values[:, 3]
    if len(values) and not (confidence.min() >= 0 and confidence.max() <= 1):
        raise BadInputError(f"{path} has a confidence of {confidence.max():g}", "0 to 1", "scale it")
    return Tracks(frames, points, values[:, 1:3], confidence)


def read_points(path: Path) -> Float[np.ndarray, "points 2"]:
    """Points of one frame: rows of ``x,y``, with or without a line that says so.

    Raises:
        BadInputError: It is missing or empty, or a row is not two numbers.
    """
    lines = _lines(Path(path))
    head = bool(lines) and [cell.lower() for cell in lines[0]] == ["x", "y"]
    values = _numbers(path, [tuple(row) for row in lines[head:]], 2, 1 + head)
    if not len(values):
        raise BadInputError(f"{path} holds no points", "rows of x,y", "write one row for each point")
    return values


def _lines(path: Path) -> list[list[str]]:
    text = text_of(path, "a CSV file")
    with reading(path, "a CSV file"):
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    return [row for row in rows if any(row)]


def _numbers(path: Path, rows: Rows[tuple[str, ...]], columns: int, first: int) -> Float[np.ndarray, "rows columns"]:
    """All rows as finite numbers."""
    found = np.zeros((len(rows), columns))
    for number, row in enumerate(rows):
        try:
            values = [float(cell) for cell in row]
        except ValueError:
            values = []
        if len(values) != columns or not np.isfinite(values).all():
            raise BadInputError(f"row {number + first} of {path} is '{','.join(row)}'", f"{columns} numbers", "mend it")
        found[number] = values
    return found
