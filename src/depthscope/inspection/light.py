"""Light fall-off: the lamp sits at the camera, so that near tissue is bright and far tissue dark."""

import math
from dataclasses import dataclass

import torch

from depthscope.inspection.check import Check, at_most, cannot_tell
from depthscope.inspection.evidence import DARK, Evidence
from depthscope.inspection.retracking import rank_correlation

MOST_CORRELATION = -0.05
MOST_RISE = 0.15
NULL_SDS = 3.0
"""The rise has to exceed so many standard deviations of a rank correlation of unrelated things, 1 / sqrt(n - 1)."""

LEAST_SPREAD, FEWEST = 0.12, 20


@dataclass(frozen=True)
class Falloff:
    """Brightness against depth in the frames that have enough of both.

    Attributes:
        correlations: Rank correlation of each frame.
        slopes: Of the logarithms, of each frame.
        counts: Points of each frame.
    """

    correlations: tuple[float, ...]
    slopes: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def median(self) -> float:
        """Of the correlations."""
        return float(torch.tensor(self.correlations, dtype=torch.float64).quantile(0.5))


def light_falloff(evidence: Evidence) -> Check:
    """Rank correlation of brightness and depth within frames; the gain of a frame drops out, the cosine is left in."""
    found = falloff(evidence)
    if found is None:
        return cannot_tell(MOST_CORRELATION, "at most", "too little depth within the frames, or too few points")
    slope = float(torch.tensor(found.slopes).quantile(0.5))
    values = torch.tensor(found.correlations, dtype=torch.float64)
    return at_most(
        found.median,
        MOST_CORRELATION,
        f"brightness and depth have a rank correlation of {found.median:+.2f} (slope of the logarithms {slope:.1f}, "
        "about -2 expected)",
        "far points are not darker than near ones: depths may be wrong, or the lamp is not at the camera",
        null=0.0,
        standard_error=float(values.std() / len(values) ** 0.5),
    )


def near_and_far(evidence: Evidence) -> Check:
    """Are near and far exchanged? Then what is bright is far away, beyond what chance does with so few points."""
    found = falloff(evidence)
    if found is None:
        return cannot_tell(MOST_RISE, "at most", "too little depth within the frames, or too few points")
    count = float(torch.tensor(found.counts, dtype=torch.float64).quantile(0.5))
    sd = 1 / math.sqrt(count - 1)  # frames see the same points: more of them do not make it smaller
    gate = max(MOST_RISE, NULL_SDS * sd)
    figure = f"(rank correlation of brightness and depth {found.median:+.2f})"
    return at_most(
        found.median,
        gate,
        f"near and far are exchanged: what is bright is reconstructed far away {figure}"
        if found.median > gate
        else f"light does not contradict the order of depth {figure}",
        "the camera moved too little to tell a depth from its reverse; use more frames of this place, more sideways "
        "motion, or a camera file, and reconstruct again (unless the lamp is not at the camera)",
        null=0.0,
        standard_error=sd,
        p_value=math.erfc(-found.median / sd / math.sqrt(2)) / 2,
    )


def falloff(evidence: Evidence) -> Falloff | None:
    """Brightness against depth within frames; None where too few frames have points and depth enough."""
    clip, images = evidence.working, evidence.images
    depth, size = clip.observed_depths, torch.tensor(clip.size_px)
    pixels = clip.projections.nan_to_num(-1).long()
    inside = ((pixels >= 0) & (pixels < size)).all(-1) & (depth > 0)
    correlations, slopes, counts = [], [], []
    for f in range(len(clip)):
        rows = (clip.observations.frame == f) & inside
        column, row = pixels[rows].unbind(-1)
        light = torch.from_numpy(images.light[f])[row, column].double()
        clear = ~torch.from_numpy(images.highlight[f])[row, column] & (light > DARK**2.2)
        z, light = depth[rows][clear].log(), light[clear].log()
        if len(z) < FEWEST or float(z.quantile(0.9) - z.quantile(0.1)) < LEAST_SPREAD:
            continue
        correlations.append(rank_correlation(z, light))
        counts.append(len(z))
        centred = z - z.mean()
        slopes.append(float((centred * (light - light.mean())).sum() / (centred * centred).sum()))
    return Falloff(tuple(correlations), tuple(slopes), tuple(counts)) if len(correlations) >= 3 else None
