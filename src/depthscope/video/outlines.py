"""Outlines that a scope's picture can have: disc, ellipse, polygon, free form, or the whole frame."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

Pair = tuple[float, float]


@dataclass(frozen=True)
class Disc:
    """A disc, cut by the frame where it reaches beyond.

    Attributes:
        centre_px: Its centre.
        radius_px: Its radius.
    """

    centre_px: Pair
    radius_px: float
    name = "circle"

    def mask(self, size_px: tuple[int, int]) -> Bool[Tensor, "height width"]:
        """Pixels whose centres lie inside."""
        x, y = _pixel_centres(size_px)
        return (x - self.centre_px[0]) ** 2 + (y - self.centre_px[1]) ** 2 <= self.radius_px**2

    def scaled(self, across: float, down: float) -> "Disc | Ellipse":
        """The same outline in a frame of another size."""
        centre = (self.centre_px[0] * across, self.centre_px[1] * down)
        if abs(across / down - 1) < 1e-3:
            return Disc(centre, self.radius_px * across)
        return Ellipse(centre, (self.radius_px * across, self.radius_px * down), 0.0)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse, as where pixels are not square.

    Attributes:
        centre_px: Its centre.
        radii_px: Half its axes, the first along `angle_rad`.
        angle_rad: From the x axis toward the y axis.
    """

    centre_px: Pair
    radii_px: Pair
    angle_rad: float
    name = "ellipse"

    def mask(self, size_px: tuple[int, int]) -> Bool[Tensor, "height width"]:
        """Pixels whose centres lie inside."""
        x, y = _pixel_centres(size_px)
        x, y = x - self.centre_px[0], y - self.centre_px[1]
        cos, sin = float(np.cos(self.angle_rad)), float(np.sin(self.angle_rad))
        along, across = (cos * x + sin * y) / self.radii_px[0], (cos * y - sin * x) / self.radii_px[1]
        return along**2 + across**2 <= 1

    def points(self, count: int = 360) -> np.ndarray:
        """Points on it, shape (count, 2)."""
        turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
        along, across = self.radii_px[0] * np.cos(turn), self.radii_px[1] * np.sin(turn)
        cos, sin = np.cos(self.angle_rad), np.sin(self.angle_rad)
        return np.stack([cos * along - sin * across, sin * along + cos * across], 1) + self.centre_px

    def scaled(self, across: float, down: float) -> "Ellipse":
        """The same outline in a frame of another size."""
        if abs(across / down - 1) < 1e-3:
            return Ellipse(
                (self.centre_px[0] * across, self.centre_px[1] * across),
                (self.radii_px[0] * across, self.radii_px[1] * across),
                self.angle_rad,
            )
        (x, y), axes, degrees = cv2.fitEllipseDirect((self.points() * [across, down]).astype(np.float32))
        return Ellipse((float(x), float(y)), (axes[0] / 2, axes[1] / 2), float(np.deg2rad(degrees)))


@dataclass(frozen=True)
class Polygon:
    """A convex polygon: a rectangle, an octagon.

    Attributes:
        corners_px: Its corners, in order.
    """

    corners_px: tuple[Pair, ...]

    @property
    def name(self) -> str:
        """What its number of corners is called."""
        return {4: "rectangle", 8: "octagon"}.get(len(self.corners_px), f"polygon of {len(self.corners_px)} corners")

    @property
    def centre_px(self) -> Pair:
        """Middle of its bounding box."""
        low, high = np.min(self.corners_px, 0), np.max(self.corners_px, 0)
        return float((low[0] + high[0]) / 2), float((low[1] + high[1]) / 2)

    def mask(self, size_px: tuple[int, int]) -> Bool[Tensor, "height width"]:
        """Pixels whose centres lie inside."""
        x, y = _pixel_centres(size_px)
        corners = np.array(self.corners_px)
        sides = np.roll(corners, -1, 0) - corners
        turned = np.sign((sides[:, 0] * np.roll(sides, -1, 0)[:, 1] - sides[:, 1] * np.roll(sides, -1, 0)[:, 0]).sum())
        inside = torch.ones(size_px[1], size_px[0], dtype=torch.bool)
        for (cx, cy), (sx, sy) in zip(corners.tolist(), (sides * turned).tolist(), strict=True):
            inside &= sx * (y - cy) - sy * (x - cx) >= 0
        return inside

    def scaled(self, across: float, down: float) -> "Polygon":
        """The same outline in a frame of another size."""
        return Polygon(tuple((x * across, y * down) for x, y in self.corners_px))


@dataclass(frozen=True, eq=False)
class FreeForm:
    """Any form, as what undistortion leaves of a disc: the pixels that are ever lit.

    Attributes:
        lit: Which, shape (height, width).
    """

    lit: Bool[Tensor, "height width"]
    name = "free"

    @property
    def centre_px(self) -> Pair:
        """Middle of the bounding box."""
        rows, columns = self.lit.any(1).nonzero(), self.lit.any(0).nonzero()
        return float(columns.min() + columns.max() + 1) / 2, float(rows.min() + rows.max() + 1) / 2

    def mask(self, size_px: tuple[int, int]) -> Bool[Tensor, "height width"]:
        """Itself, in the nearest pixels where the size is another."""
        if (self.lit.shape[1], self.lit.shape[0]) == size_px:
            return self.lit.clone()
        return torch.from_numpy(cv2.resize(self.lit.numpy().astype(np.uint8), size_px, interpolation=0) > 0)

    def in_corner_of(self, size_px: tuple[int, int]) -> "FreeForm":
        """The same pixels in the upper left corner of a frame of (width, height); what lies outside is cut off."""
        width, height = size_px
        lit = torch.zeros(height, width, dtype=torch.bool)
        part = self.lit[:height, :width]
        lit[: part.shape[0], : part.shape[1]] = part
        return FreeForm(lit)

    def scaled(self, across: float, down: float) -> "FreeForm":
        """The same outline in a frame of another size."""
        size = round(self.lit.shape[1] * across), round(self.lit.shape[0] * down)
        return FreeForm(self.mask(size))


@dataclass(frozen=True)
class WholeFrame:
    """No border: tissue reaches all sides of the frame.

    Attributes:
        size_px: (width, height) of the frame.
    """

    size_px: tuple[int, int]
    name = "none"

    @property
    def centre_px(self) -> Pair:
        """Middle of the frame."""
        return self.size_px[0] / 2, self.size_px[1] / 2

    def mask(self, size_px: tuple[int, int]) -> Bool[Tensor, "height width"]:
        """Every pixel."""
        return torch.ones(size_px[1], size_px[0], dtype=torch.bool)

    def scaled(self, across: float, down: float) -> "WholeFrame":
        """The same outline in a frame of another size."""
        return WholeFrame((round(self.size_px[0] * across), round(self.size_px[1] * down)))


Outline = Disc | Ellipse | Polygon | FreeForm | WholeFrame


def _pixel_centres(size_px: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The x as a row and the y as a column."""
    x = torch.arange(size_px[0], dtype=torch.float64) + 0.5
    y = torch.arange(size_px[1], dtype=torch.float64) + 0.5
    return x[None], y[:, None]
