"""Which frames are worth giving to structure from motion: sharp, well lit, and moved since the last one."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from depthscope.errors import BadInputError
from depthscope.video.sharpness import FrameQuality

BLACK, DARK, BRIGHT, BLURRED, FOGGED, OUTSIDE = (
    "black",
    "under-exposed",
    "over-exposed",
    "blurred",
    "fogged",
    "out of the body",
)
REPEATED, STILL = "exact repeat", "no motion"


@dataclass(frozen=True)
class SelectionOptions:
    """What makes a frame unusable, and when the next keyframe is due.

    Attributes:
        blur_ratio: A frame is blurred below this share of the running median of the sharpness.
        window_s: Length of that running median in seconds.
        most_exposed: Share of the content area that may be over- or under-exposed.
        least_contrast: A frame is fogged below this median standard deviation in blocks of 16 pixels, grey levels.
        least_motion_px: Frames that moved less since the last one kept are duplicates; pixels of the frame.
        stride_share: The next keyframe is due when the picture moved by this share of its width.
        least_overlap: Or when fewer of the last keyframe's corners are still seen.
    """

    blur_ratio: float = 0.4
    window_s: float = 2.0
    most_exposed: float = 0.35
    least_contrast: float = 1.0
    least_motion_px: float = 0.5
    stride_share: float = 0.03
    least_overlap: float = 0.7

    def __post_init__(self) -> None:
        for name in ("blur_ratio", "most_exposed", "stride_share", "least_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInputError(f"{name} = {getattr(self, name)}", "0 to 1")
        for name in ("window_s", "least_contrast", "least_motion_px"):
            if getattr(self, name) < 0:
                raise BadInputError(f"{name} = {getattr(self, name)}", "0 or more")


MOST_HELD = 512
"""Looks held back at most for the running median, whatever the frame rate."""


def judged(
    looks: Iterable[FrameQuality], options: SelectionOptions, usual_redness: float
) -> Iterator[tuple[FrameQuality, str]]:
    """Each look with what makes it unusable by itself, or ""; half a window of looks is held back at a time.

    Args:
        looks: Looks in the order of time.
        options: Limits.
        usual_redness: Median redness of the clip: where tissue is red, frames that are not are out of the body.
    """
    waiting: deque[FrameQuality] = deque()
    around: deque[tuple[float, float]] = deque()
    half_s = options.window_s / 2
    for look in looks:
        waiting.append(look)
        around.append((look.time_s, look.sharpness))
        while waiting and (waiting[0].time_s + half_s <= look.time_s or len(waiting) > MOST_HELD // 2):
            yield _judged(waiting.popleft(), around, options, usual_redness)
    while waiting:
        yield _judged(waiting.popleft(), around, options, usual_redness)


def _judged(
    look: FrameQuality, around: deque[tuple[float, float]], options: SelectionOptions, usual_redness: float
) -> tuple[FrameQuality, str]:
    half_s = options.window_s / 2
    while around and (around[0][0] < look.time_s - half_s - 1e-9 or len(around) > MOST_HELD):
        around.popleft()
    usual = float(np.median([sharpness for time_s, sharpness in around if time_s <= look.time_s + half_s + 1e-9]))
    return look, flaw(look, options, usual_sharpness=usual, usual_redness=usual_redness)


def flaw(look: FrameQuality, options: SelectionOptions, *, usual_sharpness: float, usual_redness: float) -> str:
    """What makes a frame unusable by itself, or "".

    Args:
        look: The frame.
        options: Limits.
        usual_sharpness: Running median of the sharpness.
        usual_redness: Median redness of the clip.
    """
    if look.under_share > 0.98:
        return BLACK
    if look.under_share > options.most_exposed:
        return DARK
    if look.over_share > options.most_exposed:
        return BRIGHT
    if usual_redness > 0.05 and look.redness < 0.15 * usual_redness:
        return OUTSIDE
    if look.contrast < options.least_contrast:
        return FOGGED
    if look.sharpness < options.blur_ratio * usual_sharpness:
        return BLURRED
    return ""
