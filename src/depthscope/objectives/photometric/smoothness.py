"""What is asked of a disparity map by itself: to be smooth where the image is."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.depth import Maps
from depthscope.objectives.consistency import masked_mean


@dataclass(frozen=True)
class EdgeAware:
    """``<|dx d*| e^-|dx I|> + <|dy d*| e^-|dy I|>`` of d* = d / mean(d) (Godard et al. 2019, eq. 3; Wang et al. 2018).

    d is disparity 1 / D, as the paper has it; the code published with it takes the sigmoid of the head. Division by the
    mean keeps the loss from shrinking with the disparity.

    Attributes:
        weight: At the finest scale; halved at each coarser one.
        edges: False leaves the image out, which is never less.
    """

    weight: float = 1e-3
    edges: bool = True

    def __post_init__(self) -> None:
        _check(self.weight)

    def __call__(
        self,
        disparity: Maps,
        image: Float[Tensor, "batch channels height width"],
        mask: Bool[Tensor, "batch height width"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """The loss of each map, without its weight; mean and differences are taken over the mask."""
        mask = torch.ones_like(disparity, dtype=torch.bool) if mask is None else mask
        normalised = disparity / (masked_mean(disparity, mask)[:, None, None] + 1e-7)
        normalised = torch.where(mask, normalised, 0.0)
        image = torch.where(mask[:, None], image, 0.0)
        total = disparity.new_zeros(len(disparity))
        for axis in (-1, -2):
            change = normalised.diff(dim=axis).abs()
            if self.edges:
                change = change * torch.exp(-image.diff(dim=axis).abs().mean(1))
            total = total + masked_mean(change, _both(mask, axis))
        return total


@dataclass(frozen=True)
class SecondOrder:
    """``<|d_xx|> + <|d_xy|> + <|d_yx|> + <|d_yy|>`` of disparity d (Zhou et al. 2017).

    It vanishes on every plane, as the disparity of a plane is affine in the pixel; second differences of depth do not.

    Attributes:
        weight: At the finest scale; halved at each coarser one.
    """

    weight: float = 0.5

    def __post_init__(self) -> None:
        _check(self.weight)

    def __call__(
        self,
        disparity: Maps,
        image: Float[Tensor, "batch channels height width"],
        mask: Bool[Tensor, "batch height width"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """The loss of each map, without its weight; the image plays no part."""
        mask = torch.ones_like(disparity, dtype=torch.bool) if mask is None else mask
        solid = torch.where(mask, disparity, 0.0)
        total = disparity.new_zeros(len(disparity))
        for first in (-1, -2):
            for second in (-1, -2):
                change = solid.diff(dim=first).diff(dim=second).abs()
                total = total + masked_mean(change, _both(_both(mask, first), second))
        return total


def _both(mask: Tensor, axis: int) -> Tensor:
    """Where a pixel and the next one along the axis are both in the mask."""
    length = mask.shape[axis]
    return mask.narrow(axis, 0, length - 1) & mask.narrow(axis, 1, length - 1)


def _check(weight: float) -> None:
    if not 0 <= weight < float("inf"):
        raise BadInputError(f"smoothness.weight {weight}", "a weight of 0 or more")


Smoothness = EdgeAware | SecondOrder
