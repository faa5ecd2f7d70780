"""What stands still while the scene moves: text and logos (sharp), drops and dirt on the lens (soft).

Local contrast at two scales is averaged over frames. Tissue that moves averages out; a mark stays. Where the scene
itself hardly moves, nothing can be told, and nothing is marked.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool

LOOK_PX = 640
LEAST_FRAMES = 8
SHARP_SIGMAS, SOFT_SIGMAS = (1.0, 4.0), (3.0, 12.0)
SHARP_LEVELS, SOFT_LEVELS = 8.0, 10.0
"""Grey levels by which a mark stands out in the mean."""

STEADY_RATIO = 3.0
"""And by how many standard deviations over the frames: tissue that passes by has less."""

MOST_SHARE = 0.1
"""Where more than this would be marked, it is the scene that stands still."""


@dataclass(frozen=True, eq=False)
class StaticMarks:
    """Places that show the same in all frames of a clip, shape (height, width) of the small frames.

    Attributes:
        overlay: Sharp marks: text, logos.
        dirt: Soft marks: drops, dirt.
    """

    overlay: Bool[np.ndarray, "height width"]
    dirt: Bool[np.ndarray, "height width"]

    def at(self, size_px: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Both at the size of the frames, (width, height)."""
        overlay, dirt = (
            cv2.resize(mark.astype(np.uint8), size_px, interpolation=cv2.INTER_NEAREST) > 0
            for mark in (self.overlay, self.dirt)
        )
        return overlay, dirt


NO_MARKS = StaticMarks(np.zeros((1, 1), bool), np.zeros((1, 1), bool))


def static_marks(images: Iterable[np.ndarray], inside: np.ndarray) -> StaticMarks:
    """The marks that frames of one clip share; memory does not grow with their number.

    Args:
        images: sRGB bytes, shape (height, width, 3) each.
        inside: Content area, shape (height, width).
    """
    scale = min(1.0, LOOK_PX / max(inside.shape))
    size = round(inside.shape[1] * scale), round(inside.shape[0] * scale)
    area = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    sharp, soft = Steadiness(), Steadiness()
    for image in images:
        grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        filled = _continued(grey, area)
        sharp.add(_band(filled, SHARP_SIGMAS))
        soft.add(_band(filled, SOFT_SIGMAS))
    margin = cv2.erode(np.pad(area, 1).astype(np.uint8), _ball(round(2 * SOFT_SIGMAS[1])))[1:-1, 1:-1] > 0
    near = cv2.erode(np.pad(area, 1).astype(np.uint8), _ball(round(2 * SHARP_SIGMAS[1])))[1:-1, 1:-1] > 0
    overlay = _marked(sharp, SHARP_LEVELS, near, 4)
    dirt = _marked(soft, SOFT_LEVELS, margin, 6) & ~overlay
    return StaticMarks(overlay, dirt)


class Steadiness:
    """Mean and standard deviation of pictures, one at a time (Welford 1962)."""

    def __init__(self) -> None:
        self.count, self.mean, self.square = 0, np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32)

    def add(self, picture: np.ndarray) -> None:
        """Takes one more."""
        self.count += 1
        off = picture - self.mean
        self.mean = self.mean + off / self.count
        self.square = self.square + off * (picture - self.mean)

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation over the pictures."""
        return np.sqrt(self.square / max(1, self.count - 1))


def _marked(steadiness: Steadiness, levels: float, area: np.ndarray, grown_px: int) -> np.ndarray:
    if steadiness.count < LEAST_FRAMES:
        return np.zeros(area.shape, bool)
    strong = np.abs(steadiness.mean)
    found = (strong > levels) & (strong > STEADY_RATIO * steadiness.deviation) & area
    found = cv2.dilate(found.astype(np.uint8), _ball(grown_px)) > 0
    return found if found.sum() <= MOST_SHARE * max(1, area.sum()) else np.zeros(area.shape, bool)


def _continued(grey: np.ndarray, area: np.ndarray) -> np.ndarray:
    """The brightness, carried on beyond the border: else the rim would be the strongest mark of all."""
    inside = area.astype(np.float32)
    values = grey.astype(np.float32)
    weight = cv2.GaussianBlur(inside, (0, 0), SOFT_SIGMAS[1])
    carried = cv2.GaussianBlur(values * inside, (0, 0), SOFT_SIGMAS[1]) / np.maximum(weight, 1e-3)
    return np.where(area, values, carried).astype(np.float32)


def _band(grey: np.ndarray, sigmas: tuple[float, float]) -> np.ndarray:
    """Difference of two blurs."""
    return cv2.GaussianBlur(grey, (0, 0), sigmas[0]) - cv2.GaussianBlur(grey, (0, 0), sigmas[1])


def _ball(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
