"""What an encoder sees of a colour image: all of it, its luma, or the luma's gradient.

All are linear, so that an encoder that learned behind one folds into an ordinary colour encoder and no pretext task
leaves a handicapped one.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.networks.encoder import Encoder

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601: weights of red, green and blue in luma."""

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
"""The horizontal gradient (Sobel and Feldman 1968), to be divided by 8; transposed for the vertical one."""

Normalised = Float[Tensor, "batch 3 height width"]


@dataclass(frozen=True)
class Colour:
    """Everything."""

    def __call__(self, normalised: Normalised) -> Normalised:
        """The image itself."""
        return normalised

    def folded(self, kernel: Tensor) -> Tensor:
        """The kernel itself."""
        return kernel


@dataclass(frozen=True)
class Luma:
    """The luma, three times."""

    def __call__(self, normalised: Normalised) -> Normalised:
        """Luma in each channel."""
        return _luma(normalised).expand(-1, 3, -1, -1)

    def folded(self, kernel: Tensor) -> Tensor:
        """The sum over channels, spread over colours by their weight in luma."""
        return kernel.sum(1, keepdim=True) * kernel.new_tensor(LUMA)[:, None, None]


@dataclass(frozen=True)
class Sobel:
    """The horizontal and vertical gradient of luma, and a channel of zeros (Caron et al. 2018 train on these two)."""

    def __call__(self, normalised: Normalised) -> Normalised:
        """Gradients; zero along the border, where they are not known."""
        luma = functional.pad(_luma(normalised), (1, 1, 1, 1), mode="replicate")
        gradients = functional.conv2d(luma, _gradients(luma))
        return torch.cat([gradients, torch.zeros_like(gradients[:, :1])], 1)

    def folded(self, kernel: Tensor) -> Tensor:
        """Larger by two pixels; equal but at the border of the image."""
        gradients = _gradients(kernel).flip(-1, -2)  # two correlations in a row: one with the convolved kernels
        size = kernel.shape[-1]
        rows = kernel[:, :2].reshape(1, -1, size, size)
        larger = functional.conv2d(
            functional.pad(rows, (2, 2, 2, 2)), gradients.repeat(kernel.shape[0], 1, 1, 1), groups=rows.shape[1]
        )
        larger = larger.view(kernel.shape[0], 2, size + 2, size + 2).sum(1, keepdim=True)
        return larger * kernel.new_tensor(LUMA)[:, None, None]


Adapter = Colour | Luma | Sobel
"""Each a linear map from normalised images to what the first convolution takes instead. `folded` gives the kernel on
colour, shape (out, 3, size, size), that equals the adapter followed by a kernel."""


class AdaptedEncoder(nn.Module):
    """An encoder behind an adapter; called as the encoder itself.

    Attributes:
        encoder: The encoder.
        adapter: What it sees.
        channels: Of its feature maps.
        strides: Of its feature maps.
    """

    def __init__(self, encoder: Encoder, adapter: Adapter) -> None:
        super().__init__()
        assert isinstance(encoder, nn.Module)
        self.encoder, self.adapter = encoder, adapter
        self.channels, self.strides = encoder.channels, encoder.strides

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """Feature maps of images in 0..1, the finest first."""
        return self.encoder.features(self.adapter(self.encoder.normalised(images)))

    def folded(self) -> nn.Module:
        """An ordinary encoder of colour images with the same features: a copy with another first convolution."""
        encoder = deepcopy(self.encoder)
        first = encoder.first
        kernel = self.adapter.folded(first.weight.detach())
        size = kernel.shape[-1]
        first.weight = nn.Parameter(kernel.contiguous())
        first.kernel_size, first.padding = (size, size), (size // 2, size // 2)
        return encoder


def _luma(images: Tensor) -> Float[Tensor, "batch 1 height width"]:
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(-3, keepdim=True)


def _gradients(like: Tensor) -> Float[Tensor, "2 1 3 3"]:
    across = like.new_tensor(SOBEL) / 8
    return torch.stack([across, across.T])[:, None]
