"""COLMAP's binary files, little endian."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from depthscope.formats.colmap.cameras import MODELS, PARAMETERS, camera_of, numbers_of
from depthscope.formats.colmap.model import Model, points_by_number, slices


def read_cameras(path: Path) -> dict:
    """The fields of `Model` that ``cameras.bin`` fills."""
    data = path.read_bytes()
    (count,), place, cameras = struct.unpack_from("<Q", data), 8, {}
    for _ in range(count):
        number, model, width, height = struct.unpack_from("<IiQQ", data, place)
        name = MODELS[model] if 0 <= model < len(MODELS) else f"number {model}"
        parameters = PARAMETERS[model] if 0 <= model < len(MODELS) else 0
        place += 24
        cameras[number] = camera_of(name, width, height, list(struct.unpack_from(f"<{parameters}d", data, place)), path)
        place += 8 * parameters
    return {"cameras": cameras}


def read_images(path: Path) -> dict:
    """The fields of `Model` that ``images.bin`` fills."""
    data = path.read_bytes()
    (count,), place = struct.unpack_from("<Q", data), 8
    heads, names, parts = [], [], []
    keypoint = np.dtype([("pixel", "<f8", (2,)), ("point", "<i8")])  # 2^64 - 1, none, reads as -1
    for _ in range(count):
        heads.append(struct.unpack_from("<I7dI", data, place))
        place += 64
        end = data.index(b"\0", place)
        names.append(data[place:end].decode("utf-8", "replace"))
        (keypoints,) = struct.unpack_from("<Q", data, end + 1)
        parts.append(np.frombuffer(data, keypoint, keypoints, end + 9))
        place = end + 9 + keypoints * keypoint.itemsize
    keypoints = np.concatenate(parts) if parts else np.empty(0, keypoint)
    return {
        "image_ids": np.array([head[0] for head in heads], dtype=np.int64),
        "names": tuple(names),
        "camera_ids": np.array([head[8] for head in heads], dtype=np.int64),
        "poses": np.array([head[1:8] for head in heads], dtype=np.float64).reshape(-1, 7),
        "keypoints": np.array([len(part) for part in parts], dtype=np.int64),
        "pixels": keypoints["pixel"].copy(),
        "pixel_points": keypoints["point"].copy(),
    }


def read_points(path: Path) -> dict:
    """The fields of `Model` that ``points3D.bin`` fills."""
    data = path.read_bytes()
    (count,), place = struct.unpack_from("<Q", data), 8
    head = np.dtype([("id", "<u8"), ("xyz", "<f8", (3,)), ("rgb", "u1", (3,)), ("error", "<f8"), ("length", "<u8")])
    heads, tracks = [], []
    for _ in range(count):
        row = np.frombuffer(data, head, 1, place)
        length = int(row["length"][0])
        heads.append(row)
        tracks.append(np.frombuffer(data, "<u4", 2 * length, place + head.itemsize))
        place += head.itemsize + 8 * length
    rows = np.concatenate(heads) if heads else np.empty(0, head)
    tracks = np.concatenate(tracks or [np.empty(0)]).reshape(-1, 2).astype(np.int64)
    lengths = rows["length"].astype(np.int64)
    return points_by_number(rows["id"].astype(np.int64), rows["xyz"], rows["rgb"], rows["error"], lengths, tracks)


def write_cameras(model: Model) -> Iterable[bytes]:
    """The bytes of ``cameras.bin``."""
    yield struct.pack("<Q", len(model.cameras))
    for number, camera in model.cameras.items():
        kind, numbers = numbers_of(camera)
        yield struct.pack(f"<IiQQ{len(numbers)}d", number, kind, *camera.size_px, *numbers)


def write_images(model: Model) -> Iterable[bytes]:
    """The bytes of ``images.bin``."""
    yield struct.pack("<Q", len(model.names))
    rows = zip(model.image_ids, model.names, model.camera_ids, model.poses, slices(model.keypoints), strict=True)
    for number, name, camera, pose, own in rows:
        yield struct.pack("<I7dI", number, *pose.tolist(), camera) + name.encode() + b"\0"
        keypoints = np.empty(own.stop - own.start, dtype=[("pixel", "<f8", (2,)), ("point", "<i8")])
        keypoints["pixel"], keypoints["point"] = model.pixels[own], model.pixel_points[own]
        yield struct.pack("<Q", len(keypoints)) + keypoints.tobytes()


def write_points(model: Model) -> Iterable[bytes]:
    """The bytes of ``points3D.bin``."""
    yield struct.pack("<Q", len(model.points))
    rows = zip(model.point_ids, model.points, model.colours, model.errors, slices(model.lengths), strict=True)
    for number, xyz, rgb, error, own in rows:
        yield struct.pack("<Q3d3BdQ", number, *xyz.tolist(), *rgb.tolist(), error, own.stop - own.start)
        yield model.tracks[own].astype("<u4").tobytes()


READERS = {"cameras": read_cameras, "images": read_images, "points3D": read_points}
WRITERS = {"cameras": write_cameras, "images": write_images, "points3D": write_points}
