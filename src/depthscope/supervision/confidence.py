"""How far each SfM point may be trusted: the c_i of the soft mask (Liu et al. 2018, Eq. 2)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.sequence import Sequence


@dataclass(frozen=True)
class RayAngles:
    """Our reading of Eq. 2: ``c = rho min(1, n a / q)`` with n the track length and a the angles between its rays.

    The paper says that c is proportional to the number of frames used and to the accumulated parallax. Their product,
    its cap and the factor rho are ours: q is a percentile of n a over the points, and
    ``rho = 1 / (1 + (e / 3 median e)^2)`` where the source has reprojection errors e.

    Attributes:
        cap: Quantile of n a that counts as 1. More is no further proof: wrong points have huge parallax.
    """

    cap: float = 0.75

    def __post_init__(self) -> None:
        if not 0 < self.cap <= 1:
            raise BadInputError(f"confidence.cap {self.cap}", "a quantile above 0, up to 1")

    def __call__(self, sequence: Sequence) -> Float[Tensor, " points"]:
        """c_i in 0..1 of every point.

        Raises:
            BadInputError: The camera only turned: no point has parallax, and so no depth.
        """
        support = track_lengths(sequence) * checked_parallax_rad(sequence)
        cap = torch.quantile(support, self.cap)
        if float(cap) <= NO_PARALLAX:
            raise _no_parallax(sequence)
        confidence = (support / cap).clamp(max=1.0)  # Eq. 2
        if sequence.point_error_px is not None:
            error = sequence.point_error_px.to(torch.float64).nan_to_num()
            typical = 3 * error.median()
            if float(typical) > 0:
                confidence = confidence / (1 + (error / typical) ** 2)
        return confidence


@dataclass(frozen=True)
class ImageMotion:
    """Eq. 2 as the paper words it: c proportional to n and to the accumulated parallax of the projected 2-D locations.

    That parallax is the length of the path that a point's projections take through the recorded image, in order of
    time. A rotation of the camera lengthens it without any parallax in space, and nothing limits what a wrong point
    gains by it. The largest c is 1; Eq. 3 ignores a common factor.
    """

    def __call__(self, sequence: Sequence) -> Float[Tensor, " points"]:
        """c_i in 0..1 of every point.

        Raises:
            BadInputError: The camera only turned: the projections moved, but no point has parallax, and so no depth.
        """
        checked_parallax_rad(sequence)
        support = track_lengths(sequence) * accumulated_motion_px(sequence)
        return support / support.max()  # Eq. 2


Confidence = RayAngles | ImageMotion

NO_PARALLAX = 1e-6
"""Track length times angle in radians up to which there is none but rounding."""


def track_lengths(sequence: Sequence) -> Float[Tensor, " points"]:
    """How many frames each point was triangulated from (n_i)."""
    return sequence.seen.sum(0).to(torch.float64)


def accumulated_parallax_rad(sequence: Sequence) -> Float[Tensor, " points"]:
    """The angles between the rays from a point to its cameras, added up in order of time (a_i).

    Angles in space rather than motion in the image: a rotation moves the image without any parallax.
    """
    frame, point = _in_time(sequence)
    ray = torch.nn.functional.normalize(sequence.points[point] - sequence.camera_centres[frame], dim=-1)
    step = 2 * torch.atan2((ray[1:] - ray[:-1]).norm(dim=-1), (ray[1:] + ray[:-1]).norm(dim=-1))
    return _added_up(step, point, len(sequence.points))


def accumulated_motion_px(sequence: Sequence) -> Float[Tensor, " points"]:
    """How far the projections of a point move through the recorded image, added up in order of time."""
    frame, point = _in_time(sequence)
    moved = torch.einsum("nij,nj->ni", sequence.camera_from_world.rotation[frame], sequence.points[point])
    moved = moved + sequence.camera_from_world.translation[frame]
    pixels = torch.zeros(len(point), 2, dtype=moved.dtype)
    for number in frame.unique().tolist():
        own = frame == number
        pixels[own] = sequence.cameras[number].project(moved[own]).to(moved)
    step = (pixels[1:] - pixels[:-1]).norm(dim=-1).nan_to_num()  # NaN behind the camera
    return _added_up(step, point, len(sequence.points))


def checked_parallax_rad(sequence: Sequence) -> Float[Tensor, " points"]:
    """As `accumulated_parallax_rad`.

    Raises:
        BadInputError: No point has any.
    """
    parallax = accumulated_parallax_rad(sequence)
    if float((track_lengths(sequence) * parallax).max()) <= NO_PARALLAX:
        raise _no_parallax(sequence)
    return parallax


def _no_parallax(sequence: Sequence) -> BadInputError:
    return BadInputError(
        f"{sequence.name}: the points have no parallax",
        "a camera that moves, not only turns",
        "SfM cannot know any depth here; use a clip with motion",
    )


def _in_time(sequence: Sequence) -> tuple[Tensor, Tensor]:
    """Frames and points of the observations, point by point, each in order of time."""
    order = torch.argsort(sequence.observations.point * len(sequence) + sequence.observations.frame)
    return sequence.observations.frame[order], sequence.observations.point[order]


def _added_up(step: Tensor, point: Tensor, points: int) -> Tensor:
    """Sums over each point's steps from one of its observations to the next; `step` is between all neighbours."""
    same = point[1:] == point[:-1]
    return torch.zeros(points, dtype=step.dtype).index_add(0, point[1:][same], step[same])
