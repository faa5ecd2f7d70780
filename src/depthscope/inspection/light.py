"""Light fall-off: the lamp sits at the camera, so that near tissue is bright and far tissue dark."""

import math
from dataclasses import dataclass

import torch

from depthscope.brightness import DARK
from depthscope.falloff import falloff_of_frame
from depthscope.inspection.check import Check, at_most, cannot_tell
from depthscope.inspection.evidence import Evidence

MOST_CORRELATION = -0.05
MOST_RISE = 0.15
NULL_SDS = 3.0
"""The rise has to exceed so many standard deviations of a rank correlation of unrelated things, 1 / sqrt(n - 1)."""

FEWEST_FRAMES = 3


@dataclass(frozen=True)
class Falloff:
    """Brightness against distance in the frames that have enough of both.

    Attributes:
        correlations: Partial rank correlation of each frame (`depthscope.falloff`).
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
    """Rank correlation of brightness and distance within frames, at equal angles; the gain of a frame drops out."""
    found = falloff(evidence)
    if found is None:
        return cannot_tell(MOST_CORRELATION, "at most", "too little depth within the frames, or too few points")
    slope = float(torch.tensor(found.slopes).quantile(0.5))
    values = torch.tensor(found.correlations, dtype=torch.float64)
    return at_most(
        found.median,
        MOST_CORRELATION,
        f"brightness and distance have a rank correlation of {found.median:+.2f} (slope of the logarithms {slope:.1f}, "
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
    figure = f"(rank correlation of brightness and distance {found.median:+.2f})"
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
    """Brightness against distance within frames; None where too few frames have points and depth enough."""
    clip, images = evidence.working, evidence.images
    points, size = clip.observed_points, torch.tensor(clip.size_px)
    pixels = clip.projections.nan_to_num(-1).long()
    inside = ((pixels >= 0) & (pixels < size)).all(-1) & (points[:, 2] > 0)
    found, counts = [], []
    for f in range(len(clip)):
        rows = (clip.observations.frame == f) & inside
        column, row = pixels[rows].unbind(-1)
        light = torch.from_numpy(images.light[f])[row, column].double()
        clear = ~torch.from_numpy(images.highlight[f])[row, column] & (light > DARK**2.2)
        of_frame = falloff_of_frame(points[rows][clear].numpy(), light[clear].log().numpy())
        if of_frame is not None:
            found.append(of_frame)
            counts.append(int(clear.sum()))
    if len(found) < FEWEST_FRAMES:
        return None
    correlations, slopes = zip(*found, strict=True)
    return Falloff(correlations, slopes, tuple(counts))
