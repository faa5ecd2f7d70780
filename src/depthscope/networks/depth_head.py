"""From features to a depth map that is always positive and bounded."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

LOG_RANGE = 5.0
"""Bound of |log depth|: a factor of 148 to each side of the sequence's median depth."""

LOG_STD_RANGE = (-6.0, 1.0)
"""Bounds of the logarithm of the standard deviation of log depth: 0.25 % to a factor of 2.7."""


class DepthPrediction(NamedTuple):
    """What a depth network says of a batch of images; a tuple, which wrappers of networks know how to look into.

    Attributes:
        log_depth: Natural logarithm of depth, in an unknown unit, shape (batch, height, width), float32.
        log_std: Logarithm of the standard deviation of `log_depth`, or None where the network does not say.
    """

    log_depth: Float[Tensor, "batch height width"]
    log_std: Float[Tensor, "batch height width"] | None = None

    @property
    def depth(self) -> Float[Tensor, "batch height width"]:
        """Depth, positive."""
        return self.log_depth.exp()


class DepthHead(nn.Module):
    """A 1x1 convolution to log depth o = B tanh(raw / B), so that depth exp(o) is positive and bounded.

    The paper does not name its output activation. An absolute value, as in the code of 2020, allows zero depth and a
    gradient that changes sign; this does neither, and Eq. 3 takes o as it is.
    """

    def __init__(self, channels: int, uncertainty: bool = False) -> None:
        super().__init__()
        self.outputs = nn.Conv2d(channels, 2 if uncertainty else 1, kernel_size=1)
        if not self.outputs.weight.is_meta:  # where normal_ imports all of torch's compiler, for nothing
            nn.init.normal_(self.outputs.weight, std=0.01)  # starts near a flat wall at the median depth
        nn.init.zeros_(self.outputs.bias)  # type: ignore[arg-type]

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> DepthPrediction:
        """The depth map of each image of features."""
        raw = self.outputs(features).float()
        log_depth = LOG_RANGE * torch.tanh(raw[:, 0] / LOG_RANGE)
        if raw.shape[1] == 1:
            return DepthPrediction(log_depth)
        low, high = LOG_STD_RANGE
        return DepthPrediction(log_depth, low + (high - low) * torch.sigmoid(raw[:, 1]))


@runtime_checkable
class NetworkOptions(Protocol):
    """Options of a depth network: anything with these two plugs in.

    `build` returns a module from images (batch, 3, height, width) in 0..1 to a `DepthPrediction`, or to a plain tensor
    of positive depths (batch, 1, height, width).
    """

    @property
    def divisor(self) -> int:
        """Both sides of an image must be divisible by it."""
        ...

    def build(self) -> nn.Module:
        """A new network with random weights."""
        ...


def as_prediction(output: DepthPrediction | Tensor) -> DepthPrediction:
    """The output of a plugged-in network as a `DepthPrediction`.

    Raises:
        ValueError: The network gave depths that are not positive and finite; they are never clamped.
    """
    if isinstance(output, DepthPrediction):
        return output
    depth = output.squeeze(1) if output.ndim == 4 else output
    if not bool((depth > 0).all() & depth.isfinite().all()):
        raise ValueError("the network gave depths that are not positive and finite; end it with exp or softplus")
    return DepthPrediction(depth.float().log())
