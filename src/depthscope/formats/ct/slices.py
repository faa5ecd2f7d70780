"""Slices of a CT as they are stored: where each lies, and its Hounsfield units.

Headers are read by pydicom, frame by frame in enhanced multi-frame files, because ITK takes the geometry of a whole
series from its first slices. Native and RLE pixels are decoded by pydicom, other compressed ones by ITK.
"""

import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence as Rows
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ImplicitVRLittleEndian, RLELossless
from SimpleITK import GetArrayFromImage

from depthscope.errors import BadInputError
from depthscope.formats import itk
from depthscope.formats.ct.volume import LEAST_HU

SANE_PADDING = (-900.0, 3071.0)
"""Hounsfield units between which a padding value cannot be told from tissue, and is not heeded."""


@dataclass(frozen=True)
class Series:
    """What a slice says of the series that it belongs to."""

    uid: str
    modality: str
    description: str
    number: str

    def __str__(self) -> str:
        return f"'{self.description}' {self.modality} number {self.number}"


@dataclass(frozen=True, eq=False)
class Slice:
    """One image of a CT, its pixels not read yet.

    Attributes:
        name: File, within the folder that was given, and frame.
        path: File.
        frame: Index of the frame in a multi-frame file.
        series: The series it belongs to.
        localizer: Whether it says that it is one (scout, topogram).
        size: (rows, columns).
        position_mm: Centre of the first pixel, LPS, shape (3,), or None where it does not say.
        axes: Unit vectors along which columns and rows are counted, LPS, shape (2, 3), or None.
        spacing_mm: Between columns and between rows, or None.
        tilt_deg: Tilt of the gantry, by its own tag; 0 where there is none.
        rescale: Slope and intercept to Hounsfield units, or None.
        packed: Whether its pixels are compressed in a way that ITK unpacks.
    """

    name: str
    path: Path
    frame: int
    series: Series
    localizer: bool
    size: tuple[int, int]
    position_mm: NDArray[np.float64] | None
    axes: NDArray[np.float64] | None
    spacing_mm: tuple[float, float] | None
    tilt_deg: float
    rescale: tuple[float, float] | None
    packed: bool = False


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps pydicom's warnings on odd values from the terminal: what matters is checked here."""
    logger = logging.getLogger("pydicom")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def slices_of(path: Path, folder: Path | None = None) -> tuple[Slice, ...] | None:
    """The images of a DICOM file, none where it holds no image, or None where it is no DICOM file.

    Args:
        path: A file.
        folder: The folder that was given; names are told relative to it.
    """
    header = _header(path)
    if header is None:
        return None
    name = str(path.relative_to(folder)) if folder is not None else path.name
    try:
        return _slices(header, path, name)
    except Exception:  # a damaged header raises whatever its values make of pydicom
        return None


def _header(path: Path) -> FileDataset | None:
    try:
        with quiet():
            with path.open("rb") as stream:
                marked = stream.read(132)[128:] == b"DICM"
            found = pydicom.dcmread(path, stop_before_pixels=True, force=not marked)
            # Old files have no preamble; anything at all can be taken for one of them.
            return found if marked or ("SOPClassUID" in found and "Rows" in found) else None
    except Exception:
        return None


def _slices(header: FileDataset, path: Path, name: str) -> tuple[Slice, ...] | None:
    with quiet():
        if "Rows" not in header and header.get("SOPClassUID", "") in ("", CTImageStorage, EnhancedCTImageStorage):
            return None  # cut short before its pixels
        if "Rows" not in header or int(header.get("SamplesPerPixel", 1) or 1) != 1:
            return ()
        series = Series(
            str(header.get("SeriesInstanceUID", "")),
            str(header.get("Modality", "")),
            str(header.get("SeriesDescription", "")).strip(),
            str(header.get("SeriesNumber", "") or "").strip(),
        )
        kind = [str(word).upper() for word in _list(header.get("ImageType"))]
        size = (int(header.Rows), int(header.Columns))
        count = int(header.get("NumberOfFrames", 1) or 1)
        frames = header.get("PerFrameFunctionalGroupsSequence")
        shared = _first(header.get("SharedFunctionalGroupsSequence"))
        syntax = header.file_meta.get("TransferSyntaxUID")
        packed = syntax is not None and syntax.is_encapsulated and syntax != RLELossless
        base = Slice(name, path, 0, series, "LOCALIZER" in kind, size, None, None, None, 0.0, None, packed)
        if frames is None:
            if count > 1:
                return tuple(replace(base, name=f"{name} frame {i + 1}", frame=i) for i in range(count))
            return (_placed(base, [header]),)
        return tuple(
            _placed(
                replace(base, name=f"{name} frame {i + 1}", frame=i), [frame, *([shared] if shared else []), header]
            )
            for i, frame in enumerate(frames)
        )


def _placed(one: Slice, groups: list[Dataset]) -> Slice:
    """The slice with what its groups of attributes say, the first group that says it."""

    def value(sequence: str, keyword: str):
        for group in groups:
            inner = _first(group.get(sequence))
            for place in (inner, group):
                if place is not None and place.get(keyword) not in (None, ""):
                    return place.get(keyword)
        return None

    position = _numbers(value("PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = _numbers(value("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    spacing = _numbers(value("PixelMeasuresSequence", "PixelSpacing"), 2)
    slope = _numbers(value("PixelValueTransformationSequence", "RescaleSlope"), 1)
    intercept = _numbers(value("PixelValueTransformationSequence", "RescaleIntercept"), 1)
    tilt = _numbers(value("CTAcquisitionDetailsSequence", "GantryDetectorTilt"), 1)
    frame_type = value("CTImageFrameTypeSequence", "FrameType")
    return replace(
        one,
        localizer=one.localizer or "LOCALIZER" in [str(word).upper() for word in _list(frame_type)],
        position_mm=position,
        axes=None if orientation is None else _axes(orientation.reshape(2, 3)),
        spacing_mm=None if spacing is None or spacing.min() <= 0 else (float(spacing[1]), float(spacing[0])),
        tilt_deg=0.0 if tilt is None else float(tilt[0]),
        rescale=None if slope is None or intercept is None else (float(slope[0]), float(intercept[0])),
    )


def _axes(rows: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Unit vectors at right angles, or None where they are far from it."""
    lengths = np.linalg.norm(rows, axis=1)
    if lengths.min() < 0.9 or lengths.max() > 1.1 or abs(rows[0] @ rows[1]) > 0.01:
        return None
    first = rows[0] / lengths[0]
    second = rows[1] - (rows[1] @ first) * first
    return np.stack([first, second / np.linalg.norm(second)])


def _first(sequence) -> Dataset | None:
    return sequence[0] if sequence else None


def _list(value) -> list:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _numbers(value, count: int) -> NDArray[np.float64] | None:
    if value is None:
        return None
    try:
        found = np.array([float(part) for part in (_list(value) if count > 1 else [value])], np.float64)
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and np.isfinite(found).all() else None


def pixel_reader(slices: Rows[Slice]) -> Callable[[Slice], NDArray]:
    """Reads the pixels of slices; an enhanced file once for all its frames, compressed files all at once.

    The function that it gives returns stored values, shape (rows, columns), where a slice has no rescale, and
    Hounsfield units as int16 where it has.

    Raises:
        BadInputError: From that function: the pixels are damaged, cut short, or packed in a way that nothing opens.
    """
    unpacked = _unpacked(sorted({one.path for one in slices if one.packed}))
    decoded = cache(_decoded)

    def read(one: Slice) -> NDArray:
        values, padding = unpacked.get(one.path), None
        converted = values is not None or one.packed
        if one.packed and values is None:
            values = _unpacked([one.path], alone=True)[one.path]
        if values is None:
            values, padding = decoded(one.path)
        if one.frame >= len(values) or values.shape[1:] != one.size:
            raise BadInputError(f"{one.name} holds {values.shape} pixels", f"{one.size}", "copy it again")
        image = values[one.frame]
        if one.rescale is None:
            return image
        slope, intercept = one.rescale
        units = image.astype(np.float32)
        if not converted:
            units = units * np.float32(slope) + np.float32(intercept)
        if padding is not None and not SANE_PADDING[0] <= slope * padding + intercept <= SANE_PADDING[1]:
            units[units == np.float32(slope * padding + intercept)] = LEAST_HU
        return hounsfield(units)

    return read


def hounsfield(units: NDArray) -> NDArray[np.int16]:
    """Whole Hounsfield units. Padding below the least there is, and what is no number, become air."""
    if units.dtype.kind in "iu":
        return np.clip(units, LEAST_HU, 32767).astype(np.int16)
    units = np.nan_to_num(units, nan=LEAST_HU, posinf=32767, neginf=LEAST_HU)
    return np.clip(np.rint(units), LEAST_HU, 32767).astype(np.int16)


def _unpacked(paths: list[Path], alone: bool = False) -> dict[Path, NDArray]:
    """Hounsfield units of compressed files by ITK, each of shape (frames, rows, columns).

    Where one of several cannot be unpacked, none is; they are then asked for alone.
    """
    if not paths:
        return {}
    try:
        values = GetArrayFromImage(itk.read_image(paths, "compressed DICOM slices", "export them without compression"))
    except BadInputError:
        if alone:
            raise
        return {}
    values = values.reshape(-1, *values.shape[-2:])
    if len(paths) == 1:
        return {paths[0]: values}
    return {path: values[i, None] for i, path in enumerate(paths)} if len(values) == len(paths) else {}


def _decoded(path: Path) -> tuple[NDArray, float | None]:
    """Stored values of all frames, shape (frames, rows, columns), and the padding value."""
    try:
        with quiet():
            found = pydicom.dcmread(path, force=True)
            padding = _numbers(found.get("PixelPaddingValue"), 1)
            if "TransferSyntaxUID" not in found.file_meta:
                found.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            values = _without_spare_bits(found.pixel_array, found)
            return values.reshape(-1, *values.shape[-2:]), None if padding is None else float(padding[0])
    except Exception as error:  # pydicom and its decoders raise whatever a damaged file makes of them
        why = "is cut short" if "length" in str(error) or "bytes" in str(error) else f"cannot be decoded ({error})"
        raise BadInputError(f"{path}: its pixel data {why}", "a whole DICOM slice", "copy it again") from error


def _without_spare_bits(values: NDArray, header: Dataset) -> NDArray:
    """Values without what old scanners kept in the bits above those that are used."""
    used, there = int(header.BitsStored), int(header.BitsAllocated)
    if not 0 < used < there or values.dtype.kind not in "iu":
        return values
    spare = there - used
    return np.right_shift(np.left_shift(values, spare), spare)


def files_under(folder: Path) -> list[Path]:
    """All files of a folder and of those within it, in order of their names; hidden ones are left out.

    Raises:
        BadInputError: Something else than a file lies there: opening a pipe would wait for ever.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place) / name for name in names if not name.startswith(".")]
    if other := next((path for path in found if path.exists() and not path.is_file()), None):
        raise BadInputError(f"{other} is no file", "a folder of DICOM slices", "move it away")
    return sorted(found, key=lambda path: [_natural(part) for part in path.relative_to(folder).parts])


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sorts 2.dcm before 10.dcm."""
    parts, digits = [], ""
    for letter in name + "\0":
        if letter.isdecimal():
            digits += letter
            continue
        if digits:
            parts.append((0, int(digits)))
            digits = ""
        parts.append((1, letter))
    return parts


def angle_deg(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The angle between two unit vectors."""
    return math.degrees(math.acos(float(np.clip(one @ other, -1, 1))))
