"""Where a source lies in a target, and how far to trust it."""

import math
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.geometry import Similarity
from depthscope.registration.certainty import Mode, RegistrationEvidence


@dataclass(frozen=True, eq=False)
class Residuals:
    """Unsigned distances from registered points to the nearest admitted point of the target.

    Admitted are points that face the camera and are turned alike; where there is none, the nearest of all counts.

    Attributes:
        distance_mm: Shape (points,).
        inlier: Which of them are no outliers, within 2.8 declared standard deviations.
    """

    distance_mm: Float[Tensor, " points"]
    inlier: Bool[Tensor, " points"]

    @property
    def figures(self) -> dict[str, float]:
        """Mean, standard deviation and median over all points, and over inliers the mean and their share."""
        d, inner = self.distance_mm, self.distance_mm[self.inlier]
        return {
            "mean": float(d.mean()),
            "std": float(d.std()),
            "median": float(d.quantile(0.5)),
            "p95": float(d.quantile(0.95)),
            "inlier_share": float(self.inlier.double().mean()),
            "inlier_mean": float(inner.mean()) if len(inner) else math.nan,
        }


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where the source lies in the target, and how far to trust it.

    Attributes:
        target_from_source: The similarity, from the source's unit to mm.
        residuals: Of the samples.
        covariance: Of (w, t, ln s) about the samples' centroid, with R <- R Exp(w), shape (7, 7).
        centroid: The samples' centroid, in the source.
        modes: Distinct local optima, best first.
        evidence: What the confidence follows from.
        confidence: Probability that the mean error over the surface is below the calibration's limit.
        reasons: Why the answer is not to be trusted; empty where it is.
        converged: Whether the last step was short.
        start_spread_mm: Root mean square spread of the ends that were counted as the best mode.
        independent: Independent observations that the samples amount to.
        seconds: What it took.
    """

    target_from_source: Similarity
    residuals: Residuals
    covariance: Float[Tensor, "7 7"]
    centroid: Float[Tensor, "3"]
    modes: tuple[Mode, ...]
    evidence: RegistrationEvidence
    confidence: float
    reasons: tuple[str, ...]
    converged: bool
    start_spread_mm: float
    independent: float
    seconds: float

    @property
    def scale(self) -> float:
        """Millimetres per unit of the source."""
        return float(self.target_from_source.scale)

    @property
    def ambiguous(self) -> bool:
        """Whether the answer is refused."""
        return bool(self.reasons)
