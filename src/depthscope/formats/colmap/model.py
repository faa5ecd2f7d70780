"""A COLMAP model as arrays: what its three files say, before anything is concluded from it."""

from dataclasses import dataclass

import numpy as np

from depthscope.geometry import Camera

NO_POINT = -1


@dataclass(frozen=True, eq=False)
class Model:
    """The three files of a COLMAP model as arrays.

    Attributes:
        cameras: Each camera by its number.
        image_ids: Numbers of the images, shape (images,).
        names: Their names, with folders where they have any.
        camera_ids: The camera of each, shape (images,).
        poses: qw qx qy qz tx ty tz of each, camera_from_world, shape (images, 7).
        keypoints: How many keypoints each has, shape (images,).
        pixels: All keypoints, image after image, shape (keypoints, 2).
        pixel_points: The point that each belongs to, -1 for none, shape (keypoints,).
        point_ids: Numbers of the points, shape (points,).
        points: Their coordinates, shape (points, 3).
        colours: Their colours, shape (points, 3), uint8.
        errors: Their mean reprojection errors in pixels, shape (points,).
        lengths: How many observations each has, shape (points,).
        tracks: Image number and keypoint of each observation, point after point, shape (observations, 2).
    """

    cameras: dict[int, Camera]
    image_ids: np.ndarray
    names: tuple[str, ...]
    camera_ids: np.ndarray
    poses: np.ndarray
    keypoints: np.ndarray
    pixels: np.ndarray
    pixel_points: np.ndarray
    point_ids: np.ndarray
    points: np.ndarray
    colours: np.ndarray
    errors: np.ndarray
    lengths: np.ndarray
    tracks: np.ndarray


def points_by_number(
    ids: np.ndarray,
    points: np.ndarray,
    colours: np.ndarray,
    errors: np.ndarray,
    lengths: np.ndarray,
    tracks: np.ndarray,
) -> dict[str, np.ndarray]:
    """The fields of the points, brought into the order of their numbers: files list them in any order."""
    order = np.argsort(ids, kind="stable")
    starts = np.cumsum(lengths) - lengths
    moved = lengths[order]
    rows = np.arange(moved.sum()) - np.repeat(np.cumsum(moved) - moved, moved) + np.repeat(starts[order], moved)
    return {
        "point_ids": ids[order],
        "points": points[order].copy(),
        "colours": colours[order].copy(),
        "errors": errors[order].copy(),
        "lengths": moved,
        "tracks": tracks[rows],
    }


def slices(counts: np.ndarray) -> list[slice]:
    """The rows of each owner in a table where owner follows owner."""
    ends = np.cumsum(counts)
    return [slice(int(end - count), int(end)) for end, count in zip(ends, counts, strict=True)]
