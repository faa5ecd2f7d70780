"""Sparse points as structure from motion leaves them: followed over runs of frames, noisy, and now and then wrong."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.sequence import Observations

Points = Float[Tensor, "points 3"]


def mistaken(surface: Points, centres: Points, share: float, draw: np.random.Generator) -> Points:
    """Points of the surface, some of them at a wrong depth from the camera that found them.

    Such a point is at home on its home ray only, but measured consistently in all its frames, as mirror images are.

    Args:
        surface: True points.
        centres: Where each was found from.
        share: Of wrong ones.
        draw: Where chance comes from.
    """
    wrong = torch.as_tensor(draw.random(len(surface)) < share)
    shift = torch.as_tensor(draw.choice([-1, 1], len(surface)) * draw.uniform(0.25, 0.6, len(surface)))
    return centres + (surface - centres) * torch.exp(wrong * shift)[:, None]


def measured(
    seen: Bool[Tensor, "frames points"],
    points: Points,
    centres: Points,
    project: Callable[[Tensor, Tensor], Tensor],
    pixel_noise_px: float,
    depth_noise: float,
    draw: np.random.Generator,
) -> tuple[Observations, Points, Float[Tensor, " points"]]:
    """Where points are measured, where they are placed, and each point's mean reprojection error in pixels.

    Args:
        seen: In which frames each point is followed.
        points: The points that the measurements follow.
        centres: Where each was found from; its placed depth is off along this ray.
        project: Pixels of points in frames, from numbers of frames and points of the same length.
        pixel_noise_px: Standard deviation of the measurements.
        depth_noise: Standard deviation of the depth, as a share of it.
        draw: Where chance comes from.
    """
    point, frame = seen.T.nonzero(as_tuple=True)
    exact = project(frame, points[point])
    noise = torch.as_tensor(draw.standard_normal(exact.shape)) * pixel_noise_px
    factor = torch.exp(depth_noise * torch.as_tensor(draw.standard_normal(len(points))))
    placed = centres + (points - centres) * factor[:, None]
    error = (project(frame, placed[point]) - exact - noise).norm(dim=-1)
    total = torch.zeros(len(points), dtype=torch.float64).index_add(0, point, error)
    return Observations(frame, point, exact + noise), placed, total / seen.sum(0).clamp_min(1)
