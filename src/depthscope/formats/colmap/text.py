"""COLMAP's text files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from depthscope.formats.colmap.cameras import MODELS, camera_of, numbers_of
from depthscope.formats.colmap.model import Model, points_by_number, slices


def data_lines(path: Path) -> list[str]:
    """Lines without comments; blank ones stay, since the line of an image without keypoints is blank."""
    lines = path.read_text(errors="replace").split("\n")
    return [line for line in lines if not line.startswith("#")]


def read_cameras(path: Path) -> dict:
    """The field of `Model` that ``cameras.txt`` fills."""
    cameras = {}
    for line in data_lines(path):
        if words := line.split():
            number, model, width, height, *numbers = words
            cameras[int(number)] = camera_of(model, int(width), int(height), [float(n) for n in numbers], path)
    return {"cameras": cameras}


def read_images(path: Path) -> dict:
    """The fields of `Model` that ``images.txt`` fills: two lines for each image, the second may be empty."""
    heads, seconds = [], []
    lines = iter(data_lines(path))
    for line in lines:
        if line.strip():
            heads.append(line.split(maxsplit=9))
            seconds.append(np.array(next(lines, "").split(), dtype=np.float64).reshape(-1, 3))
    keypoints = np.concatenate(seconds) if seconds else np.empty((0, 3))
    if any(len(head) != 10 for head in heads):
        raise ValueError("an image line needs ten entries")
    return {
        "image_ids": np.array([int(head[0]) for head in heads], dtype=np.int64),
        "names": tuple(head[9].rstrip("\r") for head in heads),
        "camera_ids": np.array([int(head[8]) for head in heads], dtype=np.int64),
        "poses": np.array([head[1:8] for head in heads], dtype=np.float64).reshape(-1, 7),
        "keypoints": np.array([len(second) for second in seconds], dtype=np.int64),
        "pixels": keypoints[:, :2].copy(),
        "pixel_points": keypoints[:, 2].astype(np.int64),
    }


def read_points(path: Path) -> dict:
    """The fields of `Model` that ``points3D.txt`` fills."""
    rows = [np.array(line.split(), dtype=np.float64) for line in data_lines(path) if line.strip()]
    if any(len(row) < 8 or len(row) % 2 for row in rows):
        raise ValueError("a point line needs eight entries and pairs after them")
    heads = np.array([row[:8] for row in rows]).reshape(-1, 8)
    tracks = np.concatenate([row[8:] for row in rows] or [np.empty(0)]).reshape(-1, 2).astype(np.int64)
    lengths = np.array([(len(row) - 8) // 2 for row in rows], dtype=np.int64)
    return points_by_number(
        heads[:, 0].astype(np.int64), heads[:, 1:4], heads[:, 4:7].astype(np.uint8), heads[:, 7], lengths, tracks
    )


def _line(*values: object) -> bytes:
    """A line with all digits of every number."""
    return (" ".join(repr(v) if isinstance(v, float) else str(v) for v in values) + "\n").encode()


def write_cameras(model: Model) -> Iterable[bytes]:
    """The lines of ``cameras.txt``."""
    yield b"# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]\n"
    for number, camera in model.cameras.items():
        kind, numbers = numbers_of(camera)
        yield _line(number, MODELS[kind], *camera.size_px, *numbers)


def write_images(model: Model) -> Iterable[bytes]:
    """The lines of ``images.txt``."""
    yield b"# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then POINTS2D[] as X Y POINT3D_ID\n"
    rows = zip(model.image_ids, model.names, model.camera_ids, model.poses, slices(model.keypoints), strict=True)
    for number, name, camera, pose, own in rows:
        yield _line(number, *pose.tolist(), camera, name)
        pairs = zip(model.pixels[own].tolist(), model.pixel_points[own].tolist(), strict=True)
        yield _line(*(value for pixel, point in pairs for value in (*pixel, point)))


def write_points(model: Model) -> Iterable[bytes]:
    """The lines of ``points3D.txt``."""
    yield b"# POINT3D_ID X Y Z R G B ERROR TRACK[] as IMAGE_ID POINT2D_IDX\n"
    rows = zip(model.point_ids, model.points, model.colours, model.errors.tolist(), slices(model.lengths), strict=True)
    for number, xyz, rgb, error, own in rows:
        yield _line(number, *xyz.tolist(), *rgb.tolist(), error, *model.tracks[own].ravel().tolist())


READERS = {"cameras": read_cameras, "images": read_images, "points3D": read_points}
WRITERS = {"cameras": write_cameras, "images": write_images, "points3D": write_points}
