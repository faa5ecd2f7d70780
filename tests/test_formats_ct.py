"""CT volumes of other people's machines: each voxel lies where the slices say, or the series is refused by name."""

import gzip
import logging
import os
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from pydicom import dcmread
from pydicom.uid import RLELossless, generate_uid

from depthscope.errors import BadInputError
from depthscope.formats.ct import CT, extracted_surface, read_ct
from depthscope.formats.ct.slices import files_under
from scans import BALLS, CENTRE, Scan, hounsfield_at, turned, write_enhanced


def misplaced_mm(ct: CT) -> float:
    """How far the balls of air lie from where they are, by the surface that is had from them; the worst of them."""
    depth, rows, columns = np.meshgrid(*[np.arange(n) for n in ct.hounsfield.shape], indexing="ij")
    voxels = torch.from_numpy(np.stack([columns, rows, depth], -1).reshape(-1, 3).astype(np.float64))
    places = ct.placed(voxels).numpy()
    air = ((ct.hounsfield.reshape(-1) - 40.0) / -1040.0).clip(0, 1)
    worst = 0.0
    for *centre, radius in BALLS:
        near = np.linalg.norm(places - CENTRE - centre, axis=1) < radius + 2
        weight = air[near] * (air[near] > 0.2)
        worst = max(
            worst, float(np.linalg.norm((places[near] * weight[:, None]).sum(0) / weight.sum() - CENTRE - centre))
        )
        # The volume of air is that of the ball: nothing is stretched.
        size = np.prod(ct.voxel_mm) * (air[near] > 0.5).sum()
        assert (size / (4 / 3 * np.pi * radius**3)) ** (1 / 3) == pytest.approx(1, abs=0.05)
    return worst


def worst_error_hu(ct: CT, inside_mm: float = 15.0) -> float:
    """The 99th percentile of what voxels differ from the closed form by, about the middle."""
    depth, rows, columns = np.meshgrid(*[np.arange(n) for n in ct.hounsfield.shape], indexing="ij")
    voxels = torch.from_numpy(np.stack([columns, rows, depth], -1).reshape(-1, 3).astype(np.float64))
    places = ct.placed(voxels).numpy()
    near = np.linalg.norm(places - CENTRE, axis=1) < inside_mm
    return float(np.quantile(np.abs(ct.hounsfield.reshape(-1)[near] - hounsfield_at(places[near])), 0.99))


def test_a_plain_series_is_read_bit_for_bit(tmp_path):
    scan = Scan()
    scan.write(tmp_path)
    ct = read_ct(tmp_path)
    assert ct.notes == () and np.array_equal(ct.hounsfield, np.stack([scan.image(d) for d in scan.depths]))
    np.testing.assert_allclose(ct.origin_mm, scan.origin(scan.depths[0]), atol=1e-4)
    np.testing.assert_allclose(ct.voxel_mm, (0.9, 1.0, 1.5), atol=1e-6)
    assert misplaced_mm(ct) < 0.05


@pytest.mark.parametrize(("angle", "about"), [(12.0, "z"), (25.0, "x"), (-20.0, "y"), (100.0, "x")])
def test_oblique_and_coronal_series_keep_their_place(tmp_path, angle, about):
    Scan(axes=turned(angle, about)).write(tmp_path)
    ct = read_ct(tmp_path)
    assert ct.notes == () and worst_error_hu(ct) < 2


@pytest.mark.parametrize("tagged", [True, False])
def test_a_tilted_gantry_is_straightened(tmp_path, tagged):
    """Slices are tilted by 18 degrees and follow each other along the table, not along their normal."""
    axes = turned(18.0)
    normal = np.cross(*axes)

    def slide(depth: float) -> tuple[float, float]:
        table = np.array([0, 0, depth / normal[2]])  # where the table has moved, as seen in the slice
        across = (table - depth * normal) @ axes.T
        return float(across[0]), float(across[1])

    tags = {"GantryDetectorTilt": 18.0} if tagged else {}
    Scan(axes=axes, shift=slide, size=(70, 48)).write(tmp_path, **tags)
    ct = read_ct(tmp_path)
    assert misplaced_mm(ct) < 0.1 and worst_error_hu(ct) < 60
    assert any("18.0 degrees" in note and ("gantry tilt" in note) == tagged for note in ct.notes)


def test_an_origin_that_drifts_is_sheared_back(tmp_path):
    Scan(shift=lambda depth: (0.1 * depth, -0.07 * depth)).write(tmp_path)
    ct = read_ct(tmp_path)
    assert misplaced_mm(ct) < 0.1 and worst_error_hu(ct) < 90
    assert any("degrees" in note and "straightened" in note for note in ct.notes)


def test_slices_beside_each_other_are_put_where_they_lie(tmp_path):
    jitter = np.random.default_rng(3).uniform(-2, 2, (100, 2))
    Scan(shift=lambda depth: tuple(jitter[round(depth * 2) + 50])).write(tmp_path)
    ct = read_ct(tmp_path)
    assert misplaced_mm(ct) < 0.1 and any("where it says it lies" in note for note in ct.notes)


def test_a_tilt_that_only_the_tag_knows_is_told(tmp_path):
    Scan().write(tmp_path, GantryDetectorTilt=15.0)
    assert any("15 degrees" in note for note in read_ct(tmp_path).notes)


@pytest.mark.parametrize("row", [1, 14, 28])
def test_one_missing_slice_is_filled_and_told(tmp_path, row):
    paths = Scan().write(tmp_path)
    paths[row].unlink()
    ct = read_ct(tmp_path)
    assert ct.hounsfield.shape[0] == 30 and ct.voxel_mm[2] == pytest.approx(1.5)
    assert misplaced_mm(ct) < 0.15
    assert any(paths[row - 1].name in note and "missing" in note for note in ct.notes)


def test_a_slice_missing_at_an_end_only_shortens(tmp_path):
    paths = Scan().write(tmp_path)
    paths[0].unlink()
    ct = read_ct(tmp_path)
    assert ct.hounsfield.shape[0] == 29 and misplaced_mm(ct) < 0.05


@pytest.mark.parametrize("rows", [(5, 17), (9, 10, 11), (3, 8, 15, 20, 21)])
def test_many_missing_slices_are_refused_by_name(tmp_path, rows):
    paths = Scan().write(tmp_path)
    for row in rows:
        paths[row].unlink()
    with pytest.raises(BadInputError, match=f"{len(rows)} slices are missing.*{paths[rows[0] - 1].name}"):
        read_ct(tmp_path)


def test_uneven_slices_lie_where_they_say(tmp_path):
    random = np.random.default_rng(0)
    Scan(depths=np.sort(np.arange(-22.0, 23.0, 1.5) + random.uniform(-0.5, 0.5, 30))).write(tmp_path / "jitter")
    ct = read_ct(tmp_path / "jitter")
    assert misplaced_mm(ct) < 0.15 and any("resampled evenly" in note for note in ct.notes)
    Scan(depths=np.concatenate([np.arange(-22.0, 0, 1.0), np.arange(0, 22.0, 2.0)])).write(tmp_path / "blocks")
    ct = read_ct(tmp_path / "blocks")
    assert misplaced_mm(ct) < 0.2 and ct.voxel_mm[2] == pytest.approx(1.0)
    assert any("1.00 to 2.00 mm apart" in note for note in ct.notes)


def test_rounded_positions_are_even(tmp_path):
    Scan(depths=np.round(np.arange(60) * 0.625, 2) - 18).write(tmp_path)
    ct = read_ct(tmp_path)
    assert ct.notes == () and ct.voxel_mm[2] == pytest.approx(0.625, abs=2e-4)


def test_copies_are_left_out_and_clashes_refused(tmp_path):
    paths = Scan().write(tmp_path)
    (tmp_path / "again").mkdir()
    for path in paths:
        (tmp_path / "again" / path.name).write_bytes(path.read_bytes())
    ct = read_ct(tmp_path)
    assert ct.hounsfield.shape[0] == 30 and any("copies" in note for note in ct.notes)
    one = dcmread(paths[7])
    one.PixelData = dcmread(paths[20]).PixelData
    one.save_as(tmp_path / "again" / paths[7].name)
    with pytest.raises(BadInputError, match="1 places hold different slices.*0008.dcm"):
        read_ct(tmp_path)


def test_a_slice_at_the_place_of_another_is_refused(tmp_path):
    def moved(number, one):
        if number == 12:
            one.ImagePositionPatient = [*one.ImagePositionPatient[:2], float(one.ImagePositionPatient[2]) - 1.5]

    Scan(change=moved).write(tmp_path)
    with pytest.raises(BadInputError, match="0011.dcm and 0012.dcm"):
        read_ct(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "cut in the header", "garbage", "noise", "blank", "repeated", "swapped out"])
def test_a_damaged_slice_is_filled_in_and_several_are_refused(tmp_path, damage):
    def spoil(paths: list[Path], row: int) -> None:
        path, random = paths[row], np.random.default_rng(row)
        data, one = path.read_bytes(), dcmread(path)
        match damage:
            case "cut":
                path.write_bytes(data[: len(data) - 900])
            case "cut in the header":
                path.write_bytes(data[:200])
            case "garbage":
                path.write_bytes(random.bytes(len(data)))
            case "noise":
                one.PixelData = random.integers(0, 3000, (44, 48), np.uint16).tobytes()
                one.save_as(path)
            case "blank":
                one.PixelData = bytes(len(one.PixelData))
                one.save_as(path)
            case "repeated":
                one.PixelData = dcmread(paths[row - 1]).PixelData
                one.save_as(path)
            case _:
                one.PixelData = random.permutation(np.frombuffer(one.PixelData, np.uint16)).tobytes()
                one.save_as(path)

    paths = Scan(noise=15.0).write(tmp_path)
    spoil(paths, 10)
    ct = read_ct(tmp_path)
    assert ct.hounsfield.shape[0] == 30 and misplaced_mm(ct) < 0.2
    assert any(paths[10].name in note and "left out" in note for note in ct.notes)
    assert any("missing" in note for note in ct.notes)
    for row in (6, 18, 22):
        spoil(paths, row)
    with pytest.raises(BadInputError, match=r"0011\.dcm|0007\.dcm"):
        read_ct(tmp_path)


def test_quiet_phantoms_may_repeat_their_slices(tmp_path):
    """Without noise the same image may come twice: a block with a bore along it."""
    paths = Scan().write(tmp_path)
    for path in paths:
        one = dcmread(path)
        one.PixelData = dcmread(paths[8]).PixelData
        one.save_as(path)
    assert read_ct(tmp_path).notes == ()


def test_scouts_are_left_out(tmp_path):
    paths = Scan().write(tmp_path)
    for name, kind in (("a.dcm", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), ("b.dcm", ["DERIVED", "SECONDARY"])):
        scout = dcmread(paths[4])
        scout.ImageType, scout.ImageOrientationPatient = kind, [1, 0, 0, 0, 0, -1]
        scout.save_as(tmp_path / name)
    ct = read_ct(tmp_path)
    assert ct.hounsfield.shape[0] == 30 and misplaced_mm(ct) < 0.05
    assert any("a.dcm left out: localizer" in note for note in ct.notes)
    assert any("b.dcm left out" in note and "coronal" in note for note in ct.notes)


def test_one_series_uid_a_slice(tmp_path):
    Scan(change=lambda number, one: setattr(one, "SeriesInstanceUID", generate_uid())).write(tmp_path)
    assert misplaced_mm(read_ct(tmp_path)) < 0.05


def test_nested_folders_and_other_files(tmp_path):
    paths = Scan().write(tmp_path / "DICOM" / "S1")
    (tmp_path / "DICOM" / "S2").mkdir()
    for path in paths[15:]:
        path.rename(tmp_path / "DICOM" / "S2" / path.name)
    (tmp_path / "readme.txt").write_text("export of today")
    (tmp_path / "DICOM" / ".DS_Store").write_bytes(b"\0\1")
    report = dcmread(paths[0])
    del report.PixelData, report.Rows
    report.Modality, report.SeriesInstanceUID = "SR", generate_uid()
    report.save_as(tmp_path / "report.dcm")
    other = dcmread(paths[0])
    other.Modality, other.SeriesInstanceUID, other.SeriesDescription = "MR", generate_uid(), "T2"
    other.save_as(tmp_path / "mr.dcm")
    ct = read_ct(tmp_path)
    assert ct.hounsfield.shape[0] == 30 and misplaced_mm(ct) < 0.05
    assert any("'T2' MR" in note for note in ct.notes)


@pytest.mark.parametrize("whole", [True, False])
def test_enhanced_multiframe(tmp_path, whole):
    """Its frames are in no order of place, and its slice thickness is not their distance."""
    path = write_enhanced(Scan(), tmp_path / "series" / "ct.dcm")
    ct = read_ct(path if whole else tmp_path / "series")
    assert ct.notes == () and worst_error_hu(ct) < 2 and ct.voxel_mm[2] == pytest.approx(1.5)


def test_enhanced_multiframe_with_a_tilted_gantry(tmp_path):
    path = write_enhanced(Scan(shift=lambda depth: (0.0, 0.3 * depth)), tmp_path / "ct.dcm")
    ct = read_ct(path)
    assert misplaced_mm(ct) < 0.1 and any("straightened" in note for note in ct.notes)


def test_padding_below_air_is_air(tmp_path):
    scan = Scan()

    def padded(number, one):
        values = np.frombuffer(one.PixelData, np.uint16).reshape(44, 48).astype(np.int16) - 1024
        values[:, :6] = -3024
        values[0] = 32000
        one.PixelData, one.PixelRepresentation, one.RescaleIntercept = values.tobytes(), 1, 0
        one.PixelPaddingValue = 32000

    scan.change = padded
    scan.write(tmp_path)
    ct = read_ct(tmp_path)
    assert int(ct.hounsfield.min()) == -1024 and int(ct.hounsfield.max()) < 300 and worst_error_hu(ct) < 2


@pytest.mark.parametrize("signed", [True, False])
def test_no_rescale_tags(tmp_path, signed):
    def bare(number, one):
        del one.RescaleSlope, one.RescaleIntercept
        if signed:
            values = np.frombuffer(one.PixelData, np.uint16).astype(np.int16) - 1024
            one.PixelData, one.PixelRepresentation = values.tobytes(), 1

    Scan(change=bare).write(tmp_path)
    ct = read_ct(tmp_path)
    assert worst_error_hu(ct) < 2 and any("no rescale" in note for note in ct.notes)


def test_values_that_are_no_ct_without_rescale_are_refused(tmp_path):
    def bare(number, one):
        del one.RescaleSlope, one.RescaleIntercept
        one.PixelData = (np.frombuffer(one.PixelData, np.uint16) // 3).tobytes()

    Scan(change=bare).write(tmp_path)
    with pytest.raises(BadInputError, match="no rescale slope"):
        read_ct(tmp_path)


def test_packed_pixels_are_unpacked(tmp_path):
    scan = Scan()
    for path in scan.write(tmp_path / "rle"):
        one = dcmread(path)
        one.compress(RLELossless)
        one.save_as(path)
    assert worst_error_hu(read_ct(tmp_path / "rle")) < 2


def test_compressed_slices_are_unpacked_by_itk(tmp_path):
    """All in one go; where one of them is damaged, that one is filled in."""
    for path in Scan(depths=np.arange(-9.0, 9.0, 1.5)).write(tmp_path):
        image, writer = SimpleITK.ReadImage(str(path), SimpleITK.sitkInt16), SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetUseCompression(True)
        writer.SetCompressor("JPEG2000")
        writer.SetFileName(str(path))
        writer.Execute(image)
    assert dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    ct = read_ct(tmp_path)
    assert worst_error_hu(ct, 7.0) < 2 and ct.notes == ()
    damaged = tmp_path / "0006.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-600])
    ct = read_ct(tmp_path)
    assert ct.hounsfield.shape[0] == 12 and any("0006.dcm left out" in note for note in ct.notes)


def test_slices_without_a_place_are_refused(tmp_path):
    def homeless(number, one):
        del one.ImagePositionPatient

    Scan(change=homeless).write(tmp_path)
    with pytest.raises(BadInputError, match=r"30 of 30 slices do not say where they lie"):
        read_ct(tmp_path)
    only = Scan().write(tmp_path / "one")[0]
    with pytest.raises(BadInputError, match="one slice.*folder"):
        read_ct(only)


def nifti(path: Path, affine: np.ndarray, unit: str | None = "mm", shape: tuple[int, ...] = (48, 44, 40)) -> Path:
    """The body sampled at the voxels of a NIfTI file; its affine is RAS, in the file's unit."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    factor = {"mm": 1.0, "meter": 1e3, "micron": 1e-3, None: 1.0}[unit]
    ras = (index @ affine[:3, :3].T + affine[:3, 3]) * factor
    values = np.rint(hounsfield_at(ras * [-1, -1, 1])).astype(np.int16)
    image = nibabel.Nifti1Image(values, affine)
    if unit is not None:
        image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def ras_affine(shear: float = 0.0) -> np.ndarray:
    linear = np.array([[-0.9, 0, 0], [0, -1.0, shear], [0, 0, 1.1]])
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = CENTRE * [-1, -1, 1] - linear @ (np.array([48, 44, 40]) - 1) / 2
    return affine


@pytest.mark.parametrize("unit", ["mm", "meter", "micron", None])
def test_nifti_in_its_own_unit(tmp_path, unit):
    affine = ras_affine()
    affine[:3] *= {"meter": 1e-3, "micron": 1e3}.get(unit, 1.0)
    ct = read_ct(nifti(tmp_path / "ct.nii.gz", affine, unit))
    assert worst_error_hu(ct) < 2
    assert bool(ct.notes) == (unit in ("meter", "micron"))
    np.testing.assert_allclose(ct.voxel_mm, (0.9, 1.0, 1.1), rtol=1e-4)


def test_nifti_of_an_impossible_size_is_asked_about(tmp_path):
    affine = ras_affine()
    affine[:3] *= 1e-3
    path = nifti(tmp_path / "ct.nii", affine, "meter")
    data = bytearray(path.read_bytes())
    data[123] = 0  # it no longer says that it is in metres
    path.write_bytes(bytes(data))
    with pytest.raises(BadInputError, match=r"0\.044 mm long.*metres"):
        read_ct(path)


@pytest.mark.parametrize("shear", [0.3, -0.5])
def test_a_sheared_affine_is_resampled(tmp_path, shear):
    ct = read_ct(nifti(tmp_path / "ct.nii.gz", ras_affine(shear)))
    turn = np.array(ct.direction).reshape(3, 3)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    assert misplaced_mm(ct) < 0.1 and worst_error_hu(ct, 12.0) < 60
    assert any("sheared" in note for note in ct.notes)


def test_an_affine_that_is_no_scanners_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="axes at"):
        read_ct(nifti(tmp_path / "ct.nii", ras_affine(2.0)))


def itk_image() -> SimpleITK.Image:
    index = np.stack(np.meshgrid(np.arange(40), np.arange(44), np.arange(48), indexing="ij"), -1)[..., ::-1]
    spacing = np.array([0.9, 1.0, 1.1])
    origin = CENTRE - spacing * (np.array([48, 44, 40]) - 1) / 2
    image = SimpleITK.GetImageFromArray(np.rint(hounsfield_at(origin + index * spacing)).astype(np.int16))
    image.SetOrigin(origin.tolist())
    image.SetSpacing(spacing.tolist())
    return image


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1.0), ("m", 1e-3), ("um", 1e3), ("cm", 0.1)])
def test_nrrd_in_its_own_unit(tmp_path, unit, factor):
    image = itk_image()
    image.SetOrigin([v * factor for v in image.GetOrigin()])
    image.SetSpacing([v * factor for v in image.GetSpacing()])
    SimpleITK.WriteImage(image, str(tmp_path / "ct.nrrd"))
    data = (tmp_path / "ct.nrrd").read_bytes()
    line = f'space units: "{unit}" "{unit}" "{unit}"\n'.encode()
    head, body = data.split(b"\n\n", 1)
    (tmp_path / "ct.nrrd").write_bytes(head + b"\n" + line + b"\n" + body)
    ct = read_ct(tmp_path / "ct.nrrd")
    assert worst_error_hu(ct) < 2 and bool(ct.notes) == (unit != "mm")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.dcm"])
@pytest.mark.parametrize("share", [0.3, 0.55, 0.97])
def test_files_cut_short_are_refused(tmp_path, name, share, capfd):
    path = tmp_path / name
    if name == "a.dcm":
        write_enhanced(Scan(), path)
    else:
        SimpleITK.WriteImage(itk_image(), str(path))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(BadInputError, match=path.name):
        read_ct(path)
    assert capfd.readouterr() == ("", "")


def test_a_damaged_gzip_is_refused(tmp_path):
    path = nifti(tmp_path / "ct.nii.gz", ras_affine())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(BadInputError, match=r"ct\.nii\.gz"):
        read_ct(path)
    path.write_bytes(gzip.compress(b"nothing of the kind" * 40))
    with pytest.raises(BadInputError, match=r"ct\.nii\.gz"):
        read_ct(path)


def test_nothing_raw_reaches_the_terminal(tmp_path, capfd):
    """Odd values in the headers, which make pydicom, nibabel and ITK warn."""

    def odd(number, one):
        one.add_new(0x00280030, "LO", "1.0\\0.9")
        one.add_new(0x00100030, "DA", "yesterday")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Scan(change=odd).write(tmp_path / "dicom")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert misplaced_mm(read_ct(tmp_path / "dicom")) < 0.1
        path = nifti(tmp_path / "ct.nii", ras_affine())
        data = bytearray(path.read_bytes())
        data[76:80] = np.array([0.3], "<f4").tobytes()  # a handedness that is none
        path.write_bytes(bytes(data))
        assert worst_error_hu(read_ct(path)) < 2
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("pydicom").level <= logging.WARNING


def test_the_surface_of_a_mended_series_is_in_place(tmp_path):
    paths = Scan(shift=lambda depth: (0.0, 0.25 * depth), size=(60, 48)).write(tmp_path)
    paths[11].unlink()
    surface = extracted_surface(read_ct(tmp_path))
    local = surface.points.numpy() - CENTRE
    *centre, radius = BALLS[0]  # the largest
    error = np.abs(np.linalg.norm(local - centre, axis=1) - radius)
    assert float(np.quantile(error, 0.95)) < 0.35


def test_a_pipe_among_the_slices_is_named_instead_of_waited_for(tmp_path):
    (tmp_path / "0001.dcm").write_bytes(b"")
    os.mkfifo(tmp_path / "0002.dcm")
    with pytest.raises(BadInputError, match="0002.dcm is no file"):
        files_under(tmp_path)
