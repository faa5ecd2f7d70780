"""Surface files of other programs: PLY, STL, OBJ, VTP and VTK, in LPS mm whatever axes the file says it has.

3D Slicer and others write ``SPACE=RAS`` or ``SPACE=LPS`` into the header of STL, OBJ, PLY and VTK files. A file that
says RAS is converted; one that says nothing is taken to be LPS, as ITK and Slicer's current default have it.
"""

import base64
import re
import struct
import xml.etree.ElementTree as xml
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from depthscope.errors import BadInputError, require_file
from depthscope.formats import ply
from depthscope.geometry import Surface
from depthscope.geometry.surface import vertex_normals
from depthscope.reading import reader

ENDINGS = (".ply", ".stl", ".obj", ".vtp")

VTK_TYPES = {"Float32": "f4", "Float64": "f8", "Int32": "i4", "Int64": "i8", "UInt8": "u1", "UInt32": "u4"}


@reader("a surface (PLY, STL, OBJ, VTP)")
def read(path: Path) -> tuple[Surface, str]:
    """Reads a surface, and says in words which axes it was in.

    Normals that are missing follow from the faces; they are then on the side from which the faces look
    counter-clockwise.

    Raises:
        BadInputError: No such file, not one of these formats, or damaged.
    """
    path = require_file(Path(path), "a surface (PLY, STL, OBJ, VTP)")
    match path.suffix.lower():
        case ".ply":
            surface = ply.read(path)
        case ".stl" | ".obj":
            surface = _by_trimesh(path)
        case ".vtp":
            surface = _vtp(path)
        case ending:
            raise BadInputError(f"{path}: ending '{ending}'", f"one of {', '.join(ENDINGS)}", "export it as PLY")
    if surface.normals is None and surface.faces is not None and len(surface.faces):
        surface = replace(surface, normals=vertex_normals(surface.points, surface.faces))
    if _says_ras(path):
        flip = surface.points.new_tensor([-1.0, -1.0, 1.0])
        normals = None if surface.normals is None else surface.normals * flip
        return replace(surface, points=surface.points * flip, normals=normals), "RAS in the file, turned to LPS"
    return surface, "LPS"


def _says_ras(path: Path) -> bool:
    """Whether the head of the file names RAS as its space."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    return re.search(rb"SPACE\s*=\s*\"?(RAS|right.anterior.superior)", head, re.IGNORECASE) is not None


def _by_trimesh(path: Path) -> Surface:
    import trimesh

    try:
        mesh = trimesh.load_mesh(path, process=True)  # merges the corners that an STL file repeats
        points, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    except Exception as error:  # whatever a parser meets in a damaged file
        raise BadInputError(f"{path} cannot be read ({error})", "an STL or OBJ mesh", "export it again") from error
    if not len(faces):
        raise BadInputError(f"{path} has no faces", "a triangle mesh", "export it again")
    return Surface(torch.from_numpy(points), None, None, torch.from_numpy(faces), "mm")


def _vtp(path: Path) -> Surface:
    """Polygons of a VTK XML file: text, inline or appended base64 or raw data, zlib-compressed or not."""
    try:
        data = path.read_bytes()
        head, appended = data, b""
        if (start := data.find(b"<AppendedData")) >= 0:
            raw = data.index(b"_", start) + 1
            appended = data[raw : data.rindex(b"</AppendedData>")]
            encoding = b"base64" if b'encoding="base64"' in data[start:raw] else b"raw"
            head = data[:start] + b"</VTKFile>"
        else:
            encoding = b""
        root = xml.fromstring(head)
        piece = root.find("./PolyData/Piece")
        if piece is None:
            raise ValueError("no PolyData")
        reader = _Arrays(root.attrib, appended, encoding)
        points = reader.values(piece.find("./Points/DataArray")).reshape(-1, 3).astype(np.float64)
        polygons = {a.attrib["Name"]: reader.values(a) for a in piece.findall("./Polys/DataArray")}
        corners, ends = polygons["connectivity"].astype(np.int64), polygons["offsets"].astype(np.int64)
        fans = [
            [corners[a], corners[i], corners[i + 1]]
            for a, b in zip(np.concatenate([[0], ends[:-1]]), ends, strict=True)
            for i in range(a + 1, b - 1)
        ]
        faces = np.array(fans, np.int64).reshape(-1, 3)
        return Surface(torch.from_numpy(points), None, None, torch.from_numpy(faces), "mm")
    except (ValueError, KeyError, IndexError, AttributeError, struct.error, zlib.error, xml.ParseError) as error:
        raise BadInputError(f"{path} cannot be read ({error})", "a VTP file of polygons", "export it as PLY") from error


class _Arrays:
    """Reads the data arrays of a VTK XML file."""

    def __init__(self, attributes: dict[str, str], appended: bytes, encoding: bytes) -> None:
        self.order = ">" if attributes.get("byte_order") == "BigEndian" else "<"
        self.header = np.dtype(
            self.order + VTK_TYPES[attributes.get("header_type", "UInt32").replace("UInt64", "Int64")]
        )
        self.compressed = "compressor" in attributes
        self.appended, self.encoding = appended, encoding

    def values(self, array: xml.Element | None) -> np.ndarray:
        """The numbers of one array."""
        if array is None:
            raise ValueError("an array is missing")
        kind = np.dtype(self.order + VTK_TYPES[array.attrib["type"]])
        match array.attrib.get("format", "ascii"):
            case "ascii":
                return np.array((array.text or "").split(), kind.newbyteorder("="))
            case "binary":
                return np.frombuffer(self._blocks("".join((array.text or "").split()).encode(), True), kind)
            case _:
                tail = self.appended[int(array.attrib["offset"]) :]
                return np.frombuffer(self._blocks(tail, self.encoding == b"base64"), kind)

    def _blocks(self, data: bytes, encoded: bool) -> bytes:
        size = self.header.itemsize

        def taken(start: int, count: int) -> tuple[bytes, int]:
            if not encoded:
                return data[start : start + count], start + count
            length = 4 * -(-count // 3)
            return base64.b64decode(data[start : start + length])[:count], start + length

        if not self.compressed:
            first, _ = taken(0, size)
            count = int(np.frombuffer(first, self.header)[0])
            return taken(0, size + count)[0][size:]
        first, _ = taken(0, size)
        blocks = int(np.frombuffer(first, self.header)[0])
        head, place = taken(0, size * (3 + blocks))
        lengths = np.frombuffer(head, self.header)[3:].astype(int)
        body, _ = taken(place, int(lengths.sum()))
        ends = np.cumsum(lengths)
        return b"".join(zlib.decompress(body[b - n : b]) for b, n in zip(ends, lengths, strict=True))
