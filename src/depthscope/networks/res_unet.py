"""A small residual U-Net: the default, made for two CPU cores and still quick on a GPU."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.networks.depth_head import DepthHead, DepthPrediction
from depthscope.networks.res_unet_encoder import ResUNetEncoder, convolution


@dataclass(frozen=True)
class ResUNet:
    """Options of the residual U-Net.

    Attributes:
        width: Channels at half resolution; doubled at each halving up to `widest`.
        levels: Number of halvings.
        widest: Most channels anywhere.
        uncertainty: Also predict the standard deviation of log depth.
        stem: Size of the first convolution's kernel, in pixels.
        weights: A file with weights of the encoder (``encoder.pt`` of a pretext run); "" starts from random ones. Read
            when training starts, not at prediction.
        frozen: Keep the encoder's weights as they are.
    """

    width: int = 16
    levels: int = 5
    widest: int = 128
    uncertainty: bool = False
    stem: int = 3
    weights: str = ""
    frozen: bool = False

    def __post_init__(self) -> None:
        _ = self.encoder  # which checks the options

    @property
    def encoder(self) -> ResUNetEncoder:
        """Options of its encoder."""
        return ResUNetEncoder(self.width, self.levels, self.widest, self.stem, self.weights, self.frozen)

    @property
    def divisor(self) -> int:
        """Sides of the images must be divisible by it."""
        return self.encoder.divisor

    def build(self) -> nn.Module:
        """A new network with random weights."""
        return ResidualUNet(self)

    def load_start(self, network: nn.Module) -> None:
        """Takes the encoder's weights from the file that the options name, if they name one."""
        if self.weights:
            assert isinstance(network, ResidualUNet)
            network.encoder.load(self.weights)


class ResidualUNet(nn.Module):
    """Residual encoder, decoder with concatenated skips, depth head at full resolution."""

    def __init__(self, options: ResUNet) -> None:
        super().__init__()
        self.divisor = options.divisor
        self.encoder = options.encoder.build()
        widths = self.encoder.channels
        self.decoder = nn.ModuleList(
            convolution(deep + skip, skip)
            for deep, skip in zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        )
        self.finish = convolution(widths[0] + 3, widths[0])
        self.head = DepthHead(widths[0], options.uncertainty)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> DepthPrediction:
        """Log depth of images in 0..1 whose sides are divisible by the divisor."""
        check_divisible(images, self.divisor)
        centred = self.encoder.normalised(images)
        features = self.encoder.features(centred)
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
