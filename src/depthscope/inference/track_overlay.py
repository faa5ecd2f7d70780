"""Tracks and masks drawn on the frames of a clip."""

import colorsys

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from depthscope.pictures import Picture, captioned
from depthscope.pretext.video_colorization.tracking import Tracked
from depthscope.video import Image

TAIL = 20
"""Frames that a point's way is drawn back through."""

TINT = 0.45

LEGEND = "dots: pointer, faint where unsure; small crosses: optical flow (KLT)"


class Overlay:
    """Draws one frame after the other; remembers where points came from.

    Args:
        points: How many.
        size_px: (width, height) of the frames.
        sure: Confidence from which a point is drawn in full.
    """

    def __init__(self, points: int, size_px: tuple[int, int], sure: float) -> None:
        self.colours = hues(points)
        self.thick = max(1, round(max(size_px) / 640))
        self.sure, self.ways = sure, list[np.ndarray]()

    def picture(
        self,
        image: Image,
        tracked: Tracked,
        flow: Float[np.ndarray, "kept 2"],
        mask: Int[Tensor, "height width"] | None,
    ) -> Picture:
        """A frame with everything drawn on it.

        Args:
            image: The frame.
            tracked: Where the points are.
            flow: Where optical flow has those that it still follows.
            mask: Labels of the pixels, or None.
        """
        shown = image.numpy().copy()
        if mask is not None:
            shown = tinted(shown, mask.numpy())
        self.ways = [*self.ways[-TAIL:], tracked.places.numpy()]
        for number, colour in enumerate(self.colours):
            sure = float(tracked.confidence[number]) >= self.sure
            way = np.array([places[number] for places in self.ways])
            if sure and len(way) > 1:
                line = np.round((way - 0.5) * 16).astype(np.int32)
                cv2.polylines(shown, [line], False, colour, self.thick, cv2.LINE_AA, 4)
            x, y = np.round((way[-1] - 0.5) * 16).astype(int).tolist()
            cv2.circle(shown, (x, y), 16 * (2 + self.thick), colour, -1 if sure else 1, cv2.LINE_AA, 4)
        for x, y in np.round(flow - 0.5).astype(int).tolist():
            cv2.drawMarker(shown, (x, y), (255, 255, 255), cv2.MARKER_TILTED_CROSS, 2 + 2 * self.thick, self.thick)
        return captioned(torch.from_numpy(shown), LEGEND if len(self.colours) else "mask carried from the first frame")


def tinted(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Pixels of every label but the smallest one in a colour of its own."""
    shown = pixels.copy()
    values = np.unique(labels[labels > 0])
    for value, colour in zip(values, hues(len(values)), strict=True):
        inside = labels == value
        shown[inside] = ((1 - TINT) * pixels[inside] + TINT * np.array(colour)).round().astype(np.uint8)
    return shown


def hues(count: int) -> list[tuple[int, int, int]]:
    """Colours that are easy to tell apart; neighbours in the list differ most."""
    return [
        tuple(round(255 * channel) for channel in colorsys.hsv_to_rgb((0.33 + number * 0.618) % 1, 0.75, 1.0))
        for number in range(count)
    ]  # type: ignore[misc]
