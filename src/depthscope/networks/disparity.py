"""From features to disparity at several sizes, bounded so that depth lies between two limits."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from depthscope.errors import BadInputError
from depthscope.networks.depth_head import DepthPrediction, as_prediction

Disparities = tuple[Float[Tensor, "batch _ _"], ...]
"""Disparity maps 1 / depth of the same images, the finest first, each half as wide as the one before."""


@dataclass(frozen=True)
class DepthRange:
    """Limits of depth: disparity is ``1/furthest + (1/nearest - 1/furthest) sigma`` with sigma in 0..1.

    Attributes:
        nearest: Depth at sigma 1, in the unit of training.
        furthest: Depth at sigma 0.
        start: Depth that a new network begins near. Sigma 0.5, where public code begins, is about twice `nearest`: two
            eyes would then differ by a third of the image, and nothing in it could be matched.
    """

    nearest: float = 0.1
    furthest: float = 100.0
    start: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.nearest < self.start < self.furthest < float("inf"):
            raise BadInputError(
                f"network.depth from {self.nearest} over {self.start} to {self.furthest}",
                "0 < nearest < start < furthest",
            )

    def disparity(self, sigma: Tensor) -> Tensor:
        """Disparity of a value in 0..1."""
        return 1 / self.furthest + (1 / self.nearest - 1 / self.furthest) * sigma

    @property
    def start_logit(self) -> float:
        """What the sigmoid is given at `start`."""
        sigma = (1 / self.start - 1 / self.furthest) / (1 / self.nearest - 1 / self.furthest)
        return math.log(sigma / (1 - sigma))


class DisparityHead(nn.Module):
    """A 3x3 convolution and a sigmoid."""

    def __init__(self, channels: int, depth: DepthRange, reflect: bool) -> None:
        super().__init__()
        self.depth = depth
        self.outputs = nn.Conv2d(channels, 1, 3, padding=1, padding_mode="reflect" if reflect else "zeros")
        self.begin()

    def begin(self) -> None:
        """Sets the bias so that depth is about the limits' `start`."""
        assert self.outputs.bias is not None
        nn.init.constant_(self.outputs.bias, self.depth.start_logit)

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 1 height width"]:
        """Disparity of the features, float32."""
        return self.depth.disparity(torch.sigmoid(self.outputs(features).float()))


@runtime_checkable
class MultiScale(Protocol):
    """A depth network that also gives its disparity at smaller sizes; `forward` gives the finest as depth."""

    def disparities(self, images: Float[Tensor, "batch 3 height width"]) -> Disparities:
        """Disparity maps, the finest first."""
        ...


def disparities_of(network: nn.Module, images: Float[Tensor, "batch 3 height width"]) -> Disparities:
    """The disparity maps of any depth network: one, where it knows one size only."""
    if isinstance(network, MultiScale):
        return network.disparities(images)
    return ((-as_prediction(network(images)).log_depth).exp(),)


def as_depth(disparity: Float[Tensor, "batch height width"]) -> DepthPrediction:
    """A disparity map as a prediction of log depth."""
    return DepthPrediction(-disparity.log())
