"""One scale for each depth map of a clip: measured at the sparse points, smoothed over time.

A network's depth is right up to a factor that wanders a little from frame to frame. The sparse points of a frame tell
its factor with a known error; neighbouring frames have nearly the same one. The maximum a posteriori path of a random
walk seen through these measurements is one tridiagonal system.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.depth import sampled_at
from depthscope.geometry.map_grid import RECORDED, MapGrid
from depthscope.prediction import points_of
from depthscope.sequence import Sequence

WANDER = 0.02
"""Standard deviation of the change of ln scale from one frame to the next."""

POINT_ERROR = 0.02
"""What a single point cannot tell ln scale better than, however many agree: SfM's own error."""

TO_STD = 1.4826
"""From a median absolute deviation to a standard deviation, for normal errors."""


@dataclass(frozen=True, eq=False)
class ClipScales:
    """The factors that bring the depth maps of a clip into the unit of its sequence.

    Attributes:
        factor: Smoothed, shape (frames,).
        measured: Of each frame alone, shape (frames,); NaN where no point told it.
        log_std: Standard deviation of the logarithm of the smoothed factor, shape (frames,).
        points: Points that told it, for each frame.
    """

    factor: Float[Tensor, " frames"]
    measured: Float[Tensor, " frames"]
    log_std: Float[Tensor, " frames"]
    points: tuple[int, ...]

    @property
    def drift(self) -> float:
        """Standard deviation of the measured factors over their median: how much the network's scale wanders."""
        told = self.measured[self.measured.isfinite()]
        return float(told.std(correction=0) / told.quantile(0.5)) if len(told) else torch.nan


def measured_scale(
    depth: Float[Tensor, "height width"], sequence: Sequence, frame: int, maps: MapGrid = RECORDED
) -> tuple[float, float, int]:
    """(ln scale, its standard error, points) of one depth map from the points that its frame saw.

    The median of the log ratios of sparse to predicted depth; (NaN, inf, 0) where no point has a predicted depth.
    """
    pixels, sparse = points_of(sequence, frame, (depth.shape[1], depth.shape[0]), maps=maps)
    predicted = sampled_at(depth[None], pixels[None].float())[0]
    used = (predicted > 0) & (sparse > 0)
    count = int(used.sum())
    if not count:
        return torch.nan, torch.inf, 0
    ratio = (sparse[used].float() / predicted[used]).log().double()
    centre = ratio.quantile(0.5)
    spread = max(TO_STD * float((ratio - centre).abs().quantile(0.5)), POINT_ERROR)
    return float(centre), max(1.2533 * spread / count**0.5, POINT_ERROR / 4), count


def smoothed(
    measured: Float[Tensor, " frames"], error: Float[Tensor, " frames"], wander: float = WANDER
) -> tuple[Float[Tensor, " frames"], Float[Tensor, " frames"]]:
    """The most probable path of ln scale, and its standard deviations.

    Args:
        measured: ln scale of each frame; NaN where there is none.
        error: Standard errors; infinite where there is none.
        wander: Standard deviation of the change from frame to frame.

    Raises:
        BadInputError: No frame was measured.
    """
    told = measured.isfinite()
    if not bool(told.any()):
        raise BadInputError(
            "no frame has a sparse point with a predicted depth",
            "points in some frames",
            "check that the depth maps belong to this sequence",
        )
    weight = torch.where(told, error.double() ** -2, 0.0)
    system = torch.diag(weight)
    if len(measured) > 1:
        step = torch.diff(torch.eye(len(measured), dtype=torch.float64), dim=0) / wander
        system = system + step.T @ step
    path = torch.linalg.solve(system, weight * measured.double().nan_to_num())
    return path, torch.linalg.inv(system).diagonal().sqrt()


def clip_scales(
    depths: Iterable[tuple[int, Float[Tensor, "height width"]]],
    sequence: Sequence,
    wander: float = WANDER,
    maps: MapGrid = RECORDED,
) -> ClipScales:
    """The scales of the depth maps of a clip.

    Args:
        depths: (number of the frame in the sequence, its depth map) in order of time; drawn one at a time.
        sequence: The SfM of these frames.
        wander: As in `smoothed`.
        maps: What their pixels are.

    Raises:
        BadInputError: No frame was measured.
    """
    rows = [measured_scale(depth, sequence, frame, maps) for frame, depth in depths]
    measured = torch.tensor([row[0] for row in rows], dtype=torch.float64)
    path, deviation = smoothed(measured, torch.tensor([row[1] for row in rows], dtype=torch.float64), wander)
    return ClipScales(path.exp(), measured.exp(), deviation, tuple(row[2] for row in rows))
