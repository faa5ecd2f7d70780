"""Points followed from one frame to another by optical flow, there and back (Lucas-Kanade in pyramids)."""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

BACK_PX = 1.0
"""A track whose way back ends farther from its start is lost."""


def follow(
    before: UInt8[np.ndarray, "height width"],
    after: UInt8[np.ndarray, "height width"],
    points: Float32[np.ndarray, "points 2"],
    *,
    window_px: int = 21,
    levels: int = 4,
    back_px: float = BACK_PX,
    criteria: tuple[int, int, float] | None = None,
) -> tuple[Float32[np.ndarray, "points 2"], Bool[np.ndarray, " points"]]:
    """Where points of one frame are in another, and which of them are found there and lead back to their start.

    Args:
        before: The grey frame of the points.
        after: The other grey frame.
        points: (x, y) in OpenCV's convention: the centre of the first pixel is (0, 0).
        window_px: Side of the compared window.
        levels: Of the pyramid, beside the frame itself.
        back_px: How far from its start a point that is followed back may end.
        criteria: When OpenCV ends its iterations; its own by default.
    """
    options: dict[str, Any] = {"winSize": (window_px, window_px), "maxLevel": levels}
    if criteria is not None:
        options["criteria"] = criteria
    start = points.reshape(-1, 1, 2)
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, start.copy(), **options)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, there.copy(), **options)
    near = np.linalg.norm((back - start)[:, 0], axis=-1) < back_px
    return there[:, 0], (found[:, 0] == 1) & (returned[:, 0] == 1) & near
