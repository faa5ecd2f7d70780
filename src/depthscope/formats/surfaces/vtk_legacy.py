"""VTK's legacy files of polygons (VTK), as text and binary, of versions before and after 5.

Layout: two lines of head, of which the second is free text, ASCII or BINARY, ``DATASET POLYDATA``, then sections.
Binary numbers are big-endian.
"""

from pathlib import Path

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.formats import ply
from depthscope.formats.surfaces.polygons import fans, strips
from depthscope.geometry import Surface

TYPES = {
    "bit": "u1", "char": "i1", "signed_char": "i1", "unsigned_char": "u1", "short": "i2", "unsigned_short": "u2",
    "int": "i4", "unsigned_int": "u4", "long": "i8", "unsigned_long": "u8", "float": "f4", "double": "f8",
    "vtkidtype": "i4", "vtktypeint64": "i8", "vtktypeuint64": "u8", "vtktypeint32": "i4", "vtktypeuint32": "u4",
    "vtktypeint8": "i1", "vtktypeuint8": "u1", "vtktypeint16": "i2", "vtktypeuint16": "u2",
    "vtktypefloat32": "f4", "vtktypefloat64": "f8",
}  # fmt: skip
"""NumPy types of VTK's names; its own kind of number for cells is 32 bits in files."""


def read(path: Path) -> tuple[Surface, str | None]:
    """The polygons and strips, and the space that the field data name, if any.

    Raises:
        BadInputError: Not such a file, another kind of data, or damaged.
    """
    data = path.read_bytes()
    if not data.startswith(b"# vtk DataFile"):
        raise BadInputError(f"{path} does not begin with '# vtk DataFile'", "a VTK file", "export it as PLY")
    try:
        points, faces, space = _sections(_Cursor(data), path)
    except (ValueError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise BadInputError(
            f"{path} is cut short or damaged ({error})", "a VTK file of polygons", "export it again"
        ) from error
    if not np.isfinite(points).all():
        raise BadInputError(f"{path} has points that are not finite", "finite coordinates", "export it again")
    ply.check_faces(faces, len(points), path)
    triangles = torch.from_numpy(faces) if len(faces) else None
    return Surface(torch.from_numpy(points.astype(np.float64)), None, None, triangles, "mm"), space


class _Cursor:
    """A place in a file, from which lines and numbers are taken."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.line()
        self.line()
        self.text = self.line().strip().upper() != b"BINARY"

    def line(self) -> bytes:
        """The rest of the line."""
        end = self.data.find(b"\n", self.at)
        end = len(self.data) if end < 0 else end
        found, self.at = self.data[self.at : end], end + 1
        return found

    def words(self) -> list[str]:
        """The words of the next line that is not empty; none at the end."""
        while self.at < len(self.data):
            if found := self.line().split():
                return [word.decode("latin-1") for word in found]
        return []

    def numbers(self, count: int, kind: str) -> np.ndarray:
        """So many numbers of one of VTK's types."""
        dtype = np.dtype(TYPES[kind.lower()])
        if count < 0 or count > len(self.data):
            raise ValueError(f"{count} numbers")
        if self.text:
            parts = self.data[self.at :].split(None, count)
            if len(parts) < count:
                raise ValueError(f"{len(parts)} of {count} numbers")
            self.at = len(self.data) - (len(parts[count]) if len(parts) > count else 0)
            return np.array(parts[:count], np.float64 if dtype.kind == "f" else np.int64)
        found = np.frombuffer(self.data, dtype.newbyteorder(">"), count, self.at)
        self.at += count * dtype.itemsize
        return found.astype(dtype)

    def strings(self, count: int) -> list[str]:
        """So many strings: lines of a text file; after their length, of 6, 14, 30 or 62 bits, in a binary one."""
        if self.text:
            return [self.line().decode("latin-1").strip() for _ in range(count)]
        found = []
        for _ in range(count):
            size = {3: 1, 2: 2, 1: 4, 0: 8}[self.data[self.at] >> 6]
            length = int.from_bytes(self.data[self.at : self.at + size], "big") & ((1 << (8 * size - 2)) - 1)
            self.at += size
            found.append(self.data[self.at : self.at + length].decode("latin-1"))
            self.at += length
        return found


def _sections(cursor: _Cursor, path: Path) -> tuple[np.ndarray, np.ndarray, str | None]:
    points, faces, space = np.empty((0, 3)), [np.empty((0, 3), np.int64)], None
    while words := cursor.words():
        match [words[0].upper(), *words[1:]]:
            case ["DATASET", kind] if kind.upper() != "POLYDATA":
                raise BadInputError(f"{path} holds {kind}", "polygons (DATASET POLYDATA)", "export its surface")
            case ["POINTS", count, kind]:
                points = cursor.numbers(3 * int(count), kind).reshape(-1, 3)
            case ["POLYGONS", first, second]:
                faces.append(fans(*_cells(cursor, int(first), int(second))))
            case ["TRIANGLE_STRIPS", first, second]:
                faces.append(strips(*_cells(cursor, int(first), int(second))))
            case ["LINES" | "VERTICES", first, second]:
                _cells(cursor, int(first), int(second))
            case ["FIELD", _, count]:
                space = _field(cursor, int(count)) or space
            case ["METADATA"]:
                while cursor.line().strip():
                    pass
            case ["POINT_DATA" | "CELL_DATA", *_]:
                break
            case ["DATASET", *_]:
                pass
            case _:
                raise ValueError(f"section '{words[0][:40]}'")
    return points, np.concatenate(faces), space


def _cells(cursor: _Cursor, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners of all cells and where each cell ends: from version 5.1 as such, before with a count before each cell."""
    before = cursor.at
    words = cursor.words()
    if words and words[0].upper() == "OFFSETS":
        offsets = cursor.numbers(first, words[1]).astype(np.int64)
        words = cursor.words()
        if not words or words[0].upper() != "CONNECTIVITY":
            raise ValueError("no CONNECTIVITY")
        return cursor.numbers(second, words[1]).astype(np.int64), offsets[1:]
    cursor.at = before
    flat = cursor.numbers(second, "int").astype(np.int64)
    if first and second == 4 * first and (flat[::4] == 3).all():
        return flat.reshape(-1, 4)[:, 1:].reshape(-1), 3 * np.arange(1, first + 1)
    kept, ends, at = np.ones(len(flat), bool), [], 0
    for cell in range(first):
        kept[at] = False
        at += int(flat[at]) + 1
        ends.append(at - cell - 1)
    if at != second or (len(flat) and flat[~kept].min() < 0):
        raise ValueError(f"{at} of {second} numbers of cells")
    return flat[kept], np.array(ends, np.int64)


def _field(cursor: _Cursor, count: int) -> str | None:
    """The string array called SPACE among so many arrays."""
    space = None
    for _ in range(count):
        name, components, rows, kind = cursor.words()
        many = int(components) * int(rows)
        if kind.lower() == "string":
            found = cursor.strings(many)
            space = found[0] if name.upper() == "SPACE" and found else space
        else:
            cursor.numbers(many, kind)
        ahead = cursor.at
        if cursor.words()[:1] == ["METADATA"]:
            while cursor.line().strip():
                pass
        else:
            cursor.at = ahead
    return space
