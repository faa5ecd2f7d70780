"""CT volumes from files: DICOM series, NIfTI, NRRD, MetaImage."""

from pathlib import Path

import numpy as np
import SimpleITK

from depthscope.errors import BadInputError
from depthscope.formats import itk
from depthscope.formats.ct.volume import CT
from depthscope.reading import reader


@reader("a CT volume (NIfTI, NRRD, MetaImage or DICOM)", "export the CT again")
def read_ct(path: Path) -> CT:
    """The CT in a file that ITK reads (NIfTI, NRRD, MetaImage) or in a folder with one DICOM series.

    Raises:
        BadInputError: There is no such file, no series, several, another modality, or no image of three axes.
    """
    path = Path(path)
    if path.is_dir():
        image = _read_series(path)
    elif path.is_file():
        image = itk.read_image([path], "a CT volume (NIfTI, NRRD, MetaImage or DICOM)", "export the CT again")
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
    files = itk.dicom_series(folder)
    if len(files) != 1:
        told = "; ".join(f"{_described(parts[0])} ({len(parts)} slices)" for parts in files.values())
        raise BadInputError(
            f"{folder}: {len(files)} DICOM series{': ' + told if told else ''}",
            "one CT series",
            "put each series in a folder of its own",
        )
    (slices,) = files.values()
    first = slices[0]
    modality = _tag(first, "0008|0060")
    if modality not in ("", "CT"):
        raise BadInputError(f"{folder}: modality {modality}", "CT", "choose the folder of the CT series")
    return itk.read_image([Path(name) for name in slices], "the slices of one CT series", "export the series again")


def _described(path: str) -> str:
    return f"'{_tag(path, '0008|103e')}' {_tag(path, '0008|0060')} number {_tag(path, '0020|0011')}"


def _tag(path: str, tag: str) -> str:
    (header,) = itk.read_headers([Path(path)], "a DICOM slice")
    return header.get("tags", {}).get(tag, "").strip()
