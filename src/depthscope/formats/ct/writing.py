"""CT volumes as files that other programs read: NIfTI, and series of DICOM slices."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK

from depthscope.formats.ct.volume import CT


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


def _uid(digest: str, what: str) -> str:
    """A unique identifier as DICOM wants it, the same for the same volume."""
    number = int.from_bytes(hashlib.sha256(f"{digest} {what}".encode()).digest()[:15], "big")
    return f"2.25.{number}"
