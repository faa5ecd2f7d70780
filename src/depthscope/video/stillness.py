"""Videos that show one picture all the time: nothing can be learned from what never changes."""

from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

LOOKED_AT = 24
"""So many frames, spread over a video, are enough to tell."""

LOOK_PX, BLUR_PX = 160, 3
"""Frames are compared small and smoothed, so that noise and coding do not count."""

SAME_LEVELS, CHANGED_SHARE = 4.0, 0.002
"""Grey levels that a pixel must change by, and the share of pixels that must, for two frames to differ."""


def shows_one_picture(
    images: Iterable[UInt8[np.ndarray, "height width 3"]], inside: Bool[np.ndarray, "height width"] | None = None
) -> bool:
    """Whether frames differ in nothing but noise, coding, and the brightness of the whole.

    Args:
        images: Frames spread over a video; one alone says nothing.
        inside: Content area, or None for everywhere.
    """
    first, count = None, 0
    area: np.ndarray | None = None
    for image in images:
        count += 1
        scale = min(1.0, LOOK_PX / max(image.shape[:2]))
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        grey = cv2.GaussianBlur(small.astype(np.float32), (0, 0), BLUR_PX / 2)
        if first is None:
            first = grey
            area = np.ones(grey.shape, bool)
            if inside is not None:
                area = np.asarray(cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_AREA)) > 0
            if not bool(np.any(area)):
                return False
        elif grey.shape != first.shape or float((_apart(grey, first)[area] > SAME_LEVELS).mean()) > CHANGED_SHARE:
            return False
    return count > 1


def _apart(grey: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Differences after one picture was made as bright as the other."""
    gain = float((grey * other).sum() / max(1.0, float((grey * grey).sum())))
    return np.abs(gain * grey - other)
