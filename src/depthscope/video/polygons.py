"""Rectangles, octagons and ellipses around the lit pixels, refined on the edge points of the rim."""

import cv2
import numpy as np

from depthscope.video.outlines import Ellipse, Polygon
from depthscope.video.rim import RimPoints, tolerance_px

MOST_CORNERS = 8
CORNER_SHARES = (0.004, 0.008, 0.014, 0.02, 0.03)
"""Shares of the perimeter within which corners are drawn together, finest first."""


def convex_polygons(lit: np.ndarray, points: RimPoints, size_px: tuple[int, int]) -> list[Polygon]:
    """Polygons of 4 to 8 corners around the lit pixels, fewest corners first.

    Args:
        lit: Which pixels are lit, shape (height, width).
        points: Rim points.
        size_px: (width, height) of the frame.
    """
    hull = cv2.convexHull(_contour(lit))
    length = cv2.arcLength(hull, True)
    found: dict[int, np.ndarray] = {}
    for share in CORNER_SHARES:
        corners = cv2.approxPolyDP(hull, share * length, True)[:, 0].astype(float)
        if 4 <= len(corners) <= MOST_CORNERS:
            found.setdefault(len(corners), corners)
    return [refined_polygon(found[count], points, size_px) for count in sorted(found)]


def refined_polygon(corners: np.ndarray, points: RimPoints, size_px: tuple[int, int]) -> Polygon:
    """Each side moved to the line through its rim points; sides on the frame's own sides stay there.

    Args:
        corners: Corners in order, shape (corners, 2).
        points: Rim points.
        size_px: (width, height) of the frame.
    """
    ends = np.roll(corners, -1, 0)
    lines = [_side(a, b, points, size_px) for a, b in zip(corners, ends, strict=True)]
    moved = [_crossing(lines[i - 1], lines[i], corners[i], size_px) for i in range(len(lines))]
    return Polygon(tuple((float(x), float(y)) for x, y in moved))


def fitted_ellipse(lit: np.ndarray, points: RimPoints, size_px: tuple[int, int]) -> list[Ellipse]:
    """The ellipse along the border of the lit pixels, refined on rim points; empty where there is none.

    Args:
        lit: Which pixels are lit, shape (height, width).
        points: Rim points.
        size_px: (width, height) of the frame.
    """
    border = _contour(lit)[:, 0].astype(np.float32)
    width, height = size_px
    free = (border[:, 0] > 3) & (border[:, 0] < width - 3) & (border[:, 1] > 3) & (border[:, 1] < height - 3)
    if free.sum() < 20:
        return []
    ellipse = _ellipse_through(border[free])
    for _ in range(4):
        near = _off_ellipse(ellipse, points.places) < 3 * tolerance_px(size_px)
        if near.sum() < 12:
            return [ellipse]
        ellipse = _ellipse_through(points.places[near].astype(np.float32))
    return [ellipse]


def _contour(lit: np.ndarray) -> np.ndarray:
    """Border of the largest piece, in our pixels (corners of pixels, so that its hull covers them)."""
    grown = cv2.copyMakeBorder(lit.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    blocks = cv2.dilate(grown, np.ones((2, 2), np.uint8), anchor=(1, 1))  # pixel (x, y) covers corners x and x + 1
    contours, _ = cv2.findContours(blocks, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return max(contours, key=cv2.contourArea) - 1


def _side(a: np.ndarray, b: np.ndarray, points: RimPoints, size_px: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A point and direction of the line of one side."""
    along = (b - a) / max(float(np.linalg.norm(b - a)), 1e-9)
    across = np.array([-along[1], along[0]])
    tolerance = tolerance_px(size_px)
    for axis, end in ((0, 0.0), (0, float(size_px[0])), (1, 0.0), (1, float(size_px[1]))):
        if abs(a[axis] - end) < tolerance and abs(b[axis] - end) < tolerance:
            return np.where(np.arange(2) == axis, end, a), np.eye(2)[1 - axis]
    local = points.places - a
    span = float((b - a) @ along)
    on_side = (np.abs(local @ across) < 3 * tolerance) & (local @ along > 0.08 * span) & (local @ along < 0.92 * span)
    on_side &= np.abs(points.inward @ across) > 0.8
    chosen = points.places[on_side]
    if len(chosen) < 2 or np.ptp(chosen @ along) < 0.2 * span:
        return a, along
    middle, direction = a, along
    for _ in range(3):
        middle = chosen.mean(0)
        direction = np.linalg.svd(chosen - middle)[2][0]
        off = np.abs((chosen - middle) @ np.array([-direction[1], direction[0]]))
        kept = off <= max(1.0, float(np.quantile(off, 0.8)))
        if kept.all() or kept.sum() < 2:
            break
        chosen = chosen[kept]
    return middle, direction


def _crossing(
    one: tuple[np.ndarray, np.ndarray], two: tuple[np.ndarray, np.ndarray], near: np.ndarray, size_px: tuple[int, int]
) -> np.ndarray:
    """Where two sides meet; the old corner if they are nearly parallel or meet far from it."""
    matrix = np.stack([one[1], -two[1]], 1)
    if abs(np.linalg.det(matrix)) < 0.05:
        return near
    met = one[0] + one[1] * np.linalg.solve(matrix, two[0] - one[0])[0]
    return met if np.linalg.norm(met - near) < 0.05 * max(size_px) else near


def _ellipse_through(points: np.ndarray) -> Ellipse:
    (x, y), axes, degrees = cv2.fitEllipseDirect(points)
    return Ellipse((float(x), float(y)), (float(axes[0] / 2), float(axes[1] / 2)), float(np.deg2rad(degrees)))


def _off_ellipse(ellipse: Ellipse, places: np.ndarray) -> np.ndarray:
    """Distance of points from an ellipse, along the ray from its centre."""
    local = places - ellipse.centre_px
    cos, sin = np.cos(ellipse.angle_rad), np.sin(ellipse.angle_rad)
    unit = np.hypot((local @ [cos, sin]) / ellipse.radii_px[0], (local @ [-sin, cos]) / ellipse.radii_px[1])
    return np.abs(np.linalg.norm(local, axis=1) * (1 - 1 / np.maximum(unit, 1e-6)))
