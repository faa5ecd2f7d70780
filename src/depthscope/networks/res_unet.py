"""A small residual U-Net: the default, made for two CPU cores and still quick on a GPU."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.networks.depth_head import DepthHead, DepthPrediction
from depthscope.networks.ray_channels import log_cosine
from depthscope.networks.res_unet_encoder import ResUNetEncoder, convolution


@dataclass(frozen=True)
class ResUNet:
    """Options of the residual U-Net.

    Attributes:
        width: Channels at half resolution; doubled at each halving up to `widest`.
        levels: Number of halvings.
        widest: Most channels anywhere.
        uncertainty: Also predict the standard deviation of log depth.
        stem: Size of the first convolution's kernel, in pixels.
        weights: A file with weights of the encoder (``encoder.pt`` of a pretext run); "" starts from random ones. Read
            when training starts, not at prediction.
        frozen: Keep the encoder's weights as they are.
        rays: Also take the ray of each pixel (`depthscope.networks.ray_channels`), where the camera is known.
    """

    width: int = 16
    levels: int = 5
    widest: int = 128
    uncertainty: bool = False
    stem: int = 3
    weights: str = ""
    frozen: bool = False
    rays: bool = False

    def __post_init__(self) -> None:
        _ = self.encoder  # which checks the options

    @property
    def encoder(self) -> ResUNetEncoder:
        """Options of its encoder."""
        return ResUNetEncoder(self.width, self.levels, self.widest, self.stem, self.weights, self.frozen)

    @property
    def divisor(self) -> int:
        """Sides of the images must be divisible by it."""
        return self.encoder.divisor

    def build(self) -> nn.Module:
        """A new network with random weights."""
        return ResidualUNet(self)

    def load_start(self, network: nn.Module) -> None:
        """Takes the encoder's weights from the file that the options name, if they name one."""
        if self.weights:
            assert isinstance(network, ResidualUNet)
            network.encoder.load(self.weights)


class ResidualUNet(nn.Module):
    """Residual encoder, decoder with concatenated skips, depth head at full resolution."""

    def __init__(self, options: ResUNet) -> None:
        super().__init__()
        self.divisor, self.rays = options.divisor, options.rays
        self.encoder = options.encoder.build()
        widths = self.encoder.channels
        # The encoder itself takes images alone, so that encoders of other tasks fit; rays enter beside its stem.
        self.ray_stem = nn.Conv2d(2, widths[0], 3, stride=2, padding=1, bias=False) if options.rays else None
        self.decoder = nn.ModuleList(
            convolution(deep + skip, skip)
            for deep, skip in zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        )
        self.finish = convolution(widths[0] + (5 if options.rays else 3), widths[0])
        self.head = DepthHead(widths[0], options.uncertainty)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> DepthPrediction:
        """Log z-depth of images in 0..1 whose sides are divisible by the divisor.

        Args:
            images: Three channels; a network of rays takes five (`with_rays`), and three where no camera is known.
        """
        check_divisible(images, self.divisor)
        centred = self.encoder.normalised(images[:, :3])
        if self.ray_stem is None:
            features = self.encoder.features(centred)
            return self.head(self._decoded(features, centred))
        rays = images[:, 3:] if images.shape[1] == 5 else torch.zeros_like(images[:, :2])
        features = self.encoder.features(centred, beside_stem=self.ray_stem(rays))
        log_depth, log_std = self.head(self._decoded(features, torch.cat([centred, rays], 1)))
        return DepthPrediction(log_depth + log_cosine(rays.float()), log_std)  # what is learned is the distance

    def _decoded(self, features: list[Tensor], centred: Tensor) -> Tensor:
        deep = features.pop()
        for block in self.decoder:
            deep = block(torch.cat([doubled(deep), features.pop()], 1))
        return self.finish(torch.cat([doubled(deep), centred.to(deep.dtype)], 1))


def doubled(features: Tensor) -> Tensor:
    """Nearest-neighbour upsampling by two."""
    return functional.interpolate(features, scale_factor=2, mode="nearest")


def check_divisible(images: Tensor, divisor: int) -> None:
    """Raises BadInputError where a side of the images is not divisible by `divisor`."""
    height, width = images.shape[-2:]
    if height % divisor or width % divisor:
        raise BadInputError(
            f"images of {width} x {height} pixels",
            f"sides divisible by {divisor}",
            "choose another image size, or a network with fewer halvings",
        )
