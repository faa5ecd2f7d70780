"""How sure a registration is: its covariance, the modes that compete with it, and a calibrated confidence."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.geometry import Similarity
from depthscope.geometry.rotation import skew
from depthscope.registration.residuals import placed
from depthscope.registration.view import Samples

VAGUE = (math.pi, 100.0, 1.0)
"""Standard deviations before any data: of the rotation in rad, the translation in mm, the logarithm of the scale."""


@dataclass(frozen=True)
class Mode:
    """One local optimum.

    Attributes:
        target_from_source: Where it places the source, 4x4 in rows.
        scale: Its scale.
        starts: How many starts ended there.
        log_posterior: Tempered log posterior, but for a constant that all modes share.
        coverage: Share of the rays that end where the source says.
        sight_violation: Share of the rays that tissue stops.
        air_violation: Share of cameras in tissue.
        away_mm: Root mean square displacement of the source from where the best mode places it.
    """

    target_from_source: tuple[tuple[float, float, float, float], ...]
    scale: float
    starts: int
    log_posterior: float
    coverage: float
    sight_violation: float
    air_violation: float
    away_mm: float


def independent_samples(samples: Samples, residual: Float[Tensor, " samples"]) -> float:
    """How many independent observations the samples amount to: errors of depth maps are smooth.

    An average of n correlated values varies as one of 1/r independent ones, r being the mean correlation over all
    pairs. It is estimated over pairs of samples, whatever views they are from, up to the distance at which it falls
    below 1/e; beyond that its estimate is noise.
    """
    count, bins = len(samples), 50
    draw = torch.Generator().manual_seed(5)
    first, second = torch.randint(count, (2, 800 * bins), generator=draw)
    apart = (samples.position[first] - samples.position[second]).norm(dim=-1)
    centred = residual - (residual * samples.weight).sum()
    limit = 3 * centred.abs().quantile(0.7)
    centred = centred.clamp(-limit, limit)
    product = centred[first] * centred[second] / centred.square().mean().clamp_min(1e-12)
    correlation = product[apart.argsort()].reshape(bins, -1).mean(1).clamp(0, 1)
    below = (correlation < math.exp(-1) * correlation[0]).nonzero()
    reach = int(below[0]) + 1 if len(below) else bins
    together = float(correlation[:reach].sum() / bins)
    return min(max(1 / max(together, 1e-6), 12.0), float(count))


def covariance(hessian: Float[Tensor, "7 7"], independent: float) -> Float[Tensor, "7 7"]:
    """Of (w, t, ln s) about the samples' centroid, from the mean Hessian of a sample; null directions stay vague."""
    vague = torch.tensor([VAGUE[0]] * 3 + [VAGUE[1]] * 3 + [VAGUE[2]], dtype=torch.float64)
    precision = independent * hessian + torch.diag(1 / vague**2)
    scaled = precision * vague[:, None] * vague
    return torch.linalg.inv(scaled) * vague[:, None] * vague


def predicted_tre(samples: Samples, at: Similarity, spread: Float[Tensor, "7 7"]) -> float:
    """Root mean square over the samples of the error that the covariance predicts, in mm: J = [-sR[p]x | I | sRp]."""
    p, scale, rotation = samples.position, float(at.scale), at.motion.rotation
    by_w = -scale * rotation @ skew(p)
    by_all = torch.cat(
        [by_w, torch.eye(3, dtype=p.dtype).expand(len(p), 3, 3), scale * (p @ rotation.T)[..., None]], -1
    )
    square = torch.einsum("nij,jk,nik->n", by_all, spread, by_all)
    return float((square * samples.weight).sum().clamp_min(0).sqrt())


def displaced(samples: Samples, several: Similarity, one: Similarity) -> Float[Tensor, " starts"]:
    """Root mean square distance between where several similarities and one place the samples, in mm."""
    away = placed(several, samples.position) - one.apply(samples.position)
    return (away.square().sum(-1) * samples.weight).sum(-1).sqrt()


@dataclass(frozen=True)
class RegistrationEvidence:
    """What the confidence is judged by.

    Attributes:
        log_odds: Of the best mode against the best one elsewhere.
        cost: Mean robust energy of a sample; about 1 where the noise is as declared.
        sight_cost: The same along the rays.
        coverage: Share of the rays that end where the source says.
        sight_violation: Share of the rays that tissue stops.
        air_violation: Share of the cameras in tissue.
        predicted_tre_mm: By the covariance.
        inlier_share: Of the samples.
        starts_share: Share of the refined starts that ended in the best mode.
        halves_apart_mm: How far from this answer either half of the frames alone would lie; NaN where nobody asked.
    """

    log_odds: float
    cost: float
    sight_cost: float
    coverage: float
    sight_violation: float
    air_violation: float
    predicted_tre_mm: float
    inlier_share: float
    starts_share: float
    halves_apart_mm: float = math.nan

    @property
    def features(self) -> tuple[float, ...]:
        """As numbers of about one size, for the logistic regression."""
        return (
            math.log1p(max(self.log_odds, 0.0)) - 3.0,
            2 * (self.cost - 1.0),
            2 * (self.sight_cost - 1.5),
            10 * (self.coverage - 0.9),
            10 * self.sight_violation,
            10 * self.air_violation,
        )


@dataclass(frozen=True)
class ConfidenceCalibration:
    """Logistic regression from evidence to the probability that the error at the surface is below the limit.

    Attributes:
        weights: Of `Evidence.features`.
        offset: Added to them.
        limit_mm: What counts as right: mean error over the registered surface.
        fitted_on: In words.
    """

    weights: tuple[float, ...]
    offset: float
    limit_mm: float
    fitted_on: str

    def __call__(self, evidence: RegistrationEvidence) -> float:
        """The probability."""
        total = self.offset + sum(w * f for w, f in zip(self.weights, evidence.features, strict=True))
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))
