"""The endless stream of training examples: the n-th one is a function of the seed and n, and of nothing else.

So nothing about the data needs to be saved: a run that resumes at step s goes on with draw s * batch, on any number of
workers and processes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, stacked
from depthscope.supervision import Clip, PairBatch, SparsePoints


@runtime_checkable
class Draws(Protocol):
    """A source of batches by draw number."""

    def batch(self, numbers: Sequence[int]) -> Any:
        """The batch of these draws; it has a method ``to(device)``."""
        ...


@lru_cache(maxsize=2)
def shuffled(seed: int, epoch: int, size: int) -> np.ndarray:
    """The order of the examples in an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(size)


def example_of(seed: int, draw: int, size: int) -> int:
    """Which of `size` examples the n-th draw is: every epoch shows each one once."""
    epoch, place = divmod(draw, size)
    return int(shuffled(seed, epoch, size)[place])


def generator_of(seed: int, draw: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random numbers that belong to the n-th draw."""
    state = np.random.SeedSequence([seed, draw]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) & 0x7FFF_FFFF_FFFF_FFFF)


@dataclass(frozen=True, eq=False)
class PairDraws:
    """Pairs of frames from clips of one network size.

    Attributes:
        clips: Where to draw from.
        seed: Of the order.
    """

    clips: tuple[Clip, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.clips:
            raise BadInputError("no clips to train on", "at least one")
        sizes = {clip.view.size_px for clip in self.clips}
        if len(sizes) > 1:
            raise BadInputError(f"clips of sizes {sorted(sizes)}", "one network size")
        last = np.cumsum([len(clip.pairs) for clip in self.clips])
        object.__setattr__(self, "_last", last)
        object.__setattr__(self, "_longest", max(clip.points.depth.shape[1] for clip in self.clips))

    def __len__(self) -> int:
        """Number of pairs, which is the length of an epoch."""
        return int(self._last[-1])  # type: ignore[attr-defined]

    def pair(self, draw: int) -> tuple[Clip, int, int]:
        """The clip and frames (j, k) of a draw."""
        example = example_of(self.seed, draw, len(self))
        number = int(np.searchsorted(self._last, example, side="right"))  # type: ignore[attr-defined]
        clip = self.clips[number]
        j, k = clip.pairs[example - self._last[number] + len(clip.pairs)].tolist()  # type: ignore[attr-defined]
        return clip, j, k

    def batch(self, numbers: Sequence[int]) -> PairBatch:
        """The pairs of these draws; images are bytes until they reach the device."""
        pairs = [self.pair(n) for n in numbers]
        motions = [clip.camera_from_world[k] @ clip.camera_from_world[j].inverse() for clip, j, k in pairs]
        points = [self._padded(clip.points[torch.tensor([j, k])]) for clip, j, k in pairs]
        content = torch.stack([clip.store.mask for clip, _, _ in pairs])[:, None].expand(-1, 2, -1, -1)
        hidden = any(clip.store.tissue is not None for clip in self.clips)
        to_learn_from = [clip.store.to_learn_from(torch.tensor([j, k])) for clip, j, k in pairs] if hidden else []
        return PairBatch(
            images=torch.stack([clip.store.frames[[j, k]] for clip, j, k in pairs]).permute(0, 1, 4, 2, 3),
            mask=torch.stack(to_learn_from) if hidden else content,
            camera=stacked([clip.camera for clip, _, _ in pairs]),
            k_from_j=RigidMotion(
                torch.stack([motion.rotation for motion in motions]).float(),
                torch.stack([motion.translation for motion in motions]).float(),
            ),
            points=SparsePoints(*(torch.stack(rows) for rows in zip(*points, strict=True))),
            draws=torch.tensor(list(numbers)),
            content=content if hidden else None,
        )

    def _padded(self, points: SparsePoints) -> tuple[Tensor, Tensor, Tensor]:
        missing = self._longest - points.depth.shape[1]  # type: ignore[attr-defined]
        pad = torch.nn.functional.pad
        return (
            pad(points.pixels, (0, 0, 0, missing), value=0.5),
            pad(points.depth, (0, missing), value=1.0),
            pad(points.weight, (0, missing)),
        )


class DrawDataset(Dataset):
    """Batches for PyTorch's loader, whose workers ask by lists of draw numbers."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws

    def __getitems__(self, numbers: list[int]) -> Any:
        """The batch of these draws."""
        return self.draws.batch(numbers)

    def __getitem__(self, number: int) -> Any:
        """The batch of one draw."""
        return self.draws.batch([number])


def numbers_of(step: int, batch: int, rank: int, world: int) -> list[int]:
    """The draws of a step that this process takes."""
    share = batch // world
    first = step * batch + rank * share
    return list(range(first, first + share))


def batches(draws: Draws, first: int, last: int, batch: int, rank: int, world: int, workers: int) -> Iterator[Any]:
    """The batches of steps first..last-1, for one process of `world`."""
    schedule = [numbers_of(step, batch, rank, world) for step in range(first, last)]
    loader = DataLoader(
        DrawDataset(draws),
        batch_sampler=schedule,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_as_it_is,
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)


def _as_it_is(batch: Any) -> Any:
    return batch
