"""Labels carried through a clip by the pointer: the first frame is always kept, and a few of the last ones."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.pretext.video_colorization.pointer import unit

Features = Float[Tensor, "channels rows columns"]
Labels = Float[Tensor, "labels rows columns"]


@dataclass(frozen=True)
class Propagation:
    """How labels are copied from the frames before.

    Attributes:
        memory: Last frames that are pointed at, beside the first one, which never leaves: without it labels drift.
        nearest: Most similar cells that a cell copies from.
        window: A cell looks for them no farther away than so many cells in each direction.
        temperature: Of their weights.
    """

    memory: int = 7
    nearest: int = 5
    window: int = 12
    temperature: float = 0.1

    def __post_init__(self) -> None:
        if self.memory < 0 or self.nearest < 1 or self.window < 1:
            raise BadInputError(
                f"a memory of {self.memory}, {self.nearest} nearest and a window of {self.window}",
                "0 or more frames, 1 or more cells, 1 or more cells",
            )
        if not 0 < self.temperature < float("inf"):
            raise BadInputError(f"a temperature of {self.temperature:g}", "more than 0")


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame that can be copied from.

    Attributes:
        features: Of its cells.
        labels: What they are labelled with, each in 0..1.
    """

    features: Features
    labels: Labels


def copied(features: Features, seen: Sequence[Seen], options: Propagation) -> Labels:
    """The labels of a frame, copied from its most similar cells in the frames that were seen.

    Args:
        features: Of its cells.
        seen: Frames with labels.
        options: How.
    """
    _, rows, columns = features.shape
    references = torch.cat([unit(frame.features) for frame in seen], -1)
    labels = torch.cat([frame.labels.flatten(-2) for frame in seen], -1)
    near = within(rows, columns, options.window).to(features.device).repeat(1, len(seen))
    cosine = (unit(features).T @ references).masked_fill(~near, float("-inf"))
    best, index = cosine.topk(min(options.nearest, cosine.shape[-1]), -1)
    weight = (best / options.temperature).softmax(-1)
    return torch.einsum("lck,ck->lc", labels[:, index], weight.to(labels)).unflatten(-1, (rows, columns))


def within(rows: int, columns: int, window: int) -> Bool[Tensor, "cells cells"]:
    """Which cells of a frame lie in the window around each cell."""
    row = torch.arange(rows).repeat_interleave(columns)
    column = torch.arange(columns).repeat(rows)
    far = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    return far <= window


class Memory:
    """The frames that are copied from: the first one and the last few.

    Args:
        options: How many, and how labels are copied.
    """

    def __init__(self, options: Propagation) -> None:
        self.options, self.seen = options, list[Seen]()

    def copied(self, features: Features) -> Labels:
        """The labels of a frame that is not in the memory yet."""
        return copied(features, self.seen, self.options)

    def add(self, features: Features, labels: Labels) -> None:
        """Takes a frame in; the first one never leaves."""
        self.seen.append(Seen(features, labels))
        if len(self.seen) > self.options.memory + 1:
            del self.seen[1]


def propagated(frames: Iterable[Features], first: Labels, options: Propagation) -> Iterator[Labels]:
    """The labels of every frame of a clip; those of the first are given.

    Args:
        frames: Features of the cells, in the order of time.
        first: Labels of the first frame.
        options: How.
    """
    memory = Memory(options)
    for features in frames:
        labels = memory.copied(features) if memory.seen else first
        yield labels
        memory.add(features, labels)


def enlarged(labels: Labels, size_px: tuple[int, int]) -> Float[Tensor, "labels height width"]:
    """Labels at the size of the frames: interpolated first, so that the largest may be taken afterwards."""
    width, height = size_px
    return functional.interpolate(labels[None], (height, width), mode="bilinear", align_corners=False)[0]


@dataclass(frozen=True, eq=False)
class Pointed:
    """Where points of a frame look in another one.

    Attributes:
        cells: Column and row of the place, in cells, the centre of the first one at (0.5, 0.5).
        entropy: Of the pointer, over that of an even one: 0 knows one cell, 1 knows nothing.
    """

    cells: Float[Tensor, "points 2"]
    entropy: Float[Tensor, " points"]


def pointed(
    features: Float[Tensor, "points channels"],
    around: Float[Tensor, "points 2"],
    target: Features,
    options: Propagation,
) -> Pointed:
    """Where features point to in a frame, not farther than the window from where they are.

    Args:
        features: Of the points.
        around: Column and row in cells.
        target: The frame that is looked at.
        options: Window and temperature.
    """
    _, rows, columns = target.shape
    centres = cell_centres(rows, columns).to(around)
    near = (centres - around[:, None]).abs().amax(-1) <= options.window + 0.5
    cosine = functional.normalize(features.float(), dim=-1) @ unit(target)
    logits = (cosine / options.temperature).masked_fill(~near, float("-inf"))
    weight = logits.softmax(-1)
    entropy = torch.special.entr(weight).sum(-1) / near.sum(-1).clamp_min(2).log()
    return Pointed(peaks(weight.unflatten(-1, (rows, columns))), entropy)


def cell_centres(rows: int, columns: int) -> Float[Tensor, "cells 2"]:
    """Column and row of the centres of all cells."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([column, row], -1).flatten(0, 1) + 0.5


def peaks(heat: Float[Tensor, "points rows columns"]) -> Float[Tensor, "points 2"]:
    """Column and row of the largest value of each map, between cells: the mean place over it and its neighbours."""
    _, rows, columns = heat.shape
    centres = cell_centres(rows, columns).to(heat)
    top = centres[heat.flatten(1).argmax(-1)]
    near = (centres - top[:, None]).abs().amax(-1) < 1.5
    weight = heat.flatten(1) * near
    return torch.where(
        weight.sum(-1, keepdim=True) > 0, weight @ centres / weight.sum(-1, keepdim=True).clamp_min(1e-12), top
    )


def hats(cells: Float[Tensor, "points 2"], rows: int, columns: int) -> Float[Tensor, "points rows columns"]:
    """A label for each point: its four nearest cells share 1 by how near they are."""
    away = (cell_centres(rows, columns).to(cells) - cells[:, None]).abs()
    return (1 - away).clamp_min(0).prod(-1).unflatten(-1, (rows, columns))


def sampled(features: Features, cells: Float[Tensor, "points 2"]) -> Float[Tensor, "points channels"]:
    """Features between cells."""
    _, rows, columns = features.shape
    grid = 2 * cells / cells.new_tensor([columns, rows]) - 1
    found = functional.grid_sample(
        features.float()[None], grid[None, None].float(), padding_mode="border", align_corners=False
    )
    return found[0, :, 0].T


def confidence(entropy: Float[Tensor, " points"], away_cells: Float[Tensor, " points"]) -> Float[Tensor, " points"]:
    """0..1 from how undecided the pointer is and how far the way back ends from its start; not a probability."""
    return (1 - entropy).clamp(0, 1) * torch.exp(-0.5 * away_cells**2)
