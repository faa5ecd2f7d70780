"""What a network that starts from learned weights keeps of them where structure from motion has no points.

With c the log of a depth map over the one that the network began with, the term is the mean of |c(p + k) - c(p)| over
pixels k = 1, 2, 4 and 8 apart, along both axes. A factor on the whole map costs nothing and a smooth bend little; an
edge that vanishes, or one that appears, costs much. (Differences at several distances as in the gradient matching of Li
and Snavely 2018, MegaDepth, there against true depth.)
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

STEPS_PX = (1, 2, 4, 8)

Maps = Float[Tensor, "batch height width"]


def gradient_difference(error: Maps, known: Bool[Tensor, "batch height width"]) -> Float[Tensor, ""]:
    """Mean absolute difference of an error in log depth between pixels some steps apart, summed over steps and axes.

    Args:
        error: Log of one depth map over another.
        known: Where it counts; a pair counts where both pixels do.
    """
    total = error.new_zeros(())
    for step in STEPS_PX:
        for axis in (1, 2):
            length = error.shape[axis] - step
            if length < 1:
                continue
            a, b = error.narrow(axis, 0, length), error.narrow(axis, step, length)
            both = known.narrow(axis, 0, length) & known.narrow(axis, step, length)
            total = total + torch.where(both, a - b, 0.0).abs().sum() / both.sum().clamp_min(1)
    return total
