"""A surface small enough for a page: edges collapsed, numbers cut to 16 bits."""

import base64
from dataclasses import dataclass

import numpy as np
import torch
from fast_simplification import simplify
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from depthscope.geometry import Camera, RigidMotion, Surface
from depthscope.geometry.surface import vertex_normals

MOST_VERTICES = 65_535
"""What 16 bits can number."""

FIELD_DEG = 40.0
"""Vertical field of view of the picture and of the view in the page."""

JUMP = 10
"""Median steps of a camera between two frames that are no path."""


def decimated(surface: Surface, most_faces: int) -> Surface:
    """The surface with at most so many faces: edges collapse by quadric error (Garland, Heckbert 1997).

    Colours are those of the nearest vertex of the whole surface. What cannot be collapsed so far, such as loose
    triangles, loses faces evenly.

    Args:
        surface: A mesh.
        most_faces: Bound of its faces; vertices stay below `MOST_VERTICES` too.
    """
    assert surface.faces is not None
    points, faces = surface.points.float(), surface.faces
    if len(faces) <= most_faces and len(points) <= MOST_VERTICES:
        return surface
    wanted = min(most_faces, len(faces) - 1)
    small = points.numpy(), faces.numpy().astype(np.int32)
    while True:
        small = simplify(
            np.ascontiguousarray(small[0], np.float64), np.ascontiguousarray(small[1]), target_count=wanted
        )
        if len(small[1]) > wanted:
            small = small[0], small[1][np.linspace(0, len(small[1]) - 1, wanted).astype(int)]
        used, numbers = np.unique(small[1], return_inverse=True)
        small = small[0][used], numbers.reshape(-1, 3).astype(np.int32)
        if len(used) <= MOST_VERTICES:
            break
        wanted = int(0.9 * wanted * MOST_VERTICES / len(used))
    places, kept = torch.from_numpy(small[0].astype(np.float32)), torch.from_numpy(small[1].astype(np.int64))
    colours = None
    if surface.colours is not None:
        colours = surface.colours[torch.from_numpy(KDTree(points.numpy()).query(places.numpy())[1])]
    return Surface(places, vertex_normals(places, kept), colours, kept, surface.unit)


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
    """A surface as the page's script reads it.

    Args:
        surface: A mesh with at most `MOST_VERTICES` vertices.
        view: Where to look from at first.
        unit: Of the points.
        distance: Of each vertex to what is true, or None.
        most_distance: What is drawn in the brightest colour.
        cameras: camera_from_world of the frames in the order of time.
    """
    values = shell(surface) | {
        "unit": unit,
        "rotation": view.rotation.flatten().tolist(),
        "target": view.target.tolist(),
        "distance": view.distance,
        "field_deg": FIELD_DEG,
    }
    if surface.colours is not None:
        values["colours"] = packed(surface.colours.numpy())
    if distance is not None:
        values["errors"] = packed((distance / most_distance * 255).round().clamp(0, 255).numpy().astype(np.uint8))
        values["most"] = most_distance
    return values | ({} if cameras is None else path(cameras))


def path(cameras: RigidMotion) -> dict:
    """The camera of every frame: centres, rotations (camera_from_world), and the frames before which the path jumps.

    A step of more than `JUMP` median steps is a jump: between clips that were joined into one map, or over frames that
    have no place. A line there would run through walls where no camera was.
    """
    steps = (cameras.origin[1:] - cameras.origin[:-1]).norm(dim=-1)
    median = steps.median() if len(steps) else 0
    return {
        "jumps": [n + 1 for n, step in enumerate(steps.tolist()) if step > JUMP * median > 0],
        "centres": [round(value, 5) for value in cameras.origin.flatten().tolist()],
        "turns": [round(value, 4) for value in cameras.rotation.flatten().tolist()],
    }


def shell(surface: Surface) -> dict:
    """The shape alone: places as 16-bit numbers about the middle, and faces."""
    assert surface.faces is not None
    points = surface.points.double()
    middle = (points.amin(0) + points.amax(0)) / 2
    extent = float((points - middle).abs().amax().clamp_min(1e-9))
    places = ((points - middle) / extent * 32767).round().numpy().astype("<i2")
    faces = packed(surface.faces.numpy().astype("<u2"))
    return {"middle": middle.tolist(), "extent": extent, "points": packed(places), "faces": faces}
