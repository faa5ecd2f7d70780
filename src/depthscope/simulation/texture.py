"""How the lining of a cavity looks: blood, pallor and vessels in its colour, and the wet film on it.

The colour is pale tissue seen through blood: exp(-(blood absorption)), channel by channel, so that more blood is also
redder. Blotches, grain and film come from smooth 3-D noise, which has no seams. Vessels are branching trees, drawn once
on a tile that repeats without a seam and projected onto the wall along the three axes (triplanar), with coarser copies
for walls that are further away.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Surface

PALE = (0.86, 0.58, 0.45)
"""Linear sRGB of tissue without blood."""

ARTERIAL, VENOUS = (0.32, 1.50, 1.60), (0.85, 1.70, 1.30)
"""What a unit of blood absorbs of red, green and blue: light red in the lining, dark and purple in deep veins."""

NOISE_CELLS, NOISE_PERIOD = 64, 8
"""Cells of the noise's periodic lattice along each axis, and how many of them make a wavelength."""

TILE_CELLS, TILE_MM = 1024, 30.0
"""Cells of the vessels' tile along each side, and its size on the wall."""

TILE_LEVELS = 5
"""Copies of the tile, each half as fine as the one before."""

THINNEST_MM = 0.025
"""Radius of the thinnest vessel that is drawn."""

Places = Float[Tensor, "points 3"]


@dataclass(frozen=True)
class Look:
    """How one patient's tissue looks.

    Attributes:
        contrast: Dial of everything that a feature detector can hold on to: 0 is plain, 1 typical, 2 rich.
        blood: Mean blood of the lining; 0.4 is pale, 1.2 inflamed.
        blotches: Spread of the blood between one place and another, before the contrast.
        vessels: How strongly vessels show, before the contrast.
        grain: Spread of the finest mottling, before the contrast.
        tile_mm: Size of the vessels' tile; smaller is denser and thinner.
        wetness: 0 is dry and dull, 1 wet with small sharp glints.
        bumps: Tilt of the film's bumps in radians, the standard deviation.
        hue: Shift of the pale tissue's green against its red.
    """

    contrast: float = 1.0
    blood: float = 0.7
    blotches: float = 0.30
    vessels: float = 1.0
    grain: float = 0.06
    tile_mm: float = TILE_MM
    wetness: float = 0.6
    bumps: float = 0.07
    hue: float = 0.0

    def __post_init__(self) -> None:
        for name in ("contrast", "blood", "blotches", "vessels", "grain", "wetness", "bumps"):
            if not 0 <= getattr(self, name) <= 4:
                raise BadInputError(f"tissue with {name} {getattr(self, name):g}", "0 to 4")
        if not 2 <= self.tile_mm <= 200:
            raise BadInputError(f"a vessel tile of {self.tile_mm:g} mm", "2 to 200 mm")


@runtime_checkable
class Texture(Protocol):
    """What a surface looks like at its points."""

    def albedo(self, points: Places, normals: Places, tones: Tensor, cell_mm: Tensor) -> Places:
        """Linear RGB reflectance."""
        ...

    def film(self, points: Places, normals: Places) -> tuple[Places, Float[Tensor, " points"]]:
        """Unit normals and roughness of the film."""
        ...


@dataclass(frozen=True, eq=False)
class Noise:
    """Smooth noise in space, periodic, four independent fields of standard deviation 1.

    Attributes:
        slices: Values on the lattice, its slices one under another and each with its first row and column repeated,
            so that a two-dimensional look-up can read them: shape (n (n + 1), n + 1, 4), n = `NOISE_CELLS`.
    """

    slices: NDArray[np.float32]

    @classmethod
    def drawn(cls, draw: np.random.Generator) -> "Noise":
        """White noise, of which only wavelengths around `NOISE_PERIOD` cells are kept."""
        white = draw.standard_normal((4, *(NOISE_CELLS,) * 3), dtype=np.float32)
        axis = np.fft.fftfreq(NOISE_CELLS)
        frequency = np.sqrt(sum(np.square(np.meshgrid(axis, axis, np.fft.rfftfreq(NOISE_CELLS), indexing="ij"))))
        kept = np.exp(-(((frequency * NOISE_PERIOD) - 0.8) ** 2) / (2 * 0.3**2)) * (frequency > 0)
        fields = np.fft.irfftn(np.fft.rfftn(white, axes=(1, 2, 3)) * kept, white.shape[1:], axes=(1, 2, 3))
        fields /= fields.std(axis=(1, 2, 3), keepdims=True)
        wrapped = np.pad(np.moveaxis(fields, 0, -1).astype(np.float32), ((0, 0), (0, 1), (0, 1), (0, 0)), mode="wrap")
        return cls(wrapped.reshape(-1, NOISE_CELLS + 1, 4))

    def __call__(self, points: Places, wavelength_mm: float, shift: float = 0.0) -> Float[Tensor, "points 4"]:
        """The four fields at points in mm, features about `wavelength_mm` apart; `shift` makes scales independent."""
        place = (points.numpy() * (NOISE_PERIOD / wavelength_mm) + 17.3 * shift) % NOISE_CELLS
        x, y, z = place.astype(np.float32).T
        below = np.floor(z)
        share = (z - below)[:, None]
        below %= NOISE_CELLS
        low = looked_up(self.slices, x, y + (NOISE_CELLS + 1) * below)
        high = looked_up(self.slices, x, y + (NOISE_CELLS + 1) * ((below + 1) % NOISE_CELLS))
        return torch.from_numpy(low + share * (high - low))


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


def looked_up(image: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bilinear samples of an image at (x, y), where (0, 0) is the first cell's middle, shape (points, channels)."""
    count, width = len(x), 512
    if not count:
        return np.zeros((0, image.shape[2]), np.float32)
    rows = -(-count // width)  # a picture of the points: OpenCV's look-up is made for pictures
    grid = np.zeros((2, rows * width), np.float32)
    grid[0, :count], grid[1, :count] = x, y
    x, y = grid.reshape(2, rows, width)
    samples = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return samples.reshape(-1, image.shape[2])[:count].astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class Mucosa:
    """The texture of one patient: a solid colour and a wet film.

    Attributes:
        look: What it looks like.
        seed: What it is drawn by.
    """

    look: Look
    seed: int

    @cached_property
    def noise(self) -> Noise:
        """Its noise."""
        return Noise.drawn(np.random.default_rng((self.seed, 41)))

    @cached_property
    def vessels(self) -> Vessels:
        """Its vessels."""
        return Vessels.drawn(np.random.default_rng((self.seed, 42)))

    def albedo(
        self,
        points: Places,
        normals: Places,
        tones: Float[Tensor, "points 3"],
        cell_mm: Float[Tensor, " points"],
    ) -> Places:
        """Linear RGB reflectance, in 0..1.

        Args:
            points: Of the wall, in mm, in the patient.
            normals: Unit normals.
            tones: How much blood and vessels this region has, both 1 in the mean, and how deep in a cavity it lies.
            cell_mm: What one pixel covers at each point: finer detail is averaged out.
        """
        look = self.look
        wide, near = self.noise(points, 15.0), self.noise(points, 4.5, 1.0)
        bent = points.float() + 0.35 * near[:, :3]
        fine = self.noise(bent, 1.1, 2.0)
        seen = torch.exp(-((cell_mm.float() / 0.6) ** 2))  # mottling is lost in pixels as wide as it
        blotch = 0.75 * wide[:, 0] + 0.5 * near[:, 3] + 0.22 * fine[:, 0] * seen
        blood = look.blood * tones[:, 0] * torch.exp(look.contrast * look.blotches * blotch)
        blood = blood + look.contrast * look.grain * seen * (fine[:, 1] + 0.6 * fine[:, 2])

        # Vessels come to the surface in some places and dive in others.
        artery, vein, capillary = self.vessels(bent, normals, look.tile_mm, cell_mm).unbind(-1)
        show = look.contrast * look.vessels * tones[:, 1]
        artery = 1.15 * show * torch.sigmoid(2.5 * wide[:, 1] + 0.8) * artery
        capillary = 0.55 * show * torch.sigmoid(3.0 * wide[:, 2]) * capillary
        vein = 0.75 * show * torch.sigmoid(2.5 * wide[:, 3] - 0.8) * vein

        red = (blood + artery + capillary).clamp_min(0)[:, None] * blood.new_tensor(ARTERIAL)
        purple = vein[:, None] * blood.new_tensor(VENOUS)
        pale = blood.new_tensor(PALE) * (1 + look.hue * blood.new_tensor([0.0, 1.0, 0.6]))
        # Fat and scar scatter more, mucus less: lightness of its own, without hue.
        light = 1 + 0.10 * look.contrast * (wide[:, 3] + 0.5 * near[:, 0] + 0.3 * fine[:, 3] * seen)
        return (pale * torch.exp(-red - purple) * light[:, None]).clamp(0.004, 0.98)

    def film(self, points: Places, normals: Places) -> tuple[Places, Float[Tensor, " points"]]:
        """Unit normals of the wet film at points of the wall, some degrees off it, and its roughness."""
        look = self.look
        wide, small = self.noise(points, 2.6, 3.0), self.noise(points, 0.7, 4.0)
        patch = torch.sigmoid(1.8 * wide[:, 3] + 4 * (look.wetness - 0.5))
        tilt = look.bumps * (wide[:, :3] + (0.35 + 0.4 * patch[:, None]) * small[:, :3])
        roughness = 0.22 - 0.17 * patch
        return functional.normalize(normals.float() + tilt, dim=-1), roughness


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
class Chessboard:
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


REGION_TONES: dict[str, tuple[float, float]] = {
    "septum": (0.80, 1.20),
    "inferior_turbinate": (1.25, 1.15),
    "middle_turbinate": (1.10, 1.15),
    "bulla": (0.85, 1.10),
    "uncinate": (0.85, 1.00),
    "nasopharynx": (1.05, 0.80),
    "sinus": (0.70, 0.60),
    "fold": (1.05, 1.00),
    "polyp": (1.45, 1.30),
}
"""Blood and vessels of the regions that differ from 1; their seams are smoothed away."""


def tones(surface: Surface, regions: Int[Tensor, " points"], names: tuple[str, ...]) -> Float[Tensor, "points 3"]:
    """Blood and vessels of each vertex by its region, smooth across the regions' borders; the third column is 0.

    Args:
        surface: The mesh.
        regions: Number of each vertex's region.
        names: What the numbers mean.
    """
    table = torch.tensor([(*REGION_TONES.get(name, (1.0, 1.0)), 0.0) for name in names])
    return smoothed_over(surface, table[regions], 40)


def smoothed_over(surface: Surface, values: Float[Tensor, "points n"], rounds: int) -> Float[Tensor, "points n"]:
    """Values of vertices averaged with those of their neighbours, so many times."""
    assert surface.faces is not None
    faces, count = surface.faces.numpy(), len(surface.points)
    a, b = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    ones = np.ones(len(a), np.float32)
    links = sparse.csr_array((ones, (a, b)), shape=(count, count)) + sparse.eye_array(count, format="csr").astype(
        np.float32
    )
    links = sparse.diags_array(1 / np.asarray(links.sum(1)).ravel()).astype(np.float32) @ links
    result = values.float().numpy()
    for _ in range(rounds):
        result = links @ result
    return torch.from_numpy(result)


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
