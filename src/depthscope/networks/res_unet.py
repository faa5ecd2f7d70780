"""A small residual U-Net: the default, made for two CPU cores and still quick on a GPU."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.networks.depth_head import DepthHead, DepthPrediction


@dataclass(frozen=True)
class ResUNet:
    """Options of the residual U-Net.

    Attributes:
        width: Channels at half resolution; doubled at each halving up to `widest`.
        levels: Number of halvings.
        widest: Most channels anywhere.
        uncertainty: Also predict the standard deviation of log depth.
    """

    width: int = 16
    levels: int = 5
    widest: int = 128
    uncertainty: bool = False

    def __post_init__(self) -> None:
        if self.width < 4 or self.width % 4:
            raise BadInputError(f"network.width {self.width}", "a positive multiple of 4")
        if not 1 <= self.levels <= 7:
            raise BadInputError(f"network.levels {self.levels}", "1 to 7")

    @property
    def divisor(self) -> int:
        """Sides of the images must be divisible by it."""
        return 2**self.levels

    def build(self) -> nn.Module:
        """A new network."""
        return ResidualUNet(self)


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch-free normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(max(1, outputs // 8), outputs),
        nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip (He et al. 2016), halving the resolution if the stride is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, stride)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(max(1, outputs // 8), outputs)
        )
        self.skip = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features at the new resolution."""
        return functional.relu(self.second(self.first(features)) + self.skip(features))


class ResidualUNet(nn.Module):
    """Residual encoder, decoder with concatenated skips, depth head at full resolution."""

    def __init__(self, options: ResUNet) -> None:
        super().__init__()
        self.divisor = options.divisor
        widths = [min(options.width * 2**level, options.widest) for level in range(options.levels)]
        self.stem = convolution(3, widths[0], stride=2)
        self.encoder = nn.ModuleList(
            ResidualBlock(inputs, outputs, stride=2) for inputs, outputs in zip(widths[:-1], widths[1:], strict=True)
        )
        self.decoder = nn.ModuleList(
            convolution(deep + skip, skip)
            for deep, skip in zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        )
        self.finish = convolution(widths[0] + 3, widths[0])
        self.head = DepthHead(widths[0], options.uncertainty)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> DepthPrediction:
        """Log depth of images in 0..1 whose sides are divisible by the divisor."""
        check_divisible(images, self.divisor)
        centred = images * 2 - 1
        features = [self.stem(centred)]
        for block in self.encoder:
            features.append(block(features[-1]))
        deep = features.pop()
        for block in self.decoder:
            deep = block(torch.cat([doubled(deep), features.pop()], 1))
        return self.head(self.finish(torch.cat([doubled(deep), centred.to(deep.dtype)], 1)))


def doubled(features: Tensor) -> Tensor:
    """Nearest-neighbour upsampling by two."""
    return functional.interpolate(features, scale_factor=2, mode="nearest")


def check_divisible(images: Tensor, divisor: int) -> None:
    """Raises BadInputError where a side of the images is not divisible by `divisor`."""
    height, width = images.shape[-2:]
    if height % divisor or width % divisor:
        raise BadInputError(
            f"images of {width} x {height} pixels",
            f"sides divisible by {divisor}",
            "choose another image size, or a network with fewer halvings",
        )
