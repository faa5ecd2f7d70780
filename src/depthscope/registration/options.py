"""How a surface is registered, and when the answer is refused."""

import math
from dataclasses import dataclass, field

from depthscope.errors import BadInputError
from depthscope.registration.calibration import ON_PHANTOMS
from depthscope.registration.certainty import ConfidenceCalibration, RegistrationEvidence
from depthscope.registration.search import Search
from depthscope.registration.solve import Annealing
from depthscope.registration.view import PointNoise

FROM_AFAR = Annealing(start_mm=4.0, start_angle_deg=40.0, iterations=20, exact=False)
FROM_NEARBY = Annealing(start_mm=1.5, start_angle_deg=20.0, iterations=16, exact=False)
WORKING_MM = (6.0, 55.0)
"""Median distances from which scopes are used in noses; in colons they may be wider."""

AT_LAST = Annealing(start_mm=0.4, start_angle_deg=5.0, iterations=4, annealed=0.4)


@dataclass(frozen=True)
class ScalePrior:
    """What is known of the scale beforehand.

    Attributes:
        scale: mm per unit of the source.
        log_std: Standard deviation of its logarithm.
        source: Where it is from, in words.
    """

    scale: float
    log_std: float = 0.1
    source: str = "given"

    def __post_init__(self) -> None:
        if not (0 < self.scale < math.inf and 0 < self.log_std < math.inf):
            raise BadInputError(f"a scale of {self.scale} with {self.log_std} in its logarithm", "positive numbers")


@dataclass(frozen=True)
class Registration:
    """How a surface is registered.

    Attributes:
        search: How starts are found, or None to go from the given start alone.
        noise: What is assumed of the points.
        scale_prior: What is known of the scale, or None.
        working_mm: Least and greatest median distance at which an endoscope is used; with cameras and without a prior
            they bound the scale, and what is in their middle is likelier: 2.5 standard deviations of the logarithm to
            each side. A surface made small enough lies well on any wall. None for no such knowledge.
        least_radius_mm: Without cameras and without a prior, the least root mean square distance of the points
            from their centroid.
        coarse, middle, fine: Samples in the three stages of refinement.
        refined: Distinct ends of the first stage that enter the second.
        contested: Of those, how many at most are matched exactly before the best is chosen,
        contested_cost: where they cost no more than this above the best.
        stages: Annealing of the three stages.
        calibration: From evidence to confidence.
        least_log_odds: The best mode is ambiguous where the best one elsewhere comes as close as this.
        most_tre_mm: Or where the covariance leaves more than this open (root mean square). On phantoms it says half too
            much, so that beyond this one answer in twenty or more would be off by 2 mm.
        most_apart_mm: Or where either half of the frames alone would lie farther away than this.
        least_confidence: Or where the confidence is below this.
        seed: Of the choice of samples.
    """

    search: Search | None = field(default_factory=Search)
    noise: PointNoise = field(default_factory=PointNoise)
    scale_prior: ScalePrior | None = None
    working_mm: tuple[float, float] | None = WORKING_MM
    least_radius_mm: float = 4.0
    coarse: int = 300
    middle: int = 1000
    fine: int = 1500
    refined: int = 10
    contested: int = 4
    contested_cost: float = 0.4
    stages: tuple[Annealing, Annealing, Annealing] = (FROM_AFAR, FROM_NEARBY, AT_LAST)
    calibration: ConfidenceCalibration = ON_PHANTOMS
    least_log_odds: float = math.log(20.0)
    most_tre_mm: float = 1.8
    most_apart_mm: float = 3.0
    least_confidence: float = 0.75
    seed: int = 0

    def __post_init__(self) -> None:
        if not 50 <= self.coarse <= self.middle <= self.fine or self.refined < 1:
            raise BadInputError(f"samples {self.coarse}, {self.middle}, {self.fine}", "50 or more, and rising")
        if self.working_mm is not None and not 0 < self.working_mm[0] < self.working_mm[1]:
            raise BadInputError(f"working distances {self.working_mm}", "two positive numbers, the least first")


def refusals(evidence: RegistrationEvidence, confidence: float, options: Registration) -> tuple[str, ...]:
    """Why an answer is refused, in words."""
    reasons = []
    if evidence.log_odds < options.least_log_odds:
        reasons.append(f"another place fits nearly as well (odds {math.exp(max(evidence.log_odds, 0.0)):.1f} to 1)")
    if evidence.predicted_tre_mm > options.most_tre_mm:
        reasons.append(f"the surface leaves {evidence.predicted_tre_mm:.1f} mm open: too smooth or too symmetric")
    if evidence.air_violation > 0.2:
        reasons.append(f"{100 * evidence.air_violation:.0f} % of the cameras would stand in tissue")
    if evidence.halves_apart_mm > options.most_apart_mm:
        reasons.append(f"a half of the frames alone would lie {evidence.halves_apart_mm:.1f} mm away")
    if confidence < options.least_confidence:
        reasons.append(f"the confidence is {confidence:.2f}: the surface fits this target badly")
    return tuple(reasons)
