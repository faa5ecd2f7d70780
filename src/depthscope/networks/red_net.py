"""Encoder-decoder with symmetric additive skips, in the manner of RED-Net (Mao et al. 2016): recipe PAPER_2018.

The paper shows such a network in its figure 3 and names neither the number of layers, nor their widths, nor a
normalisation. What is chosen here is an option below.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.networks.depth_head import DepthHead, DepthPrediction
from depthscope.networks.res_unet import check_divisible, doubled


@dataclass(frozen=True)
class RedNet:
    """Options of the encoder-decoder.

    Attributes:
        width: Channels at full resolution; doubled at each halving up to `widest`.
        stages: Number of halvings; the paper's 464 x 512 pixels divide by at most four.
        widest: Most channels anywhere.
        depth: Convolutions at each resolution on either side.
        normalised: Group normalisation before each ReLU. RED-Net has none and the paper names none; at its learning
            rate of 1e-4 training is much faster without, at 1e-3 a little faster with it (docs/networks.md).
        uncertainty: Also predict the standard deviation of log depth.
    """

    width: int = 16
    stages: int = 4
    widest: int = 256
    depth: int = 2
    normalised: bool = False
    uncertainty: bool = False

    def __post_init__(self) -> None:
        if self.width < 4 or self.width % 4:
            raise BadInputError(f"network.width {self.width}", "a positive multiple of 4")
        if not 1 <= self.stages <= 7:
            raise BadInputError(f"network.stages {self.stages}", "1 to 7")
        if self.widest < self.width or self.widest % 4:
            raise BadInputError(f"network.widest {self.widest}", f"a multiple of 4, at least the width of {self.width}")
        if self.depth < 1:
            raise BadInputError(f"network.depth {self.depth}", "at least 1 convolution")

    @property
    def divisor(self) -> int:
        """Sides of the images must be divisible by it."""
        return 2**self.stages

    def build(self) -> nn.Module:
        """A new network."""
        return EncoderDecoder(self)


class RedNetStage(nn.Sequential):
    """3x3 convolutions with ReLU between them; the last is left linear for the skip to be added."""

    def __init__(self, inputs: int, outputs: int, options: RedNet, stride: int = 1) -> None:
        layers: list[nn.Module] = []
        for i in range(options.depth):
            if i:
                layers.append(nn.ReLU(inplace=True))
            convolution = nn.Conv2d(
                outputs if i else inputs,
                outputs,
                3,
                stride=1 if i else stride,
                padding=1,
                bias=not options.normalised,
            )
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
            layers.append(convolution)
            if options.normalised:
                layers.append(nn.GroupNorm(max(1, outputs // 8), outputs))
        super().__init__(*layers)


class EncoderDecoder(nn.Module):
    """Strided convolutions down; doubling, convolutions and the encoder's features of the same size up.

    Mao et al. go up by transposed convolutions. At stride two these reach some pixels with four weights and others
    with one, and leave a checkerboard in the depth map; nearest doubling before a convolution reaches all alike (Odena
    et al. 2016).
    """

    def __init__(self, options: RedNet) -> None:
        super().__init__()
        self.divisor = options.divisor
        widths = [min(options.width * 2**stage, options.widest) for stage in range(options.stages + 1)]
        self.stem = RedNetStage(3, widths[0], options)
        self.encoder = nn.ModuleList(
            RedNetStage(inputs, outputs, options, stride=2)
            for inputs, outputs in zip(widths[:-1], widths[1:], strict=True)
        )
        self.decoder = nn.ModuleList(
            RedNetStage(inputs, outputs, options)
            for inputs, outputs in zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        )
        self.head = DepthHead(widths[0], options.uncertainty)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> DepthPrediction:
        """Log depth of images in 0..1 whose sides are divisible by the divisor."""
        check_divisible(images, self.divisor)
        features = functional.relu(self.stem(images * 2 - 1))
        skips = []
        for stage in self.encoder:
            skips.append(features)
            features = functional.relu(stage(features))
        for stage in self.decoder:
            features = functional.relu(stage(doubled(features)) + skips.pop())
        return self.head(features)
