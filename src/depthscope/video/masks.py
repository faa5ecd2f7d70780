"""What must not be used of a frame: highlights, the dark, overlays, instruments, dirt on the lens."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from depthscope.brightness import PALE_LEVEL, PALE_SATURATION
from depthscope.video.instruments import Neighbour, instrument_pixels
from depthscope.video.static_marks import NO_MARKS, StaticMarks
from depthscope.video.stills import Image

CLIPPED = 254
GLOW_LEVELS, SPECK_PX = 55, 15
"""Or smaller than so many pixels (of a frame 1280 pixels wide), and paler than its surroundings by so many levels."""

DARK_VALUE = 8
GROWN_PX = 3


@dataclass(frozen=True, eq=False)
class ExcludedPixels:
    """The unusable parts of one frame, each of shape (height, width).

    Attributes:
        content: Where the scope shows tissue.
        highlight: Mirror images of the lamp, grown by a few pixels.
        dark: Nearly black.
        overlay: Text and logos that stand still while the scene moves.
        dirt: Soft marks that stand still: drops and dirt on the lens.
        instrument: Metal and plastic.
    """

    content: Bool[Tensor, "height width"]
    highlight: Bool[Tensor, "height width"]
    dark: Bool[Tensor, "height width"]
    overlay: Bool[Tensor, "height width"]
    dirt: Bool[Tensor, "height width"]
    instrument: Bool[Tensor, "height width"]

    def usable(self, for_features: bool) -> Bool[Tensor, "height width"]:
        """Pixels that may be used.

        Args:
            for_features: For features all is left out; for a loss the dark is kept, since it says "far away".
        """
        bad = [self.highlight, self.overlay, self.dirt, self.instrument, *([self.dark] if for_features else [])]
        usable = self.content.numpy().copy()  # NumPy: its operators on bytes are ten times as fast as torch's
        for mask in bad:
            usable &= ~mask.numpy()
        return torch.from_numpy(usable)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the content area that each mask takes."""
        content = self.content.numpy()
        area = max(1, np.count_nonzero(content))
        names = ("highlight", "dark", "overlay", "dirt", "instrument")
        return {name: np.count_nonzero(getattr(self, name).numpy() & content) / area for name in names}


def frame_masks(
    image: Image,
    content: Bool[Tensor, "height width"],
    marks: StaticMarks = NO_MARKS,
    neighbour: Neighbour | None = None,
) -> ExcludedPixels:
    """The masks of one frame.

    Args:
        image: sRGB bytes, shape (height, width, 3).
        content: Its content area, shape (height, width).
        marks: What stands still over the clip.
        neighbour: Another frame of the clip, which tells what moves with the scene.
    """
    pixels, inside = image.numpy(), content.numpy()
    size = inside.shape[1], inside.shape[0]
    overlay, dirt = marks.at(size)
    return ExcludedPixels(
        content=content,
        highlight=torch.from_numpy(highlight_pixels(pixels)),
        dark=torch.from_numpy(extremes(pixels)[0] < DARK_VALUE),
        overlay=torch.from_numpy(overlay),
        dirt=torch.from_numpy(dirt),
        instrument=torch.from_numpy(instrument_pixels(pixels, inside, neighbour)),
    )


def highlight_pixels(pixels: np.ndarray) -> np.ndarray:
    """Mirror images of the lamp: clipped, or bright and pale, or small and glowing; grown by 3 pixels.

    Args:
        pixels: sRGB bytes, shape (height, width, 3).
    """
    scale = max(pixels.shape) / 1280
    brightest, palest = extremes(pixels)
    saturated = brightest.astype(np.float32) - palest  # over the brightest, in 255ths: the saturation
    red, green, blue = (channel >= CLIPPED for channel in cv2.split(pixels))
    clipped = (red & green) | (red & blue) | (green & blue)
    pale = (palest >= PALE_LEVEL) & (saturated <= PALE_SATURATION / 255 * brightest)
    speck = cv2.morphologyEx(palest, cv2.MORPH_TOPHAT, _ball(max(2, round(SPECK_PX * scale / 2))))
    glowing = (speck > GLOW_LEVELS) & (saturated <= 1.5 * PALE_SATURATION / 255 * brightest)
    return cv2.dilate((clipped | pale | glowing).astype(np.uint8), _ball(max(GROWN_PX, round(GROWN_PX * scale)))) > 0


def extremes(pixels: UInt8[np.ndarray, "height width 3"]) -> tuple[np.ndarray, np.ndarray]:
    """The largest and the smallest channel of each pixel; NumPy's own reduction over three values is slow."""
    red, green, blue = cv2.split(pixels)
    return cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)


def _ball(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
