"""What the brightness of a frame says before anything else is known: even contrast, glare, mirror images of the lamp.

Without torch, as structure from motion uses it in its child process.
"""

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8

SATURATED, DARK = 0.94, 0.04
"""Share of the full value above which a pixel glares, and below which it says nothing of the light on it."""

PALE_LEVEL, PALE_SATURATION = 215, 45
"""In 255ths: a mirror image of the lamp is at least so bright in every channel, and at most so saturated."""


def contrast_equaliser(clip_limit: float = 3.0, tiles: int = 8) -> cv2.CLAHE:
    """Contrast-limited adaptive histogram equalisation (CLAHE) on so many tiles across and down."""
    return cv2.createCLAHE(clip_limit, (tiles, tiles))


def glaring(
    value: Shaped[np.ndarray, "height width"], level: float | int, margin_px: int
) -> UInt8[np.ndarray, "height width"]:
    """1 where a pixel is brighter than a level, or lies within a square margin of one that is; else 0."""
    side = 2 * margin_px + 1
    return np.asarray(cv2.dilate((value > level).astype(np.uint8), np.ones((side, side), np.uint8)), np.uint8)
