"""CT slices as scanners and archives write them, of a body that is known in closed form, by pydicom alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

CENTRE = np.array([3.0, -12.0, 40.0])
BALLS = ((-9.0, 4.0, -8.0, 6.0), (8.0, -6.0, 2.0, 5.0), (-2.0, 7.0, 11.0, 4.0))
"""Air in a body: centres about `CENTRE` and radii in mm, alike in no mirror."""


def hounsfield_at(points: np.ndarray) -> np.ndarray:
    """Hounsfield units at points in LPS mm, shape (..., 3): walls blurred over about 2 mm, tissue of slow slopes."""
    local = points - CENTRE
    distance = np.min([np.linalg.norm(local - ball[:3], axis=-1) - ball[3] for ball in np.array(BALLS)], axis=0)
    tissue = 40 + 2.0 * local[..., 0] - 1.5 * local[..., 1] + 1.0 * local[..., 2]
    return tissue + (-1000 - tissue) / (1 + np.exp(3.0 * distance))


@dataclass
class Scan:
    """How slices lie and are written.

    Attributes:
        depths: Along the normal, mm.
        axes: Directions along which columns and rows are counted.
        shift: Of a slice's origin along its columns and rows, by its depth, mm.
        change: Of the data set of a slice, by its number.
        size: (rows, columns).
        spacing: Between columns and rows.
        noise: Standard deviation, HU.
    """

    depths: np.ndarray = field(default_factory=lambda: np.arange(-22.0, 23.0, 1.5))
    axes: np.ndarray = field(default_factory=lambda: np.eye(3)[:2])
    shift: Callable[[float], tuple[float, float]] = lambda depth: (0.0, 0.0)
    change: Callable[[int, Dataset], None] = lambda number, slice_: None
    size: tuple[int, int] = (44, 48)
    spacing: tuple[float, float] = (0.9, 1.0)
    noise: float = 0.0

    @property
    def normal(self) -> np.ndarray:
        return np.cross(*self.axes)

    def origin(self, depth: float) -> np.ndarray:
        middle = [-(n - 1) / 2 * s for n, s in zip(self.size[::-1], self.spacing, strict=True)]
        across = (np.array(middle) + np.array(self.shift(depth))) @ self.axes
        return CENTRE + across + depth * self.normal

    def image(self, depth: float) -> np.ndarray:
        rows, columns = np.mgrid[: self.size[0], : self.size[1]]
        along = columns[..., None] * self.spacing[0] * self.axes[0] + rows[..., None] * self.spacing[1] * self.axes[1]
        noise = self.noise * np.random.default_rng(int(1000 * depth) + 10**6).standard_normal(self.size)
        return np.rint(hounsfield_at(self.origin(depth) + along) + noise)

    def write(self, folder: Path, **tags: object) -> list[Path]:
        """Writes one file a slice."""
        folder.mkdir(parents=True, exist_ok=True)
        series, found = generate_uid(), []
        for number, depth in enumerate(self.depths, 1):
            one = header(CTImageStorage, series)
            one.InstanceNumber = number
            one.ImagePositionPatient = [round(float(v), 5) for v in self.origin(depth)]
            one.ImageOrientationPatient = [float(v) for v in self.axes.ravel()]
            one.PixelSpacing = [self.spacing[1], self.spacing[0]]
            one.RescaleIntercept, one.RescaleSlope = -1024, 1
            set_pixels(one, self.image(depth) + 1024)
            for name, value in tags.items():
                setattr(one, name, value)
            self.change(number, one)
            path = folder / f"{number:04d}.dcm"
            one.save_as(path, enforce_file_format=True)
            found.append(path)
        return found


def header(kind: UID, series: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, kind
    meta.MediaStorageSOPInstanceUID = generate_uid()
    one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    one.SeriesInstanceUID, one.StudyInstanceUID = series, generate_uid()
    one.Modality, one.SeriesNumber, one.SeriesDescription = "CT", 2, "axial"
    one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    return one


def set_pixels(one: Dataset, values: np.ndarray) -> None:
    one.Rows, one.Columns = values.shape[-2:]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    signed = bool(values.min() < 0)
    one.HighBit, one.PixelRepresentation = 15, int(signed)
    one.PixelData = values.astype("<i2" if signed else "<u2").tobytes()


def write_enhanced(scan: Scan, path: Path, shuffled: bool = True) -> Path:
    """Writes all slices as one enhanced multi-frame file, its frames in no order of place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    depths = np.random.default_rng(0).permutation(scan.depths) if shuffled else scan.depths
    one = header(EnhancedCTImageStorage, generate_uid())
    set_pixels(one, np.stack([scan.image(depth) for depth in depths]) + 1024)
    one.NumberOfFrames = len(depths)
    shared = Dataset()
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=[float(v) for v in scan.axes.ravel()])
    shared.PixelMeasuresSequence = group(PixelSpacing=[scan.spacing[1], scan.spacing[0]], SliceThickness=9.0)
    shared.PixelValueTransformationSequence = group(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU")
    one.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for depth in depths:
        frame = Dataset()
        frame.PlanePositionSequence = group(ImagePositionPatient=[float(v) for v in scan.origin(depth)])
        frames.append(frame)
    one.PerFrameFunctionalGroupsSequence = Sequence(frames)
    one.save_as(path, enforce_file_format=True)
    return path


def group(**tags: object) -> Sequence:
    inner = Dataset()
    for name, value in tags.items():
        setattr(inner, name, value)
    return Sequence([inner])


def turned(angle_deg: float, about: str = "x") -> np.ndarray:
    """Axes of slices that are turned about an axis of the patient."""
    a = np.radians(angle_deg)
    rotation = {
        "x": [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]],
        "y": [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]],
        "z": [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]],
    }[about]
    return (np.array(rotation) @ np.eye(3)[:2].T).T
