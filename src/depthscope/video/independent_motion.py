"""What does not move with the rest of the picture: tools, and tissue that moves by itself.

In two frames of a rigid scene every point lies on the epipolar line that the camera's motion gives it. The motion of
the larger part is found as a fundamental matrix (least median of squares, Rousseeuw 1984: a matrix that all but fits
everything would bend to a small motion), and corners that are followed by
optical flow vote on whether they obey it, over several pairs of each frame. A motion along the epipolar lines, and one
in front of a camera that stands still, cannot be seen in this way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from depthscope.video.optical_flow import follow

LOOK_PX = 480
"""The longer side at which frames are compared."""

GRID_PX = 8
GAPS = (1, 2, 4)
"""Frames are compared with those so many before and after."""

NEAR_SPREADS = 4.0
"""The motion is fitted to matches so near, in units of the median distance."""

INLIER_PX, OFF_PX = 0.75, 1.0
"""Distance from the epipolar line of points that obey, and of points that do not."""

OFF_SPREADS = 4.0
"""And in units of the median distance of those that obey."""

OFF_SHARE = 0.25
"""And as a share of the point's own displacement: lens distortion bends epipolar lines by less than that."""

LEAST_TEXTURE = 0.1
"""Smaller eigenvalue of the gradients (Shi and Tomasi 1994) of a point that is followed, over that of the best."""

LEAST_FOLLOWED, LEAST_MATCHES, LEAST_OBEYING = 0.3, 60, 0.5
"""Share and number of the points that a pair needs to follow, and the share of these that one motion has to explain."""

MOST_OFF = 0.5
"""Share of a point's pairs in which it has to be off."""

LEAST_SHARE = 0.005
"""Share of the usable picture that a moving region must cover."""


@dataclass(frozen=True, eq=False)
class IndependentMotion:
    """What moves by itself in each frame of a clip.

    Attributes:
        masks: Of each frame, at its own size.
        shares: Share of the usable pixels that moves.
    """

    masks: tuple[Bool[np.ndarray, "height width"], ...]
    shares: tuple[float, ...]


def independent_motion(
    grey: Sequence[UInt8[np.ndarray, "height width"]], usable: Sequence[Bool[np.ndarray, "height width"]]
) -> IndependentMotion:
    """Finds what does not move with the rest.

    Args:
        grey: The frames of one clip, in order.
        usable: Pixels of each that may be looked at.
    """
    height, width = grey[0].shape
    scale = min(1.0, LOOK_PX / max(height, width))
    size = max(GRID_PX, round(width * scale)), max(GRID_PX, round(height * scale))
    contrast = cv2.createCLAHE(3.0, (8, 8))
    small = [contrast.apply(cv2.resize(image, size, interpolation=cv2.INTER_AREA)) for image in grey]
    inside = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for mask in usable]
    masks, shares = [], []
    for number in range(len(small)):
        moving = _grown(*_votes(small, inside[number], number), inside[number])
        masks.append(cv2.resize(moving.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0)
        shares.append(float((moving & inside[number]).sum() / max(1, inside[number].sum())))
    return IndependentMotion(tuple(masks), tuple(shares))


def _votes(
    frames: list[np.ndarray], inside: np.ndarray, number: int
) -> tuple[Float32[np.ndarray, "rows columns"], Float32[np.ndarray, "rows columns"]]:
    """Of each cell of the grid: in how many pairs its point was off, and in how many it was followed."""
    (rows, columns), points = textured_points(frames[number], inside)
    off, seen = (np.zeros(tuple(-(-side // GRID_PX) for side in inside.shape), np.float32) for _ in range(2))
    if len(points) < LEAST_MATCHES:
        return off, seen
    for other in (number + sign * gap for gap in GAPS for sign in (-1, 1)):
        if 0 <= other < len(frames):
            there, kept = follow(frames[number], frames[other], points)
            wrong = _off(points[kept], there[kept]) if kept.mean() >= LEAST_FOLLOWED else None
            if wrong is not None:
                place = rows[kept], columns[kept]
                seen[place] += 1
                off[place] += wrong
    return off, seen


def textured_points(
    image: UInt8[np.ndarray, "height width"], inside: Bool[np.ndarray, "height width"]
) -> tuple[tuple[np.ndarray, np.ndarray], Float32[np.ndarray, "points 2"]]:
    """The best corner of each cell of the grid that can be followed: row and column of its cell, and (x, y).

    A point without texture goes wherever noise takes it, and would count as moving.
    """
    corner = cv2.cornerMinEigenVal(image, 7)
    corner[~inside] = 0
    high = float(np.quantile(corner[inside], 0.9)) if inside.any() else 0.0
    height, width = (-(-side // GRID_PX) * GRID_PX for side in image.shape)
    padded = np.zeros((height, width), np.float32)
    padded[: image.shape[0], : image.shape[1]] = corner
    cells = padded.reshape(height // GRID_PX, GRID_PX, width // GRID_PX, GRID_PX).swapaxes(1, 2)
    cells = cells.reshape(height // GRID_PX, width // GRID_PX, -1)
    best = cells.argmax(-1)
    rows, columns = np.nonzero(cells.max(-1) > max(LEAST_TEXTURE * high, 1e-9))
    inner = best[rows, columns]
    points = np.stack([columns * GRID_PX + inner % GRID_PX, rows * GRID_PX + inner // GRID_PX], 1)
    return (rows, columns), points.astype(np.float32)


def _off(here: Float32[np.ndarray, "points 2"], there: Float32[np.ndarray, "points 2"]) -> np.ndarray | None:
    """Which matches contradict the motion of the larger part; None where no motion explains so many."""
    if len(here) < LEAST_MATCHES:
        return None
    cv2.setRNGSeed(0)
    matrix, _ = cv2.findFundamentalMat(here, there, cv2.FM_LMEDS, confidence=0.9999)
    if matrix is None or matrix.shape != (3, 3):
        return None
    for _ in range(2):  # a matrix of eight drawn matches is inexact
        away = sampson_px(matrix, here, there)
        near = away <= max(NEAR_SPREADS * float(np.median(away)), 1e-3)
        again, _ = cv2.findFundamentalMat(here[near], there[near], cv2.FM_8POINT)
        matrix = matrix if again is None or again.shape != (3, 3) else again
    away = sampson_px(matrix, here, there)
    obeying = away <= INLIER_PX
    if obeying.mean() < LEAST_OBEYING:
        return None
    least = max(OFF_PX, OFF_SPREADS * float(np.median(away[obeying])))
    return away > np.maximum(least, OFF_SHARE * np.linalg.norm(there - here, axis=-1))


def sampson_px(matrix: np.ndarray, here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Distance of matches from their epipolar lines to first order (Sampson), in pixels."""
    one, two = (np.concatenate([points, np.ones((len(points), 1))], 1) for points in (here, there))
    line, back = one @ matrix.T, two @ matrix
    slope = (line[:, :2] ** 2).sum(1) + (back[:, :2] ** 2).sum(1)
    return np.abs((two * line).sum(1)) / np.sqrt(np.maximum(slope, 1e-12))


def _grown(off: np.ndarray, seen: np.ndarray, inside: np.ndarray) -> Bool[np.ndarray, "height width"]:
    """Regions of cells that are off, without single ones and small islands, a cell wider than they are."""
    certain = ((seen >= 2) & (off >= MOST_OFF * seen)).astype(np.uint8)
    around = cv2.filter2D(certain, -1, np.ones((3, 3), np.float32), borderType=cv2.BORDER_CONSTANT)
    cells = ((certain > 0) & (around >= 4)).astype(np.uint8)  # three neighbours and itself
    cells = cv2.erode(cv2.dilate(cells, np.ones((5, 5), np.uint8)), np.ones((3, 3), np.uint8))  # gaps are closed
    moving = cv2.resize(cells, inside.shape[::-1], interpolation=cv2.INTER_NEAREST)
    count, labels, figures, _ = cv2.connectedComponentsWithStats(moving)
    least = LEAST_SHARE * max(1, int(inside.sum()))
    large = [n for n in range(1, count) if figures[n, cv2.CC_STAT_AREA] >= least]
    return np.isin(labels, large)
