"""The largest angle at which rays meet in each point: what depth is known from."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from depthscope.sequence import Sequence

MOST_POINTS_FOR_ANGLES = 2000
MOST_VIEWS_FOR_ANGLES = 48


def largest_angles_deg(sequence: Sequence) -> Float[Tensor, " points"]:
    """The largest angle between two rays of each point, in degrees; of a sample where there are very many points."""
    rows = _rows_by_point(sequence)
    centres = sequence.camera_centres[sequence.observations.frame]
    rays = torch.nn.functional.normalize(centres - sequence.points[sequence.observations.point], dim=-1)
    rays = torch.cat([rays, rays.new_zeros(1, 3)])  # row -1: no observation
    angles = []
    for some in rows.split(100):
        directions = rays[some]
        lengths = (directions[:, :, None] - directions[:, None, :]).norm(dim=-1)
        there = some >= 0
        lengths = torch.where(there[:, :, None] & there[:, None, :], lengths, 0.0)
        angles.append(2 * torch.asin((lengths.amax((1, 2)) / 2).clamp_max(1)))
    return torch.rad2deg(torch.cat(angles))


def _rows_by_point(sequence: Sequence) -> Int[Tensor, "points views"]:
    """The observations of each point, filled up with -1; at most evenly spaced `MOST_VIEWS_FOR_ANGLES` of them."""
    point = sequence.observations.point
    order = torch.argsort(point * len(sequence) + sequence.observations.frame)
    observed, count = torch.unique_consecutive(point[order], return_counts=True)
    start = count.cumsum(0) - count
    stride = (len(observed) + MOST_POINTS_FOR_ANGLES - 1) // MOST_POINTS_FOR_ANGLES
    start, count = start[::stride], count[::stride]
    views = min(int(count.max()), MOST_VIEWS_FOR_ANGLES)
    step = torch.arange(views)
    spread = (step * (count[:, None] - 1).double() / max(1, views - 1)).round().long()
    place = torch.where(count[:, None] > views, spread, step.expand(len(count), views))
    return torch.where(place < count[:, None], order[(start[:, None] + place).clamp_max(len(order) - 1)], -1)
