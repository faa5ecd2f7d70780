"""Volumes in one file: NIfTI by its own affine and unit, NRRD and MetaImage through ITK."""

import gzip
import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.imageglobals import logger as nibabel_log
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray
from scipy import ndimage
from SimpleITK import GetArrayFromImage

from depthscope.errors import BadInputError
from depthscope.formats import itk

MM = {"m": 1000.0, "meter": 1000.0, "metre": 1000.0, "cm": 10.0, "mm": 1.0, "millimeter": 1.0, "um": 1e-3, "µm": 1e-3}
"""Millimetres in units of length by their names."""

NIFTI_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
"""The same by the codes of NIfTI: unknown, metre, millimetre, micrometre."""

NO_VOLUMES = (
    *(".glb", ".gltf", ".off", ".3mf", ".fbx", ".dae", ".step", ".stp", ".blend", ".xyz", ".pcd", ".pts"),
    *(".npy", ".npz", ".mat", ".h5", ".pt", ".json", ".yaml", ".txt", ".csv", ".pdf", ".zip", ".tar", ".7z", ".rar"),
    *(".mp4", ".mov", ".avi", ".mkv", ".webm", ".wmv"),
)
"""Endings of what is given by mistake, and which ITK would only call unknown."""

RIGHT_ANGLE = 2e-3
"""Cosines between axes below this are rounding."""

MOST_BYTES, MOST_PACKED = 500_000_000, 300
"""A volume larger than this is not packed into less than one part in so many."""

SHEAR_LIMIT = 0.7
"""Cosines between axes above this are no scanner's."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Values on a lattice that may be sheared.

    Attributes:
        values: Shape (slices, rows, columns).
        affine: From (column, row, slice) to LPS mm, shape (4, 4).
        notes: What was converted, in words.
    """

    values: NDArray
    affine: NDArray[np.float64]
    notes: tuple[str, ...] = ()


@contextmanager
def _quiet() -> Iterator[None]:
    before = nibabel_log.level
    nibabel_log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        nibabel_log.setLevel(before)


def read_nifti(path: Path) -> Grid:
    """A NIfTI file by its sform, else its qform, in the unit that it names.

    Raises:
        BadInputError: It is cut short, no NIfTI file, or says nowhere where its voxels lie.
    """
    try:
        with _quiet(), np.errstate(all="ignore"):
            _check_gzip(path)
            image = nibabel.load(path)
            if not isinstance(image, nibabel.Nifti1Image):  # NIfTI-2 is one too
                raise ValueError(f"it is {type(image).__name__}")
            header = image.header
            _check_size(image, path)
            stored: Any = image.dataobj  # nibabel types it as any array
            plain = stored.slope == 1 and stored.inter == 0
            values = stored.get_unscaled() if plain else stored.get_scaled(np.float32)
            values = np.asarray(values)
            unit = int(header["xyzt_units"]) & 7
            codes = int(header["sform_code"]), int(header["qform_code"])
            affine = np.asarray(image.affine, np.float64)
            other = _qform(header, affine) if min(codes) > 0 else affine
    except Exception as error:  # nibabel, gzip and NumPy raise whatever a damaged file makes of them
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        cut = isinstance(error, EOFError) or any(word in told for word in ("xpected", "mmap length", "buffer"))
        why = "is cut short" if cut else f"cannot be read as a volume ({told})"
        raise BadInputError(f"{path} {why}", "a whole NIfTI file", "copy it, or export the CT again") from error
    if max(codes) == 0:
        raise BadInputError(
            f"{path} does not say where its voxels lie (sform and qform are 0)",
            "a NIfTI file with an affine",
            "convert the CT again from DICOM",
        )
    notes = []
    factor = NIFTI_MM.get(unit, 1.0)
    if factor != 1:
        notes.append(f"{'metres' if factor > 1 else 'micrometres'} in the header: taken as mm times {factor:g}")
    corner = np.array([*values.shape[:3], 1.0]) if values.ndim >= 3 else np.ones(4)
    apart = float(np.linalg.norm(((affine - other) @ corner)[:3])) * factor
    if apart > 1:
        notes.append(f"sform and qform differ by {apart:.3g} mm: the sform is used")
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    lps[:3] *= factor
    return _checked(Grid(np.ascontiguousarray(values.transpose()), lps, tuple(notes)), path)


def _qform(header: nibabel.Nifti1Header, otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        return np.asarray(header.get_qform(), np.float64)
    except HeaderDataError:  # no rotation; the sform is what counts
        return otherwise


def _check_size(image: nibabel.Nifti1Image, path: Path) -> None:
    """Refuses what a few damaged bytes of a header would fill the memory with."""
    size = math.prod(int(n) for n in image.shape) * np.dtype(image.get_data_dtype()).itemsize
    if size > MOST_BYTES and size > MOST_PACKED * path.stat().st_size:
        raise ValueError(f"{size / 1e9:.3g} GB from {path.stat().st_size / 1e6:.3g} MB")


def _check_gzip(path: Path) -> None:
    """Unpacks a gzip file to its end, where its checksum stands; nibabel stops before it."""
    with path.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            return
    with gzip.open(path) as stream:
        while stream.read(1 << 20):
            pass


def read_itk(path: Path) -> Grid:
    """A volume that ITK reads (NRRD, MetaImage), in the unit that an NRRD file names.

    Raises:
        BadInputError: ITK cannot read it, or its voxels hold more than one number.
    """
    if path.suffix.lower() in NO_VOLUMES:
        raise BadInputError(
            f"{path} is neither a CT volume nor a surface that is read",
            "a CT (DICOM folder, NIfTI, NRRD, MetaImage) or a surface (PLY, STL, OBJ, VTP, VTK)",
            "export it as one of these",
        )
    image = itk.read_image([path], "a CT volume (NIfTI, NRRD, MetaImage or DICOM)", "export the CT again")
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise BadInputError(
            f"{path}: an image of size {image.GetSize()}", "one value at each voxel of three axes", "export the series"
        )
    head = _nrrd_head(path)
    factor = _nrrd_unit(head, path)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing()) * factor
    affine[:3, 3] = np.array(image.GetOrigin()) * factor
    notes = (f"the header's unit of length is {factor:g} mm: converted",) if factor != 1 else ()
    return _checked(Grid(GetArrayFromImage(image), affine, (*notes, *_nrrd_space(head, path))), path)


ANATOMICAL = ("right-anterior-superior", "ras", "left-anterior-superior", "las", "left-posterior-superior", "lps")
"""Spaces of NRRD whose axes are those of the body; in the others nobody says where left is."""


def _nrrd_head(path: Path) -> str | None:
    """The head of an NRRD file; None of another file."""
    if path.suffix.lower() not in (".nrrd", ".nhdr"):
        return None
    with path.open("rb") as stream:
        return stream.read(65536).replace(b"\r", b"").split(b"\n\n")[0].decode("utf-8", "replace")


def _nrrd_space(head: str | None, path: Path) -> list[str]:
    """What to say of an NRRD file whose axes are not said to be those of the body, which are taken as LPS.

    Raises:
        BadInputError: Its axes are left-handed ones of no body: read so, the patient would be mirrored.
    """
    if head is None:
        return []
    found = re.search(r"^\s*space:\s*(.*?)\s*$", head, re.MULTILINE | re.IGNORECASE)
    space = "" if found is None else found.group(1)
    if space.lower().removesuffix("-time").removesuffix("t") in ANATOMICAL:
        return []
    if "left-handed" in space.lower():
        raise BadInputError(
            f"{path} has axes in the space '{space}', which mirror the patient",
            f"one of {', '.join(ANATOMICAL[::2])}",
            "export the CT again from DICOM, or write the space that is right into its header",
        )
    named = f"names the space '{space}'" if space else "names no space"
    return [f"the header {named}, and not which axis points left: taken as LPS; check that left is left"]


def _nrrd_unit(head: str | None, path: Path) -> float:
    """Millimetres in the unit that the head of an NRRD file names; 1 where it names none."""
    found = re.search(r"^\s*(?:space )?units:\s*(.*)$", head or "", re.MULTILINE | re.IGNORECASE)
    units = [] if found is None else [unit.strip().lower() for unit in re.findall(r'"([^"]*)"', found.group(1))]
    known = {MM[unit] for unit in units if unit in MM}
    odd = [unit for unit in units if unit and unit not in MM]
    if odd or len(known) > 1:
        raise BadInputError(f"{path}: units {', '.join(units)}", f"one of {', '.join(MM)}", "write it again in mm")
    return known.pop() if known else 1.0


def _checked(grid: Grid, path: Path) -> Grid:
    if grid.values.dtype.kind not in "iuf":
        raise BadInputError(f"{path}: voxels of type {grid.values.dtype}", "one number at each voxel", "export the CT")
    if not np.isfinite(grid.affine).all() or abs(np.linalg.det(grid.affine[:3, :3])) < 1e-12:
        raise BadInputError(
            f"{path}: an affine that is not invertible", "one that places voxels", "export the CT again"
        )
    return grid


def upright(grid: Grid, path: Path) -> Grid:
    """The same values on a lattice with right angles, resampled where the given one is sheared.

    A lattice that is sheared between its slices, as that of a tilted gantry, is resampled slice by slice: its rows and
    columns stay.

    Raises:
        BadInputError: It is sheared beyond what a scanner does.
    """
    linear = grid.affine[:3, :3]
    sizes = np.linalg.norm(linear, axis=0)
    cosines = (linear / sizes).T @ (linear / sizes) - np.eye(3)
    worst = float(np.abs(cosines).max())
    if worst < RIGHT_ANGLE:
        return grid
    if worst > SHEAR_LIMIT:
        raise BadInputError(
            f"{path}: axes at {math.degrees(math.acos(min(1.0, worst))):.0f} degrees to each other",
            "axes near right angles",
            "convert the CT again from DICOM",
        )
    # Gram-Schmidt keeps the rows' direction and their plane; each axis keeps the distance between its planes.
    turn, upper = np.linalg.qr(linear)
    turn, upper = turn * np.sign(np.diag(upper)), upper * np.sign(np.diag(upper))[:, None]
    spacing = np.diag(upper)
    shape = np.array(grid.values.shape[::-1])
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    reach = upper @ corners
    low = np.floor(reach.min(1) / spacing + 1e-6)
    count = (np.ceil(reach.max(1) / spacing - 1e-6) - low).astype(int) + 1
    # ndimage counts (slice, row, column); each new voxel asks for a place in the old ones.
    ask = np.linalg.inv(upper) @ np.diag(spacing)
    begin = np.linalg.inv(upper) @ (low * spacing)
    values = ndimage.affine_transform(
        np.nan_to_num(grid.values.astype(np.float32), nan=-1024.0),
        ask[::-1, ::-1],
        begin[::-1],
        output_shape=tuple(count[::-1]),
        order=1,
        mode="nearest",
    )
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = grid.affine[:3, 3] + turn @ (low * spacing)
    angle = math.degrees(math.asin(worst))
    return replace(
        grid,
        values=values,
        affine=affine,
        notes=(*grid.notes, f"axes sheared by {angle:.1f} degrees (a tilted gantry): resampled at right angles"),
    )
