"""Simulated frames by draw number."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.simulation.still_store import CONTENT, FOREIGN, StillFrame, StillStore
from depthscope.supervised.augmentation import Placement
from depthscope.supervised.batch import StillBatch
from depthscope.training.draws import example_of

Size = tuple[int, int]

ROWS = ("image", "depth", "rays", "labels")
"""Of a frame, what a batch stacks."""


@dataclass(frozen=True, eq=False)
class StillDraws:
    """Frames of a store, each laid into a window as drawn.

    Attributes:
        store: Where to draw from.
        sizes_px: (width, height) of the windows; a batch has one of them.
        placement: How frames are laid into it.
        seed: Of the order and of the placement.
    """

    store: StillStore
    sizes_px: tuple[Size, ...] = ((192, 160),)
    placement: Placement = field(default_factory=Placement)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sizes_px:
            raise BadInputError("no window sizes", "at least one")

    def batch(self, numbers: Sequence[int]) -> StillBatch:
        """The frames of these draws; the first number decides the window's size."""
        size = self.sizes_px[int(np.random.default_rng([self.seed, numbers[0], 1]).integers(len(self.sizes_px)))]
        frames = []
        for number in numbers:
            frame = self.store[example_of(self.seed, number, len(self.store))]
            frames.append(self.placement(frame, size, np.random.default_rng([self.seed, number, 2])))
        return gathered(frames, numbers)


def gathered(frames: Sequence[StillFrame], numbers: Sequence[int]) -> StillBatch:
    """A batch of frames of one size; depth is 0 where it is not learned from."""
    images, depth, rays, labels = (np.stack([getattr(frame, name) for frame in frames]) for name in ROWS)
    tissue = (labels & CONTENT > 0) & (labels & FOREIGN == 0)
    return StillBatch(
        images=torch.from_numpy(images).permute(0, 3, 1, 2),
        depth=torch.from_numpy(np.where(tissue, depth, np.float32(0))),
        rays=torch.from_numpy(rays).permute(0, 3, 1, 2),
        content=torch.from_numpy(labels & CONTENT > 0),
        draws=torch.tensor(list(numbers)),
        metric=torch.tensor([frame.metric for frame in frames]),
    )
