"""CT volumes: files that ITK reads and writes, and the surface between air and tissue.

Places are in LPS mm, as DICOM and ITK have them (x to the patient's left, y to the back, z to the head). NIfTI stores
RAS; ITK converts.
"""

import errno
import hashlib
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Surface
from depthscope.geometry.surface import largest_piece, vertex_normals

MUCOSA = 40.0
"""Hounsfield units of soft tissue."""

AIR_BELOW = -475.0
"""Half-way from air (-1000 HU) to soft tissue (40 to 60): there a blurred wall is neither thickened nor thinned."""

COARSE_VOXEL_MM = 1.5
"""Voxels larger than this show a nose's thin sheets badly."""


@dataclass(frozen=True, eq=False)
class CT:
    """A volume of Hounsfield units, its axes in the order that is nearest to LPS.

    Attributes:
        hounsfield: int16, shape (slices, rows, columns), that is along z, y and x.
        origin_mm: Centre of the first voxel, (x, y, z) in LPS.
        voxel_mm: Size of a voxel along x, y and z.
        name: Of the patient.
        direction: Directions of the voxels' axes in LPS, as the columns of a 3x3 matrix that is written in rows; a
            scanner or cone-beam device may stand obliquely.
    """

    hounsfield: NDArray[np.int16]
    origin_mm: tuple[float, float, float]
    voxel_mm: tuple[float, float, float]
    name: str = "phantom"
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if self.hounsfield.ndim != 3 or min(self.hounsfield.shape) < 2:
            raise BadInputError(f"a CT of shape {self.hounsfield.shape}", "at least 2 voxels along three axes")
        if not all(size > 0 for size in self.voxel_mm):
            raise BadInputError(f"voxels of {self.voxel_mm} mm", "positive sizes")

    def placed(self, columns: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """LPS mm of points in voxels along (x, y, z), where the first voxel's centre is (0, 0, 0)."""
        turn = torch.tensor(self.direction, dtype=torch.float64).reshape(3, 3)
        sizes = torch.tensor(self.voxel_mm, dtype=torch.float64)
        return (columns * sizes) @ turn.T + torch.tensor(self.origin_mm, dtype=torch.float64)

    def columns(self, point_mm: tuple[float, float, float]) -> tuple[int, int, int]:
        """The voxel (z, y, x) that a point in LPS mm lies in; it may be outside."""
        turn = np.array(self.direction).reshape(3, 3)
        x, y, z = turn.T @ (np.array(point_mm) - np.array(self.origin_mm)) / np.array(self.voxel_mm)
        return round(float(z)), round(float(y)), round(float(x))

    @property
    def image(self) -> SimpleITK.Image:
        """As ITK has it."""
        image = SimpleITK.GetImageFromArray(self.hounsfield)
        image.SetOrigin(self.origin_mm)
        image.SetSpacing(self.voxel_mm)
        image.SetDirection(self.direction)
        return image


@dataclass(frozen=True)
class Region:
    """Which air a surface is taken of.

    Attributes:
        seed_mm: A point in the air, LPS mm: its air space is taken. None takes the largest one.
        inside_body: Leave out the air around the body, from which nostrils lead in. None decides by whether air fills
            most of the volume's sides.
        bridged_mm: Openings up to about this wide are closed off from the air around the body.
        smoothing_mm: Standard deviation of a blur before the surface is taken; 0 for none.
    """

    seed_mm: tuple[float, float, float] | None = None
    inside_body: bool | None = None
    bridged_mm: float = 20.0
    smoothing_mm: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.bridged_mm <= 100 and 0 <= self.smoothing_mm <= 3):
            raise BadInputError(f"{self}", "openings of up to 100 mm, and a blur of up to 3 mm")


def extracted_surface(ct: CT, air_below: float = AIR_BELOW, region: Region | None = None) -> Surface:
    """The surface of one air space, in mm in LPS, by threshold and marching cubes.

    Normals point into air; faces are counter-clockwise seen from the air.

    Args:
        ct: The volume.
        air_below: Hounsfield units below which a voxel is air.
        region: Which air; by default the largest space inside the body.

    Raises:
        BadInputError: There is no air, or nothing else, or none at the seed.
    """
    region = region or Region()
    volume = ct.hounsfield.astype(np.float32)
    if region.smoothing_mm:
        volume = ndimage.gaussian_filter(volume, [region.smoothing_mm / size for size in ct.voxel_mm[::-1]])
    air = volume < air_below
    if not air.any() or air.all():
        raise BadInputError(
            f"{ct.name}: {'only' if air.any() else 'no'} voxels below {air_below:g} HU",
            "air and tissue",
            "check that the volume is a CT in Hounsfield units",
        )
    around = _surrounded(air) if region.inside_body is None else region.inside_body
    wanted = air & _body(air, ct.voxel_mm, region.bridged_mm) if around else air
    label = np.empty(wanted.shape, np.int32)
    count = ndimage.label(wanted, output=label)
    if not count:
        raise BadInputError(
            f"{ct.name}: air around the body, and none within",
            "air spaces in the body",
            "check that the volume covers the nose or the colon",
        )
    chosen = np.bincount(label.ravel())[1:].argmax() + 1
    if region.seed_mm is not None:
        chosen = _at_seed(ct, label, region.seed_mm)
    # Other air becomes tissue; a frame of tissue closes the surface where the air leaves the volume.
    volume = np.where(air & (label != chosen), np.float32(MUCOSA), volume)
    volume = np.pad(volume, 1, constant_values=MUCOSA)
    # Between two whole numbers: a level that voxels take exactly would leave triangles without area.
    z_y_x, faces, _, _ = measure.marching_cubes(volume, math.ceil(air_below) - 0.5)
    points = ct.placed(torch.from_numpy(z_y_x[:, ::-1].astype(np.float64)) - 1)
    points, faces = largest_piece(points, torch.from_numpy(faces.astype(np.int64)))
    # Marching cubes turns its faces for (z, y, x); mirrored to (x, y, z) they are turned the other way.
    faces = faces if _volume_mm3(points, faces) < 0 else faces.flip(1)
    return Surface(points, vertex_normals(points, faces), None, faces, "mm")


def _surrounded(air: NDArray[np.bool_]) -> bool:
    """Whether most of the volume's sides (left, right, front, back) is air: a body in a room."""
    sides = [air[:, 0], air[:, -1], air[:, :, 0], air[:, :, -1]]
    return float(np.median([side.mean() for side in sides])) > 0.5


def _body(air: NDArray[np.bool_], voxel_mm: tuple[float, ...], bridged_mm: float) -> NDArray[np.bool_]:
    """The body with its cavities: tissue closed over openings on a lattice of about 2 mm, filled slice by slice."""
    steps = [max(1, round(2.0 / size)) for size in voxel_mm[::-1]]
    few = air[:: steps[0], :: steps[1], :: steps[2]]
    reach = bridged_mm / 2
    sizes = [size * step for size, step in zip(voxel_mm[::-1], steps, strict=True)]
    margin = [math.ceil(reach / size) + 1 for size in sizes]
    tissue = np.pad(~few, [(m, m) for m in margin])
    near = np.asarray(ndimage.distance_transform_edt(~tissue, sizes)) <= reach
    closed = np.asarray(ndimage.distance_transform_edt(near, sizes)) > reach
    label = np.empty(tissue.shape, np.int32)
    ndimage.label(closed | tissue, output=label)
    body = label == np.bincount(label.ravel())[1:].argmax() + 1
    body = np.stack([np.asarray(ndimage.binary_fill_holes(part)) for part in body])
    body = body[tuple(slice(m, -m) for m in margin)]
    full = body.repeat(steps[0], 0).repeat(steps[1], 1).repeat(steps[2], 2)
    return full[: air.shape[0], : air.shape[1], : air.shape[2]]


def _at_seed(ct: CT, label: NDArray[np.int32], seed_mm: tuple[float, float, float]) -> int:
    """The label of the air at a point."""
    place = ct.columns(seed_mm)
    inside = all(0 <= i < n for i, n in zip(place, label.shape, strict=True))
    if not inside or not label[place]:
        raise BadInputError(
            f"{ct.name}: the seed {seed_mm} mm lies {'in tissue' if inside else 'outside the volume'}",
            "a point in the air, LPS mm",
            "Slicer shows RAS: the signs of the first two numbers change",
        )
    return int(label[place])


def _volume_mm3(points: Float[Tensor, "points 3"], faces: Tensor) -> float:
    """Signed volume within a closed mesh; negative where faces look counter-clockwise from within."""
    a, b, c = (points - points.mean(0))[faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


@contextmanager
def _telling_why(path: Path) -> Iterator[None]:
    """Turns ITK's refusal to write, which says no reason, into an OSError that does."""
    try:
        yield
    except RuntimeError as error:
        full = shutil.disk_usage(path.parent).free < 1_000_000
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error


def write_nifti(ct: CT, path: Path) -> None:
    """Writes the volume as NIfTI (``.nii.gz``), in Hounsfield units."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _telling_why(path):
        SimpleITK.WriteImage(ct.image, str(path), useCompression=True)


def write_dicom_series(ct: CT, folder: Path) -> None:
    """Writes the volume as a DICOM CT series, one file a slice, from feet to head; dates and names are a phantom's."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    image, (x, y, z), (_, _, step) = ct.image, ct.origin_mm, ct.voxel_mm
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    digest = hashlib.sha256(ct.hounsfield.tobytes()).hexdigest()
    series = {
        "0008|0008": "DERIVED\\SECONDARY\\AXIAL",
        "0008|0016": "1.2.840.10008.5.1.4.1.1.2",  # CT image storage
        "0008|0020": "20000101",
        "0008|0030": "000000",
        "0008|0060": "CT",
        "0008|0070": "depthscope",
        "0008|103e": "simulated phantom",
        "0010|0010": f"PHANTOM^{ct.name.upper()}",
        "0010|0020": ct.name,
        "0012|0062": "YES",  # the identity of a patient is removed: there was none
        "0018|0050": f"{step:g}",
        "0018|5100": "HFS",
        "0020|000d": _uid(digest, "study"),
        "0020|000e": _uid(digest, "series"),
        "0020|0052": _uid(digest, "frame of reference"),
        "0020|0011": "1",
        "0020|0037": "1\\0\\0\\0\\1\\0",
        "0028|1050": "300",
        "0028|1051": "2000",
        "0028|1052": "0",
        "0028|1053": "1",
    }
    for i in range(image.GetDepth()):
        one = image[:, :, i]
        tags = series | {
            "0008|0018": _uid(digest, f"slice {i}"),
            "0020|0013": str(i + 1),
            "0020|0032": f"{x:.6g}\\{y:.6g}\\{z + i * step:.6g}",
        }
        for tag, value in tags.items():
            one.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{i + 1:04d}.dcm"))
        with _telling_why(folder):
            writer.Execute(one)


def read_ct(path: Path) -> CT:
    """The CT in a file that ITK reads (NIfTI, NRRD, MetaImage) or in a folder with one DICOM series.

    Raises:
        BadInputError: There is no such file, no series, several, another modality, or no image of three axes.
    """
    path = Path(path)
    if path.is_dir():
        image = _read_series(path)
    elif path.is_file():
        try:
            image = SimpleITK.ReadImage(str(path))
        except RuntimeError as error:
            raise BadInputError(
                f"{path} cannot be read as a volume", "NIfTI, NRRD, MetaImage or DICOM", "export the CT again"
            ) from error
    else:
        raise BadInputError(f"{path} is missing", "a CT file or a folder of DICOM slices", "check the path")
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1 or min(image.GetSize()) < 2:
        raise BadInputError(
            f"{path}: an image of size {image.GetSize()}", "one value at each voxel of three axes", "export the series"
        )
    # Whatever order and direction the axes are stored in: this only reorders and flips, it never resamples.
    image = SimpleITK.DICOMOrient(image, "LPS")
    array = SimpleITK.GetArrayFromImage(image)
    if float(array.min()) >= -200:
        raise BadInputError(
            f"{path}: values from {float(array.min()):g} to {float(array.max()):g}",
            "a CT in Hounsfield units, in which air is near -1000",
            "apply the rescale slope and intercept; an MR or a label map is no CT",
        )
    array = array.round().clip(-32768, 32767).astype(np.int16)
    x, y, z = image.GetOrigin()
    dx, dy, dz = image.GetSpacing()
    return CT(array, (x, y, z), (dx, dy, dz), path.name.split(".")[0], tuple(image.GetDirection()))


def _read_series(folder: Path) -> SimpleITK.Image:
    """The one CT series of a folder."""
    found = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    files = {name: SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), name) for name in found}
    if len(found) != 1:
        told = "; ".join(f"{_described(parts[0])} ({len(parts)} slices)" for parts in files.values())
        raise BadInputError(
            f"{folder}: {len(found)} DICOM series{': ' + told if told else ''}",
            "one CT series",
            "put each series in a folder of its own",
        )
    first = files[found[0]][0]
    modality = _tag(first, "0008|0060")
    if modality not in ("", "CT"):
        raise BadInputError(f"{folder}: modality {modality}", "CT", "choose the folder of the CT series")
    return SimpleITK.ReadImage(files[found[0]])


def _described(path: str) -> str:
    return f"'{_tag(path, '0008|103e')}' {_tag(path, '0008|0060')} number {_tag(path, '0020|0011')}"


def _tag(path: str, tag: str) -> str:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(path)
    reader.LoadPrivateTagsOn()
    reader.ReadImageInformation()
    return reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else ""


def _uid(digest: str, what: str) -> str:
    """A unique identifier as DICOM wants it, the same for the same volume."""
    number = int.from_bytes(hashlib.sha256(f"{digest} {what}".encode()).digest()[:15], "big")
    return f"2.25.{number}"
