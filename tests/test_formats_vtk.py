"""Surfaces as VTK and 3D Slicer write them: every encoding, the space they name, and the unit that nobody names."""

import base64
import lzma
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.formats import ply, surfaces
from depthscope.geometry import Surface

POINTS = np.array([[0, 0, 0], [80, 0, 0], [80, 90, 0], [0, 90, 0], [40, 45, 70]], np.float64) + [5, -7, 30]
QUAD, SIDES = [0, 3, 2, 1], [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
FACES = [[0, 3, 2], [0, 2, 1], *SIDES]
RAS = POINTS * [-1, -1, 1]


def same(surface: Surface, points: np.ndarray = POINTS) -> bool:
    assert surface.faces is not None and surface.unit == "mm"
    found = {tuple(np.roll(face, -int(np.argmin(face)))) for face in surface.faces.tolist()}
    return np.allclose(surface.points, points, atol=1e-4) and found == {
        tuple(np.roll(face, -int(np.argmin(face)))) for face in FACES
    }


def xml_file(form: str, space: str | None, order: str = "<", pieces: int = 1) -> bytes:
    """A pyramid as vtkXMLPolyDataWriter has it, its space as a string array in the field data."""
    tail = b""
    wide = "Q" if form == "wide" else "I"
    unpacked = {"zlib": zlib.compress, "lzma": lzma.compress}.get(form.removeprefix("appended "))

    def head(*numbers: int) -> bytes:
        return struct.pack(f"{order}{len(numbers)}{wide}", *numbers)

    def array(name: str, kind: str, values: np.ndarray, string: bool = False) -> str:
        nonlocal tail
        data, tag = values.astype(values.dtype.newbyteorder(order)).tobytes(), "Array" if string else "DataArray"
        width = ' NumberOfTuples="1"' if string else f' NumberOfComponents="{3 if kind == "Float32" else 1}"'
        told, offset, text = "binary", "", ""
        if form == "ascii":
            told, text = "ascii", " ".join(map(str, values.ravel().tolist()))
        elif unpacked is not None:
            half = len(data) // 2
            blocks = [unpacked(data[:half]), unpacked(data[half:])]
            front, body = head(2, half, len(data) - half, *map(len, blocks)), b"".join(blocks)
            text = (base64.b64encode(front) + base64.b64encode(body)).decode()
            if form.startswith("appended"):
                told, offset, packed, text = "appended", f' offset="{len(tail)}"', text.encode(), ""
                tail += packed
        elif form.startswith("appended"):
            raw = head(len(data)) + data
            told, offset = "appended", f' offset="{len(tail)}"'
            tail += base64.b64encode(raw) if form == "appended base64" else raw
        else:
            text = base64.b64encode(head(len(data)) + data).decode()
        return f'<{tag} type="{kind}" Name="{name}"{width} format="{told}"{offset}>{text}</{tag}>'

    field = ""
    if space is not None:
        letters = np.frombuffer(space.encode() + b"\0", np.uint8)
        field = f"<FieldData>{array('SPACE', 'String', letters, string=True)}</FieldData>"
    one = "<Piece>" + f"<Points>{array('Points', 'Float32', POINTS.astype('f4').ravel())}</Points>"
    corners, ends = [*QUAD, *np.ravel(SIDES).tolist()], [4, 7, 10, 13, 16]
    one += (
        f"<Polys>{array('connectivity', 'Int64', np.array(corners))}{array('offsets', 'Int64', np.array(ends))}</Polys>"
    )
    one += "</Piece>"
    packer = {"zlib": "vtkZLibDataCompressor", "lzma": "vtkLZMADataCompressor"}.get(form.removeprefix("appended "))
    text = (
        f'<?xml version="1.0"?><VTKFile type="PolyData" byte_order="{"Little" if order == "<" else "Big"}Endian" '
        f'header_type="UInt{64 if wide == "Q" else 32}"{f" compressor={chr(34)}{packer}{chr(34)}" if packer else ""}>'
        f"<PolyData>{field}{one * pieces}</PolyData>"
    ).encode()
    if form.startswith("appended"):
        encoding = "raw" if form == "appended raw" else "base64"
        text += f'<AppendedData encoding="{encoding}">\n   _'.encode() + tail + b"\n  </AppendedData>"
    return text + b"</VTKFile>"


FORMS = ["ascii", "binary", "wide", "zlib", "lzma", "appended raw", "appended base64", "appended zlib"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("space", ["RAS", "LPS", "right-anterior-superior"])
def test_vtp_says_its_space_in_a_string_array(tmp_path, form, space):
    (tmp_path / "a.vtp").write_bytes(xml_file(form, space, order=">" if form == "binary" else "<"))
    surface, axes = surfaces.read(tmp_path / "a.vtp")
    ras = space != "LPS"
    assert same(surface, RAS if ras else POINTS) and ("RAS" in axes) == ras


def test_all_pieces_of_a_vtp_are_read(tmp_path):
    (tmp_path / "a.vtp").write_bytes(xml_file("binary", None, pieces=3))
    surface, _ = surfaces.read(tmp_path / "a.vtp")
    assert surface.faces is not None and len(surface.points) == 15 and len(surface.faces) == 18
    assert int(surface.faces.max()) == 14


def test_what_cannot_be_unpacked_is_named(tmp_path):
    data = xml_file("zlib", None).replace(b"vtkZLibDataCompressor", b"vtkLZ4DataCompressor")
    (tmp_path / "a.vtp").write_bytes(data)
    with pytest.raises(BadInputError, match="LZ4.*without compression"):
        surfaces.read(tmp_path / "a.vtp")
    (tmp_path / "b.vtp").write_bytes(xml_file("ascii", "LAS"))
    with pytest.raises(BadInputError, match="space 'LAS'"):
        surfaces.read(tmp_path / "b.vtp")


def legacy_file(
    binary: bool, version: str, title: str = "vtk output", space: str | None = None, strip: bool = False
) -> bytes:
    """The same pyramid as vtkPolyDataWriter has it, with other sections before and after its polygons."""
    out = [f"# vtk DataFile Version {version}\n{title}\n{'BINARY' if binary else 'ASCII'}\nDATASET POLYDATA\n".encode()]

    def numbers(values: np.ndarray, kind: str) -> bytes:
        if binary:
            return np.asarray(values).astype(f">{kind}").tobytes() + b"\n"
        return (" ".join(map(str, np.ravel(values).tolist())) + " \n").encode()

    if space is not None:
        text = bytes([0xC0 | len(space)]) + space.encode() if binary else space.encode()
        out += [b"FIELD FieldData 2\nweights 1 2 double\n", numbers(np.array([0.5, 0.25]), "f8")]
        out += [b"SPACE 1 1 string\n", text + b"\n", b"METADATA\nINFORMATION 0\n\n"]
    out += [b"POINTS 5 float\n", numbers(POINTS, "f4"), b"METADATA\nINFORMATION 0\n\n"]
    if strip:
        out += [b"TRIANGLE_STRIPS 3 14\n", numbers(np.array([4, 0, 3, 1, 2, 4, 0, 1, 4, 2, 3, 2, 3, 4]), "i4")]
        return b"".join(out)
    cells = [QUAD, *SIDES]
    if version.startswith("5"):
        offsets, flat = np.cumsum([0, *map(len, cells)]), np.concatenate(cells)
        out += [b"POLYGONS 6 16\nOFFSETS vtktypeint64\n", numbers(offsets, "i8")]
        out += [b"CONNECTIVITY vtktypeint64\n", numbers(flat, "i8")]
    else:
        flat = np.concatenate([[len(cell), *cell] for cell in cells])
        out += [f"POLYGONS 5 {len(flat)}\n".encode(), numbers(flat, "i4")]
    out += [b"\nPOINT_DATA 5\nSCALARS heat float 1\nLOOKUP_TABLE default\n", numbers(np.arange(5), "f4")]
    return b"".join(out)


@pytest.mark.parametrize("binary", [False, True], ids=["ascii", "binary"])
@pytest.mark.parametrize("version", ["3.0", "4.2", "5.1"])
@pytest.mark.parametrize(
    ("title", "space"), [("vtk output", None), ("3D Slicer output. SPACE=RAS", None), ("-", "RAS")]
)
def test_legacy_vtk(tmp_path, binary, version, title, space):
    (tmp_path / "a.vtk").write_bytes(legacy_file(binary, version, title, space))
    surface, axes = surfaces.read(tmp_path / "a.vtk")
    ras = "RAS" in title or space == "RAS"
    assert same(surface, RAS if ras else POINTS) and ("RAS" in axes) == ras
    inside = torch.tensor([40.0, 45.0, 20.0], dtype=torch.float64) + torch.tensor([5.0, -7.0, 30.0])
    assert ras or float(((surface.points - inside) * surface.normals).sum(-1).min()) > 0


@pytest.mark.parametrize("binary", [False, True], ids=["ascii", "binary"])
def test_legacy_triangle_strips(tmp_path, binary):
    (tmp_path / "a.vtk").write_bytes(legacy_file(binary, "4.2", strip=True))
    surface, _ = surfaces.read(tmp_path / "a.vtk")
    assert surface.faces is not None
    assert surface.faces.tolist()[:2] == [[0, 3, 1], [1, 3, 2]] and len(surface.faces) == 5


@pytest.mark.parametrize("binary", [False, True], ids=["ascii", "binary"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
def test_legacy_files_cut_short_are_refused(tmp_path, binary, share):
    data = legacy_file(binary, "4.2")
    whole = data.index(b"POINT_DATA")
    (tmp_path / "a.vtk").write_bytes(data[: int(share * whole)])
    with pytest.raises(BadInputError, match=r"a\.vtk"):
        found, _ = surfaces.read(tmp_path / "a.vtk")
        if found.faces is None:  # cut before its polygons, a text file is one of points
            raise BadInputError("a.vtk")


def test_other_kinds_of_vtk_are_named(tmp_path):
    data = legacy_file(False, "4.2").replace(b"POLYDATA", b"UNSTRUCTURED_GRID")
    (tmp_path / "a.vtk").write_bytes(data)
    with pytest.raises(BadInputError, match="holds UNSTRUCTURED_GRID"):
        surfaces.read(tmp_path / "a.vtk")


@pytest.mark.parametrize("wrong", [5, 1000, -1])
def test_faces_out_of_range_are_refused(tmp_path, wrong):
    ascii_ply = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    ascii_ply += (
        f"element face 1\nproperty list uchar int vertex_index\nend_header\n0 0 0\n1 0 0\nnan 1 0\n3 0 1 {wrong}\n"
    )
    (tmp_path / "a.ply").write_text(ascii_ply)
    (tmp_path / "a.vtk").write_bytes(legacy_file(False, "4.2").replace(b" 3 0 4 ", f" 3 {wrong} 4 ".encode()))
    (tmp_path / "a.vtp").write_bytes(xml_file("ascii", None).replace(b" 3 0 4<", f" 3 {wrong} 4<".encode()))
    (tmp_path / "a.obj").write_text(f"v 0 0 0\nv 90 0 0\nv 0 90 0\nf 1 2 3\nf 1 2 {wrong + 1 if wrong > 0 else 99}\n")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(BadInputError, match=path.name):
            surfaces.read(path)


@pytest.mark.parametrize("place", ["first", "last", "far"])
@pytest.mark.parametrize(
    "word", ["comment SPACE=RAS", "obj_info SPACE = RAS", "comment Space: right-anterior-superior"]
)
def test_comments_of_a_ply_stand_anywhere_in_its_head(tmp_path, place, word):
    surface = Surface(torch.from_numpy(POINTS), None, None, torch.tensor(FACES), "mm")
    data = ply.write(surface, tmp_path / "a.ply").read_bytes()
    padding = b"comment " + b"x" * 70 + b"\n"
    before = {
        "first": b"element vertex",
        "last": b"end_header",
        "far": b"end_header",
    }[place]
    added = (padding * 200 if place == "far" else b"") + word.encode() + b"\n"
    (tmp_path / "a.ply").write_bytes(data.replace(before, added + before, 1))
    found, axes = surfaces.read(tmp_path / "a.ply")
    assert same(found, RAS) and "RAS" in axes


def test_what_is_no_comment_says_no_space(tmp_path):
    """The letters among a file's numbers mean nothing."""
    surface = Surface(torch.from_numpy(POINTS), None, None, torch.tensor(FACES), "mm")
    path = ply.write(surface, tmp_path / "a.ply")
    path.write_bytes(path.read_bytes() + b"SPACE=RAS")
    assert surfaces.read(path)[1] == "LPS"


def stl(path: Path, factor: float) -> Path:
    import trimesh

    trimesh.Trimesh(POINTS * factor, FACES, process=False).export(path)
    return path


@pytest.mark.parametrize(("unit", "factor"), [("m", 1e-3), ("cm", 0.1), ("mm", 1.0)])
def test_the_unit_is_what_the_caller_says(tmp_path, unit, factor):
    surface, _ = surfaces.read(stl(tmp_path / "a.stl", factor), unit)
    assert surface.unit == "mm"
    np.testing.assert_allclose(sorted(surface.points.tolist()), sorted(POINTS.tolist()), atol=1e-3)
    plain = Surface(torch.from_numpy(POINTS * factor), std=torch.full((5,), 0.5 * factor))
    ply.write(plain, tmp_path / "a.ply")
    surface, _ = surfaces.read(tmp_path / "a.ply", unit)
    assert surface.unit == "mm" and surface.std is not None and float(surface.std[0]) == pytest.approx(0.5)
    np.testing.assert_allclose(surface.points, POINTS, atol=1e-3)


@pytest.mark.parametrize(("told", "factor"), [("m", 1e-3), ("cm", 0.1), ("mm", 1.0), ("meters", 1e-3)])
def test_a_unit_that_the_file_says_is_heeded(tmp_path, told, factor):
    ply.write(Surface(torch.from_numpy(POINTS * factor), unit="m"), tmp_path / "a.ply")
    header = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(header.replace(b"comment unit m\n", f"comment unit {told}\n".encode(), 1))
    surface, _ = surfaces.read(tmp_path / "a.ply")
    assert surface.unit == "mm"
    np.testing.assert_allclose(surface.points, POINTS, atol=1e-3)
    surfaces.check_size(surface, tmp_path / "a.ply", None)
    ply.write(Surface(torch.from_numpy(POINTS)), tmp_path / "b.ply")
    assert surfaces.read(tmp_path / "b.ply")[0].unit == "sfm"


@pytest.mark.parametrize(
    ("factor", "guess"),
    [(1e-3, "in m it would be 90 mm"), (0.1, "in cm it would be 90 mm"), (1e3, "say its unit"), (0.45, "say its unit")],
)
def test_an_unlikely_size_is_asked_about(tmp_path, factor, guess):
    """A nose of 90 mm in metres, in centimetres, in micrometres, and one that is 40 mm long."""
    path = stl(tmp_path / "a.stl", factor)
    surface, _ = surfaces.read(path)
    with pytest.raises(BadInputError, match=guess) as error:
        surfaces.check_size(surface, path, None)
    assert "--unit mm, cm or m" in str(error.value)
    if factor == 0.45:
        surfaces.check_size(surfaces.read(path, "mm")[0], path, "mm")  # who says so is believed


@pytest.mark.parametrize("length_mm", [80.0, 110.0, 250.0, 600.0, 900.0])
def test_noses_colons_and_heads_are_not_asked_about(tmp_path, length_mm):
    path = stl(tmp_path / "a.stl", length_mm / 90)
    surfaces.check_size(surfaces.read(path)[0], path, None)


def test_evaluate_compares_surfaces_in_the_units_that_are_said(tmp_path, capsys):
    from depthscope.cli import main

    metres, truth = stl(tmp_path / "metres.stl", 1e-3), tmp_path / "truth.ply"
    ply.write(Surface(torch.from_numpy(POINTS), None, None, torch.tensor(FACES)), truth)
    asked = ["evaluate", str(metres), str(truth), "--out", str(tmp_path / "out")]
    for flags, told in (
        ([], "--unit mm, cm or m"),
        (["--unit", "m"], "--truth-unit"),
        (["--unit", "cm", "--truth-unit", "mm"], "0.9 mm long"),
    ):
        assert main([*asked, *flags]) == 2
        assert told in capsys.readouterr().err
    assert main([*asked, "--unit", "m", "--truth-unit", "mm"]) == 0
    plain = stl(tmp_path / "plain.stl", 1.0)
    assert main(["evaluate", str(plain), str(truth), "--out", str(tmp_path / "b")]) == 2
    assert "truth.ply does not say its unit" in capsys.readouterr().err
    assert main(["evaluate", str(plain), str(truth), "--out", str(tmp_path / "b"), "--unit", "mm"]) == 0
