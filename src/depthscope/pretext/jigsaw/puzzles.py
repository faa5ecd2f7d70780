"""Puzzles: nine tiles of a crop, cut so that neither edges nor light nor the lens give their order away."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from depthscope.corpus import Corpus
from depthscope.corpus.views import Crops, between, by_video, evenly, sampled, textured
from depthscope.errors import BadInputError
from depthscope.geometry.depth import pixel_grid
from depthscope.networks.adapters import LUMA
from depthscope.pretext.jigsaw.permutations import TILES, Permutations
from depthscope.training.draws import generator_of

NUMBERS = 6 + 2 * TILES + 6 * TILES + 1
"""Random numbers of a puzzle: frame, crop, angle, order; place of each tile; shift of its channels; gray or not."""

LEAST_STD = 1 / 255
"""A tile of one colour is divided by this instead of its standard deviation."""

MOST_ENLARGED = 2.0
"""Tiles are resampled from at least 1 / 2 as many pixels a side: larger ones would show no more."""

Tile = Float[Tensor, "batch 9 3 size size"]


@dataclass(frozen=True)
class Tiles:
    """How a puzzle is cut, and what blocks each shortcut (Noroozi and Favaro 2016).

    Attributes:
        tile_px: Side of a tile.
        gap_px: A tile lies anywhere in a cell that is so much wider: edges that continue would give the order away.
        normalise: Take mean and spread from every tile: brightness and colour fall off across an endoscope's picture.
        channel_shift_px: Largest shift of each colour channel: colour fringes of the lens point at its axis.
        gray: Share of puzzles without colour.
        rotation_deg: Largest rotation of a crop.
        smallest: Side of the smallest crop, as a share of the largest that fits.
    """

    tile_px: int = 32
    gap_px: int = 8
    normalise: bool = True
    channel_shift_px: int = 1
    gray: float = 0.3
    rotation_deg: float = 10.0
    smallest: float = 0.6

    def __post_init__(self) -> None:
        if self.tile_px < 8 or self.gap_px < 0:
            raise BadInputError(f"tiles of {self.tile_px} px, gap_px {self.gap_px}", "8 px or more, and 0 or more")
        if not 0 <= 2 * self.channel_shift_px <= self.gap_px:
            raise BadInputError(
                f"tiles.channel_shift_px {self.channel_shift_px} with gap_px {self.gap_px}",
                "at most half of the gap, so that tiles stay in their cells",
                "set it to 0 where there is no gap",
            )
        if not (0 <= self.gray <= 1 and 0 <= self.rotation_deg <= 45 and 0 < self.smallest <= 1):
            raise BadInputError(
                f"tiles.gray {self.gray}, rotation_deg {self.rotation_deg}, smallest {self.smallest}",
                "a share, 0 to 45 degrees, and a share above 0",
            )

    @property
    def cell_px(self) -> int:
        """Side of a cell."""
        return self.tile_px + self.gap_px

    @property
    def crop_px(self) -> int:
        """Side of the crop that the cells fill."""
        return 3 * self.cell_px

    @property
    def extent(self) -> float:
        """How much wider the box around a turned crop may be than the crop."""
        angle = self.rotation_deg * pi / 180
        return cos(angle) + sin(angle)


class PuzzleBatch(NamedTuple):
    """Puzzles as they are drawn; they are cut on the device.

    Attributes:
        images: sRGB bytes.
        centre_px: Centre of each crop in its frame.
        side_px: Side of the crop there.
        angle_rad: How far it is turned.
        offsets_px: Where each tile begins in its cell, in pixels of the puzzle.
        shifts_px: How far each colour channel of each tile is shifted, in the same.
        gray: Which are shown without colour.
        order: Number of the permutation.
    """

    images: UInt8[Tensor, "batch height width 3"]
    centre_px: Float32[Tensor, "batch 2"]
    side_px: Float32[Tensor, " batch"]
    angle_rad: Float32[Tensor, " batch"]
    offsets_px: Float32[Tensor, "batch 9 2"]
    shifts_px: Float32[Tensor, "batch 9 3 2"]
    gray: Bool[Tensor, " batch"]
    order: Int64[Tensor, " batch"]


@dataclass(frozen=True, eq=False)
class PuzzleDraws:
    """Puzzles by draw number; every video is equally likely.

    Attributes:
        corpus: Where frames come from.
        numbers: Those to draw from.
        tiles: How they are cut.
        orders: Number of permutations.
        seed: Of the draws.
    """

    corpus: Corpus
    numbers: Int64[Tensor, " chosen"]
    tiles: Tiles
    orders: int
    seed: int = 0

    def __post_init__(self) -> None:
        shown = textured(self.corpus, self.numbers)
        crops = tuple(Crops.of(content, (1, 1), self.tiles.smallest) for content in self.corpus.content)
        least = self.tiles.crop_px * self.tiles.extent / MOST_ENLARGED
        fits = torch.tensor([bool(c.sizes_px) and c.sizes_px[0][0] >= least for c in crops])
        if not bool(fits[self.corpus.video[shown]].any()):
            side = max((c.sizes_px[0][0] for c in crops if c.sizes_px), default=0)
            raise BadInputError(
                f"a square of {side} px is all that fits inside what {self.corpus.videos[0]} shows",
                f"{least:.0f} px or more for nine tiles of {self.tiles.tile_px} px",
                "give larger frames (frames.area_px), or smaller tiles (tiles.tile_px)",
            )
        object.__setattr__(self, "_groups", by_video(self.corpus, shown[fits[self.corpus.video[shown]]]))
        object.__setattr__(self, "_crops", crops)

    def batch(self, numbers: Sequence[int]) -> PuzzleBatch:
        """The puzzles of these draws."""
        rows = torch.stack([torch.rand(NUMBERS, generator=generator_of(self.seed, n)) for n in numbers])
        frames = [evenly(self._groups, row[:2]) for row in rows]  # type: ignore[attr-defined]
        videos = self.corpus.video[frames].tolist()
        crops = [self._crops[v].draw(row[2:4]) for v, row in zip(videos, rows, strict=True)]  # type: ignore[attr-defined]
        tiles, shift = self.tiles, self.tiles.channel_shift_px
        inner = rows[:, 6 : 6 + 2 * TILES].reshape(-1, TILES, 2)
        channels = rows[:, 6 + 2 * TILES : -1].reshape(-1, TILES, 3, 2)
        limit = tiles.rotation_deg * pi / 180
        return PuzzleBatch(
            images=self.corpus.frames[frames],
            centre_px=torch.stack([centre for centre, _ in crops]),
            side_px=torch.stack([size[0] for _, size in crops]) / tiles.extent,
            angle_rad=between(rows[:, 4], -limit, limit),
            offsets_px=shift + (inner * (tiles.gap_px - 2 * shift + 1)).floor(),
            shifts_px=(channels * (2 * shift + 1)).floor() - shift,
            gray=rows[:, -1] < tiles.gray,
            order=(rows[:, 5] * self.orders).long().clamp_max(self.orders - 1),
        )


def cut(batch: PuzzleBatch, tiles: Tiles) -> Tile:
    """The nine tiles of each crop in the order they lie there, row by row."""
    points = tile_points(batch, tiles)
    images = batch.images.permute(0, 3, 1, 2).float() / 255
    cut = sampled(images.flatten(0, 1)[:, None], points.transpose(1, 2).flatten(2, 3).flatten(0, 1))
    size = tiles.tile_px
    cut = cut.reshape(len(images), 3, TILES, size, size).transpose(1, 2)
    luma = (cut * cut.new_tensor(LUMA)[:, None, None]).sum(2, keepdim=True)
    cut = torch.where(batch.gray[:, None, None, None, None], luma, cut)  # after the shift, which would colour it
    return normalised(cut) * 0.2 + 0.5 if tiles.normalise else cut


def tile_points(batch: PuzzleBatch, tiles: Tiles) -> Float[Tensor, "batch 9 3 size size 2"]:
    """Where the pixels of each tile and channel lie in the frames, in pixels."""
    size, cell = tiles.tile_px, tiles.cell_px
    place = torch.arange(TILES, device=batch.images.device)
    corner = torch.stack([place % 3, place // 3], -1) * cell + batch.offsets_px
    corner = corner[:, :, None] + batch.shifts_px
    within = corner[:, :, :, None, None] + pixel_grid(size, size, batch.centre_px)
    x, y = ((within - tiles.crop_px / 2) * (batch.side_px / tiles.crop_px)[:, None, None, None, None, None]).unbind(-1)
    angle = batch.angle_rad[:, None, None, None, None]
    turned = torch.stack([angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y], -1)
    return turned + batch.centre_px[:, None, None, None, None]


def normalised(tiles: Float[Tensor, "batch tiles 3 size size"]) -> Float[Tensor, "batch tiles 3 size size"]:
    """Tiles whose channels have mean 0 and whose pixels have standard deviation 1, each for itself."""
    centred = tiles - tiles.mean((-1, -2), keepdim=True)
    return centred / centred.square().mean((-1, -2, -3), keepdim=True).sqrt().clamp_min(LEAST_STD)


def ordered(tiles: Tile, order: Int64[Tensor, " batch"], permutations: Permutations) -> Tile:
    """The tiles as the puzzle shows them."""
    place = permutations[order][:, :, None, None, None].expand_as(tiles)
    return tiles.gather(1, place)
