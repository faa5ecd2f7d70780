"""Batches of snippets by draw number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, stacked
from depthscope.supervision import SnippetBatch, SnippetClip, SparsePoints
from depthscope.training.draws import example_of


@dataclass(frozen=True, eq=False)
class SnippetDraws:
    """Snippets from clips of one network size.

    Attributes:
        clips: Where to draw from.
        seed: Of the order.
        known: Give motions and sparse points of the structure from motion.
    """

    clips: tuple[SnippetClip, ...]
    seed: int = 0
    known: bool = False

    def __post_init__(self) -> None:
        if not self.clips:
            raise BadInputError("no clips to train on", "at least one")
        sizes = {clip.store.view.size_px for clip in self.clips}
        if len(sizes) > 1:
            raise BadInputError(f"clips of sizes {sorted(sizes)}", "one network size")
        object.__setattr__(self, "_last", np.cumsum([len(clip.snippets) for clip in self.clips]))

    def __len__(self) -> int:
        """Number of snippets, which is the length of an epoch."""
        return int(self._last[-1])  # type: ignore[attr-defined]

    def snippet(self, draw: int) -> tuple[SnippetClip, Tensor]:
        """The clip and the frames of a draw, the target first."""
        example = example_of(self.seed, draw, len(self))
        number = int(np.searchsorted(self._last, example, side="right"))  # type: ignore[attr-defined]
        clip = self.clips[number]
        return clip, clip.snippets[example - self._last[number] + len(clip.snippets)]  # type: ignore[attr-defined]

    def batch(self, numbers: Sequence[int]) -> SnippetBatch:
        """The snippets of these draws; images are bytes until they reach the device."""
        return gathered([self.snippet(n) for n in numbers], numbers, self.known, all(c.whole for c in self.clips))


def gathered(
    snippets: Sequence[tuple[SnippetClip, Tensor]], numbers: Sequence[int], known: bool, whole: bool
) -> SnippetBatch:
    """A batch of snippets.

    Args:
        snippets: The clip and frames of each, the target first.
        numbers: Of their draws.
        known: Give motions and sparse points of the structure from motion.
        whole: Every pixel of every clip shows tissue: no masks are needed.
    """
    images, masks, contents, every, stereo = [], [], [], [], []
    for clip, frames in snippets:
        shown, mask = [clip.store.frames[frames]], [clip.store.to_learn_from(frames)]
        content = [clip.store.mask.expand(len(frames), -1, -1)]
        cameras = [clip.camera] * len(frames)
        if clip.eye is not None:
            shown.append(clip.eye.store.frames[frames[:1]])
            mask.append(clip.eye.store.to_learn_from(frames[:1]))
            content.append(clip.eye.store.mask[None])
            cameras.append(clip.eye.camera)
            stereo.append(clip.eye.right_from_left)
        images.append(torch.cat(shown))
        masks.append(torch.cat(mask))
        contents.append(torch.cat(content))
        every.append(stacked(cameras))
    hidden = any(clip.store.tissue is not None for clip, _ in snippets)
    temporal, points = _structure(snippets) if known else (None, None)
    return SnippetBatch(
        images=torch.stack(images).permute(0, 1, 4, 2, 3),
        mask=None if whole else torch.stack(masks),
        camera=stacked(every),
        temporal=temporal,
        stereo=_stacked(stereo) if stereo else None,
        points=points,
        mirrored=torch.zeros(len(images), dtype=torch.bool),
        draws=torch.tensor(list(numbers)),
        content=torch.stack(contents) if hidden else None,
    )


def _structure(snippets: Sequence[tuple[SnippetClip, Tensor]]) -> tuple[RigidMotion, SparsePoints]:
    """Motions from the target to its sources, and the points of all frames, padded to a common length."""
    motions, points = [], []
    for clip, frames in snippets:
        if clip.sfm is None:
            raise BadInputError(f"{clip.name} has no structure from motion", "a sequence", "reconstruct it first")
        camera_from_world = clip.sfm.camera_from_world[frames]
        motions.append(camera_from_world[1:] @ camera_from_world[:1].inverse())
        points.append(clip.sfm.points[frames])
    longest = max(one.depth.shape[1] for one in points)
    pad = torch.nn.functional.pad
    missing = [longest - one.depth.shape[1] for one in points]
    return _stacked(motions), SparsePoints(
        torch.stack([pad(p.pixels, (0, 0, 0, m), value=0.5) for p, m in zip(points, missing, strict=True)]),
        torch.stack([pad(p.depth, (0, m), value=1.0) for p, m in zip(points, missing, strict=True)]),
        torch.stack([pad(p.weight, (0, m)) for p, m in zip(points, missing, strict=True)]),
    )


def _stacked(motions: Sequence[RigidMotion]) -> RigidMotion:
    return RigidMotion(
        torch.stack([motion.rotation for motion in motions]).float(),
        torch.stack([motion.translation for motion in motions]).float(),
    )
