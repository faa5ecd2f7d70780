"""Surfaces without film: a plain one and a printed board."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Places = Float[Tensor, "points 3"]


@dataclass(frozen=True)
class Plain:
    """A matte surface of one colour without film: for tests of the light.

    Attributes:
        colour: Its linear RGB reflectance.
    """

    colour: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def albedo(self, points: Places, normals: Places, tones: Tensor, cell_mm: Tensor) -> Places:
        """The one colour."""
        return points.new_tensor(self.colour).expand_as(points).float()

    def film(self, points: Places, normals: Places) -> tuple[Places, Float[Tensor, " points"]]:
        """The surface itself, dull."""
        return normals.float(), torch.ones_like(points[:, 0], dtype=torch.float32)


@dataclass(frozen=True)
class PrintedChessboard:
    """A printed calibration board in the plane z = 0, its first inner corner at the origin.

    Attributes:
        corners: Inner corners along x and y.
        square_mm: Side of a square.
        white: Reflectance of the paper.
        black: Reflectance of the ink.
    """

    corners: tuple[int, int] = (14, 10)
    square_mm: float = 3.0
    white: float = 0.75
    black: float = 0.03

    @property
    def margin_mm(self) -> float:
        """White border around the squares."""
        return 1.5 * self.square_mm

    @property
    def extent_mm(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """(x, y) of the paper's two corners."""
        (columns, rows), side = self.corners, self.square_mm
        edge = side + self.margin_mm
        return (-edge, -edge), ((columns - 1) * side + edge, (rows - 1) * side + edge)

    @property
    def corner_points(self) -> Float[Tensor, "corners 3"]:
        """The inner corners, x running fastest."""
        x, y = (torch.arange(n, dtype=torch.float64) * self.square_mm for n in self.corners)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
        return torch.cat([grid, torch.zeros_like(grid[:, :1])], -1)

    def albedo(self, points: Places, normals: Places, tones: Tensor, cell_mm: Tensor) -> Places:
        """White and black, hard-edged: the samples of a pixel average the edge."""
        column, row = (points[:, :2] / self.square_mm).floor().long().unbind(-1)
        columns, rows = self.corners
        printed = (column >= -1) & (column < columns) & (row >= -1) & (row < rows)
        dark = printed & ((column + row) % 2 == 0)
        level = torch.where(dark, self.black, self.white).float()
        return level[:, None].expand(-1, 3)

    def film(self, points: Places, normals: Places) -> tuple[Places, Float[Tensor, " points"]]:
        """Matte paper."""
        return normals.float(), torch.ones_like(points[:, 0], dtype=torch.float32)
