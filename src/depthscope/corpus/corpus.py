"""Frames of unlabelled video at one size, and which of them are kept from training."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from torch import Tensor

from depthscope.corpus.window import Window
from depthscope.errors import BadInputError
from depthscope.video.cut import WHOLE, Cut


@dataclass(frozen=True, eq=False)
class Corpus:
    """Frames of unlabelled video, validated and never changed.

    Attributes:
        frames: sRGB bytes, mapped from disk, shape (frames, height, width, 3); the frames of a video in order of time.
        content: Where each video shows tissue, shape (videos, height, width).
        video: The video of each frame, shape (frames,).
        time_s: When each is shown, from the start of its video, shape (frames,).
        names: What each is called within its video.
        videos: What the videos are called.
        sources: Their files or folders.
        windows: Where the frames lie in those of the videos.
        kept: Frames that are kept from training to measure on, shape (frames,).
        apart: Frames in neither part, for they are close to both, shape (frames,).
        cut: Which frames of every source were looked at.
    """

    frames: UInt8[Tensor, "frames height width 3"]
    content: Bool[Tensor, "videos height width"]
    video: Int64[Tensor, " frames"]
    time_s: Float64[Tensor, " frames"]
    names: tuple[str, ...]
    videos: tuple[str, ...]
    sources: tuple[Path, ...]
    windows: tuple[Window, ...]
    kept: Bool[Tensor, " frames"]
    apart: Bool[Tensor, " frames"]
    cut: Cut = WHOLE

    def __post_init__(self) -> None:
        count = len(self.frames)
        if count < 1:
            raise BadInputError("no frames to learn from", "at least one", "check the inputs")
        parts = {"videos": self.video, "times": self.time_s, "names": self.names, "marks": self.kept}
        for what, part in parts.items():
            if len(part) != count:
                raise BadInputError(f"a corpus of {count} frames with {len(part)} {what}", "one for each frame")
        if not len(self.content) == len(self.videos) == len(self.sources) == len(self.windows):
            raise BadInputError(f"a corpus of {len(self.videos)} videos", "content, source and window for each")
        empty = (~self.content.flatten(1).any(1)).nonzero().flatten().tolist()
        if empty:
            raise BadInputError(f"{self.videos[empty[0]]} shows no tissue", "a content area", "leave it out")

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the frames."""
        return self.frames.shape[2], self.frames.shape[1]

    @property
    def trained(self) -> Int64[Tensor, " trained"]:
        """Numbers of the frames to learn from."""
        return (~self.kept & ~self.apart).nonzero().flatten()

    @property
    def held(self) -> Int64[Tensor, " held"]:
        """Numbers of the frames to measure on."""
        return self.kept.nonzero().flatten()

    def images(self, numbers: Tensor | Rows[int]) -> Float[Tensor, "chosen 3 height width"]:
        """Frames in 0..1."""
        return self.frames[torch.as_tensor(numbers)].permute(0, 3, 1, 2).float() / 255

    def masks(self, numbers: Tensor | Rows[int]) -> Bool[Tensor, "chosen height width"]:
        """Where these frames show tissue."""
        return self.content[self.video[torch.as_tensor(numbers)]]

    def of_video(self, number: int) -> Int64[Tensor, " chosen"]:
        """Numbers of the frames of a video, in order of time."""
        return (self.video == number).nonzero().flatten()


def corpus_of(
    frames: UInt8[Tensor, "frames height width 3"],
    *,
    video: Tensor | None = None,
    content: Bool[Tensor, "videos height width"] | None = None,
    every_s: float = 1.0,
    holdout: float = 0.1,
) -> Corpus:
    """Frames that are in memory as a corpus; all of one video if not told otherwise."""
    count, height, width = frames.shape[:3]
    video = torch.zeros(count, dtype=torch.int64) if video is None else video
    videos = int(video.max()) + 1
    content = torch.ones(videos, height, width, dtype=torch.bool) if content is None else content
    times = torch.cat([torch.arange(int((video == n).sum())) for n in range(videos)]).double() * every_s
    window = Window(0, 0, (width, height), (width, height), (width, height))
    kept, apart = held_out(video, times, holdout)
    names = tuple(f"{n:06d}" for n in range(count))
    called = tuple(f"video{n}" for n in range(videos))
    return Corpus(
        frames, content, video, times, names, called, tuple(map(Path, called)), (window,) * videos, kept, apart
    )


def held_out(
    video: Int64[Tensor, " frames"], time_s: Float64[Tensor, " frames"], share: float
) -> tuple[Bool[Tensor, " frames"], Bool[Tensor, " frames"]]:
    """Which frames are kept from training, and which are left out between the two parts.

    Neighbouring frames are nearly equal, so frames are never drawn one by one: whole videos where there are three or
    more, else the last stretch of each with a gap of the same length before it.
    """
    kept, apart = torch.zeros(len(video), dtype=torch.bool), torch.zeros(len(video), dtype=torch.bool)
    videos = int(video.max()) + 1 if len(video) else 0
    if share <= 0:
        return kept, apart
    if videos >= 3:
        count = max(1, round(share * videos))
        order = torch.randperm(videos, generator=torch.Generator().manual_seed(0))
        return torch.isin(video, order[:count]), apart
    for number in range(videos):
        chosen = (video == number).nonzero().flatten()
        last = max(1, round(share * len(chosen)))
        if len(chosen) >= 4:
            kept[chosen[-last:]] = True
            apart[chosen[-2 * last : -last]] = True
    return kept, apart
