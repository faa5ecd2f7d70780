"""Depth consistency loss between the two frames of a pair (Liu et al. 2018, Eq. 4), and variants of its residual."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.depth import Maps, MaskMaps


def masked_mean(values: Maps, valid: MaskMaps) -> Float[Tensor, " batch"]:
    """Mean over the valid pixels of each map; 0 where there are none, whatever the other pixels hold."""
    kept = torch.where(valid, values, 0.0).sum((-1, -2))
    return kept / valid.sum((-1, -2)).clamp_min(1)


@dataclass(frozen=True)
class Absolute:
    """Eq. 4 as printed: ``(1/N) sum |Z~ - Z|``, in units where the sequence's median depth is 1."""

    def __call__(self, warped: Maps, depth: Maps, valid: MaskMaps) -> Float[Tensor, " batch"]:
        """The loss of each map, shape (batch,)."""
        return masked_mean((warped - depth).abs(), valid)  # Eq. 4


@dataclass(frozen=True)
class Relative:
    """``(1/N) sum |Z~ - Z| / (Z~ + Z)``: free of scale and bounded by 1, so that near and far count alike."""

    def __call__(self, warped: Maps, depth: Maps, valid: MaskMaps) -> Float[Tensor, " batch"]:
        """The loss of each map, shape (batch,)."""
        return masked_mean((warped - depth).abs() / (warped + depth), valid)


@dataclass(frozen=True)
class LogDifference:
    """``(1/N) sum h(log Z~ - log Z)`` with h quadratic below `width` and linear beyond (Huber)."""

    width: float = 0.02

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise BadInputError(f"a width of {self.width}", "more than 0")

    def __call__(self, warped: Maps, depth: Maps, valid: MaskMaps) -> Float[Tensor, " batch"]:
        """The loss of each map, shape (batch,)."""
        difference = warped.log() - torch.where(valid, depth, 1.0).log()
        return masked_mean(
            torch.nn.functional.huber_loss(difference, torch.zeros_like(difference), reduction="none", delta=self.width)
            / self.width,
            valid,
        )


@dataclass(frozen=True)
class Normalised:
    """The consistency of the code of 2020: point differences over all depths, ``2 sum |P - P~| / sum (Z + Z~)``.

    ``|P - P~|_1 = |Z - Z~| (|r_x| + |r_y| + 1)`` for the two points on the ray r of a pixel.
    """

    def __call__(self, warped: Maps, depth: Maps, valid: MaskMaps, ray_l1: Maps) -> Float[Tensor, " batch"]:
        """The loss of each map, shape (batch,); `ray_l1` is |r_x| + |r_y| + |r_z|."""
        above = torch.where(valid, (warped - depth).abs() * ray_l1, 0.0).sum((-1, -2))
        below = torch.where(valid, warped.abs() + depth, 0.0).sum((-1, -2))
        return 2 * above / (below + 1e-5 * depth.mean((-1, -2)))


ConsistencyResidual = Absolute | Relative | LogDifference | Normalised
