"""Windows on frames: around the content, of a wanted shape, cut out and resized."""

import cv2
import numpy as np
from jaxtyping import Bool
from torch import Tensor

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels, the last two not in it."""


def content_box(mask: Bool[Tensor, "rows columns"] | None, size_px: tuple[int, int]) -> Box:
    """(left, top, right, bottom) of the part that shows tissue."""
    if mask is None:
        return 0, 0, *size_px
    columns, rows = mask.any(0).nonzero().flatten(), mask.any(1).nonzero().flatten()
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def fitting_size(box: Box, area_px: int, divisor: int) -> tuple[int, int]:
    """(width, height) of about `area_px` pixels with the shape of the box, both divisible by `divisor`."""
    left, top, right, bottom = box
    aspect = (right - left) / (bottom - top)
    width = max(1, round((area_px * aspect) ** 0.5 / divisor)) * divisor
    height = max(1, round((area_px / aspect) ** 0.5 / divisor)) * divisor
    return width, height


def window_around(box: Box, size_px: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Corner and (width, height) of the smallest window of the shape of `size_px` around a box, centred on it."""
    left, top, right, bottom = box
    scale = max((right - left) / size_px[0], (bottom - top) / size_px[1])
    width, height = round(size_px[0] * scale), round(size_px[1] * scale)
    return (round((left + right) / 2 - width / 2), round((top + bottom) / 2 - height / 2)), (width, height)


def cut(image: np.ndarray, corner: tuple[int, int], window_px: tuple[int, int], size_px: tuple[int, int]) -> np.ndarray:
    """A window of an image, resized; shrinking averages over areas, so that nothing aliases.

    Args:
        image: Of any type and channels, shape (rows, columns, ...).
        corner: (left, top) of the window, which may reach beyond the image, where it is black.
        window_px: (width, height) of the window.
        size_px: (width, height) it is resized to.
    """
    (left, top), (width, height), (rows, columns) = corner, window_px, image.shape[:2]
    above, below = max(0, -top), max(0, top + height - rows)
    before, after = max(0, -left), max(0, left + width - columns)
    if above or below or before or after:
        image = cv2.copyMakeBorder(image, above, below, before, after, cv2.BORDER_CONSTANT, value=0)
    y, x = top + above, left + before
    shrinks = size_px[0] < width
    return cv2.resize(
        image[y : y + height, x : x + width],
        size_px,
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
