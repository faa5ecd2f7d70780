"""A batch of simulated frames with their true depth."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


@dataclass(frozen=True, eq=False)
class StillBatch:
    """Frames to learn from, as the network is shown them.

    Attributes:
        images: sRGB, bytes until they are augmented, then 0..1; shape (batch, 3, height, width).
        depth: z-depth in mm, 0 where it is not learned from, shape (batch, height, width).
        rays: Channels of each pixel's ray (`depthscope.networks.ray_channels`), shape (batch, 2, height, width).
        content: Where the endoscope shows anything; black elsewhere, shape (batch, height, width).
        draws: Number of each draw, shape (batch,).
        metric: Frames whose depth is in mm; that of the others has a unit of its own, shape (batch,).
    """

    images: Float[Tensor, "batch 3 height width"] | UInt8[Tensor, "batch 3 height width"]
    depth: Float[Tensor, "batch height width"]
    rays: Float[Tensor, "batch 2 height width"]
    content: Bool[Tensor, "batch height width"]
    draws: Int[Tensor, " batch"]
    metric: Bool[Tensor, " batch"]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "StillBatch":
        """The batch on another device."""
        names = ("images", "depth", "rays", "content", "draws", "metric")
        return StillBatch(*(getattr(self, name).to(device) for name in names))
