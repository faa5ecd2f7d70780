"""What a single frame looks like: sharpness, exposure, contrast, redness, all inside the content area."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from depthscope.video.content_area import ContentArea
from depthscope.video.movies import Frame

LOOK_PX = 640
"""Frames are looked at with longer sides of at most this."""

DARK_VALUE, BRIGHT_GREY = 8, 245
BLOCK = 16
THUMBNAIL = (32, 24)


@dataclass(frozen=True, eq=False)
class FrameQuality:
    """A frame as the survey sees it, small.

    Attributes:
        index: Its number.
        time_s: Its time.
        colours: Its colours, smaller, shape (height, width, 3).
        grey: Its brightness.
        sharpness: Variance of the Laplacian, grey levels squared.
        under_share: Share of the area darker than 8 in every channel.
        over_share: Share of the area brighter than 245.
        contrast: Median over blocks of the standard deviation of brightness, grey levels.
        redness: Median of (red - green) / (red + green + blue).
    """

    index: int
    time_s: float
    colours: UInt8[np.ndarray, "height width 3"]
    grey: UInt8[np.ndarray, "height width"]
    sharpness: float
    under_share: float
    over_share: float
    contrast: float
    redness: float

    @property
    def thumbnail(self) -> np.ndarray:
        """The colours at 32 x 24."""
        return cv2.resize(self.colours, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)


@dataclass(frozen=True, eq=False)
class SharpnessWindow:
    """The part of the small frames that is looked at.

    Attributes:
        size_px: (width, height) of the small frames.
        scale: Small pixels per pixel of the frame.
        inside: Content area, eroded by what the filters reach over.
    """

    size_px: tuple[int, int]
    scale: float
    inside: Bool[np.ndarray, "height width"]


def window_of(area: ContentArea) -> SharpnessWindow:
    """The window for frames with this content area."""
    width, height = area.size_px
    scale = min(1.0, LOOK_PX / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return SharpnessWindow(size, size[0] / width, area.mask(size, erode_px=3.0 + area.spread_px * scale).numpy())


def look_at(frame: Frame, window: SharpnessWindow) -> FrameQuality:
    """Measures one frame.

    Args:
        frame: The frame.
        window: Where to look.
    """
    colours = cv2.resize(frame.image.numpy(), window.size_px, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
    inside = window.inside if window.inside.any() else np.ones_like(window.inside)
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)[inside]
    shown = colours[inside].astype(np.float32)
    total = shown.sum(1)
    return FrameQuality(
        index=frame.index,
        time_s=frame.time_s,
        colours=colours,
        grey=grey,
        sharpness=float(laplacian.var()),
        under_share=float((shown.max(1) < DARK_VALUE).mean()),
        over_share=float((grey[inside] > BRIGHT_GREY).mean()),
        contrast=_contrast(grey, inside),
        redness=float(np.median((shown[:, 0] - shown[:, 1]) / np.maximum(total, 1))),
    )


def _contrast(grey: np.ndarray, inside: np.ndarray) -> float:
    """Median over blocks inside of the standard deviation of brightness."""
    height, width = (side // BLOCK * BLOCK for side in grey.shape)
    if not height or not width:
        return float(grey.std())
    blocks = grey[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).astype(np.float32)
    whole = inside[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).all((1, 3))
    return float(np.median(blocks.std((1, 3))[whole])) if whole.any() else float(grey[inside].std())
