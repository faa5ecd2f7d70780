"""Views of frames: a strong one to learn from, drawn evenly over the clusters, and a plain one to look at features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from depthscope.corpus import Corpus
from depthscope.corpus.views import Crops, Size, box_points, evenly, largest_box, sampled
from depthscope.errors import BadInputError
from depthscope.training.draws import generator_of

ROUND = 1 << 32
"""Draw numbers of one round; the draws of the next begin here."""

NUMBERS = 5
"""Random numbers of a view: cluster and member, size and place, mirrored or not."""


class ViewBatch(NamedTuple):
    """Views as they are drawn; they are made on the device.

    Attributes:
        images: sRGB bytes.
        centre_px: Centre of each view in its frame.
        size_px: Width and height of the view there.
        mirrored: Which are seen left to right.
        cluster: Of the frame.
    """

    images: UInt8[Tensor, "batch height width 3"]
    centre_px: Float32[Tensor, "batch 2"]
    size_px: Float32[Tensor, "batch 2"]
    mirrored: Bool[Tensor, " batch"]
    cluster: Int64[Tensor, " batch"]


def views(batch: ViewBatch, size_px: Size) -> Float[Tensor, "batch 3 rows columns"]:
    """The views of a batch, all of one size."""
    images = batch.images.permute(0, 3, 1, 2).float() / 255
    upright = torch.zeros(len(images), device=images.device)
    return sampled(images, box_points(batch.centre_px, batch.size_px, upright, size_px, mirrored=batch.mirrored))


@dataclass(frozen=True, eq=False)
class ViewDraws:
    """Strong views of the frames of a round, by draw number.

    Attributes:
        corpus: Where frames come from.
        numbers: Those that are clustered.
        assigned: The cluster of each of them.
        crops: Boxes to draw from, for each video.
        flip: Mirror half of the views.
        even: Every cluster is equally likely, however many frames it has; else every frame.
        seed: Of the draws.
        round: Of the draws.
    """

    corpus: Corpus
    numbers: Int64[Tensor, " chosen"]
    assigned: Int64[Tensor, " chosen"]
    crops: tuple[Crops, ...]
    flip: bool = True
    even: bool = True
    seed: int = 0
    round: int = 0

    def __post_init__(self) -> None:
        places = torch.arange(len(self.numbers))
        groups = [places[self.assigned == cluster] for cluster in self.assigned.unique().tolist()]
        object.__setattr__(self, "_groups", groups if self.even else [places])

    def batch(self, numbers: Sequence[int]) -> ViewBatch:
        """The views of these draws."""
        rows = [torch.rand(NUMBERS, generator=generator_of(self.seed, self.round * ROUND + n)) for n in numbers]
        chosen = torch.tensor([evenly(self._groups, row[:2]) for row in rows])  # type: ignore[attr-defined]
        frames = self.numbers[chosen]
        videos = self.corpus.video[frames].tolist()
        boxes = [self.crops[video].draw(row[2:4]) for video, row in zip(videos, rows, strict=True)]
        return ViewBatch(
            images=self.corpus.frames[frames],
            centre_px=torch.stack([centre for centre, _ in boxes]),
            size_px=torch.stack([size for _, size in boxes]),
            mirrored=torch.stack(rows)[:, 4] < (0.5 if self.flip else 0.0),
            cluster=self.assigned[chosen],
        )


def plain_views(corpus: Corpus, numbers: Int64[Tensor, " chosen"], batch: int = 64) -> Iterator[ViewBatch]:
    """The largest box inside the content of each frame, in order."""
    boxes = torch.tensor([largest_box(content, corpus.size_px) for content in corpus.content]).float()
    for frames in numbers.split(batch):
        box = boxes[corpus.video[frames]]
        unmirrored = torch.zeros(len(frames), dtype=torch.bool)
        nowhere = torch.zeros(len(frames), dtype=torch.int64)
        yield ViewBatch(corpus.frames[frames], box[:, :2] + box[:, 2:] / 2, box[:, 2:], unmirrored, nowhere)


def crops_of(corpus: Corpus, smallest: float, least_px: int = 16) -> tuple[Crops, ...]:
    """The boxes of views for each video.

    Raises:
        BadInputError: A video shows too little.
    """
    crops = tuple(Crops.of(content, corpus.size_px, smallest) for content in corpus.content)
    for name, one in zip(corpus.videos, crops, strict=True):
        if not one.sizes_px or min(one.sizes_px[0]) < least_px:
            raise BadInputError(
                f"{name} shows too little for a view inside it", f"a box of {least_px} px", "give larger frames.area_px"
            )
    return crops
