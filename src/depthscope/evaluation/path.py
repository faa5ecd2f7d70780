"""How good a camera path is: against the true one, after the similarity that the reconstruction leaves free."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.evaluation.depth import median
from depthscope.geometry import RigidMotion, Similarity

GAPS = (1, 5, 10)
"""Frames over which relative errors are measured."""

COLLINEAR = 0.02
"""A path whose spread beside its main direction is less than this share of it does not fix the turn about that line."""


@dataclass(frozen=True)
class RelativeError:
    """Errors of the motion from one frame to another one, over all such pairs.

    Attributes:
        gap: Frames from one to the other.
        translation: RMSE in the unit of the truth.
        rotation_deg: RMSE in degrees.
        median_translation, median_rotation_deg: Medians of the same.
    """

    gap: int
    translation: float
    rotation_deg: float
    median_translation: float
    median_rotation_deg: float


@dataclass(frozen=True)
class PathError:
    """Errors of a camera path.

    Attributes:
        ate: Root of the mean squared distance of the camera centres after alignment, in the unit of the truth.
        ate_of_extent: The same over the diagonal of the box around the true path.
        ate_of_length: The same over the length of the true path.
        rotation_deg: Root of the mean squared angle between the cameras after alignment.
        scale: Of the alignment, truth over estimate.
        collinear: Whether the true path is so straight that the alignment does not know the turn about it.
        frames: Frames that were compared.
        relative: Errors over several gaps.
    """

    ate: float
    ate_of_extent: float
    ate_of_length: float
    rotation_deg: float
    scale: float
    collinear: bool
    frames: int
    relative: tuple[RelativeError, ...] = field(default=())


def path_error(estimate: RigidMotion, truth: RigidMotion, gaps: tuple[int, ...] = GAPS) -> PathError:
    """Compares motions of the same frames after Umeyama's similarity over the camera centres.

    Args:
        estimate: ``camera_from_world`` of each frame, batch shape (frames,).
        truth: The true ones, in another world frame and unit.
        gaps: Of the relative errors; those longer than the clip are left out.

    Raises:
        BadInputError: Fewer than 3 frames, or the estimated cameras stand still.
    """
    count = len(truth.translation)
    if len(estimate.translation) != count:
        raise BadInputError(f"{len(estimate.translation)} motions for {count} true ones", "the same frames")
    p, q = estimate.origin.double(), truth.origin.double()
    align = Similarity.estimate(p, q)
    away = (align.apply(p) - q).norm(dim=-1)
    ate = float((away**2).mean().sqrt())
    extent = float((q.max(0).values - q.min(0).values).norm())
    length = float(torch.diff(q, dim=0).norm(dim=-1).sum())
    turned = truth.rotation.double() @ align.motion.rotation @ estimate.rotation.double().mT
    spread = torch.linalg.svdvals(q - q.mean(0))
    return PathError(
        ate=ate,
        ate_of_extent=ate / max(extent, 1e-12),
        ate_of_length=ate / max(length, 1e-12),
        rotation_deg=root_mean_square(angles_deg(turned)),
        scale=float(align.scale),
        collinear=bool(spread[1] < COLLINEAR * spread[0]),
        frames=count,
        relative=tuple(relative_error(estimate, truth, float(align.scale), gap) for gap in gaps if gap < count),
    )


def relative_error(estimate: RigidMotion, truth: RigidMotion, scale: float, gap: int) -> RelativeError:
    """Errors of the motions over `gap` frames: (Q_i^-1 Q_j)^-1 (P_i^-1 P_j), the estimate's lengths scaled first."""

    def steps(motion: RigidMotion) -> RigidMotion:
        motion = motion.to(torch.float64)
        return motion[gap:] @ motion[:-gap].inverse()

    found, true = steps(estimate.to(torch.float64).scaled(scale)), steps(truth)
    difference = found @ true.inverse()
    away, turned = difference.translation.norm(dim=-1), angles_deg(difference.rotation)
    return RelativeError(
        gap, root_mean_square(away), root_mean_square(turned), float(median(away)), float(median(turned))
    )


def angles_deg(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, " *batch"]:
    """Angles of rotations in degrees, exact also near 0 and 180."""
    axis = torch.stack(
        [
            rotation[..., 2, 1] - rotation[..., 1, 2],
            rotation[..., 0, 2] - rotation[..., 2, 0],
            rotation[..., 1, 0] - rotation[..., 0, 1],
        ],
        -1,
    )
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.rad2deg(torch.atan2(axis.norm(dim=-1), trace - 1))


def root_mean_square(values: Float[Tensor, " values"]) -> float:
    """The root of the mean of the squares."""
    return float((values**2).mean().sqrt())
