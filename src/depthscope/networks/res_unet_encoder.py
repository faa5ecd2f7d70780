"""The encoder of the small residual U-Net, alone: what pretext tasks train and depth starts from."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.networks.encoder_file import fitted, read_weights


@dataclass(frozen=True)
class ResUNetEncoder:
    """Options of the encoder.

    Attributes:
        width: Channels at half resolution; doubled at each halving up to `widest`.
        levels: Number of halvings.
        widest: Most channels anywhere.
        stem: Size of the first convolution's kernel, in pixels.
        weights: A file of weights to start from (``encoder.pt`` of a pretext run); "" starts from random ones.
        frozen: Keep the weights as they are.
    """

    width: int = 16
    levels: int = 5
    widest: int = 128
    stem: int = 3
    weights: str = ""
    frozen: bool = False

    def __post_init__(self) -> None:
        if self.width < 4 or self.width % 4:
            raise BadInputError(f"network.width {self.width}", "a positive multiple of 4")
        if not 1 <= self.levels <= 7:
            raise BadInputError(f"network.levels {self.levels}", "1 to 7")
        if not 1 <= self.stem <= 31 or self.stem % 2 == 0:
            raise BadInputError(f"network.stem {self.stem}", "an odd number of pixels up to 31")
        if any(channels < 1 or channels % max(1, channels // 8) for channels in self.channels):
            raise BadInputError(f"network.widest {self.widest}", "a multiple of 8, or under 16")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the feature maps, the finest first."""
        return tuple(min(self.width * 2**level, self.widest) for level in range(self.levels))

    @property
    def divisor(self) -> int:
        """Sides of the images must be divisible by it."""
        return 2**self.levels

    def build(self) -> "ResidualUNetEncoder":
        """A new encoder with random weights."""
        return ResidualUNetEncoder(self)


def convolution(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """Convolution (3x3 if not told), batch-free normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False),
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
        self.stride = stride
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features at the new resolution."""
        # A 1x1 convolution of stride 2 is one of stride 1 on every other pixel. In torch 2.13 on the CPU the gradient
        # of the former writes beyond its memory for 8 channels in channels_last.
        every = features[..., :: self.stride, :: self.stride]
        return functional.relu(self.second(self.first(features)) + self.skip(every))


class ResidualUNetEncoder(nn.Module):
    """Residual blocks that halve; gives features at strides 2, 4, 8 and so on.

    Attributes:
        channels: Of each of them.
        strides: Of each of them.
    """

    def __init__(self, options: ResUNetEncoder) -> None:
        super().__init__()
        self.channels, self.fixed = options.channels, options.frozen
        self.strides = tuple(2 ** (level + 1) for level in range(options.levels))
        self.stem = convolution(3, self.channels[0], stride=2, size=options.stem)
        self.blocks = nn.ModuleList(
            ResidualBlock(inputs, outputs, stride=2)
            for inputs, outputs in zip(self.channels[:-1], self.channels[1:], strict=True)
        )
        self.requires_grad_(not options.frozen)

    @property
    def first(self) -> nn.Conv2d:
        """The first convolution."""
        convolution = self.stem[0]
        assert isinstance(convolution, nn.Conv2d)
        return convolution

    @staticmethod
    def normalised(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Images in 0..1 as the first convolution takes them: -1..1."""
        return images * 2 - 1

    def features(
        self, normalised: Float[Tensor, "batch 3 height width"], beside_stem: Tensor | None = None
    ) -> list[Tensor]:
        """The feature maps of normalised images, the finest first.

        Args:
            normalised: See `normalised`.
            beside_stem: What is added to the first convolution's output: features of further channels.
        """
        first = self.first(normalised)
        maps = [self.stem[1:](first if beside_stem is None else first + beside_stem)]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """The feature maps of images in 0..1, the finest first."""
        return self.features(self.normalised(images))

    def load(self, path: str | Path) -> None:
        """Takes the weights of a file that ``pretrain`` wrote.

        Raises:
            BadInputError: It is missing, unreadable, or of another encoder.
        """
        fitted(self, read_weights(Path(path)), Path(path))
