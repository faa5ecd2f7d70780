"""How far a predicted depth may be trusted: as far as points of structure from motion near it support it.

A network trained on sparse points guesses between them. The guess is good where points lie near, in the image and in
depth alike, and bad where it bridges the gap from a near fold to the far lumen, or in the lumen itself, where nothing
moved enough to be triangulated. `Support` says how large the error is there, from features that need no truth; its
coefficients were fitted to the true errors of simulated patients.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError

FEATURES = ("offset", "farther", "far", "slope", "gap", "unsupported")
"""What the logarithm of the expected error is a linear function of; see `Support.features`."""


@dataclass(frozen=True)
class Support:
    """From depth and the sparse points of its frame to the standard deviation of the logarithm of depth.

    Attributes:
        weights: Of `FEATURES`, for the logarithm of the mean absolute error.
        reach: How near a point must lie to support a pixel, as a share of the image's width.
        band: And how near in the logarithm of depth.
        least, most: Limits of the standard deviation.
        stride: Pixels between those that are looked at; the rest is interpolated.
        fitted_on: In words.
    """

    weights: tuple[float, ...]
    reach: float = 0.06
    band: float = 0.3
    least: float = 0.01
    most: float = 1.0
    stride: int = 2
    fitted_on: str = "nothing"

    def __post_init__(self) -> None:
        if len(self.weights) != len(FEATURES):
            raise BadInputError(f"{len(self.weights)} weights", f"{len(FEATURES)}, of {', '.join(FEATURES)}")
        if not (self.reach > 0 and self.band > 0 and 0 < self.least < self.most and self.stride >= 1):
            raise BadInputError(f"{self}", "positive numbers, the least below the most")

    def __call__(
        self,
        depth: Float[Tensor, "height width"],
        pixels: Float[Tensor, "points 2"],
        sparse: Float[Tensor, " points"],
        focal_px: float,
        median_depth: float,
    ) -> Float[Tensor, "height width"]:
        """The relative standard deviation of depth: that of a Laplace distribution with the expected error.

        Args:
            depth: z-depth; 0 where nothing is known.
            pixels: Where the points lie that this frame saw.
            sparse: Their z-depths, in the unit of `depth`.
            focal_px: Of the image.
            median_depth: Of the clip's points, in the same unit.
        """
        weights = torch.tensor(self.weights, dtype=torch.float32)
        log_error = self.features(depth, pixels, sparse, focal_px, median_depth) @ weights
        whole = functional.interpolate(log_error[None, None], depth.shape, mode="bilinear", align_corners=False)[0, 0]
        std = (math.sqrt(2) * whole.exp()).clamp(self.least, self.most)
        return torch.where(depth > 0, std, 0.0)

    def features(
        self,
        depth: Float[Tensor, "height width"],
        pixels: Float[Tensor, "points 2"],
        sparse: Float[Tensor, " points"],
        focal_px: float,
        median_depth: float,
    ) -> Float[Tensor, "rows columns features"]:
        """`FEATURES` of every `stride`-th pixel.

        farther: Logarithm of depth over the clip's median, where the parallax of a short path is little.
        far: What of it exceeds 0.
        slope: Logarithm of the tangent of the surface's tilt against the image, plus a tenth.
        gap: Logarithm of the distance to the nearest point, over the image's width, plus half a hundredth.
        unsupported: Minus the logarithm of the number of points that are near in the image and in depth.
        """
        height, width = depth.shape
        log_depth = depth.clamp_min(1e-12).log()
        thin = log_depth[:: self.stride, :: self.stride]
        farther = thin - math.log(median_depth)
        slope = (_gradient(log_depth)[:: self.stride, :: self.stride] * focal_px + 0.1).log()
        rows, columns = torch.meshgrid(
            torch.arange(0, height, self.stride) + 0.5, torch.arange(0, width, self.stride) + 0.5, indexing="ij"
        )
        places = torch.stack([columns, rows], -1).flatten(0, 1)
        gap, near = self._near(places, thin.flatten(), pixels.float(), sparse.float().clamp_min(1e-12).log(), width)
        columns_of = (
            torch.ones_like(thin),
            farther,
            farther.clamp_min(0),
            slope,
            (gap + 0.005).log().view_as(thin),
            -(near + 0.01).log().view_as(thin),
        )
        return torch.stack(columns_of, -1)

    def _near(
        self, places: Tensor, log_depth: Tensor, pixels: Tensor, log_sparse: Tensor, width: int
    ) -> tuple[Float[Tensor, " places"], Float[Tensor, " places"]]:
        """Distance to the nearest point over the image's width; number of points near in the image and in depth."""
        if not len(pixels):
            return torch.ones(len(places)), torch.zeros(len(places))
        gaps, counts = [], []
        for some, logs in zip(places.split(4096), log_depth.split(4096), strict=True):
            away = torch.cdist(some, pixels) / width
            beside = (away / self.reach) ** 2 + ((logs[:, None] - log_sparse) / self.band) ** 2
            gaps.append(away.amin(1))
            counts.append(torch.exp(-beside / 2).sum(1))
        return torch.cat(gaps), torch.cat(counts)


def _gradient(values: Float[Tensor, "height width"]) -> Float[Tensor, "height width"]:
    """Length of the gradient by central differences; at the border that of the pixel beside it."""
    if min(values.shape) < 3:
        return torch.zeros_like(values)
    across = (values[1:-1, 2:] - values[1:-1, :-2]) / 2
    down = (values[2:, 1:-1] - values[:-2, 1:-1]) / 2
    length = (across**2 + down**2).sqrt()
    return functional.pad(length[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]


ON_PHANTOMS = Support(
    weights=(-1.46, 0.25, 0.55, 0.32, 0.01, 0.71),
    fitted_on="six simulated noses of the training split, each with a network of its own",
)
"""Fitted by ``benchmarks/learned.py --fit``."""
