"""The depth network of Zhou et al. 2017: strided convolutions down, transposed ones up, disparity at four sizes."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.networks.depth_head import DepthPrediction
from depthscope.networks.disparity import DepthRange, Disparities, DisparityHead, as_depth
from depthscope.networks.res_unet import check_divisible

KERNELS = (7, 5, 3, 3, 3, 3, 3)
"""Of the encoder's stages; those of the decoder are 3."""

HEADS = 4
"""Sizes at which disparity is given: strides 1, 2, 4 and 8."""


@dataclass(frozen=True)
class DispNet:
    """Options of the network; the default widths are the paper's, 31.6 million parameters.

    Attributes:
        widths: Channels of the encoder's stages, each of which halves the resolution.
        depth: Limits of depth; the default is disparity in 0.01..10.01.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256, 512, 512, 512)
    depth: DepthRange = field(default_factory=lambda: DepthRange(1 / 10.01, 100.0))

    def __post_init__(self) -> None:
        if not HEADS <= len(self.widths) <= len(KERNELS) or min(self.widths) < 4:
            raise BadInputError(
                f"network.widths {self.widths}", f"{HEADS} to {len(KERNELS)} stages of 4 channels or more"
            )

    @property
    def divisor(self) -> int:
        """Sides of the images must be divisible by it: those of the maps with a head; coarser ones are rounded up."""
        return 2 ** (HEADS - 1)

    def build(self) -> nn.Module:
        """A new network."""
        return DispNetwork(self)


class DispNetwork(nn.Module):
    """ReLU and biases, no normalisation."""

    def __init__(self, options: DispNet) -> None:
        super().__init__()
        self.divisor = options.divisor
        widths = options.widths
        up = (max(4, widths[0] // 2), *widths[:-1])  # channels of the decoder at strides 1, 2, 4, ...
        down, second = [], []
        for number, width in enumerate(widths):
            inputs, kernel = (3 if number == 0 else widths[number - 1]), KERNELS[number]
            down.append(nn.Conv2d(inputs, width, kernel, 2, kernel // 2))
            second.append(nn.Conv2d(width, width, kernel, 1, kernel // 2))
        rise, join, heads = [], [], []
        inputs = widths[-1]
        for level in reversed(range(len(widths))):  # joins the features at the stride 2^level
            skip = widths[level - 1] if level else 0
            coarser = 1 if level < HEADS - 1 else 0
            rise.append(nn.ConvTranspose2d(inputs, up[level], 3, 2, 1, output_padding=1))
            join.append(nn.Conv2d(up[level] + skip + coarser, up[level], 3, 1, 1))
            inputs = up[level]
            if level < HEADS:
                heads.append(DisparityHead(inputs, options.depth, reflect=False))
        self.down, self.second = nn.ModuleList(down), nn.ModuleList(second)
        self.rise, self.join, self.heads = nn.ModuleList(rise), nn.ModuleList(join), nn.ModuleList(heads)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        for head in heads:
            head.begin()

    def disparities(self, images: Float[Tensor, "batch 3 height width"]) -> Disparities:
        """Disparity at strides 1, 2, 4 and 8 of images in 0..1."""
        check_divisible(images, self.divisor)
        deep, skips = images * 2 - 1, []
        for down, second in zip(self.down, self.second, strict=True):
            deep = functional.relu(second(functional.relu(down(deep))))
            skips.append(deep)
        maps: list[Tensor] = []
        for number, (rise, join) in enumerate(zip(self.rise, self.join, strict=True)):
            level = len(self.rise) - 1 - number
            size = skips[level - 1].shape[-2:] if level else images.shape[-2:]
            deep = functional.relu(rise(deep))
            if deep.shape[-2:] != size:  # an odd side was rounded up on the way down
                deep = functional.interpolate(deep, size=size, mode="nearest")
            joined = [deep, skips[level - 1]] if level else [deep]
            if level < HEADS - 1:
                coarser = functional.interpolate(maps[0], size=size, mode="bilinear", align_corners=False)
                joined.append(coarser.to(deep.dtype))
            deep = functional.relu(join(torch.cat(joined, 1)))
            if level < HEADS:
                maps.insert(0, self.heads[HEADS - 1 - level](deep))
        return tuple(one[:, 0] for one in maps)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> DepthPrediction:
        """Log depth of images in 0..1 whose sides are divisible by the divisor."""
        return as_depth(self.disparities(images)[0])
