"""How far the picture moved: corners followed from frame to frame (KLT), forward and back."""

from dataclasses import dataclass

import cv2
import numpy as np

from depthscope.brightness import contrast_equaliser, glaring
from depthscope.video.optical_flow import follow

MOST_CORNERS = 250
ENOUGH_CORNERS = 20
"""With fewer corners, losing them says nothing."""

SATURATED = 240
"""Grey level above which a corner is that of a highlight."""


@dataclass(frozen=True)
class Step:
    """What moved between two frames, in small pixels.

    Attributes:
        motion_px: Median displacement since the last frame given; NaN without tracks.
        survived: Share of the tracks that reached this frame from the last one; NaN where there were too few to tell.
        since_key_px: Median displacement since the last keyframe; NaN without tracks.
        overlap: Share of the keyframe's corners that are still followed; NaN where there were too few to tell.
    """

    motion_px: float
    survived: float
    since_key_px: float
    overlap: float


class Tracker:
    """Follows the corners of the last keyframe through the frames after it.

    Args:
        inside: Where corners may lie, shape (height, width).
    """

    def __init__(self, inside: np.ndarray) -> None:
        self.inside = inside.astype(np.uint8)
        self.evener = contrast_equaliser()
        self.last = np.zeros((0, 0), np.uint8)
        self.key = self.now = np.zeros((0, 2), np.float32)
        self.started = 0
        self.before = (self.last, self.key, self.now)

    def begin(self, grey: np.ndarray) -> None:
        """Takes a frame as keyframe: its corners are followed from here on."""
        self.last = self.evener.apply(grey)
        glare = glaring(grey, SATURATED, 3)
        corners = cv2.goodFeaturesToTrack(self.last, MOST_CORNERS, 0.01, 8, mask=self.inside & (1 - glare))
        self.key = np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)
        self.now, self.started = self.key, len(self.key)

    def step(self, grey: np.ndarray) -> Step:
        """Follows the corners into the next frame."""
        even = self.evener.apply(grey)
        self.before = (self.last, self.key, self.now)
        before = len(self.now)
        if not before:
            self.last = even
            return Step(float("nan"), float("nan"), float("nan"), float("nan"))
        there, kept = follow(self.last, even, self.now)
        columns, rows = np.floor(there).astype(int).T
        height, width = self.inside.shape
        within = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
        kept &= within
        kept[kept] = self.inside[rows[kept], columns[kept]] > 0
        moved = np.linalg.norm((there - self.now)[kept], axis=1)
        self.last, self.key, self.now = even, self.key[kept], there[kept]
        since = np.linalg.norm(self.now - self.key, axis=1)
        return Step(
            motion_px=float(np.median(moved)) if len(moved) else float("nan"),
            survived=len(moved) / before if before >= ENOUGH_CORNERS else float("nan"),
            since_key_px=float(np.median(since)) if len(since) else float("nan"),
            overlap=len(moved) / self.started if self.started >= ENOUGH_CORNERS else float("nan"),
        )

    def back(self) -> None:
        """Forgets the last step, as if that frame had not been there."""
        self.last, self.key, self.now = self.before
