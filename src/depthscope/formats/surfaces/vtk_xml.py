"""VTK's XML files of polygons (VTP): text, base64 or raw data, inline or appended, compressed or not."""

import base64
import lzma
import struct
import xml.etree.ElementTree as xml
import zlib
from pathlib import Path

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.formats import ply
from depthscope.formats.surfaces.polygons import fans, strips
from depthscope.geometry import Surface

VTK_TYPES = {
    "Float32": "f4", "Float64": "f8", "Int8": "i1", "UInt8": "u1", "Int16": "i2", "UInt16": "u2",
    "Int32": "i4", "UInt32": "u4", "Int64": "i8", "UInt64": "u8", "String": "u1",
}  # fmt: skip
"""NumPy types of VTK's names; strings are bytes that end with 0."""

COMPRESSORS = {"vtkZLibDataCompressor": zlib.decompress, "vtkLZMADataCompressor": lzma.decompress}


def read(path: Path) -> tuple[Surface, str | None]:
    """The polygons and strips of all pieces, and the space that the file's field data name, if any.

    Raises:
        BadInputError: The file is damaged, or packed in a way that is not read.
    """
    try:
        root, appended, encoding = _parsed(path.read_bytes())
        reader = _Arrays(root.attrib, appended, encoding)
        pieces = root.findall("./PolyData/Piece")
        if not pieces:
            raise ValueError("no PolyData")
        points, normals, faces, count = [], [], [], 0
        for piece in pieces:
            own = reader.values(piece.find("./Points/DataArray")).reshape(-1, 3).astype(np.float64)
            points.append(own)
            active = piece.find("./PointData")
            name = "Normals" if active is None else active.attrib.get("Normals", "Normals")
            array = piece.find(f"./PointData/DataArray[@Name='{name}']")
            normals.append(None if array is None else reader.values(array).reshape(-1, 3).astype(np.float64))
            for kind, triangles in (("Polys", fans), ("Strips", strips)):
                cells = {a.attrib["Name"]: reader.values(a) for a in piece.findall(f"./{kind}/DataArray")}
                if len(cells.get("offsets", ())):
                    own_faces = triangles(cells["connectivity"].astype(np.int64), cells["offsets"].astype(np.int64))
                    ply.check_faces(own_faces, len(own), path)
                    faces.append(own_faces + count)
            count += len(own)
        space = _space(root, reader)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadInputError(f"{path} cannot be read ({error})", "a VTP file of polygons", "export it as PLY") from error
    except (struct.error, zlib.error, lzma.LZMAError, xml.ParseError, OverflowError, MemoryError) as error:
        raise BadInputError(f"{path} cannot be read ({error})", "a VTP file of polygons", "export it as PLY") from error
    places = torch.from_numpy(np.concatenate(points))
    if not bool(places.isfinite().all()):
        raise BadInputError(f"{path} has points that are not finite", "finite coordinates", "export it again")
    triangles = torch.from_numpy(np.concatenate([*faces, np.empty((0, 3), np.int64)]))
    known = [one for one in normals if one is not None]
    # Normals that the file holds are of use where no faces give them.
    given = torch.from_numpy(np.concatenate(known)) if len(known) == len(pieces) and not len(triangles) else None
    given = given if given is not None and len(given) == len(places) else None
    return Surface(places, given, None, triangles if len(triangles) else None, "mm"), space


def _parsed(data: bytes) -> tuple[xml.Element, bytes, bytes]:
    """The XML without appended data, these, and how they are encoded."""
    start = data.find(b"<AppendedData")
    if start < 0:
        return xml.fromstring(data), b"", b""
    raw = data.index(b"_", start) + 1
    appended = data[raw : data.rindex(b"</AppendedData>")]
    encoding = b"base64" if b'encoding="base64"' in data[start:raw] else b"raw"
    return xml.fromstring(data[:start] + b"</VTKFile>"), appended, encoding


def _space(root: xml.Element, reader: "_Arrays") -> str | None:
    """The string that is called SPACE among the field data."""
    for array in root.iterfind("./PolyData/FieldData/*"):
        if array.attrib.get("Name", "").upper() == "SPACE":
            text = bytes(reader.values(array).astype(np.uint8).tobytes()).split(b"\0")[0]
            return text.decode("ascii", "replace").strip() or None
    return None


class _Arrays:
    """Reads the data arrays of a VTK XML file."""

    def __init__(self, attributes: dict[str, str], appended: bytes, encoding: bytes) -> None:
        self.order = ">" if attributes.get("byte_order") == "BigEndian" else "<"
        self.header = np.dtype(self.order + VTK_TYPES[attributes.get("header_type", "UInt32")])
        self.compressor = attributes.get("compressor", "")
        if self.compressor and self.compressor not in COMPRESSORS:
            raise ValueError(f"packed by {self.compressor}: save it with ZLib, or without compression")
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

        if not self.compressor:
            first, _ = taken(0, size)
            count = int(np.frombuffer(first, self.header)[0])
            return taken(0, size + count)[0][size:]
        first, _ = taken(0, size)
        blocks = int(np.frombuffer(first, self.header)[0])
        head, place = taken(0, size * (3 + blocks))
        lengths = np.frombuffer(head, self.header)[3:].astype(int)
        body, _ = taken(place, int(lengths.sum()))
        ends, unpack = np.cumsum(lengths), COMPRESSORS[self.compressor]
        return b"".join(unpack(body[b - n : b]) for b, n in zip(ends, lengths, strict=True))
