"""The files of a JHU folder, each with its reader and its writer."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.formats.intrinsics import camera_for
from depthscope.geometry import Camera, RigidMotion
from depthscope.reading import text_of, yaml_from
from depthscope.sequence import Observations
from depthscope.video import order_of_name

POSES, POINTS, TRACKS = "motion.yaml", "structure.ply", "view_indexes_per_point"
GIVEN, REGISTERED = "selected_indexes", "visible_view_indexes"
INTRINSICS, MASK = "camera_intrinsics_per_view", "undistorted_mask.bmp"

HALF_PX = 0.5
"""From the principal point of the files, where the top-left pixel's centre is (0, 0), to ours."""


def read_numbers(path: Path) -> list[int]:
    """Whole numbers separated by white space."""
    words = path.read_text(errors="replace").split()
    try:
        numbers = [int(word) for word in words]
    except ValueError as error:
        bad = next(word for word in words if not re.fullmatch(r"[-+]?\d+", word))
        raise BadInputError(f"{path} holds '{bad[:30]}'", "whole numbers, one per line", "export it again") from error
    if not numbers:
        raise BadInputError(f"{path} is empty", "whole numbers, one per line", "export it again")
    return numbers


def read_poses(path: Path) -> tuple[np.ndarray, str]:
    """Poses as rows x y z, qw qx qy qz in the order of their numbers, and the direction that a comment names ("")."""
    text = text_of(path, "a list poses[] of position and orientation")
    try:
        document = yaml_from(text, path, "a list poses[] of position and orientation")
        poses = _poses_of(document)
        rows = [
            [float(part[key]) for part, keys in ((p["position"], "xyz"), (p["orientation"], "wxyz")) for key in keys]
            for p in poses
        ]
    except (BadInputError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        kind = (error.__cause__ or error).__class__.__name__ if not isinstance(error, KeyError) else f"no {error}"
        raise BadInputError(
            f"{path} cannot be read as poses ({kind})",
            "a list poses[] of position {x, y, z} and orientation {x, y, z, w}",
            "export it again",
        ) from error
    said = re.search(r"^#.*convention:?\s+(camera_from_world|world_from_camera)\b", text, re.MULTILINE)
    return np.array(rows, dtype=np.float64).reshape(-1, 7), said.group(1) if said else ""


def _poses_of(document: Any) -> list[dict]:
    """The poses, under the key that begins with 'poses' or else the second one, in the order of their numbers."""
    keys = list(document)
    key = next((k for k in keys if str(k).startswith("poses")), keys[1] if len(keys) > 1 else None)
    found = document[key]
    if isinstance(found, dict):
        return [found[name] for name in sorted(found, key=order_of_name)]
    return list(found)


def read_cameras(
    path: Path, size_px: tuple[int, int], index_files: list[list[int]], frames: list[int]
) -> tuple[Camera, ...]:
    """The camera of each frame: four numbers for all, or for each of the registered or of the given frames."""
    words = path.read_text(errors="replace").split()
    try:
        numbers = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise BadInputError(
            f"{path} holds what is no number", "fx, fy, cx, cy, one per line", "export it again"
        ) from error
    if not len(numbers) or len(numbers) % 4:
        raise BadInputError(
            f"{path} holds {len(numbers)} numbers", "four for each view: fx, fy, cx, cy", "export it again"
        )
    views = numbers.reshape(-1, 4)
    unlike = (views != views[0]).any()
    if not unlike:
        rows = [0] * len(frames)
    else:
        index = next((numbers for numbers in index_files if len(numbers) == len(views)), None)
        if index is None or not set(frames) <= set(index):
            raise BadInputError(
                f"{path} holds {len(views)} different views for {len(frames)} registered frames",
                "one view, or one for each frame",
                "export it again",
            )
        rows = [index.index(frame) for frame in frames]
    return tuple(
        camera_for(size_px, (float(fx), float(fy)), (float(cx) + HALF_PX, float(cy) + HALF_PX), str(path))
        for fx, fy, cx, cy in views[rows]
    )


def read_tracks(path: Path, frames: list[int], points: int) -> tuple[Observations, list[str]]:
    """Who saw which point, ordered by point and frame; -1 opens the block of the next point."""
    indexes = np.array(read_numbers(path))
    opening = indexes == -1
    if not opening[0]:
        raise BadInputError(f"{path} begins with {indexes[0]}", "-1, which opens each point's block", "export it again")
    if opening.sum() != points:
        raise BadInputError(
            f"{path} holds {opening.sum()} blocks for the {points} points of {POINTS}",
            "one block for each point",
            "export both again from the same reconstruction",
        )
    point, index = (np.cumsum(opening) - 1)[~opening], indexes[~opening]
    place = np.searchsorted(frames, index)
    known = np.array([*frames, -2])[place] == index
    rows = np.unique(np.stack([point[known], place[known]], 1), axis=0)
    notes = []
    if not known.all():
        strangers = np.unique(index[~known])
        notes.append(f"{(~known).sum()} observations of {len(strangers)} frames that are not registered were dropped")
    if len(rows) < known.sum():
        notes.append(f"{known.sum() - len(rows)} observations were listed twice")
    return Observations(torch.from_numpy(rows[:, 1].copy()), torch.from_numpy(rows[:, 0].copy())), notes


def _number(value: float) -> str:
    """All digits, in a form that YAML 1.1 also takes for a number: it wants a dot before an exponent."""
    text = repr(float(value))
    return text if "e" not in text or "." in text else text.replace("e", ".0e")


def camera_text(camera: Camera) -> str:
    """The four numbers of one view, one per line."""
    (fx, fy), (cx, cy) = camera.focal_px, camera.centre_px
    return "".join(f"{_number(value)}\n" for value in (fx, fy, cx - HALF_PX, cy - HALF_PX))


def poses_text(world_from_camera: RigidMotion) -> str:
    """``motion.yaml``, with a comment that says which way the poses are stored."""
    lines = [
        "# convention: world_from_camera (X_world = R X_camera + t); camera axes x right, y down, z forward",
        "header:",
        "  seq: 0",
        "  stamp: 0.000000000",
        "  frame_id:",
        "poses[]:",
    ]
    rows = zip(world_from_camera.translation.tolist(), world_from_camera.quaternion_wxyz.tolist(), strict=True)
    for number, (position, (w, x, y, z)) in enumerate(rows):
        lines += [f"  poses[{number}]:", "    position:"]
        lines += [f"      {axis}: {_number(value)}" for axis, value in zip("xyz", position, strict=True)]
        lines += ["    orientation:"]
        lines += [f"      {axis}: {_number(value)}" for axis, value in zip("xyzw", (x, y, z, w), strict=True)]
    return "\n".join(lines) + "\n"


def points_text(points: list[list[float]]) -> str:
    """``structure.ply``: nothing but x y z, which is all that other readers of the layout expect."""
    header = ["ply", "format ascii 1.0", "comment unit of the reconstruction", f"element vertex {len(points)}"]
    header += [*(f"property float {axis}" for axis in "xyz"), "end_header"]
    return "\n".join([*header, *(" ".join(map(repr, point)) for point in points)]) + "\n"


def tracks_text(observations: Observations, points: int, frames: list[int]) -> str:
    """``view_indexes_per_point``: the block of each point, opened by -1."""
    order = np.lexsort((observations.frame.numpy(), observations.point.numpy()))
    index = np.array(frames)[observations.frame.numpy()[order]]
    counts = np.bincount(observations.point.numpy(), minlength=points)
    blocks = np.split(index, np.cumsum(counts)[:-1])
    return "".join(f"{number}\n" for block in blocks for number in (-1, *block.tolist()))
