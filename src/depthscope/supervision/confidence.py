"""How far each SfM point may be trusted: the c_i of the soft mask (Liu et al. 2018, Eq. 2)."""

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.sequence import Sequence

CAP = 0.75
"""Beyond this quantile of track length times parallax, more is no further proof: wrong points have huge parallax."""


def accumulated_parallax_rad(sequence: Sequence) -> Float[Tensor, " points"]:
    """The angles between the rays from a point to its cameras, added up in order of time (a_i).

    Angles in space rather than motion in the image: a rotation moves the image without any parallax.
    """
    order = torch.argsort(sequence.observations.point * len(sequence) + sequence.observations.frame)
    frame, point = sequence.observations.frame[order], sequence.observations.point[order]
    ray = torch.nn.functional.normalize(sequence.points[point] - sequence.camera_centres[frame], dim=-1)
    same = point[1:] == point[:-1]
    step = 2 * torch.atan2((ray[1:] - ray[:-1]).norm(dim=-1), (ray[1:] + ray[:-1]).norm(dim=-1))
    total = torch.zeros(len(sequence.points), dtype=ray.dtype)
    return total.index_add(0, point[1:][same], step[same])


def point_confidence(sequence: Sequence) -> Float[Tensor, " points"]:
    """c_i in 0..1: proportional to track length and accumulated parallax, capped, less for a large reprojection error.

    The paper says that c is proportional to the number of frames used and to the accumulated parallax; the product of
    both, its cap and the third factor are ours: ``c = rho min(1, n a / q)`` with q the 75th percentile of n a over the
    points, and ``rho = 1 / (1 + (e / 3 median e)^2)`` where the source has reprojection errors e.

    Raises:
        BadInputError: The camera only turned: no point has parallax, and so no depth.
    """
    tracks = sequence.seen.sum(0).to(torch.float64)
    support = tracks * accumulated_parallax_rad(sequence)
    cap = torch.quantile(support, CAP)
    if float(cap) <= 1e-6:
        raise BadInputError(
            f"{sequence.name}: the points have no parallax",
            "a camera that moves, not only turns",
            "SfM cannot know any depth here; use a clip with motion",
        )
    confidence = (support / cap).clamp(max=1.0)  # Eq. 2
    if sequence.point_error_px is not None:
        error = sequence.point_error_px.to(torch.float64).nan_to_num()
        typical = 3 * error.median()
        if float(typical) > 0:
            confidence = confidence / (1 + (error / typical) ** 2)
    return confidence
