"""Shots: runs of frames without a cut or a long loss of sight, with keyframes where the picture moved enough."""

from dataclasses import dataclass, field

import numpy as np

from depthscope.video.content_area import ContentArea
from depthscope.video.selection import REPEATED, STILL, SelectionOptions
from depthscope.video.sharpness import FrameQuality, SharpnessWindow, window_of
from depthscope.video.tracking import Tracker

LOST_SHARE = 0.25
"""Where fewer of the tracks survive, sight is lost."""

CHANGED_LEVELS = 20.0
ALIKE = 0.5
"""Thumbnails that differ by more grey levels, or correlate less, show something else."""

LIT_LEVEL = 12.0
LONG_LOSS_S = 2.0


@dataclass
class Shot:
    """One run of frames, while it grows.

    Attributes:
        area: Its content area, where it differs from that of the whole survey.
        began_s: Time of its first usable frame.
        why: What ended the shot before it.
        frames: Usable frames.
        keyframes: Those among them that SfM gets.
    """

    area: ContentArea | None
    began_s: float
    why: str
    frames: list[int] = field(default_factory=list)
    keyframes: list[int] = field(default_factory=list)


class Shots:
    """Sorts usable frames into shots and keyframes, one at a time.

    Args:
        area: The content area.
        options: When a keyframe is due.
        every_frame: Every frame becomes a keyframe and only exact repeats are dropped, as where a user chose them.
    """

    def __init__(self, area: ContentArea, options: SelectionOptions, *, every_frame: bool) -> None:
        self.options, self.every_frame = options, every_frame
        self.shots: list[Shot] = []
        self.last: FrameQuality | None = None
        self.area: ContentArea | None = None
        self.window: SharpnessWindow = window_of(area)
        self.tracker = Tracker(self.window.inside)

    def add(self, look: FrameQuality) -> tuple[float, str]:
        """Takes one usable frame.

        Returns:
            By how many pixels of the frame it moved since the last one kept (NaN where nothing could be followed), and
            what it is dropped for, or "".
        """
        if self.last is None:
            self._begin(look, "")
            return 0.0, ""
        if np.array_equal(look.colours, self.last.colours):
            return 0.0, REPEATED
        moved = self.tracker.step(look.grey)
        motion_px = moved.motion_px / self.window.scale
        lost = bool(moved.survived < LOST_SHARE) or bool(np.isnan(moved.motion_px))
        changed = shows_something_else(look, self.last)
        gap_s = look.time_s - self.last.time_s
        if changed and lost:
            self._begin(look, "cut")
        elif lost and not self.every_frame and (bool(moved.survived < LOST_SHARE) or gap_s > LONG_LOSS_S):
            self._begin(look, "loss of sight" if gap_s > LONG_LOSS_S else "loss of tracks")
        elif self._still(motion_px, look):
            self.tracker.back()
            return motion_px, STILL
        else:
            self._go_on(look, moved.since_key_px, moved.overlap)
        self.last = look
        return motion_px, ""

    def change_area(self, area: ContentArea) -> None:
        """A new content area from the next frame on; it begins a shot."""
        self.area, self.window = area, window_of(area)
        self.tracker = Tracker(self.window.inside)
        self.last = None

    def _begin(self, look: FrameQuality, why: str) -> None:
        self.shots.append(Shot(self.area, look.time_s, why, [look.index], [look.index]))
        self.tracker.begin(look.grey)
        self.last = look

    def _go_on(self, look: FrameQuality, since_key_px: float, overlap: float) -> None:
        shot = self.shots[-1]
        shot.frames.append(look.index)
        far = since_key_px >= self.options.stride_share * self.window.size_px[0]
        due = far or overlap < self.options.least_overlap or bool(np.isnan(since_key_px))
        if due or self.every_frame:
            shot.keyframes.append(look.index)
            self.tracker.begin(look.grey)

    def _still(self, motion_px: float, look: FrameQuality) -> bool:
        if self.every_frame:
            return False
        if np.isnan(motion_px):  # nothing to follow: the brightness must tell
            assert self.last is not None
            return float(np.abs(look.grey.astype(int) - self.last.grey).mean()) < 0.5
        return motion_px < self.options.least_motion_px


def shows_something_else(one: FrameQuality, other: FrameQuality) -> bool:
    """Whether two frames show different scenes, by their thumbnails."""
    a, b = one.thumbnail, other.thumbnail
    lit = np.maximum(a, b).max(2) > LIT_LEVEL  # the surround is alike in all frames
    if not lit.any():
        return False
    a, b = a[lit], b[lit]
    if float(np.abs(a - b).mean()) > CHANGED_LEVELS:
        return True
    a, b = a - a.mean(0), b - b.mean(0)
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return scale > 0 and float((a * b).sum()) / scale < ALIKE
