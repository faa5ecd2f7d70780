"""Deviations that hold what they promise: one number, fitted to errors on patients that nothing was learned from.

A network that learns from changed and moved frames meets harder ones than it is used on, so the deviations it tells are
too large. A shift of the last bias brings the shares of errors within one and two of them to those of a normal error.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from depthscope.errors import BadInputError
from depthscope.networks.depth_head import LOG_STD_RANGE
from depthscope.supervised.validation import UnseenPatients

EXPECTED = {1: 0.6827, 2: 0.9545}
"""Shares of normal errors within so many deviations."""

TOLERANCE = {1: 0.05, 2: 0.03}
"""How near they can be expected: real errors have longer tails, and both shares are not met at once."""

LARGEST_SHIFT = 4.0


@dataclass(frozen=True)
class DeviationCalibration:
    """What was fitted.

    Attributes:
        shift: Added to what the head gives before it is bounded.
        within: Shares of errors within one and two deviations, after it.
        before: The same without it.
        patients: What it was fitted on.
    """

    shift: float
    within: tuple[float, float]
    before: tuple[float, float]
    patients: tuple[str, ...]


def calibration(network: nn.Module, unseen: UnseenPatients) -> DeviationCalibration:
    """The shift that fits these frames best; every frame counts the same.

    Raises:
        BadInputError: The network tells no deviations.
    """
    rows = list(unseen.deviations(network))
    if not rows:
        raise BadInputError("a network without deviations", "one that predicts them", "leave --calibrate away")

    def shares(shift: float) -> tuple[float, float]:
        within = [[float((e <= n * moved(s, shift).exp()).float().mean()) for n in EXPECTED] for e, s in rows]
        one, two = np.mean(within, 0).tolist()
        return one, two

    def misfit(shift: float) -> float:
        return sum(((w - EXPECTED[n]) / TOLERANCE[n]) ** 2 for n, w in zip(EXPECTED, shares(shift), strict=True))

    # Shares are flat far from the answer, where a search by slope would stay: look everywhere first.
    coarse = min(np.arange(-LARGEST_SHIFT, LARGEST_SHIFT + 0.1, 0.25).tolist(), key=misfit)
    shift = min((coarse + np.arange(-0.25, 0.26, 0.01)).tolist(), key=misfit)
    names = tuple(f"{p.anatomy} {p.seed}" for p in unseen.store.patients)
    return DeviationCalibration(shift, shares(shift), shares(0.0), names)


def moved(log_std: Float[Tensor, "*shape"], shift: float) -> Float[Tensor, "*shape"]:
    """Log deviations after their bounded value was shifted before the bound (see `DepthHead`)."""
    low, high = LOG_STD_RANGE
    share = ((log_std - low) / (high - low)).clamp(1e-6, 1 - 1e-6)
    return low + (high - low) * torch.sigmoid(torch.logit(share) + shift)
