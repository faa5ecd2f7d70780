"""FC-DenseNet (Jegou et al. 2017), the network of the journal sequel: recipe TMI_2020.

Each dense layer sees all features before it in its block, so few channels per layer are enough. The three sizes of the
paper are three sets of numbers: `FCDenseNet()` is FC-DenseNet-57, and `FCDENSENET_67` and `FCDENSENET_103` stand below.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from depthscope.errors import BadInputError
from depthscope.networks.depth_head import DepthHead, DepthPrediction
from depthscope.networks.res_unet import check_divisible, doubled


@dataclass(frozen=True)
class FCDenseNet:
    """Options of the fully convolutional DenseNet.

    Attributes:
        layers: Dense layers in each block of the encoder, one block per halving; the decoder mirrors them.
        bottleneck: Dense layers at the lowest resolution.
        growth: Channels that each dense layer adds.
        first: Channels of the first convolution.
        checkpointing: Compute the dense layers again in the backward pass instead of keeping their features: less
            memory, about a third more time.
        uncertainty: Also predict the standard deviation of log depth.
    """

    layers: tuple[int, ...] = (4, 4, 4, 4, 4)
    bottleneck: int = 4
    growth: int = 12
    first: int = 48
    checkpointing: bool = False
    uncertainty: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= 7 or min(self.layers) < 1:
            raise BadInputError(f"network.layers {self.layers}", "1 to 7 blocks of at least 1 layer")
        for name in ("bottleneck", "growth", "first"):
            if getattr(self, name) < 1:
                raise BadInputError(f"network.{name} {getattr(self, name)}", "at least 1")

    @property
    def divisor(self) -> int:
        """Sides of the images must be divisible by it."""
        return 2 ** len(self.layers)

    def build(self) -> nn.Module:
        """A new network."""
        return FullyConvolutionalDenseNet(self)


FCDENSENET_67 = FCDenseNet(layers=(5, 5, 5, 5, 5), bottleneck=5, growth=16)
FCDENSENET_103 = FCDenseNet(layers=(4, 5, 7, 10, 12), bottleneck=15, growth=16)


class DenseLayer(nn.Sequential):
    """Batch normalisation, ReLU, 3x3 convolution to `growth` channels."""

    def __init__(self, inputs: int, growth: int, checkpointing: bool) -> None:
        # A checkpointed layer runs twice in training, and moves its running statistics twice: (1 - m')^2 = 1 - m.
        momentum = 1 - (1 - 0.1) ** 0.5 if checkpointing else 0.1
        super().__init__(
            nn.BatchNorm2d(inputs, momentum=momentum),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, growth, 3, padding=1),
        )


class DenseBlock(nn.Module):
    """Dense layers, each over the input of the block and all layers before it (Huang et al. 2017).

    Attributes:
        inputs: Channels that come in.
        added: Channels that its layers add.
    """

    def __init__(self, inputs: int, layers: int, growth: int, checkpointing: bool) -> None:
        super().__init__()
        self.inputs, self.added, self.checkpointing = inputs, layers * growth, checkpointing
        self.layers = nn.ModuleList(DenseLayer(inputs + i * growth, growth, checkpointing) for i in range(layers))

    def forward(self, features: Tensor) -> list[Tensor]:
        """The features that came in, and those that each layer added, still apart."""
        known = [features]
        for layer in self.layers:
            if self.checkpointing and torch.is_grad_enabled() and self.training:
                known.append(checkpoint(_joined, layer, *known, use_reentrant=False))
            else:
                known.append(_joined(layer, *known))
        return known


def _joined(layer: nn.Module, *known: Tensor) -> Tensor:
    """A layer over all known features; joined inside, so that a checkpoint keeps no copy of the joined ones."""
    return layer(torch.cat(known, 1))


def down(channels: int) -> nn.Sequential:
    """Half the resolution: batch normalisation, ReLU, 1x1 convolution, the largest of 2x2."""
    return nn.Sequential(
        nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 1), nn.MaxPool2d(2)
    )


class FullyConvolutionalDenseNet(nn.Module):
    """Dense blocks down and up, with concatenated skips, and a depth head at full resolution.

    Where Jegou et al. use transposed convolutions and dropout, this has nearest doubling with a 3x3 convolution and no
    dropout, as the journal sequel.
    """

    def __init__(self, options: FCDenseNet) -> None:
        super().__init__()
        self.divisor = options.divisor

        def block(inputs: int, layers: int) -> DenseBlock:
            return DenseBlock(inputs, layers, options.growth, options.checkpointing)

        self.stem = nn.Conv2d(3, options.first, 3, padding=1)
        channels, skips = options.first, []
        encoder, halvings = [], []
        for layers in options.layers:
            encoder.append(block(channels, layers))
            channels += encoder[-1].added
            skips.append(channels)
            halvings.append(down(channels))
        self.encoder, self.halvings = nn.ModuleList(encoder), nn.ModuleList(halvings)
        self.bottleneck = block(channels, options.bottleneck)

        decoder, doublings = [], []
        added = self.bottleneck.added
        for layers, skip in zip(reversed(options.layers), reversed(skips), strict=True):
            doublings.append(nn.Conv2d(added, added, 3, padding=1))
            decoder.append(block(added + skip, layers))
            added = decoder[-1].added
        self.decoder, self.doublings = nn.ModuleList(decoder), nn.ModuleList(doublings)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.head = DepthHead(decoder[-1].inputs + added, options.uncertainty)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> DepthPrediction:
        """Log depth of images in 0..1 whose sides are divisible by the divisor."""
        check_divisible(images, self.divisor)
        features, skips = self.stem(images * 2 - 1), []
        for block, halving in zip(self.encoder, self.halvings, strict=True):
            skips.append(torch.cat(block(features), 1))
            features = halving(skips[-1])

        # On the way up only what a block added goes on: its input would make the channels grow without end.
        known = self.bottleneck(features)
        for block, doubling in zip(self.decoder, self.doublings, strict=True):
            features = doubling(doubled(torch.cat(known[1:], 1)))
            known = block(torch.cat([features, skips.pop()], 1))
        return self.head(torch.cat(known, 1))
