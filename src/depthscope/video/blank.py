"""Frames that show nothing: the light is off, a cap is on the lens, or a capture card sends one colour."""

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from torch import Tensor

from depthscope.video.selection import BLACK

ONE_COLOUR = "of one colour"

LOOK_PX = 64
"""Frames are averaged to longer sides of at most this, so that noise does not count as something shown."""

DARKEST = 12
"""Grey level of the brightest half percent below which a frame is black: video black with the noise of a sensor."""

LEAST_RANGE = 3
"""Grey levels between the darkest and the brightest half percent, below which a frame is of one colour."""


def blank(image: UInt8[Tensor, "height width 3"], content: Bool[Tensor, "height width"] | None = None) -> str:
    """Why a frame shows nothing: "black" or "of one colour"; "" where it shows something.

    Args:
        image: The frame, sRGB.
        content: Where it shows tissue; everywhere if None.
    """
    height, width = image.shape[:2]
    scale = min(1.0, LOOK_PX / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shown = cv2.resize(image.numpy(), size, interpolation=cv2.INTER_AREA).reshape(-1, 3)
    if content is not None:
        whole = cv2.resize(content.numpy().astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA).ravel() > 250
        shown = shown[whole] if whole.any() else shown
    lowest, highest = np.percentile(shown.astype(np.float32), [0.5, 99.5], axis=0)
    if highest.max() < DARKEST:
        return BLACK
    return ONE_COLOUR if (highest - lowest).max() < LEAST_RANGE else ""
