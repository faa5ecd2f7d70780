"""A surface small enough for a page: vertices merged on a grid, numbers cut to 16 bits."""

import base64
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from depthscope.geometry import Camera, RigidMotion, Surface
from depthscope.geometry.surface import vertex_normals

MOST_VERTICES = 65_535
"""What 16 bits can number."""

FIELD_DEG = 40.0
"""Vertical field of view of the picture and of the view in the page."""


def decimated(surface: Surface, most_faces: int) -> Surface:
    """The surface with at most so many faces: the vertices of a grid cell become their mean (Rossignac, Borrel 1993).

    Args:
        surface: A mesh.
        most_faces: Bound of its faces.
    """
    assert surface.faces is not None
    points, faces = surface.points.float(), surface.faces
    if len(faces) <= most_faces and len(points) <= MOST_VERTICES:
        return surface
    a, b, c = points[faces].unbind(1)
    area = float(torch.linalg.cross(b - a, c - a).norm(dim=-1).sum() / 2)
    cell = (2 * area / most_faces) ** 0.5 or float((points.amax(0) - points.amin(0)).amax()) / 64 or 1.0
    while True:
        merged, kept = clustered(points, faces, cell)
        count = int(merged.max()) + 1 if len(merged) else 0
        if len(kept) <= most_faces and count <= MOST_VERTICES:
            break
        cell *= max(1.05, min(2.0, (len(kept) / most_faces) ** 0.5))
    places = averaged(points, merged, count)
    colours = None if surface.colours is None else averaged(surface.colours.float(), merged, count).round().byte()
    used = torch.unique(kept)
    number = torch.full((count,), -1).scatter(0, used, torch.arange(len(used)))
    kept, places = number[kept], places[used]
    return Surface(places, vertex_normals(places, kept), None if colours is None else colours[used], kept, surface.unit)


def clustered(
    points: Float[Tensor, "points 3"], faces: Int[Tensor, "faces 3"], cell: float
) -> tuple[Int[Tensor, " points"], Int[Tensor, "kept 3"]]:
    """The cluster of each vertex on a grid, and the faces that are left, each once."""
    grid = ((points - points.amin(0)) / cell).floor().long()
    size = grid.amax(0) + 1
    key = (grid[:, 0] * size[1] + grid[:, 1]) * size[2] + grid[:, 2]
    _, merged = torch.unique(key, return_inverse=True)
    moved = merged[faces]
    moved = moved[(moved[:, 0] != moved[:, 1]) & (moved[:, 1] != moved[:, 2]) & (moved[:, 2] != moved[:, 0])]
    first = moved.argmin(1)  # turned so that the smallest number stands first: the same face is the same row
    turned = torch.stack([moved.gather(1, ((first + i) % 3)[:, None])[:, 0] for i in range(3)], 1)
    return merged, torch.unique(turned, dim=0)


def averaged(
    values: Float[Tensor, "points channels"], merged: Int[Tensor, " points"], count: int
) -> Float[Tensor, "clusters channels"]:
    """The mean of the values of each cluster."""
    total = values.new_zeros(count, values.shape[1]).index_add(0, merged, values)
    return total / torch.bincount(merged, minlength=count).clamp_min(1)[:, None]


WIDE = 1.3
"""The view is at least this much wider than high, or else looks less close."""


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """Where one looks at a surface from.

    Attributes:
        rotation: Rows are the right, down and forward axes, shape (3, 3), float64.
        target: What is in the middle, shape (3,).
        distance: From the eye to the target.
    """

    rotation: Float[Tensor, "3 3"]
    target: Float[Tensor, "3"]
    distance: float

    def camera(self, size_px: tuple[int, int]) -> tuple[Camera, RigidMotion]:
        """The same view as a camera with a picture of a size."""
        focal = size_px[1] / 2 / np.tan(np.radians(FIELD_DEG / 2))
        eye = self.target - self.distance * self.rotation[2]
        camera = Camera(size_px=size_px, focal_px=(focal, focal), centre_px=(size_px[0] / 2, size_px[1] / 2))
        return camera, RigidMotion(self.rotation, -self.rotation @ eye)


def viewpoint(surface: Surface, cameras: RigidMotion | None) -> Viewpoint:
    """From behind the cameras, in the direction in which the middle one looks; from the front without cameras."""
    points = surface.points.double()[:: max(1, len(surface.points) // 200_000)]
    rotation = torch.eye(3, dtype=torch.float64)
    if cameras is not None and len(cameras.translation):
        rotation = cameras.rotation[len(cameras.translation) // 2].double()
    seen = points @ rotation.T
    target = (seen.quantile(0.02, 0) + seen.quantile(0.98, 0)) / 2 @ rotation
    x, y, z = ((points - target) @ rotation.T).unbind(-1)
    # How far off the eye must be for each point to be within the picture; that of floaters does not count.
    needed = torch.maximum(x.abs() / WIDE, y.abs()) / np.tan(np.radians(FIELD_DEG / 2)) - z
    radius = (points - target).norm(dim=-1).quantile(0.98)
    return Viewpoint(rotation, target, max(1.1 * float(needed.quantile(0.99)), 0.5 * float(radius), 1e-9))


def packed(values: np.ndarray) -> str:
    """An array as base64 of its bytes, little endian."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def described(
    surface: Surface,
    view: Viewpoint,
    unit: str,
    distance: Float[Tensor, " points"] | None,
    most_distance: float,
    cameras: RigidMotion | None,
) -> dict:
    """A surface as the page's own viewer reads it.

    Args:
        surface: A mesh with at most `MOST_VERTICES` vertices.
        view: Where to look from at first.
        unit: Of the points.
        distance: Of each vertex to what is true, or None.
        most_distance: What is drawn in the brightest colour.
        cameras: camera_from_world of the frames in the order of time.
    """
    said = shell(surface) | {
        "unit": unit,
        "rotation": view.rotation.flatten().tolist(),
        "target": view.target.tolist(),
        "distance": view.distance,
        "field_deg": FIELD_DEG,
    }
    if surface.colours is not None:
        said["colours"] = packed(surface.colours.numpy())
    if distance is not None:
        said["errors"] = packed((distance / most_distance * 255).round().clamp(0, 255).numpy().astype(np.uint8))
        said["most"] = most_distance
    if cameras is not None:
        said["centres"] = [round(value, 5) for value in cameras.origin.flatten().tolist()]
        said["turns"] = [round(value, 4) for value in cameras.rotation.flatten().tolist()]
    return said


def shell(surface: Surface) -> dict:
    """The shape alone: places as 16-bit numbers about the middle, and faces."""
    assert surface.faces is not None
    points = surface.points.double()
    middle = (points.amin(0) + points.amax(0)) / 2
    extent = float((points - middle).abs().amax().clamp_min(1e-9))
    places = ((points - middle) / extent * 32767).round().numpy().astype("<i2")
    faces = packed(surface.faces.numpy().astype("<u2"))
    return {"middle": middle.tolist(), "extent": extent, "points": packed(places), "faces": faces}
