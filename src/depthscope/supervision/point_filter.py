"""Which SfM points not to learn from, told by the light: it sits at the camera, so near tissue is bright."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from depthscope.geometry.depth import sample
from depthscope.geometry.scale import NORMAL_FROM_MAD

SATURATED = 0.97
"""Brightness (the largest of R, G, B) from which a pixel says nothing about distance."""

BLACK = 0.02
"""Brightness up to which it says nothing either."""

STEP = 0.01
"""Smallest spread of log(z^2 V) that is believed: brightness comes in bytes."""

WINDOW = 5, 1, 2  # size, stride, padding


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
    value = frames.amax(1, keepdim=True)
    blurred = functional.avg_pool2d(value, *WINDOW, count_include_pad=False)
    brightest, darkest = functional.max_pool2d(value, *WINDOW), -functional.max_pool2d(-value, *WINDOW)
    clear = ((brightest < SATURATED) & (darkest > BLACK)).to(value)  # else a highlight or the scope's rim leaks in
    brightness, shown = sample(torch.cat([blurred, clear], 1), pixels).unbind(1)
    judged = (weight > 0) & (shown > 1 - 1e-3)
    level = 2 * depth.clamp_min(1e-6).log() + brightness.clamp_min(1e-6).log()
    outliers = torch.zeros_like(judged)
    for frame in range(len(frames)):
        chosen = judged[frame]
        if int(chosen.sum()) < 10:
            continue
        centre = level[frame, chosen].median()
        deviation = (level[frame] - centre).abs()
        spread = NORMAL_FROM_MAD * deviation[chosen].median().clamp_min(STEP)
        outliers[frame] = chosen & (deviation > cutoff * spread)
    return outliers, judged
