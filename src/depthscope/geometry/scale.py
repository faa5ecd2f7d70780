"""Depth map scaling layer (Liu et al. 2018, section 2): one factor per frame from predicted to sparse depth.

A network sees one image and cannot know the scale of the SfM; the layer brings its depth to it. With r_i = log of
sparse over predicted depth at point i, every estimator here is some mean of r, and the gradient flows through it, so
that what follows is blind to the global scale of the prediction.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError

PerPoint = Float[Tensor, "*batch points"]
PerFrame = Float[Tensor, "*batch"]

NORMAL_FROM_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


def robust_std(deviations: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """The standard deviation by the median of the absolute deviations, which outliers do not move."""
    return NORMAL_FROM_MAD * deviations.abs().quantile(0.5)


@dataclass(frozen=True, eq=False)
class Scale:
    """The factor of each frame, and how well it is known.

    Attributes:
        log_factor: log sigma; 0 where not `supported`.
        spread: Median absolute deviation of r.
        trimmed: Share of the supported points that were left out.
        supported: False where a frame has no point; its factor is 1.
    """

    log_factor: PerFrame
    spread: PerFrame
    trimmed: PerFrame
    supported: Bool[Tensor, "*batch"]

    @property
    def factor(self) -> PerFrame:
        """sigma, so that Z = sigma Y."""
        return self.log_factor.exp()


def weighted_mean(values: PerPoint, weight: PerPoint) -> PerFrame:
    """The mean ``sum w v / sum w`` over the last axis; 0 where there is no weight.

    Values without weight may be anything, NaN and infinities too: they are selected away, as 0 times NaN is NaN.
    """
    values = torch.where(weight > 0, values, 0.0)
    total = weight.sum(-1)
    empty = total <= 0
    return torch.where(empty, 0.0, (weight * values).sum(-1) / torch.where(empty, 1.0, total))


def weighted_median(values: PerPoint, weight: PerPoint) -> PerFrame:
    """The value with half of the weight on either side (the mean of two where it falls between), without gradient."""
    values, weight = values.detach(), weight.detach()
    ordered, order = torch.where(weight > 0, values, torch.inf).sort(-1)
    reached = weight.gather(-1, order).cumsum(-1) / weight.sum(-1, keepdim=True).clamp_min(1e-30)
    last = (weight > 0).sum(-1, keepdim=True).clamp_min(1) - 1
    tolerance = 1e-6
    low = torch.minimum((reached < 0.5 - tolerance).sum(-1, keepdim=True), last)
    high = torch.minimum((reached <= 0.5 + tolerance).sum(-1, keepdim=True), last)
    median = (ordered.gather(-1, low) + ordered.gather(-1, high)).squeeze(-1) / 2
    return torch.where((weight > 0).any(-1), median, 0.0)


def spread_about(centre: PerFrame, values: PerPoint, weight: PerPoint) -> PerFrame:
    """Weighted median absolute deviation from `centre`, without gradient."""
    return weighted_median((values - centre[..., None]).abs(), weight)


@dataclass(frozen=True)
class LogMean:
    """sigma = exp(sum w r / sum w): the factor that is implied by the scale-invariant loss (Eq. 3)."""

    def __call__(self, log_ratio: PerPoint, weight: PerPoint) -> Scale:
        """The scale of each frame from r, shape (*batch, points), and weights; weight 0 marks no point."""
        centre = weighted_median(log_ratio, weight)
        mean = weighted_mean(log_ratio, weight)
        spread = spread_about(centre, log_ratio, weight)
        return Scale(mean, spread, torch.zeros_like(mean), weight.sum(-1) > 0)


@dataclass(frozen=True)
class TrimmedLogMean:
    """`LogMean` over the points within `cutoff` standard deviations of the weighted median; the training default."""

    cutoff: float = 3.0

    def __post_init__(self) -> None:
        if not self.cutoff > 0:
            raise BadInputError(f"a cutoff of {self.cutoff}", "more than 0 standard deviations")

    def __call__(self, log_ratio: PerPoint, weight: PerPoint) -> Scale:
        """As `LogMean`. A spread of 0 keeps every point."""
        centre = weighted_median(log_ratio, weight)
        spread = spread_about(centre, log_ratio, weight)
        limit = torch.where(spread > 0, self.cutoff * NORMAL_FROM_MAD * spread, torch.inf)[..., None]
        kept = weight * ((log_ratio.detach() - centre[..., None]).abs() <= limit)
        supported = (weight > 0).sum(-1).clamp_min(1)
        trimmed = 1 - (kept > 0).sum(-1) / supported
        any_point = weight.sum(-1) > 0
        return Scale(weighted_mean(log_ratio, kept), spread, torch.where(any_point, trimmed.to(spread), 0.0), any_point)


@dataclass(frozen=True)
class LogMedian:
    """sigma = exp(weighted median of r): for prediction and reports; has no gradient."""

    def __call__(self, log_ratio: PerPoint, weight: PerPoint) -> Scale:
        """As `LogMean`."""
        centre = weighted_median(log_ratio, weight)
        return Scale(centre, spread_about(centre, log_ratio, weight), torch.zeros_like(centre), weight.sum(-1) > 0)


@dataclass(frozen=True)
class RatioMean:
    """sigma = mean of Y*/Y: the normalisation of the authors' code of 2020, kept for TMI_2020.

    The mean of ratios is led by whatever point is predicted nearest to 0; prefer the others.
    """

    def __call__(self, log_ratio: PerPoint, weight: PerPoint) -> Scale:
        """As `LogMean`; the weights count as present or absent."""
        present = (weight > 0).to(log_ratio)
        mean = weighted_mean(torch.where(weight > 0, log_ratio, 0.0).exp(), present)
        centre = weighted_median(log_ratio, weight)
        supported = present.sum(-1) > 0
        return Scale(
            torch.where(supported, mean, 1.0).log(),
            spread_about(centre, log_ratio, weight),
            torch.zeros_like(mean),
            supported,
        )


ScaleEstimator = TrimmedLogMean | LogMean | LogMedian | RatioMean
