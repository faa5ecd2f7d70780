"""From an encoder's feature maps to a value for every pixel: classes, colours, or anything else."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.networks.res_unet_encoder import convolution

LEAST_WIDTH = 16


class DenseDecoder(nn.Module):
    """Nearest-neighbour doubling, the encoder's features, 3x3 convolution; as the decoder of the small U-Net.

    Args:
        channels: Of the encoder's maps at strides 2, 4, 8 and so on.
        outputs: Values for each pixel.
        stride: Of the output: 1, 2, 4 and so on, up to that of the encoder's second last map.
    """

    def __init__(self, channels: tuple[int, ...], outputs: int, stride: int = 1) -> None:
        super().__init__()
        finest = stride.bit_length() - 2  # place of the map of this stride; -1 is the image itself
        if stride < 1 or stride & (stride - 1) or finest > len(channels) - 2:
            raise BadInputError(f"a decoder of stride {stride}", f"a power of two up to {2 ** (len(channels) - 1)}")
        self.stride = stride
        skips = range(len(channels) - 2, max(finest, 0) - 1, -1)
        self.blocks = nn.ModuleList()
        deep = channels[-1]
        for skip in skips:
            width = max(channels[skip], LEAST_WIDTH)
            self.blocks.append(convolution(deep + channels[skip], width))
            deep = width
        self.finish = convolution(deep + 3, LEAST_WIDTH) if stride == 1 else nn.Identity()
        self.outputs = nn.Conv2d(LEAST_WIDTH if stride == 1 else deep, outputs, 1)
        nn.init.normal_(self.outputs.weight, std=0.01)
        nn.init.zeros_(self.outputs.bias)  # type: ignore[arg-type]

    def forward(
        self, features: list[Tensor], images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """Values at the decoder's stride.

        Args:
            features: Of the encoder, the finest first.
            images: What the encoder saw, in 0..1: a decoder of stride 1 looks at it for the exact borders.
        """
        deep = features[-1]
        for number, block in enumerate(self.blocks):
            skip = features[-2 - number]
            deep = block(torch.cat([functional.interpolate(deep, size=skip.shape[-2:], mode="nearest"), skip], 1))
        if self.stride == 1:
            deep = functional.interpolate(deep, size=images.shape[-2:], mode="nearest")
            deep = self.finish(torch.cat([deep, images.to(deep.dtype) * 2 - 1], 1))
        return self.outputs(deep)
