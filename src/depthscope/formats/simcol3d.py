"""SimCol3D: a synthetic colon rendered in Unity, with depth and poses (Rau et al. 2023).

Checked against the organisers' published display and evaluation scripts: depth in cm is v / 256 / 255 * 20, positions
are cm, quaternions x y z w, world_from_camera in left-handed axes, turned by F T F with F = diag(1, -1, 1, 1). Not
verified, as the data is not here: the intrinsics. ``cam.txt`` as a matrix has fx = cx = 227.6 and fy = cy = 237.5,
others take fx = fy = 227.6 with the centre at 237.5. The depth maps decide (how well they agree between frames), and
the notes give both figures. Where the camera is too still to decide, the file is taken by the letter.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from depthscope.agreement import depth_agreement
from depthscope.errors import BadInputError
from depthscope.formats.dataset_files import (
    camera_beside,
    depth_beside,
    lines_of_frames,
    numbered,
    rows_of_numbers,
    size_of,
)
from depthscope.formats.motions import motions_of
from depthscope.formats.trajectory import remarks
from depthscope.geometry import Camera, RigidMotion
from depthscope.ground_truth import DepthEncoding, GroundTruth
from depthscope.reading import reader

ENCODING = DepthEncoding("uint16", 200 / 65280)
"""Millimetres: 65280 is 20 cm."""

MM_PER_CM = 10.0
COLOUR = "FrameBuffer_*.png"
"""The frames, among which the depth maps lie."""
POSE_FILES = ("SavedPosition", "SavedRotationQuaternion")
NO_POSES = f"no {POSE_FILES[0]}*.txt: frames and depth alone"


def recognises(folder: Path) -> bool:
    """Whether a folder is a ``Frames_*`` folder of SimCol3D, complete or not."""
    poses = any(folder.parent.glob("SavedPosition*.txt"))
    return bool(_frames(folder) and (poses or numbered(folder, r"Depth_(\d+)\.png")))


@reader("a clip of SimCol3D")
def read(folder: Path) -> GroundTruth:
    """Reads one ``Frames_*`` folder with the pose files and ``cam.txt`` above it.

    Raises:
        BadInputError: A file is missing or damaged.
    """
    folder = Path(folder).resolve()
    frames = _frames(folder)
    maps = numbered(folder, r"Depth_(\d+)\.png")
    depth = depth_beside(
        frames, maps, ENCODING, f"{folder} looks like SimCol3D: {len(frames)} FrameBuffer_*.png", "Depth_*.png"
    )
    paths = tuple(frames.values())
    size = size_of(paths)
    clip = re.sub(r"^Frames_", "", folder.name)
    files = _pose_files(folder, clip)
    motions, notes = (None, (NO_POSES,)) if files is None else _motions(*files, frames)
    truth = GroundTruth(
        name=f"{folder.parent.name}-{clip}",
        layout="SimCol3D",
        images=paths,
        cameras=None,
        camera_from_world=motions,
        depth=depth,
        notes=notes,
        pose_direction="" if motions is None else "world_from_camera",
    )
    given = camera_beside((folder, folder.parent), size)
    if given is not None:
        return replace(truth, cameras=(given,) * len(paths))
    told = _camera_file(folder)
    if told is None and motions is None:
        return replace(truth, notes=(*notes, "no cam.txt: the camera is not known"))
    if told is None:
        raise BadInputError(
            f"{folder} looks like SimCol3D, but no cam.txt", "it beside the Frames folder", "download it"
        )
    return _with_fitting_camera(truth, rows_of_numbers(told, (3, 9)).ravel(), size)


def _motions(positions: Path, rotations: Path, frames: dict[int, Path]) -> tuple[RigidMotion, tuple[str, ...]]:
    """The motion of each frame, by its number: line n of the files is frame n."""
    translation = torch.from_numpy(rows_of_numbers(positions, (3,))) * MM_PER_CM
    quaternion = torch.from_numpy(rows_of_numbers(rotations, (4,)))[:, [3, 0, 1, 2]]
    if len(translation) != len(quaternion):
        raise BadInputError(
            f"{positions.name} holds {len(translation)} poses and {rotations.name} {len(quaternion)}",
            "as many lines in both",
            "download both again",
        )
    lines, paired = lines_of_frames(len(translation), frames, positions, 0)
    stored = motions_of(quaternion, translation, [f"line {n + 1}" for n in range(len(quaternion))], rotations)
    notes = ("poses are world_from_camera in left-handed axes, turned to right-handed", paired)
    return right_handed(stored).inverse()[torch.tensor(lines)], (*notes, *remarks(stored, rotations.name))


def right_handed(left_handed: RigidMotion) -> RigidMotion:
    """F T F with F = diag(1, -1, 1): from Unity's axes (y up) to x right, y down, z forward."""
    flip = torch.tensor([1.0, -1.0, 1.0], dtype=left_handed.translation.dtype)
    return RigidMotion(left_handed.rotation * flip[:, None] * flip, left_handed.translation * flip)


def _frames(folder: Path) -> dict[int, Path]:
    return numbered(folder, r"FrameBuffer_(\d+)\.png")


def _pose_files(folder: Path, clip: str) -> tuple[Path, Path] | None:
    """The files of positions and of rotations, or None where there is neither.

    Raises:
        BadInputError: There is one of them alone.
    """
    found = [_beside(folder, (f"{kind}_{clip}.txt", f"{kind}.txt")) for kind in POSE_FILES]
    positions, rotations = found
    if positions is None and rotations is None:
        return None
    if positions is None or rotations is None:
        kind = POSE_FILES[0] if positions is None else POSE_FILES[1]
        raise BadInputError(
            f"{folder} looks like SimCol3D, but no {kind}_{clip}.txt", "it beside the Frames folder", "download it too"
        )
    return positions, rotations


def _camera_file(folder: Path) -> Path | None:
    return next((file for place in (folder, folder.parent) if (file := _beside(place, ("cam.txt",)))), None)


def _beside(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of some files that lies beside a folder or in it."""
    places = [place / name for place in (folder.parent, folder) for name in names]
    return next((place for place in places if place.is_file()), None)


def _with_fitting_camera(truth: GroundTruth, numbers: np.ndarray, size: tuple[int, int]) -> GroundTruth:
    """The clip with the reading of ``cam.txt`` under which the depth of its frames agrees best."""
    if len(numbers) != 9:
        raise BadInputError(f"{truth.name}: cam.txt holds {len(numbers)} numbers", "nine", "download it again")
    k = numbers.reshape(3, 3)
    first = float(k[0, 0])
    readings = {"by the letter": (first, float(k[1, 1]), float(k[0, 2]), float(k[1, 2]))}
    centre = size[0] / 2 - 0.5, size[1] / 2 - 0.5
    if not np.allclose([k[0, 0], k[0, 2], k[1, 2]], [k[1, 1], *centre], atol=1.0):
        readings["square pixels, centre in the middle"] = (first, first, *centre)
    clips = {
        name: replace(truth, cameras=(Camera(size, (fx, fy), (cx + 0.5, cy + 0.5)),) * len(truth))
        for name, (fx, fy, cx, cy) in readings.items()
    }
    if len(clips) == 1:
        return next(iter(clips.values()))
    found = {name: depth_agreement(clip) for name, clip in clips.items()}
    said = "; ".join(f"{name}: {'unknown' if v is None else f'{v:.2%}'}" for name, v in found.items())
    known = {name: value for name, value in found.items() if value is not None}
    ranked = sorted(known, key=lambda name: known[name])
    decided = len(ranked) == len(clips) and known[ranked[0]] < 0.67 * known[ranked[1]]
    chosen = ranked[0] if decided else "by the letter"
    note = f"cam.txt read {chosen}; depth differs between frames by {said}"
    note += "" if decided else "; too close to decide: give a camera.yaml if you know the camera"
    return replace(clips[chosen], notes=(*truth.notes, note))
