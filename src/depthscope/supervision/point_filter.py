"""Which SfM points not to learn from, told by the light: it sits at the camera, so near tissue is bright."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.geometry.depth import sample
from depthscope.geometry.scale import NORMAL_FROM_MAD

SATURATED = 0.97
"""Brightness (the largest of R, G, B) from which a pixel says nothing about distance."""


def light_outliers(
    frames: Float[Tensor, "frames 3 height width"],
    pixels: Float[Tensor, "frames points 2"],
    depth: Float[Tensor, "frames points"],
    weight: Float[Tensor, "frames points"],
    cutoff: float = 4.0,
) -> tuple[Bool[Tensor, "frames points"], Bool[Tensor, "frames points"]]:
    """Points whose depth does not fit their brightness, frame by frame (TMI 2020, with median and MAD).

    ``log(z^2 V)`` is near constant over a frame lit from the camera; a point is an outlier of the frame where it lies
    more than `cutoff` standard deviations from the median.

    Args:
        frames: Images in 0..1.
        pixels: Positions of the points of each frame.
        depth: Their depths.
        weight: 0 marks no point.
        cutoff: In standard deviations.

    Returns:
        Outliers, and where the test could say anything at all (not where the image is saturated or black).
    """
    blurred = torch.nn.functional.avg_pool2d(frames.amax(1, keepdim=True), 5, stride=1, padding=2)
    brightness = sample(blurred, pixels)[:, 0]
    judged = (weight > 0) & (brightness < SATURATED) & (brightness > 0.02)
    level = 2 * depth.clamp_min(1e-6).log() + brightness.clamp_min(1e-6).log()
    outliers = torch.zeros_like(judged)
    for frame in range(len(frames)):
        chosen = judged[frame]
        if int(chosen.sum()) < 10:
            continue
        centre = level[frame, chosen].median()
        deviation = (level[frame] - centre).abs()
        outliers[frame] = chosen & (deviation > cutoff * NORMAL_FROM_MAD * deviation[chosen].median())
    return outliers, judged
