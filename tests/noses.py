"""A phantom's nose as a target, and what cameras in it would see, for the tests of registration."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from depthscope.geometry import Camera, RigidMotion, Similarity, Surface
from depthscope.geometry.casting import RayCaster
from depthscope.geometry.depth import normals, pixel_grid
from depthscope.geometry.motion import rotate
from depthscope.geometry.rotation import rotation_from_vector
from depthscope.registration import SurfaceView
from depthscope.simulation.anatomy import Anatomy
from depthscope.simulation.path import camera_from_world

CAMERA = Camera((48, 40), (24.0, 24.0), (24.0, 20.0))


@dataclass(frozen=True, eq=False)
class Seen:
    """Views in a frame and unit of their own, and the truth."""

    views: tuple[SurfaceView, ...]
    target_from_source: Similarity

    @property
    def points(self) -> torch.Tensor:
        return torch.cat([view.surface.points for view in self.views])

    def error_mm(self, found: Similarity) -> float:
        """Mean distance between where the found and the true similarity place the points."""
        return float((found.apply(self.points) - self.target_from_source.apply(self.points)).norm(dim=-1).mean())


def similarity(draw: np.random.Generator, scale: float, angle: float = 1.5, shift: float = 5.0) -> Similarity:
    """A drawn rotation and shift with this scale."""
    axis = draw.normal(size=3)
    turn = rotation_from_vector(torch.from_numpy(angle * axis / np.linalg.norm(axis)))
    return Similarity(
        torch.tensor(scale, dtype=torch.float64), RigidMotion(turn, torch.from_numpy(draw.normal(0, shift, 3)))
    )


def seen_in(
    anatomy: Anatomy,
    clip: int,
    frames: int = 4,
    noise: float = 0.01,
    outliers: float = 0.0,
    surface: Surface | None = None,
) -> Seen:
    """Frames of a clip: true depth of a surface, by default the anatomy's, with noise and outliers."""
    draw = np.random.default_rng((anatomy.seed, clip, 5))
    caster = RayCaster(surface or anatomy.surface)
    motions = camera_from_world(anatomy, clip, 8 * frames)[::8]
    source_from_world = similarity(draw, math.exp(draw.normal(0, 1)))
    rays = CAMERA.unproject(pixel_grid(*CAMERA.size_px[::-1], torch.empty(0, dtype=torch.float64)))
    views = []
    for frame in range(frames):
        motion = motions[frame]
        depth = caster.view(CAMERA, motion).distance.reshape(*CAMERA.size_px[::-1])
        normal = normals(depth[None], CAMERA.pinhole[None])[0]
        wrong = draw.random(depth.shape) < outliers
        factor = np.exp(noise * draw.standard_normal(depth.shape) + wrong * draw.uniform(-0.5, 0.5, depth.shape))
        known = depth > 0
        world = motion.inverse()
        points = source_from_world.apply(world.apply((depth * torch.from_numpy(factor))[known][:, None] * rays[known]))
        turned = rotate(source_from_world.motion.rotation, rotate(world.rotation, normal[known]))
        views.append(SurfaceView(Surface(points, turned), source_from_world.apply(motion.origin)))
    return Seen(tuple(views), source_from_world.inverse())
