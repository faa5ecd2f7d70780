"""CT volumes from files: DICOM series, NIfTI, NRRD, MetaImage."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from depthscope.errors import BadInputError
from depthscope.formats.ct import dicom
from depthscope.formats.ct.files import Grid, read_itk, read_nifti, upright
from depthscope.formats.ct.slices import hounsfield
from depthscope.formats.ct.volume import CT
from depthscope.reading import reader

NIFTI = (".nii", ".nii.gz")
LEAST_MM, MOST_MM = 5.0, 3000.0
"""How long the longest side of a CT may be."""


@reader("a CT volume (NIfTI, NRRD, MetaImage or DICOM)", "export the CT again")
def read_ct(path: Path) -> CT:
    """The CT in a file (NIfTI, NRRD, MetaImage, enhanced DICOM) or in a folder with one DICOM series.

    What is amiss in the files and can be mended is, and stands in the notes of what is returned.

    Raises:
        BadInputError: There is no such file, no series, several, another modality, no image of three axes, a file that
            is cut short, or slices that do not make a volume.
    """
    path = Path(path)
    if path.is_dir():
        return _oriented(_with_air(dicom.read_folder(path), path))
    if not path.is_file():
        raise BadInputError(f"{path} is missing", "a CT file or a folder of DICOM slices", "check the path")
    if path.name.lower().endswith(NIFTI):
        return _of_grid(read_nifti(path), path)
    if _is_dicom(path) and (found := dicom.read_file(path)) is not None:
        return _oriented(_with_air(found, path))
    return _of_grid(read_itk(path), path)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return path.suffix.lower() in (".dcm", ".dicom", ".ima", "") or stream.read(132)[128:] == b"DICM"


def _of_grid(grid: Grid, path: Path) -> CT:
    if grid.values.ndim != 3 or min(grid.values.shape) < 2:
        raise BadInputError(
            f"{path}: an image of size {grid.values.shape[::-1]}",
            "one value at each voxel of three axes",
            "export the series",
        )
    units = hounsfield(grid.values)
    _check_units(units, path)
    grid = upright(replace(grid, values=units), path)
    x, y, z = grid.affine[:3, 3]
    sizes = np.linalg.norm(grid.affine[:3, :3], axis=0)
    extent = float((sizes * np.array(grid.values.shape[::-1])).max())
    if not LEAST_MM <= extent <= MOST_MM:
        raise BadInputError(
            f"{path} is {extent:.3g} mm long",
            f"a CT {LEAST_MM:g} to {MOST_MM:g} mm long",
            "its header may be in metres or micrometres: write it again with voxel sizes in mm",
        )
    direction = grid.affine[:3, :3] / sizes
    found = CT(
        hounsfield(grid.values),
        (float(x), float(y), float(z)),
        (float(sizes[0]), float(sizes[1]), float(sizes[2])),
        path.name.split(".")[0],
        tuple(direction.ravel().tolist()),
        grid.notes,
    )
    return _oriented(found)


def _oriented(ct: CT) -> CT:
    """The same volume with its axes in the order nearest to LPS; this reorders and flips, it never resamples."""
    image = SimpleITK.DICOMOrient(ct.image, "LPS")
    x, y, z = image.GetOrigin()
    dx, dy, dz = image.GetSpacing()
    array = SimpleITK.GetArrayFromImage(image)
    direction = tuple(float(value) for value in image.GetDirection())
    return replace(ct, hounsfield=array, origin_mm=(x, y, z), voxel_mm=(dx, dy, dz), direction=direction)


def _with_air(ct: CT, path: Path) -> CT:
    _check_units(ct.hounsfield, path)
    return ct


def _check_units(values: NDArray[np.int16], path: Path) -> None:
    if int(values.min()) >= -200:
        raise BadInputError(
            f"{path}: values from {int(values.min())} to {int(values.max())}",
            "a CT in Hounsfield units, in which air is near -1000",
            "apply the rescale slope and intercept; an MR or a label map is no CT",
        )
