"""Depth maps brought to the sparse points of their frame by a smooth field of scale, not by one factor.

A network's depth of a frame is right up to a factor, and a little wrong besides: too steep or too flat on the whole,
too near on one wall and too far on the next. Hundreds of points of structure from motion tell most of that. The
logarithm of the ratio of sparse to predicted depth is regressed over the image by a Gaussian process (Rasmussen and
Williams 2006, chapter 2) whose covariance falls with distance in the image *and* in log depth, so that what a near fold
needs does not leak across its edge. Points that disagree with all others count less (Student's t noise by reweighting).
Where no point is near, the field returns to the frame's own factor.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry.depth import sampled_at
from depthscope.geometry.scale import weighted_median

MOST_POINTS = 800
"""More add nothing but time."""

CELLS = (24, 20, 10)
"""Nodes of the field across, down, and in log depth; between them it is linear."""


@dataclass(frozen=True)
class FieldPrior:
    """What is known of the field before the points are seen.

    Attributes:
        field: Standard deviation of the logarithm of local scale.
        reach: How far it stays alike in the image, as a share of the width.
        band: And in the logarithm of depth.
        slope: Standard deviation of the power by which all depth is too steep or too flat.
        point_error: Relative error of a sparse depth.
        freedom: Degrees of freedom of the errors' Student's t distribution; small ones expect gross errors.
    """

    field: float = 0.15
    reach: float = 0.12
    band: float = 0.4
    slope: float = 0.2
    point_error: float = 0.03
    freedom: float = 4.0

    def __post_init__(self) -> None:
        if min(self.field, self.slope) < 0 or min(self.reach, self.band, self.point_error, self.freedom) <= 0:
            raise BadInputError(f"{self}", "positive numbers, and 0 or more for field and slope")

    def __call__(
        self, depth: Float[Tensor, "height width"], pixels: Float[Tensor, "points 2"], sparse: Float[Tensor, " points"]
    ) -> Float[Tensor, "height width"]:
        """What a depth map is to be multiplied with at each pixel; 1 everywhere where no point tells anything.

        Args:
            depth: z-depth in any unit; 0 where nothing is known.
            pixels: Where the points lie in the map.
            sparse: Their z-depths, in the unit that is wanted.
        """
        height, width = depth.shape
        predicted = sampled_at(depth[None], pixels[None].float())[0]
        used = (predicted > 0) & (sparse > 0)
        if not bool(used.any()):
            return torch.ones_like(depth)
        places, logs = pixels[used].double() / width, predicted[used].double().log()
        ratio = sparse[used].double().log() - logs
        centre = weighted_median(ratio[None], torch.ones_like(ratio)[None])[0]
        if self.field == 0 and self.slope == 0:
            return torch.full_like(depth, float(centre.exp()))
        chosen = slice(None, None, -(-len(ratio) // MOST_POINTS))
        places, logs, ratio = places[chosen], logs[chosen], (ratio - centre)[chosen]
        middle = logs.mean()
        gains, rest = self._regressed(places, logs - middle, ratio)
        field = self._field(depth, places, logs, gains)
        common, power = self._common(logs - middle, gains)
        common = common + weighted_median(rest[None], torch.ones_like(rest)[None])[0]  # half the points on either side
        known = depth > 0
        offset = torch.where(known, depth.clamp_min(1e-12).log() - float(middle), 0.0)
        reached = offset.clamp(
            float((logs - middle).amin()), float((logs - middle).amax())
        )  # no slope beyond the points
        return (float(centre + common) + float(power) * reached + field).exp()

    def _kernel(self, one: Tensor, one_logs: Tensor, other: Tensor, other_logs: Tensor) -> Tensor:
        """Covariance of the local field between places in the image and in log depth."""
        away = torch.cdist(one, other) / self.reach
        deeper = (one_logs[:, None] - other_logs) / self.band
        return self.field**2 * torch.exp(-(away**2 + deeper**2) / 2)

    def _regressed(
        self, places: Float[Tensor, "points 2"], offsets: Float[Tensor, " points"], ratio: Float[Tensor, " points"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"]]:
        """Weights of the points in the posterior mean, (K + noise)^-1 y, and what that mean leaves unexplained at each.

        The noise is Student's t, by reweighting.
        """
        covariance = self._kernel(places, offsets, places, offsets)
        covariance = covariance + self.point_error**2 + self.slope**2 * offsets[:, None] * offsets
        noise = torch.full_like(ratio, self.point_error**2)
        gains, rest = torch.zeros_like(ratio), ratio
        for _ in range(5):
            gains = torch.linalg.solve(covariance + noise.diag(), ratio)
            rest = ratio - covariance @ gains
            expected = (self.freedom + 1) / (self.freedom + (rest / self.point_error) ** 2)
            noise = self.point_error**2 / expected
        return gains, rest

    def _common(self, offsets: Float[Tensor, " points"], gains: Float[Tensor, " points"]) -> tuple[Tensor, Tensor]:
        """What is added to the logarithm of scale everywhere, and per unit of log depth."""
        return self.point_error**2 * gains.sum(), self.slope**2 * (offsets * gains).sum()

    def _field(
        self,
        depth: Float[Tensor, "height width"],
        places: Float[Tensor, "points 2"],
        logs: Float[Tensor, " points"],
        gains: Float[Tensor, " points"],
    ) -> Float[Tensor, "height width"]:
        """The local part at each pixel, from nodes in the image and in log depth."""
        height, width = depth.shape
        known = depth > 0
        whole = torch.where(known, depth.clamp_min(1e-12).log(), float(logs.mean()))
        low, high = float(whole.min()), float(whole.max())
        high = max(high, low + 1e-3)
        across, down, deep = CELLS
        x = torch.linspace(0, 1, across, dtype=torch.float64)
        y = torch.linspace(0, height / width, down, dtype=torch.float64)
        d = torch.linspace(low, high, deep, dtype=torch.float64)
        levels, rows, columns = torch.meshgrid(d, y, x, indexing="ij")
        nodes = torch.stack([columns, rows], -1).reshape(-1, 2)
        values = (self._kernel(nodes, levels.flatten(), places, logs) @ gains).view(1, 1, deep, down, across).float()
        # grid_sample counts from -1 to 1 between the outermost nodes, which lie on the rim of the image.
        u = ((torch.arange(width) + 0.5) / width * 2 - 1).expand(height, width)
        v = ((torch.arange(height) + 0.5) / height * 2 - 1)[:, None].expand(height, width)
        w = (whole - low) / (high - low) * 2 - 1
        grid = torch.stack([u, v, w.float()], -1)[None, None]
        return functional.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=True)[0, 0, 0]


TO_POINTS = FieldPrior()
"""What `predict` uses: chosen by points held out of the structure from motion of a simulated nose and of a real one."""
