"""A nearly flat patch of tissue before the camera: the case in which structure from motion cannot tell the shape."""

from dataclasses import replace

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, Surface
from depthscope.simulation.anatomy.field import Ripples, with_gradient
from depthscope.simulation.render import RenderView, Scene, truth

SIDE = 360
"""Vertices along each side of the patch."""


def flat_patch(scene: Scene, view: RenderView, camera_from_world: RigidMotion, flatness: float, seed: int = 0) -> Scene:
    """A patch at the median depth of a camera's view of the scene, with the scene's texture.

    Args:
        scene: Whose texture and place it takes.
        view: The camera.
        camera_from_world: Where it looks from.
        flatness: 1 is a plane; 0 has a relief of some 15 % of the depth (standard deviation).
        seed: Of the relief.
    """
    if not 0 <= flatness <= 1:
        raise BadInputError(f"a flatness of {flatness:g}", "0 to 1")
    seen, _ = truth(scene, view, camera_from_world)
    depth = float(seen[seen > 0].median())
    line = torch.linspace(-5 * depth, 5 * depth, SIDE, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    flat = torch.stack([x.reshape(-1), y.reshape(-1)], -1)
    relief = Ripples.drawn(np.random.default_rng((seed, 62)), (depth, 2 * depth), (0.1 * depth, 0.1 * depth))

    def height(points: torch.Tensor) -> torch.Tensor:
        return (1 - flatness) * relief(points)

    values, slope = with_gradient(height, torch.cat([flat, torch.zeros(len(flat), 1)], 1))
    points = torch.cat([flat, depth + values.double()[:, None]], 1)
    normals = torch.cat([slope.double()[:, :2], -torch.ones(len(flat), 1)], 1)
    normals = normals / normals.norm(dim=-1, keepdim=True)
    first = (torch.arange(SIDE - 1)[:, None] * SIDE + torch.arange(SIDE - 1)).reshape(-1)
    faces = torch.cat(
        [torch.stack([first, first + SIDE, first + 1], 1), torch.stack([first + 1, first + SIDE, first + SIDE + 1], 1)]
    )
    world_from_camera = camera_from_world.inverse()
    turned = RigidMotion(world_from_camera.rotation, torch.zeros(3, dtype=torch.float64)).apply(normals)
    surface = Surface(world_from_camera.apply(points), turned, None, faces, "mm")
    tones = scene.tones.mean(0, keepdim=True).expand(len(points), -1).contiguous()
    return replace(scene, surface=surface, tones=tones, rest=None)
