"""Light fall-off: the lamp sits at the camera, so that near tissue is bright and far tissue dark."""

import torch

from depthscope.inspection.check import Check, at_most, cannot_tell
from depthscope.inspection.evidence import DARK, Evidence
from depthscope.inspection.retracking import rank_correlation

MOST_CORRELATION = -0.05
LEAST_SPREAD, FEWEST = 0.12, 20


def light_falloff(evidence: Evidence) -> Check:
    """Rank correlation of brightness and depth within frames; the gain of a frame drops out, the cosine is left in."""
    clip, images = evidence.working, evidence.images
    depth, size = clip.observed_depths, torch.tensor(clip.size_px)
    pixels = clip.projections.nan_to_num(-1).long()
    inside = ((pixels >= 0) & (pixels < size)).all(-1) & (depth > 0)
    found, slopes = [], []
    for f in range(len(clip)):
        rows = (clip.observations.frame == f) & inside
        column, row = pixels[rows].unbind(-1)
        light = torch.from_numpy(images.light[f])[row, column].double()
        clear = ~torch.from_numpy(images.highlight[f])[row, column] & (light > DARK**2.2)
        z, light = depth[rows][clear].log(), light[clear].log()
        if len(z) < FEWEST or float(z.quantile(0.9) - z.quantile(0.1)) < LEAST_SPREAD:
            continue
        found.append(rank_correlation(z, light))
        centred = z - z.mean()
        slopes.append(float((centred * (light - light.mean())).sum() / (centred * centred).sum()))
    if len(found) < 3:
        return cannot_tell(MOST_CORRELATION, "at most", "too little depth within the frames, or too few points")
    values = torch.tensor(found, dtype=torch.float64)
    value, slope = float(values.quantile(0.5)), float(torch.tensor(slopes).quantile(0.5))
    return at_most(
        value,
        MOST_CORRELATION,
        f"brightness falls with depth by {value:.2f} (rank correlation; slope of the logarithms {slope:.1f}, "
        "about -2 expected)",
        "far points are not darker than near ones: depths may be wrong, or the lamp is not at the camera",
        null=0.0,
        standard_error=float(values.std() / len(found) ** 0.5),
    )
