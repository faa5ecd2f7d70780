"""Branching vessels on a tile that repeats without a seam, after Murray's law."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from depthscope.simulation.texture.noise import looked_up

TILE_CELLS, TILE_MM = 1024, 30.0
"""Cells of the vessels' tile along each side, and its size on the wall."""

TILE_LEVELS = 5
"""Copies of the tile, each half as fine as the one before."""

THINNEST_MM = 0.025
"""Radius of the thinnest vessel that is drawn."""

Places = Float[Tensor, "points 3"]


@dataclass(frozen=True, eq=False)
class Vessels:
    """Branching vessels on a tile that repeats, with coarser copies of it.

    Attributes:
        levels: How much of arteries, veins and capillaries lies in each cell, on ever coarser tiles, each of shape
            (side + 1, side + 1, 3) with its first row and column repeated.
    """

    levels: tuple[NDArray[np.float32], ...]

    @classmethod
    def drawn(cls, draw: np.random.Generator) -> "Vessels":
        """Trees from trunks of a quarter mm and less, whose branches obey Murray's law."""
        scale = 2 * TILE_CELLS / TILE_MM
        arteries = _tree_tile(draw, 16, (0.09, 0.17), 0.55, scale)
        veins = _tree_tile(draw, 7, (0.20, 0.38), 1.6, scale)
        fine = _tree_tile(draw, 110, (0.03, 0.05), 0.3, scale)
        layers = [_softened(arteries, 0.035 * scale), _softened(veins, 0.18 * scale), _softened(fine, 0.04 * scale)]
        tile, levels = np.stack(layers, -1), []
        for level in range(TILE_LEVELS):
            side = TILE_CELLS >> level
            tile = cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA)
            levels.append(np.pad(tile, ((0, 1), (0, 1), (0, 0)), mode="wrap"))
        return cls(tuple(levels))

    def __call__(
        self, points: Places, normals: Places, tile_mm: float, cell_mm: Float[Tensor, " points"]
    ) -> Float[Tensor, "points 3"]:
        """Vessels at points of a wall.

        Args:
            points: In mm.
            normals: Unit normals, which choose the plane that is looked up.
            tile_mm: Size of the tile on the wall.
            cell_mm: What one pixel covers there.
        """
        wanted = np.log2(cell_mm.numpy() * (TILE_CELLS / tile_mm)).round().clip(0, TILE_LEVELS - 1)
        facing = np.abs(normals.numpy()) ** 5
        facing /= facing.sum(1, keepdims=True)
        p = (points.numpy() / tile_mm).astype(np.float32)
        found = np.zeros((len(p), 3), np.float32)
        for level, tile in enumerate(self.levels):
            side = TILE_CELLS >> level
            at_level = wanted == level
            # Each plane has its own part of the tile, so that seams do not mirror.
            for axis, (u, v, turn) in enumerate(((1, 2, 0.13), (2, 0, 0.41), (0, 1, 0.71))):
                rows = np.flatnonzero(at_level & (facing[:, axis] > 0.02))
                x, y = ((p[rows, u] + turn) % 1) * side, ((p[rows, v] + turn) % 1) * side
                found[rows] += facing[rows, axis, None] * looked_up(tile, x, y)
        return torch.from_numpy(found)


def _tree_tile(
    draw: np.random.Generator, trunks: int, radii: tuple[float, float], apart_mm: float, scale: float
) -> NDArray[np.float32]:
    """Vessel trees on a tile of twice its cells that repeats without a seam, 0 to 1.

    A branch ends where it comes closer than `apart_mm` to an older one, as vessels share out the tissue.

    Args:
        draw: Where chance comes from.
        trunks: Number of trees.
        radii: Range of the trunks' radii in mm.
        apart_mm: Distance that branches keep.
        scale: Cells per mm.
    """
    tile, cells = np.zeros((2 * TILE_CELLS,) * 2, np.float32), round(TILE_MM / apart_mm)
    taken = np.full((cells, cells), -1)
    step, number = 0.2, 0
    growing = [
        (draw.uniform(0, TILE_MM, 2), draw.uniform(0, 2 * np.pi), draw.uniform(*radii), -1) for _ in range(trunks)
    ]
    while growing:
        start, angle, radius, parent = growing.pop(0)
        count = int((draw.exponential(22 * radius + 1.2) + 1.5 * apart_mm) / step) + 2
        turns = draw.normal(0, 0.2, count)  # it winds, but keeps its way
        turns = turns - 0.35 * np.convolve(turns, 0.8 ** np.arange(12))[:count]
        angles = angle + np.cumsum(turns)
        path = start + step * np.cumsum(np.stack([np.cos(angles), np.sin(angles)], 1), 0)
        column, row = (np.floor(path / TILE_MM * cells).astype(int) % cells).T
        owner = taken[row, column]
        met = np.flatnonzero((owner >= 0) & (owner != parent))
        end = int(met[0]) if len(met) else count
        if end < 2:
            continue
        taken[row[:end], column[:end]] = number
        _draw_branch(tile, np.vstack([start, path[:end]]) * scale, 2 * radius * scale, min(1.0, 0.4 + 4.0 * radius))
        share, open_by = draw.uniform(0.2, 0.55), draw.uniform(0.6, 1.2) * draw.choice([-1, 1])
        if end == count:
            for part, lean in ((1 - share, -0.35 * open_by), (share, open_by)):  # Murray: r0^3 = r1^3 + r2^3
                child = radius * part ** (1 / 3)
                if child > THINNEST_MM and number < 6000:
                    growing.append((path[-1], angles[-1] + lean, child, number))
        number += 1
    return tile


def _draw_branch(tile: NDArray[np.float32], path: NDArray[np.float64], width: float, shade: float) -> None:
    """Draws a line on a tile that repeats: once, and again where it reaches over a border."""
    side = len(tile)
    path = path - np.floor(path.min(0) / side) * side
    columns, rows = (np.arange(0, -int((extent + width) // side) - 1, -1) for extent in path.max(0))
    for dx in (*columns, 1):
        for dy in (*rows, 1):
            moved = path + np.array([dx, dy]) * side
            if (moved.max(0) > -width).all() and (moved.min(0) < side + width).all():
                points = np.rint(16 * moved).astype(np.int32).reshape(-1, 1, 2)
                cv2.polylines(tile, [points], False, shade, max(1, round(width)), cv2.LINE_8, 4)


def _softened(tile: np.ndarray, sigma: float) -> np.ndarray:
    """The tile blurred across its borders."""
    reach = int(4 * sigma) + 1
    wide = np.pad(tile, reach, mode="wrap")
    return cv2.GaussianBlur(wide, (0, 0), sigma)[reach:-reach, reach:-reach]
