"""Residual networks (He et al. 2016) as encoders, with the names of the weights that are published for ImageNet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.networks.encoder_file import fitted, read_weights

MEAN, SPREAD = 0.45, 0.225
"""Of natural images over all channels: what is taken off and divided by before the first convolution."""

Features = list[Float[Tensor, "batch _ _ _"]]


@dataclass(frozen=True)
class ResidualEncoder:
    """Options of the encoder.

    Attributes:
        layers: 18 or 34 with two 3x3 convolutions in a block, 50, 101 or 152 with a bottleneck of three.
        weights: A file with published ImageNet weights for this number of layers (torchvision's names), which the user
            has fetched, or ``encoder.pt`` of a pretext run; "" starts from random ones. Read when training starts, not
            at prediction.
        stem: Size of the first convolution's kernel, in pixels.
        frozen: Keep the weights, and the statistics of the batch normalisation, as they are.
    """

    layers: Literal[18, 34, 50, 101, 152] = 18
    weights: str = ""
    stem: int = 7
    frozen: bool = False

    def __post_init__(self) -> None:
        if self.layers not in BLOCKS:
            raise BadInputError(f"encoder.layers {self.layers}", f"one of {', '.join(map(str, BLOCKS))}")
        if self.stem < 1 or self.stem % 2 == 0:
            raise BadInputError(f"encoder.stem {self.stem}", "an odd number of pixels")

    @property
    def channels(self) -> tuple[int, int, int, int, int]:
        """Channels of the five feature maps."""
        wider = 4 if self.layers >= 50 else 1
        return 64, 64 * wider, 128 * wider, 256 * wider, 512 * wider

    @property
    def divisor(self) -> int:
        """Sides of the images must be divisible by it."""
        return 32

    def build(self, images: int = 1) -> "ResNet":
        """A new encoder of `images` colour images stacked in channels, with random weights."""
        return ResNet(self, images)


BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Blocks in each of the four groups."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a skip."""

    wider = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _skip(inputs, width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Features at the new resolution."""
        inner = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.downsample(features))


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1 around a skip; the stride is in the middle one."""

    wider = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = self.wider * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _skip(inputs, outputs, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Features at the new resolution."""
        inner = functional.relu(self.bn1(self.conv1(features)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        return functional.relu(self.bn3(self.conv3(inner)) + self.downsample(features))


def _skip(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """The convolutional part of a residual network; gives its features at strides 2, 4, 8, 16 and 32.

    Attributes:
        channels: Of each of them.
        strides: Of each of them.
    """

    def __init__(self, options: ResidualEncoder, images: int = 1) -> None:
        super().__init__()
        self.channels, self.images, self.strides = options.channels, images, (2, 4, 8, 16, 32)
        self.fixed = options.frozen
        block = Bottleneck if options.layers >= 50 else BasicBlock
        self.conv1 = nn.Conv2d(3 * images, 64, options.stem, 2, options.stem // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for number, count in enumerate(BLOCKS[options.layers]):
            width, stride = 64 * 2**number, 1 if number == 0 else 2
            group = []
            for place in range(count):
                group.append(block(inputs, width, stride if place == 0 else 1))
                inputs = width * block.wider
            setattr(self, f"layer{number + 1}", nn.Sequential(*group))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.requires_grad_(not options.frozen)

    def train(self, mode: bool = True) -> "ResNet":
        """Training mode, but for a frozen encoder, whose batch normalisation must not move."""
        return super().train(mode and not self.fixed)

    @property
    def first(self) -> nn.Conv2d:
        """The first convolution."""
        return self.conv1

    @staticmethod
    def normalised(images: Tensor) -> Tensor:
        """Images in 0..1 as the first convolution takes them."""
        return (images - MEAN) / SPREAD

    def features(self, normalised: Float[Tensor, "batch channels height width"]) -> Features:
        """Five feature maps of normalised images, the finest first."""
        first = functional.relu(self.bn1(self.conv1(normalised)))
        features, deep = [first], functional.max_pool2d(first, 3, 2, 1)
        for number in range(1, 5):
            deep = self.get_submodule(f"layer{number}")(deep)
            features.append(deep)
        return features

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Features:
        """Five feature maps of images in 0..1, the finest first."""
        return self.features(self.normalised(images))

    def load(self, path: str | Path) -> None:
        """Takes the weights of a file in torchvision's layout; for several images the first layer is repeated.

        The first layer is divided by the number of images, so that equal images give the features of one.

        Raises:
            BadInputError: The file is missing, unreadable, or of another network.
        """
        path = Path(path)
        weights = read_weights(path)
        if "conv1.weight" not in weights:
            raise BadInputError(f"{path} is no residual network", "entries conv1.weight, bn1.weight, layer1.0.conv1...")
        weights = {name: value for name, value in weights.items() if not name.startswith("fc.")}
        weights["conv1.weight"] = weights["conv1.weight"].repeat(1, self.images, 1, 1) / self.images
        for name, value in self.state_dict().items():
            if name.endswith("num_batches_tracked"):  # files of before 2018 do not count them
                weights.setdefault(name, value)
        fitted(self, weights, path)
