"""EfficientNet-Lite0 as an encoder: 3.0 million weights, few operations, with published ImageNet weights.

EfficientNet is of Tan and Le (ICML 2019); Lite0 is its form for small machines: no squeeze-and-excitation, and ReLU6
in place of swish.
"""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.networks.encoder_file import fitted, read_weights

MEAN, SPREAD = 127 / 255, 128 / 255
"""What the published weights expect to be taken off from colours in 0..1, and to be divided by."""

STEM = 32
"""Channels of the first convolution."""


@dataclass(frozen=True)
class Stage:
    """A row of equal blocks (Tan and Le 2019, Table 1).

    Attributes:
        kernel: Size of the depthwise convolutions.
        stride: Of the first block.
        expansion: Factor on the channels within a block.
        channels: That each block gives.
        blocks: How many.
    """

    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)


@dataclass(frozen=True)
class EfficientEncoder:
    """Options of the encoder.

    Attributes:
        weights: A file of published ImageNet weights, or ``encoder.pt`` of a pretext run; "" starts from random ones.
            Read when training starts, not at prediction.
        stem: Size of the first convolution's kernel, in pixels.
        frozen: Keep the weights, and the statistics of the batch normalisation, as they are.
    """

    weights: str = ""
    stem: int = 3
    frozen: bool = False

    def __post_init__(self) -> None:
        if self.stem < 1 or self.stem % 2 == 0:
            raise BadInputError(f"encoder.stem {self.stem}", "an odd number of pixels")

    @property
    def channels(self) -> tuple[int, int, int, int, int]:
        """Channels of the five feature maps: of the last stage at each stride."""
        return 16, 24, 40, 112, 320

    @property
    def divisor(self) -> int:
        """Sides of the images must be divisible by it."""
        return 32

    def build(self) -> "EfficientNet":
        """A new encoder with random weights."""
        return EfficientNet(self)


class InvertedBottleneck(nn.Module):
    """Widen by a 1x1 convolution, filter each channel, narrow again; a skip where size and channels stay.

    TensorFlow, where the published weights come from, pads an even image at its far sides alone before a convolution of
    stride 2; so does this.
    """

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = inputs * stage.expansion
        if stage.expansion > 1:
            self.expand_conv, self.bn0 = nn.Conv2d(inputs, inner, 1, bias=False), _normalisation(inner)
        self.depthwise_conv = nn.Conv2d(inner, inner, stage.kernel, stride, groups=inner, bias=False)
        self.bn1 = _normalisation(inner)
        self.project_conv, self.bn2 = nn.Conv2d(inner, stage.channels, 1, bias=False), _normalisation(stage.channels)
        self.widens = stage.expansion > 1
        self.skips = stride == 1 and inputs == stage.channels
        before, after = (stage.kernel - stride) // 2, (stage.kernel - stride + 1) // 2
        self.padding = before, after, before, after

    def forward(self, features: Tensor) -> Tensor:
        """Features at the new resolution."""
        inner = functional.relu6(self.bn0(self.expand_conv(features))) if self.widens else features
        inner = functional.relu6(self.bn1(self.depthwise_conv(functional.pad(inner, self.padding))))
        narrow = self.bn2(self.project_conv(inner))
        return narrow + features if self.skips else narrow


def _normalisation(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class EfficientNet(nn.Module):
    """The convolutional part of EfficientNet-Lite0; gives its features at strides 2, 4, 8, 16 and 32.

    Attributes:
        channels: Of each of them.
        strides: Of each of them.
    """

    def __init__(self, options: EfficientEncoder) -> None:
        super().__init__()
        self.channels, self.strides, self.fixed = options.channels, (2, 4, 8, 16, 32), options.frozen
        self.conv_stem = nn.Conv2d(3, STEM, options.stem, 2, options.stem // 2, bias=False)
        self.bn0 = _normalisation(STEM)
        blocks, last, inputs = [], [], STEM
        for number, stage in enumerate(STAGES):
            for place in range(stage.blocks):
                blocks.append(InvertedBottleneck(inputs, stage, stage.stride if place == 0 else 1))
                inputs = stage.channels
            if number + 1 == len(STAGES) or STAGES[number + 1].stride == 2:
                last.append(len(blocks) - 1)
        self.blocks, self.given = nn.ModuleList(blocks), frozenset(last)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.requires_grad_(not options.frozen)

    def train(self, mode: bool = True) -> "EfficientNet":
        """Training mode, but for a frozen encoder, whose batch normalisation must not move."""
        return super().train(mode and not self.fixed)

    @property
    def first(self) -> nn.Conv2d:
        """The first convolution."""
        return self.conv_stem

    @staticmethod
    def normalised(images: Tensor) -> Tensor:
        """Images in 0..1 as the first convolution takes them."""
        return (images - MEAN) / SPREAD

    def features(self, normalised: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """Five feature maps of normalised images with even sides, the finest first."""
        rows, columns = normalised.shape[-2] // 2, normalised.shape[-1] // 2
        # Its kernel is centred on the odd pixels, whatever its size: on a grid that begins one pixel earlier.
        stem = self.conv_stem(functional.pad(normalised, (1, 2, 1, 2)))[..., 1 : rows + 1, 1 : columns + 1]
        deep, maps = functional.relu6(self.bn0(stem)), []
        for number, block in enumerate(self.blocks):
            deep = block(deep)
            if number in self.given:
                maps.append(deep)
        return maps

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """Five feature maps of images in 0..1 with even sides, the finest first."""
        return self.features(self.normalised(images))

    def load(self, path: str | Path) -> None:
        """Takes the weights of a file with the published names (``_conv_stem.weight``, ``_blocks.0._bn1.weight``...).

        Raises:
            BadInputError: The file is missing, unreadable, or of another network.
        """
        path = Path(path)
        weights = {_plain(name): value for name, value in read_weights(path).items()}
        if "conv_stem.weight" not in weights:
            raise BadInputError(f"{path} is no EfficientNet", "entries _conv_stem.weight, _blocks.0._bn1.weight...")
        classifier = ("conv_head.", "bn1.", "fc.")
        fitted(self, {name: value for name, value in weights.items() if not name.startswith(classifier)}, path)


def _plain(name: str) -> str:
    return ".".join(part.removeprefix("_") for part in name.split("."))
