"""The folders of the Johns Hopkins endoscopy projects (Liu et al. 2018 to 2022), in both of their layouts.

One folder holds everything, or ``images/`` and ``colmap/0/`` share it. The poses of one file are read in two opposite
ways by the projects' own programs, so the direction is found here from the images (`photo_consistency`), and told in
the notes.
Intrinsics are stored with the top-left pixel's centre at (0, 0); 0.5 is added in reading and subtracted in writing.
"""

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from depthscope.errors import BadInputError, require_file
from depthscope.formats import ply
from depthscope.formats.intrinsics import remarks_on_centre
from depthscope.formats.jhu.direction import PoseDirection, found_direction, one_in_front
from depthscope.formats.jhu.files import (
    GIVEN,
    INTRINSICS,
    MASK,
    POINTS,
    POSES,
    REGISTERED,
    TRACKS,
    camera_text,
    points_text,
    poses_text,
    read_cameras,
    read_numbers,
    read_poses,
    read_tracks,
    tracks_text,
)
from depthscope.formats.motions import motions_of
from depthscope.reading import reader
from depthscope.sequence import Sequence
from depthscope.video import IMAGE_ENDINGS, check_sizes, image_size, order_of_name, read_grey, write_image

FILES = (POSES, POINTS, TRACKS, GIVEN, REGISTERED, INTRINSICS)

TISSUE = 255
"""The grey level of tissue in the mask. The file is a resampled mask, and its grey rim is not tissue."""


@dataclass(frozen=True)
class JhuLayout:
    """Where the files are: the folder of the images, and that of everything else."""

    images: Path
    model: Path


def recognises(folder: Path) -> bool:
    """Whether a folder is laid out like this, complete or not."""
    return _layout(Path(folder)) is not None


@reader("a JHU folder")
def read(folder: Path, pose_direction: PoseDirection = "auto") -> Sequence:
    """Reads a folder.

    Args:
        folder: The folder of either layout.
        pose_direction: How ``motion.yaml`` is to be read; "auto" asks the images.

    Raises:
        BadInputError: A file is missing or damaged, files do not belong together, or the images fit neither direction
            of the poses (or both).
    """
    folder = Path(folder)
    layout = _layout(folder)
    if layout is None:
        raise BadInputError(f"{folder} is not a JHU folder", f"one with {POSES}, {POINTS}, {TRACKS}", "check the path")
    model = layout.model
    for name in (*FILES, MASK):
        require_file(model / name, "a file of a JHU folder")

    registered = read_numbers(model / REGISTERED)
    given = read_numbers(model / GIVEN)
    poses, convention = read_poses(model / POSES)
    if len(poses) != len(registered):
        raise BadInputError(
            f"{model}: {len(poses)} poses in {POSES} and {len(registered)} frames in {REGISTERED}",
            "one pose for each registered frame",
            "export both again from the same reconstruction",
        )
    if len(set(registered)) < len(registered):
        raise BadInputError(f"{model / REGISTERED} names a frame twice", "each frame once", "export it again")
    order = np.argsort(registered, kind="stable")
    frames = [registered[i] for i in order]
    stored = motions_of(
        torch.from_numpy(poses[order, 3:]),
        torch.from_numpy(poses[order, :3]),
        [f"frame {n}" for n in frames],
        model / POSES,
    )

    images = _images(layout.images, frames)
    size = image_size(images[0])
    check_sizes(images[1:], size, f"{images[0].name}, the first frame")
    cameras = read_cameras(model / INTRINSICS, size, [registered, given], frames)
    mask = read_grey(model / MASK) == TISSUE
    contents = ply.read_contents(model / POINTS)
    points = torch.from_numpy(ply.coordinates(contents, model / POINTS))
    observations, notes = read_tracks(model / TRACKS, frames, len(points))

    by_direction = {"camera_from_world": stored, "world_from_camera": stored.inverse()}
    sequence = Sequence(
        name=folder.resolve().name,
        images=images,
        cameras=cameras,
        camera_from_world=one_in_front(by_direction, points, observations, pose_direction),
        points=points,
        observations=observations,
        mask=mask,
        unregistered=_unregistered(layout.images, sorted(set(given) - set(frames))),
    )
    if pose_direction == "auto":
        direction, reason = found_direction(sequence, by_direction, convention)
    else:
        direction, reason = pose_direction, f"poses are {pose_direction}, as told"
    return replace(
        sequence,
        camera_from_world=by_direction[direction],
        mask=None if bool(mask.all()) else mask,
        notes=(reason, *notes, *remarks_on_centre(cameras[0])),
        pose_direction=direction,
    )


def write(sequence: Sequence, folder: Path) -> tuple[str, ...]:
    """Writes a folder with everything in it, poses as world_from_camera; returns what was decided, in words.

    The layout has no place for lens distortion, measured pixels, reprojection errors and colours of points. Images are
    copied as they are, and numbered from 0 if their names are not numbers.

    Raises:
        BadInputError: The camera has lens distortion.
    """
    folder = Path(folder)
    for camera in dict.fromkeys(sequence.cameras):
        if any(camera.distortion.coefficients):
            raise BadInputError(
                f"{sequence.name}: a {camera.model} camera with lens distortion",
                "undistorted frames, as this layout has no place for distortion",
                "undistort frames and model first, or choose --to colmap",
            )
    folder.mkdir(parents=True, exist_ok=True)
    notes = ["poses are written as world_from_camera"]
    place = sequence.images[0].parent
    sources = [*sequence.images, *(place / name for name in sequence.unregistered)]
    numbers = [int(path.stem) if re.fullmatch(r"\d{1,8}", path.stem) else -1 for path in sources]
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        ranks = np.argsort(sorted(range(len(sources)), key=lambda i: order_of_name(sources[i].name)), kind="stable")
        numbers = ranks.tolist()
        notes.append(f"frame names are not numbers: numbered 0 to {len(numbers) - 1} in the order of their names")
    for source, number in zip(sources, numbers, strict=True):
        if source.is_file():
            shutil.copyfile(source, folder / f"{number:08d}{source.suffix.lower()}")
    endings = sorted({path.suffix.lower() for path in sequence.images} - {".jpg"})
    if endings:
        notes.append(f"frames are {', '.join(endings)} files, copied as they are; other programs look for .jpg only")

    frames = numbers[: len(sequence)]
    if frames != sorted(frames):
        raise BadInputError(
            f"{sequence.name}: frame numbers that fall", "numbers that rise with time", "rename the frames"
        )
    (folder / REGISTERED).write_text("".join(f"{n}\n" for n in frames))
    (folder / GIVEN).write_text("".join(f"{n}\n" for n in sorted(numbers)))
    cameras = sequence.cameras if len(set(sequence.cameras)) > 1 else sequence.cameras[:1]
    (folder / INTRINSICS).write_text("".join(camera_text(camera) for camera in cameras))
    (folder / POSES).write_text(poses_text(sequence.camera_from_world.inverse()))
    (folder / POINTS).write_text(points_text(sequence.points.tolist()))
    (folder / TRACKS).write_text(tracks_text(sequence.observations, len(sequence.points), frames))
    width, height = sequence.size_px
    mask = torch.ones(height, width, dtype=torch.bool) if sequence.mask is None else sequence.mask
    write_image(folder / MASK, mask.to(torch.uint8) * TISSUE)
    dropped = [
        what
        for what, there in (
            ("measured pixels", sequence.observations.pixels is not None),
            ("reprojection errors", sequence.point_error_px is not None),
            ("colours", sequence.point_colours is not None),
        )
        if there
    ]
    if dropped:
        notes.append(f"not kept, as this layout has no place for them: {', '.join(dropped)}")
    return tuple(notes)


def _layout(folder: Path) -> JhuLayout | None:
    for model in (folder, folder / "colmap" / "0"):
        if sum((model / name).is_file() for name in FILES) >= 2:
            beside = [f for f in (folder / "images", model.parent.parent / "images") if f.is_dir()]
            here = any(p.suffix.lower() in IMAGE_ENDINGS and p.stem.isdigit() for p in model.iterdir())
            return JhuLayout(model if here or not beside else beside[0], model)
    return None


def _numbered_images(folder: Path) -> dict[int, Path]:
    """The image files whose names are numbers; of two with one number the .jpg, which the layout asks for."""
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_ENDINGS and p.stem.isdigit()]
    return {int(p.stem): p for p in sorted(found, key=lambda p: p.suffix.lower() == ".jpg")}


def _images(folder: Path, frames: list[int]) -> tuple[Path, ...]:
    found = _numbered_images(folder)
    missing = [frame for frame in frames if frame not in found]
    if missing:
        raise BadInputError(
            f"{folder}: no image for {len(missing)} of {len(frames)} registered frames, first {missing[0]:08d}.jpg",
            f"an image for each number in {REGISTERED}",
            "copy the frames into the folder",
        )
    return tuple(found[frame] for frame in frames)


def _unregistered(folder: Path, frames: list[int]) -> tuple[str, ...]:
    found = _numbered_images(folder)
    return tuple(found[frame].name if frame in found else f"{frame:08d}.jpg" for frame in frames)
