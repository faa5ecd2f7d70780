"""The CT of a phantom: its files as other readers see them, and the surface that is had from it again."""

import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
import trimesh

from depthscope.errors import BadInputError
from depthscope.formats.ct import CT, extracted_surface, read_ct, write_dicom_series, write_nifti
from depthscope.simulation.anatomy import patient
from depthscope.simulation.ct import Scanner, scanned

SCANNER = Scanner(voxel_mm=(0.7, 0.7, 0.8))


@pytest.fixture(scope="module")
def nose():
    return patient(4, "nasal", spacing_mm=1.0)


@pytest.fixture(scope="module")
def ct(nose) -> CT:
    return scanned(nose, SCANNER)


def sphere(radius: float = 8.0) -> CT:
    """Air in a ball about (10, -20, 30) mm, with partial volume by the distance."""
    voxel, origin = (0.5, 0.6, 0.7), (-2.0, -33.0, 17.0)
    x, y, z = (o + v * np.arange(n) for o, v, n in zip(origin, voxel, (48, 44, 38), strict=True))
    distance = np.sqrt((x - 10) ** 2 + (y[:, None] + 20) ** 2 + (z[:, None, None] - 30) ** 2) - radius
    return CT(np.clip(-480 + 300 * distance, -1000, 40).astype(np.int16), origin, voxel)


def test_surface_of_a_ball_is_in_its_place_and_faces_inward():
    surface = extracted_surface(sphere(), air_below=-480.0)
    from_centre = surface.points - torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
    torch.testing.assert_close(from_centre.norm(dim=-1), torch.full_like(from_centre[:, 0], 8.0), atol=0.02, rtol=0)
    assert float((surface.normals * from_centre).sum(-1).max()) < 0  # into the air
    assert float((surface.face_normals * surface.normals[surface.faces[:, 0]]).sum(-1).min()) > 0
    mesh = trimesh.Trimesh(surface.points.numpy(), surface.faces.numpy(), process=False)
    assert mesh.is_watertight


def test_extracted_surface_is_within_three_tenths_of_a_mm(nose, ct):
    surface = extracted_surface(ct)
    error = nose.distance_mm(surface.points).abs()
    assert float(error.quantile(0.95)) < 0.3
    assert float((surface.normals * nose.normals(surface.points)).sum(-1).mean()) > 0.95
    extent = surface.points.amax(0) - surface.points.amin(0)
    torch.testing.assert_close(extent, nose.size_mm, atol=0.8, rtol=0)  # nothing is missing


def test_air_mucosa_and_bone_have_their_values(nose, ct):
    z, y, x = ct.hounsfield.shape
    grid = [o + v * np.arange(n) for o, v, n in zip(ct.origin_mm, ct.voxel_mm, (x, y, z), strict=True)]
    points = torch.from_numpy(np.stack(np.meshgrid(*grid, indexing="ij"), -1))
    field = nose.field(points.reshape(-1, 3)).reshape(x, y, z).numpy().transpose(2, 1, 0)
    assert np.median(ct.hounsfield[field < -2]) == pytest.approx(-1000, abs=30)
    assert np.median(ct.hounsfield[(field > 4)]) > 650
    assert ct.hounsfield[field < -2].std() == pytest.approx(35, rel=0.4)  # clipped at -1024


def test_same_seed_same_scan_and_noise_by_scanner_seed(nose):
    first, again, other = (scanned(nose, Scanner(voxel_mm=(1.4, 1.4, 1.5), seed=s)).hounsfield for s in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_nifti_is_read_back_where_it_was(ct, tmp_path):
    write_nifti(ct, tmp_path / "ct.nii.gz")
    back = read_ct(tmp_path / "ct.nii.gz")
    assert np.array_equal(back.hounsfield, ct.hounsfield)
    np.testing.assert_allclose(back.origin_mm, ct.origin_mm, atol=1e-4)
    np.testing.assert_allclose(back.voxel_mm, ct.voxel_mm, atol=1e-6)


def test_dicom_series_is_read_back_where_it_was(tmp_path):
    ct = sphere()
    write_dicom_series(ct, tmp_path / "dicom")
    back = read_ct(tmp_path / "dicom")
    assert np.array_equal(back.hounsfield, ct.hounsfield)
    np.testing.assert_allclose(back.origin_mm, ct.origin_mm, atol=1e-4)
    np.testing.assert_allclose(back.voxel_mm, ct.voxel_mm, atol=1e-5)


def test_dicom_slices_are_those_of_a_ct(tmp_path):
    ct = sphere()
    write_dicom_series(ct, tmp_path)
    slices = [pydicom.dcmread(path) for path in sorted(tmp_path.glob("*.dcm"))]
    assert len(slices) == len(ct.hounsfield)
    first, third = slices[0], slices[2]
    assert first.SOPClassUID == pydicom.uid.CTImageStorage
    assert first.Modality == "CT" and first.PatientID == "phantom" and "PHANTOM" in str(first.PatientName)
    assert len({s.SeriesInstanceUID for s in slices}) == 1 and len({s.SOPInstanceUID for s in slices}) == len(slices)
    np.testing.assert_allclose(third.ImagePositionPatient, [-2.0, -33.0, 17.0 + 2 * 0.7], atol=1e-4)
    np.testing.assert_allclose(first.ImageOrientationPatient, [1, 0, 0, 0, 1, 0])
    np.testing.assert_allclose(first.PixelSpacing, [0.6, 0.5])  # between rows, between columns
    units = third.pixel_array * float(third.RescaleSlope) + float(third.RescaleIntercept)
    assert np.array_equal(units, ct.hounsfield[2])


def test_other_axis_orders_are_turned_to_lps(tmp_path):
    ct = sphere()
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(ct.image, "RAS"), str(tmp_path / "ras.nii.gz"))
    back = read_ct(tmp_path / "ras.nii.gz")
    assert np.array_equal(back.hounsfield, ct.hounsfield)
    np.testing.assert_allclose(back.origin_mm, ct.origin_mm, atol=1e-4)


def test_what_is_no_ct_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="missing"):
        read_ct(tmp_path / "none.nii.gz")
    with pytest.raises(BadInputError, match="0 DICOM series"):
        read_ct(tmp_path)
    with pytest.raises(BadInputError, match="air and tissue"):
        extracted_surface(CT(np.zeros((4, 4, 4), np.int16), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    for options in ({"voxel_mm": (0.1, 0.5, 0.5)}, {"noise_hu": 900.0}, {"blur_voxels": -1.0}, {"seed": -1}):
        with pytest.raises(BadInputError):
            Scanner(**options)


def test_walls_lie_where_the_anatomy_has_them(nose, ct):
    """A threshold off half-way thickens or thins all walls alike, and the scale of a registration with them."""
    points = extracted_surface(ct).points[::5].double()
    distance = nose.distance_mm(points)
    near = distance.abs() < 0.6
    assert float(near.double().mean()) > 0.98
    assert abs(float(distance[near].mean())) < 0.015
