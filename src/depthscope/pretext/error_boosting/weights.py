"""How much each class counts: by how rare it is, or by how badly it is recognised."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LEAST, MOST = 0.2, 20.0
"""Weights are clipped to this range, so that one class never decides alone."""

Counts = Int[Tensor, " classes"]
Weights = Float[Tensor, " classes"]


def median_frequency_weights(pixels: Counts) -> Weights:
    """Phase 2: the median frequency of the classes over each one's own (Eigen & Fergus 2015, as Roy et al. 2017).

    Args:
        pixels: How many pixels each class has; one that has none weighs 1 and does not shift the median.
    """
    present = pixels > 0
    weights = torch.ones(len(pixels), dtype=torch.float64)
    if bool(present.any()):
        found = pixels[present].double()
        weights[present] = found.quantile(0.5) / found
    return weights.clamp(LEAST, MOST)


def error_corrective_weights(recall: Weights, present: Bool[Tensor, " classes"], q: float = 0.05) -> Weights:
    """Phase 3: ``(median(a) - m) / (a - m)`` with ``m = min(a) - q`` for the recall a of each class (Roy et al. 2017).

    The median class weighs 1, better ones less, worse ones more, and the worst ``(median - min + q) / q``.

    Args:
        recall: Share of each class's held-out pixels that are recognised.
        present: Which classes the held-out frames show; the others weigh 1.
        q: What keeps the worst class from dividing by zero.
    """
    weights = torch.ones(len(recall), dtype=torch.float64)
    if bool(present.any()):
        found = recall[present].double()
        least = found.min() - q
        weights[present] = (found.quantile(0.5) - least) / (found - least)
    return weights.clamp(LEAST, MOST)
