"""Optical flow of single points: what the pointer is read beside, and what often beats it."""

import cv2
import numpy as np


class Klt:
    """Optical flow of the same points (Lucas-Kanade in pyramids, there and back), to compare with.

    Args:
        points: (x, y) in the first frame; OpenCV's first pixel centre is (0, 0).
    """

    BACK_PX = 1.0

    def __init__(self, points: np.ndarray) -> None:
        self.places, self.kept = points.astype(np.float64), np.ones(len(points), bool)
        self.grey: np.ndarray | None = None

    def step(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places in the next frame, and which points are still followed."""
        grey, before = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), self.grey
        self.grey = grey
        if before is not None and self.kept.any():
            start = (self.places[self.kept] - 0.5).astype(np.float32)[:, None]
            there, found, _ = cv2.calcOpticalFlowPyrLK(before, grey, start, start.copy(), winSize=(21, 21), maxLevel=4)
            back, returned, _ = cv2.calcOpticalFlowPyrLK(
                grey, before, there, there.copy(), winSize=(21, 21), maxLevel=4
            )
            well = (found[:, 0] > 0) & (returned[:, 0] > 0)
            well &= np.linalg.norm(back - start, axis=-1)[:, 0] < self.BACK_PX
            numbers = np.flatnonzero(self.kept)
            self.places[numbers[well]] = there[well, 0] + 0.5
            self.kept[numbers[~well]] = False
        return self.places.copy(), self.kept.copy()
