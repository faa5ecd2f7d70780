"""Which sound goes with which frame: one function for right and wrong pairs, so that nothing but the pairing differs.

A sound that is centred on a frame's time can be told from one that is centred anywhere: codecs cut sound on a grid of
their own. A network that is given wrong pairs off the frames' grid learns the grid. Here a right and a wrong sound are
both centred on a frame, of the same distribution, and moved by the same random misalignment.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.training.draws import generator_of

SAME_VIDEO = 0.5
"""Share of the wrong pairs whose sound is of another moment of the same video: which video it is tells nothing then."""


class Moment(NamedTuple):
    """A frame and a sound.

    Attributes:
        frame: Number of the frame.
        sound_of: Number of the frame that the sound belongs to.
        centre_s: Middle of the sound, in the time of that frame's video.
        corresponds: Whether it is the same frame.
    """

    frame: int
    sound_of: int
    centre_s: float
    corresponds: bool


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of videos to draw pairs from; the n-th pair is a function of the seed and n.

    Attributes:
        time_s: Of every frame.
        video: Of every frame.
        chosen: Frames that may be drawn.
        duration_s: Length of each video's sound.
        snippet_s: Length of a sound.
        misalignment_s: Sounds are moved by at most so much, in both directions.
        apart_s: Wrong sounds of the same video are at least so far away.
        seed: Of the draws.
    """

    time_s: Float64[Tensor, " frames"]
    video: Int64[Tensor, " frames"]
    chosen: Int64[Tensor, " chosen"]
    duration_s: tuple[float, ...]
    snippet_s: float
    misalignment_s: float
    apart_s: float
    seed: int

    def __post_init__(self) -> None:
        video, time_s = self.video[self.chosen].numpy(), self.time_s[self.chosen].numpy()
        rows = {}
        for number in np.unique(video).tolist():
            mine = np.flatnonzero(video == number)
            mine = mine[np.argsort(time_s[mine], kind="stable")]
            rows[number] = _InTime(self.chosen.numpy()[mine], time_s[mine])
        if len(rows) == 1:  # each needs a partner in its own video
            ((number, only),) = rows.items()
            partnered = [only.away(time, self.apart_s) > 0 for time in only.time_s.tolist()]
            rows[number] = _InTime(only.rows[partnered], only.time_s[partnered])
        if not sum(len(one.rows) for one in rows.values()):
            raise BadInputError(
                f"{len(self.chosen)} frames with sound, none {self.apart_s:g} s from another",
                "moments that are apart, or several videos",
                "give a longer video, or lower --apart-s",
            )
        object.__setattr__(self, "_videos", rows)

    def drawn(self, number: int) -> Moment:
        """The n-th pair; every second one is right."""
        generator = generator_of(self.seed, number)
        draw = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
        one, other = self._two(draw)
        if draw[4] < 0.5:  # so that frames and sounds of right and wrong pairs have one distribution
            one, other = other, one
        corresponds = number % 2 == 0
        sound_of = one if corresponds else other
        return Moment(one, sound_of, self.centre_s(sound_of, draw[5]), corresponds)

    def centre_s(self, frame: int, draw: float) -> float:
        """The middle of a sound that belongs to a frame: its time, misaligned by a draw of 0 to 1, within the track."""
        time_s = float(self.time_s[frame]) + (2 * draw - 1) * self.misalignment_s
        half = self.snippet_s / 2
        return min(max(time_s, half), self.duration_s[int(self.video[frame])] - half)

    def _two(self, draw: list[float]) -> tuple[int, int]:
        """Two moments: of one video but apart, or of two videos."""
        videos: dict[int, _InTime] = self._videos  # type: ignore[attr-defined]
        every = list(videos)
        mine = every[int(draw[0] * len(every))]
        place = int(draw[1] * len(videos[mine].rows))
        one, time_s = int(videos[mine].rows[place]), float(videos[mine].time_s[place])
        away, others = videos[mine].away(time_s, self.apart_s), [number for number in every if number != mine]
        if away and (draw[2] < SAME_VIDEO or not others):
            return one, videos[mine].far_one(time_s, self.apart_s, int(draw[3] * away))
        which = draw[3] * len(others)
        other = videos[others[int(which)]].rows
        return one, int(other[int(which % 1.0 * len(other))])


@dataclass(frozen=True, eq=False)
class _InTime:
    """Frames of one video, in order of time."""

    rows: np.ndarray
    time_s: np.ndarray

    def away(self, time_s: float, apart_s: float) -> int:
        """How many are so far from a time."""
        first, last = self._near(time_s, apart_s)
        return len(self.rows) - (last - first)

    def far_one(self, time_s: float, apart_s: float, number: int) -> int:
        """One of those that are so far from a time."""
        first, last = self._near(time_s, apart_s)
        return int(self.rows[number if number < first else number + last - first])

    def _near(self, time_s: float, apart_s: float) -> tuple[int, int]:
        first = np.searchsorted(self.time_s, time_s - apart_s, side="right")
        return int(first), int(np.searchsorted(self.time_s, time_s + apart_s, side="left"))
