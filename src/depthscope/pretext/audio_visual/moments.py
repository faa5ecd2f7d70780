"""Which sound goes with which frame: one function for right and wrong pairs, so that nothing but the pairing differs.

A sound that is centred on a frame's time can be told from one that is centred anywhere: codecs cut sound on a grid of
their own. A network that is given wrong pairs off the frames' grid learns the grid. Here a right and a wrong sound are
both centred on a frame, of the same distribution, and moved by the same random misalignment.
"""

from dataclasses import dataclass
from typing import NamedTuple

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
        rows = {n: self.chosen[self.video[self.chosen] == n] for n in self.video[self.chosen].unique().tolist()}
        object.__setattr__(self, "_rows", rows)
        if len(rows) == 1:  # each needs a partner in its own video
            ((number, only),) = rows.items()
            rows[number] = only[[len(self._away(frame)) > 0 for frame in only.tolist()]]
        if not sum(map(len, rows.values())):
            raise BadInputError(
                f"{len(self.chosen)} frames with sound, none {self.apart_s:g} s from another",
                "moments that are apart, or several videos",
                "give a longer video, or lower --apart-s",
            )

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
        videos = list(self._videos)
        video = videos[int(draw[0] * len(videos))]
        one, others = _picked(self._videos[video], draw[1]), [n for n in videos if n != video]
        away = self._away(one)
        if len(away) and (draw[2] < SAME_VIDEO or not others):
            return one, _picked(away, draw[3])
        place = draw[3] * len(others)
        return one, _picked(self._videos[others[int(place)]], place % 1.0)

    def _away(self, frame: int) -> Int64[Tensor, " far"]:
        """Moments of the same video that are apart from a frame."""
        rows = self._videos[int(self.video[frame])]
        return rows[(self.time_s[rows] - self.time_s[frame]).abs() >= self.apart_s]

    @property
    def _videos(self) -> dict[int, Int64[Tensor, " rows"]]:
        return self._rows  # type: ignore[attr-defined]


def _picked(rows: Int64[Tensor, " rows"], draw: float) -> int:
    return int(rows[min(int(draw * len(rows)), len(rows) - 1)])
