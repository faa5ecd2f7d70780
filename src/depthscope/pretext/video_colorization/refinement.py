"""Points to a fraction of a pixel at full size: normalised correlation of patches, from coarse to fine."""

from dataclasses import dataclass

import cv2
import numpy as np

HALF_PATCH = 7
"""Patches are 15 x 15 pixels at every size."""

FINER_PX = 3
"""How far is searched at each finer size."""

FLAT_LEVELS = 1.5
"""A patch whose grey levels spread less (standard deviation) looks like any other."""


@dataclass(frozen=True, eq=False)
class Pyramid:
    """A frame at its own size and at halves of it.

    Attributes:
        levels: Grey levels, the frame itself first.
    """

    levels: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, grey: np.ndarray, shrunk: float) -> "Pyramid":
        """The frame down to about a size that it is `shrunk` times larger than."""
        levels = [grey]
        while shrunk >= 2 and min(levels[-1].shape) >= 8 * HALF_PATCH:
            height, width = levels[-1].shape
            levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
            shrunk /= 2
        return cls(tuple(levels))

    def scale(self, level: int) -> np.ndarray:
        """Pixels of a level in one of the frame, across and down."""
        return np.array(self.levels[level].shape[::-1]) / np.array(self.levels[0].shape[::-1])

    def patch(self, level: int, place: np.ndarray, half: int) -> np.ndarray:
        """A square of 2 half + 1 pixels about a place of the frame; OpenCV's first pixel centre is (0, 0)."""
        x, y = place * self.scale(level) - 0.5
        return cv2.getRectSubPix(self.levels[level], (2 * half + 1, 2 * half + 1), (float(x), float(y)))


def refined(
    known: Pyramid, place: np.ndarray, now: Pyramid, guess: np.ndarray, search_px: float, least: float
) -> tuple[np.ndarray, float]:
    """Where the surroundings of a place in one frame are in another one.

    Args:
        known: The frame that the place is in.
        place: (x, y) in pixels.
        now: The frame that is searched.
        guess: (x, y) to search about.
        search_px: How far, in pixels of the frame.
        least: Correlation that a size must reach for its answer to be taken.

    Returns:
        The place, and the correlation at the finest size that was reached; the guess and 0 if none was.
    """
    reached, found = 0.0, guess.astype(np.float64)
    for level in reversed(range(len(now.levels))):
        patch = known.patch(level, place, HALF_PATCH)
        if patch.std() < FLAT_LEVELS:
            break
        coarsest = level == len(now.levels) - 1
        reach = max(1, round(search_px * float(now.scale(level).max()))) if coarsest else FINER_PX
        scores = cv2.matchTemplate(now.patch(level, found, HALF_PATCH + reach), patch, cv2.TM_CCOEFF_NORMED)
        row, column = np.unravel_index(int(scores.argmax()), scores.shape)
        best = float(scores[row, column])
        if not best >= least:
            break
        offset = np.array([column, row]) - reach + _between(scores, int(row), int(column))
        found, reached = found + offset / now.scale(level), best
    return found, reached


def _between(scores: np.ndarray, row: int, column: int) -> np.ndarray:
    """The top of parabolas through the largest value and its neighbours, within half a pixel."""
    height, width = scores.shape
    shift = np.zeros(2)
    if 0 < column < width - 1:
        shift[0] = _top(*scores[row, column - 1 : column + 2].tolist())
    if 0 < row < height - 1:
        shift[1] = _top(*scores[row - 1 : row + 2, column].tolist())
    return shift


def _top(before: float, here: float, after: float) -> float:
    bend = before - 2 * here + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < -1e-9 else 0.0
