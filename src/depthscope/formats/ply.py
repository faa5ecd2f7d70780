"""PLY files: surfaces and point clouds, read by the names of the properties.

Written as binary little endian with float32 coordinates; comments tell the unit. Elements and properties that a
surface has no place for (the ``camera`` element of the JHU files, confidences) are read over.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, get_args

import numpy as np
import torch

from depthscope.errors import BadInputError, require_file
from depthscope.geometry import Surface
from depthscope.geometry.units import LengthUnit
from depthscope.reading import reader

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
"""NumPy types of PLY's names."""

ENCODINGS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}

COLOUR_NAMES = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
FACE_NAMES = ("vertex_indices", "vertex_index")


@dataclass(frozen=True)
class Property:
    """One property of an element.

    Attributes:
        name: Its name.
        type: NumPy type of its values.
        count_type: NumPy type of the length of a list, or "" if it is no list.
    """

    name: str
    type: str
    count_type: str = ""


@dataclass(frozen=True)
class Element:
    """One element of the header: its name, how many rows it has, and their properties."""

    name: str
    count: int
    properties: tuple[Property, ...]


@dataclass(frozen=True, eq=False)
class Contents:
    """What a PLY file holds.

    Attributes:
        columns: Values of each property of each element. A list property gives an array of shape (rows, length) where
            all its lists are equally long, and a list of arrays otherwise. Coordinates of an ASCII file keep all the
            digits that are written, whatever type is declared.
        types: The declared NumPy type of each property of each element.
        comments: The comment lines.
    """

    columns: dict[str, dict[str, np.ndarray | list[np.ndarray]]]
    types: dict[str, dict[str, str]]
    comments: tuple[str, ...]


@reader("a PLY file")
def read(path: Path) -> Surface:
    """Reads a surface or point cloud.

    Vertices that are not finite are left out, with the faces that name them; polygons become triangles.

    Raises:
        BadInputError: The file is missing, cut short, not a PLY file, or has no x y z.
    """
    contents = read_contents(path)
    points = coordinates(contents, path)
    vertex, types = contents.columns["vertex"], contents.types["vertex"]
    points = points.astype(np.float64 if types["x"] == "f8" else np.float32)
    normals = _stacked(vertex, ("nx", "ny", "nz"))
    colours = next((found for names in COLOUR_NAMES if (found := _stacked(vertex, names)) is not None), None)
    if colours is not None and any(types.get(names[0], "").startswith("f") for names in COLOUR_NAMES):
        colours = np.rint(colours * 255)  # some programs write shares of 1
    std = _stacked(vertex, ("std",))
    faces = next(
        (t for n in FACE_NAMES if (t := _triangles(contents.columns.get("face", {}).get(n))) is not None), None
    )

    if faces is not None:
        check_faces(faces, len(points), path)
    finite = np.asarray(np.isfinite(points).all(1))
    if not finite.all():
        number = np.cumsum(finite) - 1
        faces = None if faces is None else number[faces[finite[faces].all(1)]]
        points = points[finite]
        normals = None if normals is None else normals[finite]
        colours = None if colours is None else colours[finite]
        std = None if std is None else std[finite]
    return Surface(
        torch.from_numpy(points),
        None if normals is None else torch.from_numpy(normals.astype(points.dtype)),
        None if colours is None else torch.from_numpy(np.clip(colours, 0, 255).astype(np.uint8)),
        None if faces is None else torch.from_numpy(faces.astype(np.int64)),
        std=None if std is None else torch.from_numpy(std[:, 0].astype(points.dtype)),
        unit=_unit_in(contents.comments),
    )


def _unit_in(comments: Iterable[str]) -> LengthUnit:
    """The unit that a comment names; "sfm" without such a comment, as in files of other programs."""
    named = next((c.split()[1] for c in comments if c.startswith("unit ") and len(c.split()) > 1), "sfm")
    return next((unit for unit in get_args(LengthUnit) if unit == named), "not told")


def write(surface: Surface, path: Path, *, ascii: bool = False, comments: tuple[str, ...] = ()) -> Path:
    """Writes a surface, binary little endian unless ASCII is asked for.

    Args:
        surface: The surface; its points are stored as float32.
        path: The file.
        ascii: Write text with 9 digits, which keeps every float32.
        comments: Further lines for the header: the frame of the points, where their scale comes from.
    """
    fields, columns = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")], [surface.points]
    if surface.normals is not None:
        fields += [("nx", "<f4"), ("ny", "<f4"), ("nz", "<f4")]
        columns.append(surface.normals)
    if surface.colours is not None:
        fields += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
        columns.append(surface.colours)
    if surface.std is not None:
        fields.append(("std", "<f4"))
        columns.append(surface.std[:, None])
    rows = np.empty(len(surface.points), dtype=fields)
    values = [column[:, i].detach().cpu().numpy() for column in columns for i in range(column.shape[1])]
    for (name, _), value in zip(fields, values, strict=True):
        rows[name] = value

    header = ["ply", f"format {'ascii' if ascii else 'binary_little_endian'} 1.0", "comment written by depthscope"]
    header += [f"comment unit {surface.unit}", *(f"comment {line}" for line in comments), f"element vertex {len(rows)}"]
    header += [f"property {'uchar' if kind == 'u1' else 'float'} {name}" for name, kind in fields]
    faces = None if surface.faces is None else surface.faces.cpu().numpy()
    if faces is not None:
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    header += ["end_header", ""]

    with Path(path).open("wb") as stream:
        stream.write("\n".join(header).encode())
        if ascii:
            lines = [" ".join(f"{value:.9g}" for value in row) for row in rows.tolist()]
            lines += [f"3 {a} {b} {c}" for a, b, c in ([] if faces is None else faces.tolist())]
            stream.write("".join(line + "\n" for line in lines).encode())
        else:
            stream.write(rows.tobytes())
            if faces is not None:
                triangles = np.empty(len(faces), dtype=[("count", "u1"), ("corners", "<i4", (3,))])
                triangles["count"], triangles["corners"] = 3, faces
                stream.write(triangles.tobytes())
    return Path(path)


def check_faces(faces: np.ndarray, count: int, path: Path) -> None:
    """Refuses faces that name vertices which do not exist.

    Raises:
        BadInputError: There are some; negative numbers are no vertices either.
    """
    wrong = ((faces < 0) | (faces >= count)).any(-1) if faces.size else np.zeros(0, bool)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise BadInputError(
            f"{path}: {int(wrong.sum())} of {len(faces)} faces name vertices that do not exist "
            f"(face {row}: {faces[row].tolist()})",
            f"numbers of its {count} vertices, from 0",
            "export it again",
        )


def coordinates(contents: Contents, path: Path) -> np.ndarray:
    """The places x y z of the vertices, shape (vertices, 3), float64.

    Raises:
        BadInputError: There are none.
    """
    points = _stacked(contents.columns.get("vertex", {}), ("x", "y", "z"))
    if points is None:
        raise BadInputError(f"{path} has no vertices with x, y and z", "a PLY file of points", "export it again")
    return points.astype(np.float64)


@reader("a PLY file")
def read_contents(path: Path) -> Contents:
    """Every element of a PLY file.

    Raises:
        BadInputError: The file is missing, cut short, or not a PLY file.
    """
    path = require_file(Path(path), "a PLY file")
    with path.open("rb") as stream:
        encoding, elements, comments = _read_header(stream, path)
        try:
            if encoding == "ascii":
                tokens = stream.read().replace(b",", b" ").split()
                columns = _read_ascii(elements, tokens)
            else:
                columns = _read_binary(elements, stream.read(), ENCODINGS[encoding])
        except (ValueError, IndexError) as error:
            raise BadInputError(
                f"{path} ends before its {', '.join(f'{e.count} {e.name}' for e in elements)}, or is damaged",
                "as many rows as its header names",
                "copy or export it again",
            ) from error
    types = {e.name: {p.name: p.type for p in e.properties} for e in elements}
    return Contents({e.name: c for e, c in zip(elements, columns, strict=True)}, types, comments)


def _read_header(stream: BinaryIO, path: Path) -> tuple[str, list[Element], tuple[str, ...]]:
    if stream.readline(8).strip() != b"ply":
        raise BadInputError(f"{path} does not begin with 'ply'", "a PLY file", "export it again")
    encoding, elements, comments = "", [], []
    while line := stream.readline():
        words = line.decode("utf-8", "replace").split()
        match words:
            case ["format", encoding, _]:
                pass
            case ["comment", *text]:
                comments.append(" ".join(text))
            case ["element", name, count] if count.isdigit():
                elements.append(Element(name, int(count), ()))
            case ["property", "list", count_type, type_, name] if elements and {count_type, type_} <= TYPES.keys():
                elements[-1] = _with(elements[-1], Property(name, TYPES[type_], TYPES[count_type]))
            case ["property", type_, name] if elements and type_ in TYPES:
                elements[-1] = _with(elements[-1], Property(name, TYPES[type_]))
            case ["end_header"]:
                break
            case [] | ["obj_info", *_]:
                pass
            case _:
                raise BadInputError(f"{path}: header line '{' '.join(words)[:60]}'", "a PLY header", "export it again")
    else:
        raise BadInputError(f"{path} has no end_header", "a PLY file", "copy or export it again")
    if encoding not in ENCODINGS:
        raise BadInputError(f"{path}: format '{encoding}'", f"one of {', '.join(ENCODINGS)}", "export it again")
    return encoding, elements, tuple(comments)


def _with(element: Element, added: Property) -> Element:
    return Element(element.name, element.count, (*element.properties, added))


def _read_ascii(elements: list[Element], tokens: list[bytes]) -> list[dict]:
    columns, place = [], 0
    for element in elements:
        if not any(p.count_type for p in element.properties):
            size = element.count * len(element.properties)
            if place + size > len(tokens):
                raise ValueError("too few numbers")
            table = np.array(tokens[place : place + size], dtype=np.float64).reshape(element.count, -1)
            place += size
            columns.append({p.name: table[:, i] for i, p in enumerate(element.properties)})
            continue
        rows: dict[str, list] = {p.name: [] for p in element.properties}
        for _ in range(element.count):
            for p in element.properties:
                count = int(tokens[place]) if p.count_type else 1
                place += bool(p.count_type)
                if place + count > len(tokens):
                    raise ValueError("too few numbers")
                rows[p.name].append(np.array(tokens[place : place + count], dtype=np.float64))
                place += count
        columns.append({p.name: _even(rows[p.name], bool(p.count_type)) for p in element.properties})
    return columns


def _read_binary(elements: list[Element], data: bytes, order: str) -> list[dict]:
    columns, place = [], 0
    for element in elements:
        lists = [p for p in element.properties if p.count_type]
        lengths = _first_lengths(element, data, place, order) if lists and element.count else {}
        row = np.dtype([field for p in element.properties for field in _fields(p, order, lengths.get(p.name, 0))])
        if place + element.count * row.itemsize <= len(data) or not lists:
            table = np.frombuffer(data, row, element.count, place)
            if all((table[f"#{p.name}"] == lengths.get(p.name, 0)).all() for p in lists):
                columns.append({p.name: table[p.name] for p in element.properties})
                place += element.count * row.itemsize
                continue
        read, place = _read_uneven(element, data, place, order)
        columns.append(read)
    return columns


def _fields(p: Property, order: str, length: int) -> list[tuple]:
    if not p.count_type:
        return [(p.name, order + p.type)]
    return [(f"#{p.name}", order + p.count_type), (p.name, order + p.type, (length,))]


def _first_lengths(element: Element, data: bytes, place: int, order: str) -> dict[str, int]:
    """How long the lists of the first row are: nearly always those of all rows."""
    first, _ = _read_uneven(Element(element.name, 1, element.properties), data, place, order)
    return {p.name: np.shape(first[p.name])[1] for p in element.properties if p.count_type}


def _read_uneven(element: Element, data: bytes, place: int, order: str) -> tuple[dict, int]:
    rows: dict[str, list] = {p.name: [] for p in element.properties}
    for _ in range(element.count):
        for p in element.properties:
            count = 1
            if p.count_type:
                count = int(np.frombuffer(data, order + p.count_type, 1, place)[0])
                place += np.dtype(p.count_type).itemsize
            rows[p.name].append(np.frombuffer(data, order + p.type, count, place))
            place += count * np.dtype(p.type).itemsize
    return {p.name: _even(rows[p.name], bool(p.count_type)) for p in element.properties}, place


def _even(rows: list[np.ndarray], is_list: bool) -> np.ndarray | list[np.ndarray]:
    """Rows of one length as an array, (rows, length) for lists and (rows,) otherwise."""
    if len({len(row) for row in rows}) > 1:
        return rows
    table = np.stack(rows) if rows else np.empty((0, 3))
    return table if is_list else table.reshape(-1)


def _stacked(columns: dict, names: tuple[str, ...]) -> np.ndarray | None:
    return np.stack([columns[name] for name in names], -1) if all(name in columns for name in names) else None


def _triangles(polygons: np.ndarray | list[np.ndarray] | None) -> np.ndarray | None:
    """Polygons as fans of triangles, shape (triangles, 3)."""
    if polygons is None:
        return None
    if isinstance(polygons, np.ndarray):
        polygons = polygons.astype(np.int64)
        if polygons.shape[1] == 3:
            return polygons
        corners = range(1, polygons.shape[1] - 1)
        fans = [polygons[:, [0, i, i + 1]] for i in corners]
        return np.stack(fans, 1).reshape(-1, 3) if fans else np.empty((0, 3), np.int64)
    fans = [[p[0], p[i], p[i + 1]] for p in polygons for i in range(1, len(p) - 1)]
    return np.array(fans, np.int64).reshape(-1, 3)
