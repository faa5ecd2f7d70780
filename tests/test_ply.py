"""PLY: surfaces written and read again, and files of other programs."""

import struct

import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.formats import ply
from depthscope.geometry import Surface


@pytest.fixture
def surface() -> Surface:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(20, 3, generator=generator)
    return Surface(
        points=points,
        normals=torch.nn.functional.normalize(points, dim=-1),
        colours=torch.randint(0, 256, (20, 3), generator=generator, dtype=torch.uint8),
        faces=torch.randint(0, 20, (30, 3), generator=generator),
        unit="mm",
        std=torch.rand(20, generator=generator),
    )


def assert_same(a: Surface, b: Surface) -> None:
    assert a.unit == b.unit
    for name in ("points", "normals", "colours", "faces", "std"):
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        assert one is None or torch.equal(one, other), name


@pytest.mark.parametrize("ascii", [False, True], ids=["binary", "ascii"])
def test_written_and_read_again(tmp_path, surface, ascii):
    path = ply.write(surface, tmp_path / "a.ply", ascii=ascii, comments=("frame world",))
    assert_same(surface, ply.read(path))
    assert "frame world" in ply.read_contents(path).comments


@pytest.mark.parametrize("ascii", [False, True], ids=["binary", "ascii"])
def test_only_points(tmp_path, surface, ascii):
    cloud = Surface(surface.points)
    assert_same(cloud, ply.read(ply.write(cloud, tmp_path / "a.ply", ascii=ascii)))


def binary(order: str, name: str, newline: str = "\n") -> bytes:
    """A square with doubles, an unknown property, a quad and a triangle, and an element to read over."""
    header = ["ply", f"format {name} 1.0", "element vertex 4", "property double x", "property double y"]
    header += ["property double z", "property short quality", "element face 2", "property uchar flags"]
    header += ["property list uint8 uint32 vertex_index", "element camera 1", "property float view", "end_header", ""]
    rows = [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    data = b"".join(struct.pack(f"{order}3dh", *row, 5) for row in rows)
    data += struct.pack(f"{order}BB4I", 9, 4, 0, 1, 2, 3) + struct.pack(f"{order}BB3I", 9, 3, 0, 2, 3)
    return newline.join(header).encode() + data + struct.pack(f"{order}f", 7)


@pytest.mark.parametrize(("order", "name"), [("<", "binary_little_endian"), (">", "binary_big_endian")])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_files_of_other_programs(tmp_path, order, name, newline):
    path = tmp_path / "a.ply"
    path.write_bytes(binary(order, name, newline))
    surface = ply.read(path)
    assert surface.points.dtype == torch.float64
    assert surface.points.tolist() == [[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
    assert surface.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 2, 3]]
    assert ply.read_contents(path).columns["camera"]["view"].tolist() == [7]


ASCII = """ply
format ascii 1.0
obj_info by hand
element vertex 3
property float x
property float y
property float z
property float red
property float green
property float blue
element face 1
property list uchar int vertex_indices
end_header
0, 0, 0.1 1 0 0.5
nan 0 0 0 0 0
1 0 0 0 0 0
3 0 1 2
"""


def test_commas_float_colours_and_vertices_that_are_not_finite(tmp_path):
    (tmp_path / "a.ply").write_text(ASCII)
    surface = ply.read(tmp_path / "a.ply")
    torch.testing.assert_close(surface.points, torch.tensor([[0, 0, 0.1], [1, 0, 0]]))
    assert surface.colours.tolist() == [[255, 0, 128], [0, 0, 0]]
    assert surface.faces.tolist() == []


def test_ascii_keeps_its_digits(tmp_path):
    (tmp_path / "a.ply").write_text(ASCII.replace("0.1 1", "0.12345678901234567 1"))
    contents = ply.read_contents(tmp_path / "a.ply")
    assert ply.coordinates(contents, tmp_path / "a.ply")[0, 2] == 0.12345678901234567


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"solid", "does not begin with 'ply'"),
        (b"ply\nformat ascii 1.0\n", "has no end_header"),
        (b"ply\nformat ascii 2\nwhat\nend_header\n", "header line 'what'|header line 'format ascii 2'"),
        (b"ply\nformat odd 1.0\nend_header\n", "format 'odd'"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "no vertices with x, y and z"),
        (ASCII.encode()[:-30], "ends before"),
        (binary("<", "binary_little_endian")[:-20], "ends before"),
        (binary("<", "binary_little_endian")[:-120], "ends before"),
    ],
)
def test_broken_files(tmp_path, content, message):
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(BadInputError, match=message):
        ply.read(tmp_path / "a.ply")


def test_a_missing_file(tmp_path):
    with pytest.raises(BadInputError, match="is missing"):
        ply.read(tmp_path / "a.ply")
