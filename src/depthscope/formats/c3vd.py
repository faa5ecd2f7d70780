"""C3VD and C3VDv2: colonoscopy of silicone phantoms with registered depth and poses (Bobrow et al. 2023).

Checked against the public renderer (``render/Render.cu``, ``render/Intrinsics.h`` of DurrLab/C3VD): z-depth clamped to
0-100 mm in 16 bits; the omnidirectional ray with M = [[c, e], [d, 1]] (written column by column), a1 left out, z
forward, y down; integer pixel centres, so 0.5 is added. ``pose.txt`` is world_from_camera; the place of its 0 0 0 1
tells whether it was written by rows or by columns. Not verified, as the data is not here: that the numbers of v1 below,
from the authors' answer in an issue, are those the released maps were rendered with. ``inspect`` tells
how well depth and poses agree.
"""

import re
from pathlib import Path

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.formats.dataset_files import (
    camera_beside,
    depth_beside,
    lines_of_frames,
    motions_of_matrices,
    numbered,
    rows_of_numbers,
    size_of,
)
from depthscope.formats.trajectory import remarks
from depthscope.geometry import Camera, RigidMotion, Scaramuzza
from depthscope.ground_truth import DepthEncoding, GroundTruth
from depthscope.reading import reader

POSES, INTRINSICS = "pose.txt", "camera_intrinsics.txt"
COLOUR = "*_color.png"
"""The frames of v1, among whose files depth, normals and flow lie."""

ENCODING = DepthEncoding("uint16", 100 / 65535, largest=100.0)
"""65535 is 100 mm or more: not a depth."""

NO_POSES = f"no {POSES}: frames and depth alone"

V1_SIZE = (1350, 1080)
V1_NUMBERS = {
    "width": 1350.0,
    "height": 1080.0,
    "cx": 678.544839,
    "cy": 542.975888,
    "a0": 769.243600,
    "a2": -8.12770624e-4,
    "a3": 6.25674244e-7,
    "a4": -1.19662182e-9,
    "c": 0.99998688,
    "d": 0.00288274,
    "e": -0.00296317,
}


def recognises(folder: Path) -> bool:
    """Whether a folder is laid out like a C3VD clip, complete or not."""
    further = (folder / POSES).is_file() or _has_depth(folder) or _has_depth(folder / "depth")
    return bool(further and (_frames_v1(folder) or _frames_v2(folder)))


@reader("a clip of C3VD")
def read(folder: Path) -> GroundTruth:
    """Reads a clip of either release.

    Raises:
        BadInputError: A file is missing or damaged; or the frames have no known camera.
    """
    folder = Path(folder)
    second = not _frames_v1(folder)
    title, frames = ("C3VDv2", _frames_v2(folder)) if second else ("C3VD", _frames_v1(folder))
    names = "rgb/*.png" if second else "*_color.png"
    seems = f"{folder} looks like {title}: {len(frames)} {names}" + (
        f" and {POSES}" if (folder / POSES).is_file() else ""
    )
    maps = numbered(folder / "depth" if second else folder, r"(\d+)_depth\.tiff?")
    depth = depth_beside(frames, maps, ENCODING, seems, f"{'depth/' if second else ''}*_depth.tiff")
    paths = tuple(frames.values())
    size = size_of(paths)
    camera, source = _camera(folder, size)
    motions, notes = _motions(folder / POSES, frames) if (folder / POSES).is_file() else (None, (NO_POSES,))
    return GroundTruth(
        name=folder.resolve().name,
        layout=title,
        images=paths,
        cameras=(camera,) * len(paths),
        camera_from_world=motions,
        depth=depth,
        notes=(*notes, f"camera: {source}", "depth of 100 mm or more is clamped in the files, and unknown here"),
        pose_direction="" if motions is None else "world_from_camera",
    )


def _motions(path: Path, frames: dict[int, Path]) -> tuple[RigidMotion, tuple[str, ...]]:
    """The motion of each frame, by its number: line n of the file is frame n."""
    matrices, order = _unflattened(rows_of_numbers(path, (16,)), path)
    lines, paired = lines_of_frames(len(matrices), frames, path, 0)
    stored = motions_of_matrices(matrices, path)
    notes = (f"poses are world_from_camera, written {order}", paired, *remarks(stored, path.name))
    return stored.inverse()[torch.tensor(lines)], notes


def _frames_v1(folder: Path) -> dict[int, Path]:
    return numbered(folder, r"(\d+)_color\.png")


def _frames_v2(folder: Path) -> dict[int, Path]:
    return numbered(folder / "rgb", r"(\d+)(?:_color)?\.png")


def _has_depth(folder: Path) -> bool:
    return bool(numbered(folder, r"(\d+)_depth\.tiff?"))


def _unflattened(rows: np.ndarray, path: Path) -> tuple[np.ndarray, str]:
    """The matrices, and how they were written: the 0 0 0 1 stands last by rows, in every fourth place by columns."""
    matrices, last = rows.reshape(-1, 4, 4), np.array([0, 0, 0, 1.0])
    by_rows = np.median(np.abs(matrices[:, 3] - last).max(-1)) < 1e-4  # the median: one damaged line must not decide
    by_columns = np.median(np.abs(matrices[:, :, 3] - last).max(-1)) < 1e-4
    if by_rows and by_columns and np.abs(matrices[:, :3, :3] - np.eye(3)).max() > 1e-4:
        raise BadInputError(f"{path} has no translation in any pose", "poses of a moving camera", "download it again")
    if not by_rows and not by_columns:
        raise BadInputError(f"{path} holds no rigid motions", "0 0 0 1 as the last row of each", "download it again")
    return (matrices.transpose(0, 2, 1), "column by column") if by_columns else (matrices, "row by row")


def _camera(folder: Path, size: tuple[int, int]) -> tuple[Camera, str]:
    """The camera of a clip and where it came from."""
    given = camera_beside((folder, folder.resolve().parent), size)
    if given is not None:
        return given, "camera.yaml beside the clip"
    for place in (folder, folder.resolve().parent, folder.resolve().parent.parent):
        if (place / INTRINSICS).is_file():
            return _omnidirectional(_numbers(place / INTRINSICS), size, str(place / INTRINSICS)), INTRINSICS
    if size[0] * V1_SIZE[1] != size[1] * V1_SIZE[0]:
        raise BadInputError(
            f"{folder}: frames of {size[0]} x {size[1]} pixels and no {INTRINSICS}",
            f"{V1_SIZE[0]} x {V1_SIZE[1]} as published, or a camera.yaml",
            "put the camera.yaml of the cropped frames beside them",
        )
    camera = _omnidirectional(V1_NUMBERS, V1_SIZE, "published numbers")
    return camera.resized(size), "the published omnidirectional numbers of C3VD v1"


def _numbers(path: Path) -> dict[str, float]:
    """``name = value`` lines; ``;`` starts a comment."""
    found = {}
    for line in path.read_text(errors="replace").splitlines():
        fits = re.fullmatch(r"\s*(\w+)\s*[=:]\s*([-+.\deE]+)\s*(?:;.*)?", line)
        if fits:
            try:
                found[fits.group(1)] = float(fits.group(2))
            except ValueError:
                continue
    missing = [name for name in V1_NUMBERS if name not in found]
    if missing:
        raise BadInputError(f"{path} lacks {', '.join(missing)}", "lines like 'a0 = 767.73'", "download it again")
    return found


def _omnidirectional(numbers: dict[str, float], size: tuple[int, int], source: str) -> Camera:
    a0 = numbers["a0"]
    own = int(numbers["width"]), int(numbers["height"])
    if own[0] * size[1] != own[1] * size[0]:
        raise BadInputError(f"{source} is for {own} pixels", f"{size} as the frames", "use the frames as published")
    lens = Scaramuzza.from_pixels(a0, *(numbers[k] for k in ("a2", "a3", "a4", "c", "d", "e")))
    centre = numbers["cx"] + 0.5, numbers["cy"] + 0.5
    return Camera(own, (a0, a0), centre, lens, source=source).resized(size)
