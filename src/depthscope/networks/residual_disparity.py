"""The depth network of Godard et al. 2019: an encoder, and a decoder with disparity at four sizes."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.networks.depth_head import DepthPrediction
from depthscope.networks.disparity import DepthRange, Disparities, DisparityHead, as_depth
from depthscope.networks.efficient_encoder import EfficientEncoder
from depthscope.networks.res_unet import check_divisible, doubled
from depthscope.networks.residual_encoder import Features, ResidualEncoder

WIDTHS = (16, 32, 64, 128, 256)
"""Channels of the decoder at strides 1, 2, 4, 8 and 16."""

HEADS = 4
"""Sizes at which disparity is given: strides 1, 2, 4 and 8."""


@dataclass(frozen=True)
class ResidualDisparity:
    """Options of the network.

    Attributes:
        encoder: The encoder.
        depth: Limits of depth.
    """

    encoder: ResidualEncoder | EfficientEncoder = field(default_factory=ResidualEncoder)
    depth: DepthRange = field(default_factory=DepthRange)

    @property
    def divisor(self) -> int:
        """Sides of the images must be divisible by it."""
        return 32

    def build(self) -> nn.Module:
        """A new network with random weights."""
        return ResidualDisparityNetwork(self)

    def load_start(self, network: nn.Module) -> None:
        """Takes the encoder's weights from the file that the options name, if they name one."""
        if self.encoder.weights:
            assert isinstance(network, ResidualDisparityNetwork)
            network.encoder.load(self.encoder.weights)


class Convolution(nn.Module):
    """3x3 convolution of the reflected image, ELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same size."""
        return functional.elu(self.convolution(features))


class DisparityDecoder(nn.Module):
    """From features at strides 2..32 up to full size: convolution, doubling, the encoder's features, convolution."""

    def __init__(self, channels: tuple[int, ...], depth: DepthRange) -> None:
        super().__init__()
        before, after, heads = [], [], []
        inputs = channels[-1]
        for level in reversed(range(len(WIDTHS))):  # 4 at stride 16 down to 0 at stride 1
            skip = channels[level - 1] if level else 0
            before.append(Convolution(inputs, WIDTHS[level]))
            after.append(Convolution(WIDTHS[level] + skip, WIDTHS[level]))
            inputs = WIDTHS[level]
            if level < HEADS:
                heads.append(DisparityHead(WIDTHS[level], depth, reflect=True))
        self.before, self.after, self.heads = nn.ModuleList(before), nn.ModuleList(after), nn.ModuleList(heads)

    def forward(self, features: Features, all_sizes: bool = True) -> Disparities:
        """Disparity maps, the finest first; or the finest alone."""
        deep, maps = features[-1], []
        for number, (before, after) in enumerate(zip(self.before, self.after, strict=True)):
            level = len(WIDTHS) - 1 - number
            deep = doubled(before(deep))
            deep = after(torch.cat([deep, features[level - 1]], 1) if level else deep)
            if level < HEADS and (all_sizes or level == 0):
                maps.insert(0, self.heads[HEADS - 1 - level](deep)[:, 0])
        return tuple(maps)


class ResidualDisparityNetwork(nn.Module):
    """Encoder and decoder."""

    def __init__(self, options: ResidualDisparity) -> None:
        super().__init__()
        self.divisor = options.divisor
        self.encoder = options.encoder.build()
        self.decoder = DisparityDecoder(options.encoder.channels, options.depth)

    def disparities(self, images: Float[Tensor, "batch 3 height width"]) -> Disparities:
        """Disparity at strides 1, 2, 4 and 8 of images in 0..1."""
        check_divisible(images, self.divisor)
        return self.decoder(self.encoder(images))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> DepthPrediction:
        """Log depth of images in 0..1 whose sides are divisible by the divisor."""
        check_divisible(images, self.divisor)
        return as_depth(self.decoder(self.encoder(images), all_sizes=False)[0])
