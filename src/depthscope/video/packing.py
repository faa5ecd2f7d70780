"""Two pictures in each frame, side by side or one above the other, as stereo endoscopes are recorded."""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

Packing = Literal["", "side by side", "one above the other"]

WAYS: tuple[Packing, ...] = ("side by side", "one above the other")

WORKING_PX = 128
"""Longer side of a half as it is compared."""

DETAIL_PX = 5.0
"""Standard deviation of the blur that is subtracted: brightness and vignettes look alike in any two pictures."""

REACH = 0.2
"""How far apart the two may show the same (disparity, a gap), as a share of the width and the height."""

LEAST_ALIKE, CLEARLY_ALIKE = 0.45, 0.8
"""Correlation of the detail of the halves of a frame (median): at least, and such that nothing else need be known."""

LEAST_MORE_ALIKE = 0.2
"""So much more are the halves of one frame alike than those of two frames, which share borders and burnt-in text."""

FEWEST = 4
"""Frames that are needed to tell."""


def packing_of(greys: Sequence[np.ndarray]) -> Packing:
    """Whether the halves of each frame show the same from nearly the same place; "" if not, or if none can tell.

    Args:
        greys: Brightness of frames spread over a clip, shape (height, width) each.
    """
    if len(greys) < FEWEST:
        return ""
    found: dict[Packing, float] = {"": 0.0}
    for packing in WAYS:
        first, second = (_moving([_detail(split(grey, packing)[side]) for grey in greys]) for side in (0, 1))
        halves = list(zip(first, second, strict=True))
        count = len(halves)
        same = float(np.median([alike(first, second) for first, second in halves]))
        other = float(np.median([alike(halves[n][0], halves[(n + count // 2) % count][1]) for n in range(count)]))
        if same > CLEARLY_ALIKE or (same > LEAST_ALIKE and same - other > LEAST_MORE_ALIKE):
            found[packing] = same
    return max(found, key=lambda packing: found[packing])


def split(pixels: np.ndarray, packing: Packing) -> tuple[np.ndarray, np.ndarray]:
    """The two pictures of a frame, the left or upper one first.

    Args:
        pixels: Shape (height, width, ...).
        packing: How they lie.
    """
    height, width = pixels.shape[:2]
    if packing == "side by side":
        return pixels[:, : width // 2], pixels[:, width - width // 2 :]
    return pixels[: height // 2], pixels[height - height // 2 :]


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of the middle of one picture with the best place in another; 0 where there is no detail."""
    height, width = other.shape
    across, down = max(1, round(REACH * width)), max(1, round(REACH * height))
    middle = other[down : height - down, across : width - across]
    if min(middle.shape) < 8 or float(middle.std()) < 0.5 or float(one.std()) < 0.5:
        return 0.0
    return float(cv2.matchTemplate(one, middle, cv2.TM_CCOEFF_NORMED).max())


def _moving(details: list[np.ndarray]) -> list[np.ndarray]:
    """Pictures without what all of them show: borders and burnt-in text."""
    still = np.mean(details, 0)
    return [detail - still for detail in details]


def _detail(grey: np.ndarray) -> np.ndarray:
    """A small picture without what changes slowly."""
    factor = min(1.0, WORKING_PX / max(grey.shape))
    size = max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small - cv2.GaussianBlur(small, (0, 0), DETAIL_PX)
