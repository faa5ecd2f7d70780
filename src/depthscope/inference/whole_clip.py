"""Every frame of an input twice: at the size that a pretext run learned at, and as it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.corpus import Corpus, CorpusOptions, Window, open_input, read_corpus
from depthscope.video import WHOLE, Cut, FolderFrames, FrameSource, Image
from depthscope.workspace import scratch_folder

PACE = 10.0
"""Frames per second of a video of images that have no times."""


@dataclass(frozen=True, eq=False)
class WholeClip:
    """A clip.

    Attributes:
        corpus: All its frames at the network's size.
        source: Its frames as they are.
    """

    corpus: Corpus
    source: FrameSource

    @property
    def window(self) -> Window:
        """Where the network's frames lie in those of the clip."""
        return self.corpus.windows[0]

    @property
    def content(self) -> Tensor:
        """Where the network's frames show tissue, shape (height, width)."""
        return self.corpus.content[0]

    @property
    def frames_per_second(self) -> float:
        """Of the clip; images of a folder have none, and are shown ten a second."""
        times = self.corpus.time_s
        if isinstance(self.source, FolderFrames) or len(times) < 2 or float(times[-1] - times[0]) <= 0:
            return PACE
        return (len(times) - 1) / float(times[-1] - times[0])

    def __iter__(self) -> Iterator[tuple[str, Float[Tensor, "1 3 height width"], Image]]:
        """Name, the network's frame in 0..1, and the frame itself."""
        for number, frame in zip(range(len(self.corpus)), self.source, strict=True):
            yield self.corpus.names[number], self.corpus.images(torch.tensor([number])), frame.image


@contextmanager
def whole_clip(path: Path, options: CorpusOptions, part: Cut = WHOLE) -> Iterator[WholeClip]:
    """Reads all frames of a video, image folder or sequence; what is decoded is removed afterwards.

    Args:
        path: The input.
        options: That the run learned with; every frame is taken.
        part: Which frames of it.

    Raises:
        BadInputError: It is none of these.
    """
    every = replace(options, every_s=0.0, holdout=0.0, most=10**9)
    with scratch_folder() as store:
        corpus = read_corpus((path,), every, store, cut=part)
        yield WholeClip(corpus, open_input(path, part)[0])
