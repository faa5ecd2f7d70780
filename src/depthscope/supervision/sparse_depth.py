"""Sparse depth maps (Liu et al. 2018, Eq. 1): the SfM points of each frame, as a map and as lists."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SparsePoints:
    """SfM points of frames as lists, padded to a common length with weight 0; positions are not rounded.

    Attributes:
        pixels: Positions in the network's image, shape (*batch, points, 2).
        depth: SfM depth y* > 0 (1 where padded), shape (*batch, points).
        weight: Soft mask value c of Eq. 2 (0 where padded), shape (*batch, points).
    """

    pixels: Float[Tensor, "*batch points 2"]
    depth: Float[Tensor, "*batch points"]
    weight: Float[Tensor, "*batch points"]

    def __getitem__(self, index) -> "SparsePoints":
        """Frames picked along the batch."""
        return SparsePoints(self.pixels[index], self.depth[index], self.weight[index])

    def to(self, *args, **kwargs) -> "SparsePoints":
        """As ``Tensor.to``."""
        return SparsePoints(*(t.to(*args, **kwargs) for t in (self.pixels, self.depth, self.weight)))

    @property
    def binary(self) -> "SparsePoints":
        """The same points with weight 1 each."""
        return SparsePoints(self.pixels, self.depth, (self.weight > 0).to(self.weight))


def raster(
    pixels: Float[Tensor, "points 2"],
    values: Float[Tensor, " points"],
    depth: Float[Tensor, " points"],
    size_px: tuple[int, int],
) -> Float[Tensor, "height width"]:
    """An image with a value at the pixel that holds each point and 0 elsewhere; of two points the nearer wins.

    Args:
        pixels: Positions with the first pixel's centre at (0.5, 0.5); those outside the image are ignored.
        values: What to write.
        depth: Depth of the points.
        size_px: (width, height).
    """
    width, height = size_px
    column, row = pixels[:, 0].floor().long(), pixels[:, 1].floor().long()
    inside = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixel, depth, values = (row * width + column)[inside], depth[inside], values[inside]
    nearest = torch.full((height * width,), torch.inf, dtype=depth.dtype)
    nearest = nearest.scatter_reduce(0, pixel, depth, "amin")
    wins = depth == nearest[pixel]
    image = torch.zeros(height * width, dtype=values.dtype)
    image[pixel[wins]] = values[wins]
    return image.reshape(height, width)


def sparse_depth(
    pixels: Float[Tensor, "points 2"],
    depth: Float[Tensor, " points"],
    size_px: tuple[int, int],
    mask: Bool[Tensor, "height width"] | None = None,
) -> Float[Tensor, "height width"]:
    """Eq. 1: ``Y*[floor y, floor x] = z`` for every point that the frame was triangulated with, 0 elsewhere."""
    image = raster(pixels, depth, depth, size_px)  # Eq. 1
    return image if mask is None else torch.where(mask, image, 0.0)


def soft_mask(
    pixels: Float[Tensor, "points 2"],
    confidence: Float[Tensor, " points"],
    depth: Float[Tensor, " points"],
    size_px: tuple[int, int],
) -> Float[Tensor, "height width"]:
    """Eq. 2: ``W[floor y, floor x] = c`` for the points of Eq. 1, 0 elsewhere."""
    return raster(pixels, confidence, depth, size_px)  # Eq. 2
