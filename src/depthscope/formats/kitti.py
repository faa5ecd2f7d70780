"""KITTI: drives of a car with two colour cameras (Geiger et al. 2013), raw and odometry, for view synthesis.

Raw: ``DATE/calib_cam_to_cam.txt`` and ``DATE/DATE_drive_NNNN_sync/image_02|image_03/data/NNNNNNNNNN.png|jpg``.
Odometry: ``sequences/NN/image_2|image_3/NNNNNN.png``, ``calib.txt`` beside them, ``poses/NN.txt``. The calibration
is of OpenCV's convention, in which the first pixel's centre is (0, 0); lengths are in metres there and in mm here.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.formats import trajectory
from depthscope.formats.dataset_files import numbered
from depthscope.formats.intrinsics import camera_for
from depthscope.geometry import Camera, RigidMotion
from depthscope.reading import inside, reader, text_of
from depthscope.unposed_clip import RightCamera, UnposedClip
from depthscope.video import image_size

MM_PER_M = 1000.0
CALIBRATION, ODOMETRY_CALIBRATION = "calib_cam_to_cam.txt", "calib.txt"
FRAME = r"(\d+)\.(?:png|jpe?g)"
SIDES = {"l": 0, "r": 1, "2": 0, "3": 1}
"""How lists name the eyes."""


@dataclass(frozen=True)
class Layout:
    """Where one kind of folder keeps its frames and its calibration.

    Attributes:
        frames: Folder of the frames of each eye, left first.
        calibration: Name of the calibration file.
        projections: Its two entries.
        size: Its entry for the size of the frames, "" where it has none.
        above: Whether it lies in the folder above.
    """

    frames: tuple[str, str]
    calibration: str
    projections: tuple[str, str]
    above: bool
    size: str = ""


RAW = Layout(("image_02/data", "image_03/data"), CALIBRATION, ("P_rect_02", "P_rect_03"), above=True, size="S_rect_02")
ODOMETRY = Layout(("image_2", "image_3"), ODOMETRY_CALIBRATION, ("P2", "P3"), above=False)


def recognises(folder: Path) -> bool:
    """Whether a folder is a drive, a day of drives, or an odometry sequence, complete or not."""
    return _layout(folder) is not None or bool(_drives(folder))


@reader("a drive of KITTI")
def read(folder: Path, *, stereo: bool = False) -> tuple[UnposedClip, ...]:
    """Both eyes of a drive or odometry sequence, or of every drive of a day, as clips of their own.

    Args:
        folder: See `recognises`.
        stereo: Each eye sees the other one; without, they are clips of one eye.

    Raises:
        BadInputError: A file is missing or damaged, or the two eyes have different frames.
    """
    folder = Path(folder)
    layout = _layout(folder)
    if layout is not None:
        return _eyes(folder, layout, None, stereo)
    drives = _drives(folder)
    if not drives:
        raise BadInputError(
            f"{folder} is no drive of KITTI", "image_02/data and image_03/data, or image_2", "unpack it"
        )
    return tuple(one for drive in drives for one in _eyes(drive, RAW, None, stereo))


@reader("a folder of drives of KITTI")
def read_split(root: Path, split: Path, *, stereo: bool = False) -> tuple[UnposedClip, ...]:
    """The frames that a split names as targets, of all drives under `root`; every other frame may be a source.

    Args:
        root: Folder that the names in the list start from; of odometry, the folder ``sequences``.
        split: A text file with lines ``DATE/DRIVE FRAME SIDE`` (Eigen's splits) or ``SEQUENCE FRAME SIDE`` (odometry);
            SIDE is l or r.
        stereo: See `read`.

    Raises:
        BadInputError: A line is damaged, or names a frame that is not there.
    """
    root, wanted = Path(root), defaultdict(lambda: defaultdict(list))
    for name, frame, side in read_list(split):
        wanted[name][side].append(frame)
    clips = []
    for name, by_side in wanted.items():
        clips += _eyes(*_named(root, name, split), by_side, stereo)
    return tuple(clips)


@reader("a folder of drives of KITTI")
def left_of_split(root: Path, split: Path) -> dict[str, UnposedClip]:
    """The drives that a list of frames to test on names, by their names in it: left eyes, with those frames as targets.

    Raises:
        BadInputError: As `read_split`, or the list names frames of the right eye.
    """
    wanted = defaultdict(list)
    for name, frame, side in read_list(split):
        if side:
            raise BadInputError(f"{split} names frames of the right eye ({name} {frame})", "the left one", "correct it")
        wanted[name].append(frame)
    return {
        name: _eyes(drive, layout, {0: sorted(set(frames))}, False)[0]
        for name, frames in wanted.items()
        for drive, layout in [_named(root, name, split)]
    }


def read_list(split: Path) -> list[tuple[str, int, int]]:
    """Lines of a split as (drive, frame, eye), eye 0 for left.

    Raises:
        BadInputError: The file is missing or empty, or a line is damaged; it names the line.
    """
    lines = []
    for number, line in enumerate(text_of(Path(split), "a list of frames").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not words[1].isdigit() or words[2] not in SIDES:
            raise BadInputError(f"{split}, line {number}: {line.strip()[:60]!r}", "DRIVE FRAME l|r", "correct it")
        lines.append((words[0], int(words[1]), SIDES[words[2]]))
    if not lines:
        raise BadInputError(f"{split} is empty", "lines DRIVE FRAME l|r", "take the published list")
    return lines


@reader("poses of KITTI odometry")
def read_path(file: Path) -> RigidMotion:
    """``camera_from_world`` of an odometry sequence from ``poses/NN.txt``, in mm; the file holds world_from_camera.

    Raises:
        BadInputError: The file is missing or a line is damaged.
    """
    return trajectory.read(file).camera_from_world


def _named(root: Path, name: str, split: Path) -> tuple[Path, Layout]:
    """The drive that a list calls so."""
    drive = inside(root, name, split)
    drive = drive if drive.is_dir() else root / name.zfill(2)
    layout = _layout(drive)
    if layout is None:
        raise BadInputError(f"{drive}, which {split.name} names, is no drive", "its frames", "unpack it there")
    return drive, layout


def _layout(folder: Path) -> Layout | None:
    return next((one for one in (RAW, ODOMETRY) if any((folder / eye).is_dir() for eye in one.frames)), None)


def _drives(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [drive for drive in sorted(folder.glob("*_drive_*")) if _layout(drive) is RAW]


def _eyes(folder: Path, layout: Layout, targets: dict[int, list[int]] | None, stereo: bool) -> tuple[UnposedClip, ...]:
    """The two eyes of a drive, as far as they are there and wanted.

    Args:
        folder: The drive.
        layout: Its layout.
        targets: Frame numbers that are wanted of each eye; None for all.
        stereo: Each sees the other.
    """
    frames = [numbered(folder / eye, FRAME) for eye in layout.frames]
    if not any(frames):
        raise BadInputError(f"{folder} holds no frames", f"{layout.frames[0]}/*.png or *.jpg", "unpack it again")
    if stereo and list(frames[0]) != list(frames[1]):
        raise BadInputError(
            f"{folder}: {len(frames[0])} frames of the left and {len(frames[1])} of the right eye",
            "the same frames of both",
            "unpack both, or use a recipe without stereo",
        )
    size = image_size(next(iter((frames[0] or frames[1]).values())))
    place = folder.parent if layout.above else folder
    cameras, offsets = _calibration(place / layout.calibration, layout, size)
    clips = []
    for eye in (0, 1):
        numbers = list(frames[eye])
        if not numbers or (targets is not None and eye not in targets):
            continue
        other = None
        if stereo:
            paths = tuple(frames[1 - eye].values())
            shift = RigidMotion(torch.eye(3, dtype=torch.float64), offsets[1 - eye] - offsets[eye])
            other = RightCamera(paths, (cameras[1 - eye],) * len(paths), shift, "mm")
        chosen = None if targets is None else _places(folder, numbers, targets[eye])
        name = f"{folder.resolve().name}-{'right' if eye else 'left'}"
        paths = tuple(frames[eye].values())
        clips.append(UnposedClip(name, paths, (cameras[eye],) * len(paths), right_camera=other, targets=chosen))
    return tuple(clips)


def _places(folder: Path, numbers: list[int], wanted: list[int]) -> tuple[int, ...]:
    place = {number: position for position, number in enumerate(numbers)}
    missing = [number for number in wanted if number not in place]
    if missing:
        raise BadInputError(
            f"{folder}: {len(missing)} of {len(wanted)} frames of the list are not there, the first is {missing[0]}",
            "every frame of the list",
            "unpack the drive again",
        )
    return tuple(place[number] for number in wanted)


def _calibration(path: Path, layout: Layout, size: tuple[int, int]) -> tuple[list[Camera], list[torch.Tensor]]:
    """The rectified cameras, and where a point of the common frame lies in each, in mm: P = K [1 | t]."""
    cameras, offsets = [], []
    if layout.size and has_entry(path, layout.size):
        own = tuple(int(side) for side in entry(path, layout.size, (2,)))
        if own != size:
            raise BadInputError(
                f"{path} is for frames of {own[0]} x {own[1]} pixels",
                f"{size[0]} x {size[1]} as the frames",
                "use the frames as published: smaller copies have another camera",
            )
    for name in layout.projections:
        p = entry(path, name, (3, 4))
        focal, centre = (p[0, 0], p[1, 1]), (p[0, 2] + 0.5, p[1, 2] + 0.5)
        cameras.append(camera_for(size, focal, centre, str(path), source=f"KITTI {name}"))
        offsets.append(torch.from_numpy(MM_PER_M * np.linalg.solve(p[:, :3], p[:, 3])))
    return cameras, offsets


def entry(path: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of one line ``NAME: ...`` of a calibration file.

    Raises:
        BadInputError: The file is missing, or has no such line of as many numbers.
    """
    entries = _entries(path)
    count = int(np.prod(shape))
    try:
        return np.array(entries[name], float).reshape(shape)
    except (KeyError, ValueError) as error:
        raise BadInputError(
            f"{path} has no {name} of {count} numbers", "KITTI's calibration", "unpack it again"
        ) from error


def has_entry(path: Path, name: str) -> bool:
    """Whether a calibration file has a line of this name."""
    return name in _entries(path)


def _entries(path: Path) -> dict[str, list[str]]:
    lines = text_of(path, "the calibration of this drive").splitlines()
    return {key.strip(): values.split() for key, _, values in (line.partition(":") for line in lines)}
