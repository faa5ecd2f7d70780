"""Optical flow of single points: what the pointer is read beside, and what often beats it."""

import cv2
import numpy as np

from depthscope.video.optical_flow import follow


class Klt:
    """Optical flow of the same points (Lucas-Kanade in pyramids, there and back), to compare with.

    Args:
        points: (x, y) in the first frame; OpenCV's first pixel centre is (0, 0).
    """

    def __init__(self, points: np.ndarray) -> None:
        self.places, self.kept = points.astype(np.float64), np.ones(len(points), bool)
        self.grey: np.ndarray | None = None

    def step(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places in the next frame, and which points are still followed."""
        grey, before = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), self.grey
        self.grey = grey
        if before is not None and self.kept.any():
            there, well = follow(before, grey, (self.places[self.kept] - 0.5).astype(np.float32))
            numbers = np.flatnonzero(self.kept)
            self.places[numbers[well]] = there[well] + 0.5
            self.kept[numbers[~well]] = False
        return self.places.copy(), self.kept.copy()
