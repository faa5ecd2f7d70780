"""Surfaces, CT regions and transforms as other programs write them."""

import base64
import json
import zlib

import numpy as np
import pytest
import SimpleITK
import torch
import trimesh

from depthscope.errors import BadInputError
from depthscope.formats import ply, surfaces, transforms
from depthscope.formats.ct import CT, Region, extracted_surface, read_ct, write_dicom_series, write_nifti
from depthscope.geometry import Surface
from noses import similarity


@pytest.fixture
def ball() -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=20.0)
    mesh.apply_translation([5.0, -7.0, 30.0])
    return mesh


@pytest.mark.parametrize("ending", ["stl", "obj", "ply"])
def test_meshes_of_other_programs_keep_their_place(ball, tmp_path, ending):
    ball.export(tmp_path / f"ball.{ending}")
    surface, axes = surfaces.read(tmp_path / f"ball.{ending}")
    assert axes == "LPS" and len(surface.points) == len(ball.vertices)
    torch.testing.assert_close(
        surface.points.double().mean(0), torch.tensor([5.0, -7.0, 30.0]).double(), atol=1e-3, rtol=0
    )
    assert surface.normals is not None
    outwards = (surface.normals * (surface.points - surface.points.mean(0))).sum(-1)
    assert float(outwards.min()) > 0


def test_files_that_say_ras_are_turned(ball, tmp_path):
    points = torch.from_numpy(np.array(ball.vertices))
    mesh = Surface(
        points, torch.from_numpy(np.array(ball.vertex_normals)), None, torch.from_numpy(np.array(ball.faces))
    )
    ply.write(mesh, tmp_path / "ras.ply", comments=("SPACE=RAS",))
    surface, axes = surfaces.read(tmp_path / "ras.ply")
    assert "RAS" in axes
    torch.testing.assert_close(
        surface.points.double().mean(0), torch.tensor([-5.0, 7.0, 30.0]).double(), atol=1e-3, rtol=0
    )
    assert surface.normals is not None
    assert float((surface.normals * (surface.points - surface.points.mean(0))).sum(-1).min()) > 0
    written = bytearray(ball.export(file_type="stl"))
    written[:9] = b"SPACE=RAS"
    (tmp_path / "ras.stl").write_bytes(bytes(written))
    assert "RAS" in surfaces.read(tmp_path / "ras.stl")[1]


@pytest.mark.parametrize("form", ["ascii", "binary", "compressed", "appended"])
def test_vtk_polygons_in_all_encodings(ball, tmp_path, form):
    arrays = [
        ("Points", "Points", "Float32", 3, np.asarray(ball.vertices, "<f4")),
        ("Polys", "connectivity", "Int64", 1, np.asarray(ball.faces, "<i8").ravel()),
        ("Polys", "offsets", "Int64", 1, 3 * np.arange(1, len(ball.faces) + 1, dtype="<i8")),
    ]
    bodies, tail = {"Points": "", "Polys": ""}, b""
    for parent, name, kind, width, values in arrays:
        data, told = values.tobytes(), "binary"
        head = np.array([len(data)], "<u4").tobytes()
        offset = ""
        match form:
            case "ascii":
                text, told = " ".join(map(str, values.ravel().tolist())), "ascii"
            case "binary":
                text = base64.b64encode(head + data).decode()
            case "compressed":
                packed = zlib.compress(data)
                head = np.array([1, len(data), 0, len(packed)], "<u4").tobytes()
                text = (base64.b64encode(head) + base64.b64encode(packed)).decode()
            case _:
                text, told, offset = "", "appended", f' offset="{len(tail)}"'
                tail += head + data
        array = f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{width}" format="{told}"{offset}>'
        bodies[parent] += f"{array}{text}</DataArray>"
    compressor = ' compressor="vtkZLibDataCompressor"' if form == "compressed" else ""
    text = (
        f'<VTKFile type="PolyData" byte_order="LittleEndian" header_type="UInt32"{compressor}><PolyData><Piece>'
        f"<Points>{bodies['Points']}</Points><Polys>{bodies['Polys']}</Polys></Piece></PolyData>"
    ).encode()
    if form == "appended":
        text += b'<AppendedData encoding="raw">_' + tail + b"</AppendedData>"
    (tmp_path / "ball.vtp").write_bytes(text + b"</VTKFile>")
    surface, _ = surfaces.read(tmp_path / "ball.vtp")
    np.testing.assert_allclose(surface.points.numpy(), ball.vertices, atol=1e-4)
    assert surface.faces is not None and np.array_equal(surface.faces.numpy(), ball.faces)


def test_damaged_surfaces_are_refused(tmp_path):
    for name in ("bad.vtp", "bad.stl", "bad.xyz"):
        (tmp_path / name).write_text("nothing of the kind")
        with pytest.raises(BadInputError):
            surfaces.read(tmp_path / name)
    with pytest.raises(BadInputError, match="missing"):
        surfaces.read(tmp_path / "none.ply")


@pytest.mark.parametrize("name", ["a.txt", "a.json", "a.yaml", "a.tfm"])
def test_transforms_come_back(tmp_path, name):
    one = similarity(np.random.default_rng(0), 3.7)
    path = tmp_path / name
    match path.suffix:
        case ".txt":
            transforms.write_text(one, path)
        case ".tfm":
            transforms.write_itk(one, path)
        case _:
            path.write_text(json.dumps({"target_from_source": one.matrix.tolist()}))
    torch.testing.assert_close(transforms.read(path).matrix, one.matrix, atol=1e-6, rtol=1e-6)


def test_itk_maps_the_target_to_the_source(tmp_path):
    one = similarity(np.random.default_rng(1), 2.0)
    transforms.write_itk(one, tmp_path / "a.tfm")
    itk = SimpleITK.ReadTransform(str(tmp_path / "a.tfm"))
    point = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    np.testing.assert_allclose(itk.TransformPoint(one.apply(point).tolist()), point.numpy(), atol=1e-6)


def test_what_is_no_similarity_is_refused(tmp_path):
    for matrix in (np.diag([-1.0, 1, 1, 1]), np.diag([1.0, 1, 3, 1]), np.zeros((4, 4)), np.eye(3)):
        (tmp_path / "a.txt").write_text(" ".join(map(str, matrix.ravel())))
        with pytest.raises(BadInputError):
            transforms.read(tmp_path / "a.txt")


def head_in_a_room() -> CT:
    """A ball of tissue in air, with a round cavity that a channel of 6 mm leads into from the front."""
    z, y, x = np.meshgrid(*[np.arange(60) - 29.5] * 3, indexing="ij")
    air = np.sqrt(x**2 + y**2 + z**2) > 26
    air |= np.sqrt(x**2 + y**2 + z**2) < 10
    air |= (np.hypot(x, z) < 3) & (y < 0)
    return CT(np.where(air, -1000, 40).astype(np.int16), (-29.5, -29.5, -29.5), (1.0, 1.0, 1.0))


def test_air_around_the_body_is_left_out():
    surface = extracted_surface(head_in_a_room())
    assert float(surface.points.norm(dim=-1).max()) < 28  # not the sides of the volume
    inner = surface.points.norm(dim=-1) < 11
    assert float(inner.double().mean()) > 0.4
    whole = extracted_surface(head_in_a_room(), region=Region(inside_body=False))
    assert float(whole.points.norm(dim=-1).max()) > 40


def test_a_seed_chooses_the_air():
    z, y, x = np.meshgrid(np.arange(20), np.arange(20), np.arange(40), indexing="ij")
    near, far = (np.sqrt((x - c) ** 2 + (y - 10) ** 2 + (z - 10) ** 2) for c in (10, 30))
    ct = CT(np.where((near < 7) | (far < 5), -1000, 40).astype(np.int16), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert float(extracted_surface(ct).points[:, 0].mean()) == pytest.approx(10, abs=0.2)
    chosen = extracted_surface(ct, region=Region(seed_mm=(30.0, 10.0, 10.0)))
    assert float(chosen.points[:, 0].mean()) == pytest.approx(30, abs=0.2)
    for seed, told in (((20.0, 10.0, 10.0), "in tissue"), ((200.0, 10.0, 10.0), "outside")):
        with pytest.raises(BadInputError, match=told):
            extracted_surface(ct, region=Region(seed_mm=seed))


def test_an_oblique_volume_keeps_its_place(tmp_path):
    ct = head_in_a_room()
    angle = np.radians(12.0)
    turn = (np.cos(angle), -np.sin(angle), 0.0, np.sin(angle), np.cos(angle), 0.0, 0.0, 0.0, 1.0)
    oblique = CT(ct.hounsfield, ct.origin_mm, ct.voxel_mm, direction=turn)
    write_nifti(oblique, tmp_path / "oblique.nii.gz")
    back = read_ct(tmp_path / "oblique.nii.gz")
    region = Region(inside_body=False)
    straight, turned = extracted_surface(ct, region=region).points, extracted_surface(back, region=region).points
    origin = torch.tensor(ct.origin_mm, dtype=torch.float64)
    matrix = torch.tensor(turn, dtype=torch.float64).reshape(3, 3)
    torch.testing.assert_close(turned, (straight - origin) @ matrix.T + origin, atol=1e-3, rtol=0)


def test_series_and_modalities_are_told_apart(tmp_path):
    small = CT(head_in_a_room().hounsfield[:4], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    other = CT(small.hounsfield + np.int16(3), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    write_dicom_series(small, tmp_path / "both")
    write_dicom_series(other, tmp_path / "second")
    for path in (tmp_path / "second").glob("*.dcm"):
        path.rename(tmp_path / "both" / f"b{path.name}")
    with pytest.raises(BadInputError, match=r"2 DICOM series: 'simulated phantom' CT.*4 slices"):
        read_ct(tmp_path / "both")
    labels = SimpleITK.GetImageFromArray(np.zeros((4, 4, 4), np.int16))
    SimpleITK.WriteImage(labels, str(tmp_path / "labels.nrrd"))
    with pytest.raises(BadInputError, match="Hounsfield"):
        read_ct(tmp_path / "labels.nrrd")
    (tmp_path / "noise.nii.gz").write_bytes(b"nothing")
    with pytest.raises(BadInputError, match="cannot be read"):
        read_ct(tmp_path / "noise.nii.gz")
