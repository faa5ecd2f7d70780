"""Encoders that every task shares: from an image to feature maps at strides 2, 4, 8, 16 and 32.

Only the encoder moves from one task to another, heads never.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from depthscope.networks.efficient_encoder import EfficientEncoder
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.networks.residual_encoder import ResidualEncoder
from depthscope.reading import reading

EncoderOptions = ResUNetEncoder | ResidualEncoder | EfficientEncoder
"""Options of an encoder; `build` makes it, `channels` and `divisor` say what it gives and needs."""


def started(options: EncoderOptions) -> "Encoder":
    """A new encoder, with the weights of the file that its options name if they name one.

    Raises:
        BadInputError: The file is missing or of another encoder.
    """
    with reading(options.weights or "the encoder's options", "options of an encoder and weights that fit them"):
        encoder = options.build()
        if options.weights:
            encoder.load(options.weights)
        return encoder


@runtime_checkable
class Encoder(Protocol):
    """A built encoder.

    Attributes:
        channels: Of the feature maps, the finest first.
        strides: Of the feature maps.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def first(self) -> nn.Conv2d:
        """The first convolution, of stride 2, without a bias."""
        ...

    def normalised(self, images: Tensor) -> Tensor:
        """Images in 0..1 as the first convolution takes them."""
        ...

    def features(self, normalised: Tensor) -> list[Tensor]:
        """Feature maps of normalised images, the finest first."""
        ...

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Feature maps of images in 0..1."""
        ...
