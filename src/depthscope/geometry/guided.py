"""Depth maps at the size of the frame: enlarged along the edges that the frame shows."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

CONTRAST = 0.1
"""Change of brightness, of full scale, from which on an edge of the frame is followed; texture below it is not."""


def guided(
    values: Float[Tensor, "height width"],
    image: UInt8[Tensor, "height width 3"],
    known: Bool[Tensor, "height width"],
    radius_px: int,
    contrast: float = CONTRAST,
) -> Float[Tensor, "height width"]:
    """Enlarged values, locally linear in the brightness of the frame (guided filter; He, Sun and Tang 2010).

    Where the frame is even, values are smoothed over `radius_px` to each side; where it has an edge that the
    values have too, the edge of the values moves onto it.

    Args:
        values: Already at the size of the frame, interpolated: inverse depth, in which planes are linear.
        image: The frame.
        known: Where values are known; nothing else is used or changed.
        radius_px: About the size of a pixel before it was enlarged.
        contrast: See `CONTRAST`.
    """
    side = (2 * radius_px + 1,) * 2
    weight = known.numpy().astype(np.float32)
    total = np.maximum(cv2.boxFilter(weight, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT), 1e-6)

    def mean(array: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(array * weight, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT) / total

    guide = cv2.cvtColor(image.numpy(), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    given = np.where(weight > 0, values.numpy(), 0).astype(np.float32)
    level, value = mean(guide), mean(given)
    slope = (mean(guide * given) - level * value) / (mean(guide * guide) - level * level + contrast**2)
    filtered = mean(slope) * guide + mean(value - slope * level)
    return torch.where(known, torch.from_numpy(filtered), values)
