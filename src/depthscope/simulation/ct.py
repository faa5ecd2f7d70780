"""The CT of an anatomy, as files that any reader opens, and the surface that can be had from it again.

Voxels are aligned with the patient's axes, LPS in mm, as DICOM and ITK have them (NIfTI stores RAS; ITK converts).
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
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Surface
from depthscope.simulation.anatomy import Anatomy
from depthscope.simulation.anatomy.extraction import STEEPEST, largest_piece, sampled
from depthscope.simulation.anatomy.field import Ripples, in_blocks

AIR, FAT, MUCOSA, BONE = -1000.0, -90.0, 40.0, 800.0
"""Hounsfield units."""

AIR_BELOW = -400.0
"""What is taken for air."""

WALL_MM = 3.0
"""Thickness of the colon's wall, with fat around it."""


@dataclass(frozen=True)
class Scanner:
    """How the CT is taken.

    Attributes:
        voxel_mm: Size of a voxel along x, y and z, 0.3 to 1.5 mm.
        blur_voxels: Standard deviation of the blur.
        noise_hu: Standard deviation of the noise, which has the blur's correlation.
        seed: Of the noise.
    """

    voxel_mm: tuple[float, float, float] = (0.5, 0.5, 0.6)
    blur_voxels: float = 0.5
    noise_hu: float = 35.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not all(0.3 <= size <= 1.5 for size in self.voxel_mm):
            raise BadInputError(f"voxels of {self.voxel_mm} mm", "0.3 to 1.5 mm")
        if not 0 <= self.blur_voxels <= 3:
            raise BadInputError(f"a blur of {self.blur_voxels} voxels", "0 to 3")
        if not 0 <= self.noise_hu <= 200:
            raise BadInputError(f"noise of {self.noise_hu} HU", "0 to 200 HU", "more would pass for air")
        if self.seed < 0:
            raise BadInputError(f"scanner seed {self.seed}", "0 or more")


@dataclass(frozen=True, eq=False)
class CT:
    """A volume of Hounsfield units whose voxels are aligned with LPS.

    Attributes:
        hounsfield: int16, shape (slices, rows, columns), that is along z, y and x.
        origin_mm: Centre of the first voxel, (x, y, z) in LPS.
        voxel_mm: Size of a voxel along x, y and z.
        name: Of the patient.
    """

    hounsfield: NDArray[np.int16]
    origin_mm: tuple[float, float, float]
    voxel_mm: tuple[float, float, float]
    name: str = "phantom"

    def __post_init__(self) -> None:
        if self.hounsfield.ndim != 3 or min(self.hounsfield.shape) < 2:
            raise BadInputError(f"a CT of shape {self.hounsfield.shape}", "at least 2 voxels along three axes")
        if not all(size > 0 for size in self.voxel_mm):
            raise BadInputError(f"voxels of {self.voxel_mm} mm", "positive sizes")

    @property
    def image(self) -> SimpleITK.Image:
        """As ITK has it."""
        image = SimpleITK.GetImageFromArray(self.hounsfield)
        image.SetOrigin(self.origin_mm)
        image.SetSpacing(self.voxel_mm)
        return image


def scanned(anatomy: Anatomy, scanner: Scanner = Scanner()) -> CT:
    """The CT of an anatomy: partial volume by 3^3 samples in each voxel, bone or fat behind the mucosa, blur, noise."""
    low, high = anatomy.shape.bounds
    x, y, z = (
        a + size * torch.arange(int((b - a) / size) + 1, dtype=torch.float64)
        for a, b, size in zip(low, high, scanner.voxel_mm, strict=True)
    )
    axes = (x, y, z)
    field = sampled(anatomy.field, axes, band_mm=WALL_MM)
    tissue = _behind_the_surface(anatomy, field, axes)
    air = _air_share(anatomy, field, axes, scanner.voxel_mm)
    volume = (air * AIR + (1 - air) * tissue).numpy().transpose(2, 1, 0)

    if scanner.blur_voxels:
        volume = ndimage.gaussian_filter(volume, scanner.blur_voxels, mode="nearest")
    if scanner.noise_hu:
        draw = np.random.default_rng((anatomy.seed, scanner.seed, 41))
        noise = draw.standard_normal(volume.shape, np.float32)
        noise = ndimage.gaussian_filter(noise, scanner.blur_voxels) if scanner.blur_voxels else noise
        volume = volume + scanner.noise_hu / noise.std() * noise
    hounsfield = np.ascontiguousarray(volume.round().clip(-1024, 3071).astype(np.int16))
    origin = (float(axes[0][0]), float(axes[1][0]), float(axes[2][0]))
    return CT(hounsfield, origin, scanner.voxel_mm, f"phantom-{anatomy.kind}-{anatomy.seed:05d}")


def _behind_the_surface(anatomy: Anatomy, field: Tensor, axes: tuple[Tensor, ...]) -> Tensor:
    """Hounsfield units of the tissue at each voxel: mucosa, and bone or fat deeper in."""
    if anatomy.kind == "colon":
        share = ((field - WALL_MM) / 0.5 + 0.5).clamp(0, 1)
        return MUCOSA + (FAT - MUCOSA) * share
    thickness = torch.full_like(field, 1.5)
    rows = ((field > 0) & (field < 3.0)).nonzero()
    points = torch.stack([axis[row] for axis, row in zip(axes, rows.unbind(-1), strict=True)], -1).float()
    uneven = Ripples.drawn(np.random.default_rng((anatomy.seed, 42)), (9.0,), (0.3,))
    thickness[rows[:, 0], rows[:, 1], rows[:, 2]] += in_blocks(uneven, points)
    share = ((field - thickness.clamp(1.0, 2.0)) / 0.4 + 0.5).clamp(0, 1)
    return MUCOSA + (BONE - MUCOSA) * share


def _air_share(
    anatomy: Anatomy, field: Tensor, axes: tuple[Tensor, ...], voxel_mm: tuple[float, float, float]
) -> Tensor:
    """How much of each voxel is air: the share of 27 samples within those that the surface may cross."""
    share = (field < 0).float()
    half_diagonal = 0.5 * math.hypot(*voxel_mm)
    rows = (field.abs() < STEEPEST * half_diagonal).nonzero()
    centres = torch.stack([axis[row] for axis, row in zip(axes, rows.unbind(-1), strict=True)], -1).float()
    thirds = torch.tensor([-1.0, 0.0, 1.0]) / 3
    shifts = torch.cartesian_prod(thirds, thirds, thirds) * torch.tensor(voxel_mm)
    inside = torch.zeros(len(centres))
    for shift in shifts:
        inside += in_blocks(anatomy.field, centres + shift) < 0
    share[rows[:, 0], rows[:, 1], rows[:, 2]] = inside / len(shifts)
    return share


def extracted_surface(ct: CT, air_below: float = AIR_BELOW) -> Surface:
    """The surface of the largest air space, in mm in LPS, by threshold and marching cubes.

    Normals point into air; faces are counter-clockwise seen from the air.

    Raises:
        BadInputError: There is no air, or nothing else.
    """
    label = np.empty(ct.hounsfield.shape, np.int32)
    count = ndimage.label(ct.hounsfield < air_below, output=label)
    if not count or (ct.hounsfield < air_below).all():
        raise BadInputError(
            f"{ct.name}: {'only' if count else 'no'} voxels below {air_below:g} HU",
            "air and tissue",
            "check that the volume is a CT in Hounsfield units",
        )
    largest = np.bincount(label.ravel())[1:].argmax() + 1
    # Other air becomes tissue; a frame of tissue closes the surface where the air leaves the volume.
    volume = np.where((label > 0) & (label != largest), np.int16(MUCOSA), ct.hounsfield).astype(np.float32)
    volume = np.pad(volume, 1, constant_values=MUCOSA)
    # Between two whole numbers: a level that voxels take exactly would leave triangles without area.
    z_y_x, faces, _, _ = measure.marching_cubes(volume, math.ceil(air_below) - 0.5)
    columns = torch.from_numpy(z_y_x[:, ::-1].astype(np.float64)) - 1
    points = columns * torch.tensor(ct.voxel_mm, dtype=torch.float64) + torch.tensor(ct.origin_mm, dtype=torch.float64)
    points, faces = largest_piece(points, torch.from_numpy(faces.astype(np.int64)))
    # Marching cubes turns its faces for (z, y, x); mirrored to (x, y, z) they are turned the other way.
    faces = faces if _volume_mm3(points, faces) < 0 else faces.flip(1)
    return Surface(points, _vertex_normals(points, faces), None, faces, "mm")


def _volume_mm3(points: Float[Tensor, "points 3"], faces: Tensor) -> float:
    """Signed volume within a closed mesh; negative where faces look counter-clockwise from within."""
    a, b, c = (points - points.mean(0))[faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def _vertex_normals(points: Float[Tensor, "points 3"], faces: Tensor) -> Float[Tensor, "points 3"]:
    """Unit normals: the mean of the faces about each vertex, by area."""
    a, b, c = points[faces].unbind(1)
    area = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(points)
    for corner in range(3):
        normals = normals.index_add(0, faces[:, corner], area)
    return functional.normalize(normals, dim=-1)


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
        BadInputError: There is no such file, no series, more than one, or the voxels are not aligned with LPS.
    """
    path = Path(path)
    if path.is_dir():
        found = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
        if len(found) != 1:
            raise BadInputError(f"{path}: {len(found)} DICOM series", "one CT series", "put each series in a folder")
        files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), found[0])
        image = SimpleITK.ReadImage(files)
    elif path.is_file():
        image = SimpleITK.ReadImage(str(path))
    else:
        raise BadInputError(f"{path} is missing", "a CT file or a folder of DICOM slices", "check the path")
    # Whatever order and direction the axes are stored in: this only reorders and flips, it never resamples.
    image = SimpleITK.DICOMOrient(image, "LPS")
    if not np.allclose(image.GetDirection(), np.eye(3).ravel(), atol=1e-4):
        raise BadInputError(
            f"{path}: voxels that are oblique to the patient", "axes along LPS", "resample the volume upright"
        )
    array = SimpleITK.GetArrayFromImage(image).round().astype(np.int16)
    x, y, z = image.GetOrigin()
    dx, dy, dz = image.GetSpacing()
    return CT(array, (x, y, z), (dx, dy, dz), path.name.split(".")[0])


def _uid(digest: str, what: str) -> str:
    """A unique identifier as DICOM wants it, the same for the same volume."""
    number = int.from_bytes(hashlib.sha256(f"{digest} {what}".encode()).digest()[:15], "big")
    return f"2.25.{number}"
