"""Where one frame changes from the dark surround to tissue: edge points on strips, scored, and the circle through them.

After arXiv 2210.14771 (strips and their score), with strips in both directions and the score taken again at the circle.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int

STRIPS = 16
EDGE_GREY = 20.0
"""Grey levels per pixel of a clear edge."""

EDGE_ANGLE_RAD = np.deg2rad(30.0)
SURROUND_GREY = 25.0
"""Grey level that the surround stays below."""

BLUR_PX = 3
"""Pixels just before an edge that belong to its slope, not to the surround."""

SHOWN_SHARE = 0.2
"""Share of the frames in which the rim must be seen on a strip."""

LEAST_SCORE = 0.02
TRIALS = 400


@dataclass(frozen=True)
class RimPoints:
    """Edge points where a dark run from the border of the frame ends.

    Attributes:
        places: Their pixels, shape (points, 2).
        inward: Unit vectors from dark to bright, shape (points, 2).
        clearness: Product of the strengths of the edge and of the darkness before it, 0..1, shape (points,).
        strip: Which end of which strip, shape (points,).
    """

    places: Float[np.ndarray, "points 2"]
    inward: Float[np.ndarray, "points 2"]
    clearness: Float[np.ndarray, " points"]
    strip: Int[np.ndarray, " points"]

    def __len__(self) -> int:
        """How many."""
        return len(self.places)

    def score(self, centre: Float[np.ndarray, "2"]) -> Float[np.ndarray, " points"]:
        """Clearness times how well the gradient points to a centre."""
        to_centre = centre - self.places
        length = np.maximum(np.linalg.norm(to_centre, axis=1), 1e-9)
        cosine = np.clip((self.inward * to_centre).sum(1) / length, -1, 1)
        return self.clearness * (1 - np.tanh(np.arccos(cosine) / EDGE_ANGLE_RAD))


@dataclass(frozen=True)
class Circle:
    """A circle, and how far it is to be believed.

    Attributes:
        centre: In pixels, shape (2,).
        radius: In pixels.
        confidence: Share of the strips it crosses that have an edge there, times how clear these edges are; 0..1.
    """

    centre: Float[np.ndarray, "2"]
    radius: float
    confidence: float


def rim_points(grey: np.ndarray) -> RimPoints:
    """Edge points on strips from the left, right, top and bottom.

    Args:
        grey: Brightness, bytes, shape (height, width).
    """
    turned = np.ascontiguousarray(grey.T)
    found = [_strip_points(grey, row, 2 * n) for n, row in enumerate(_strip_places(grey.shape[0]))]
    first = 2 * STRIPS
    for n, row in enumerate(_strip_places(turned.shape[0])):
        found.append(_strip_points(turned, row, first + 2 * n)[:, [1, 0, 3, 2, 4, 5]])
    table = np.concatenate(found)
    return RimPoints(table[:, :2], table[:, 2:4], table[:, 4], table[:, 5].astype(int))


def pool(points: list[RimPoints]) -> RimPoints:
    """The rim points of several frames together."""
    return RimPoints(
        np.concatenate([part.places for part in points]),
        np.concatenate([part.inward for part in points]),
        np.concatenate([part.clearness for part in points]),
        np.concatenate([part.strip for part in points]),
    )


def _strip_places(height: int) -> list[int]:
    """Middle lines of the strips, denser toward both ends, where a circle turns fastest."""
    share = 0.5 - 0.5 * np.cos(np.pi * (np.arange(STRIPS) + 0.5) / STRIPS)
    return sorted({int(np.clip(s * height, 4, height - 5)) for s in share})


def _strip_points(grey: np.ndarray, row: int, first_end: int) -> np.ndarray:
    """The best point from each end of a strip: x, y, inward x, inward y, clearness, which end; up to two rows."""
    strip = cv2.GaussianBlur(grey[row - 3 : row + 4], (5, 5), 1.0).astype(np.float32)
    middle = strip[3]
    across = np.zeros_like(middle)
    across[1:-1] = (middle[2:] - middle[:-2]) / 2
    along = (strip[4] - strip[2]) / 2
    strength = np.hypot(across, along)
    width, found = len(middle), []
    for end, sign in enumerate((1, -1), first_end):
        level = middle[::sign]
        before = np.full(width, 255.0, np.float32)
        before[BLUR_PX + 1 :] = np.maximum.accumulate(level)[: -BLUR_PX - 1]
        clearness = np.tanh(strength[::sign] / EDGE_GREY) * (1 - np.tanh(before / SURROUND_GREY))
        clearness[(across * sign)[::sign] <= 0] = 0
        best = int(clearness.argmax())
        if clearness[best] < LEAST_SCORE:
            continue
        x = best if sign > 0 else width - 1 - best
        dx, dy = across[x] / strength[x], along[x] / strength[x]
        found.append((x + _peak(strength, x) + 0.5, row + 0.5, dx, dy, clearness[best], end))
    return np.array(found, np.float64).reshape(-1, 6)


def _peak(values: np.ndarray, at: int) -> float:
    """Where the parabola through a maximum and its neighbours peaks, relative to it."""
    if not 0 < at < len(values) - 1:
        return 0.0
    left, middle, right = float(values[at - 1]), float(values[at]), float(values[at + 1])
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (left - right) / bend, -1, 1))


def tolerance_px(size_px: tuple[int, int]) -> float:
    """How far a point may lie from an outline it belongs to."""
    return max(1.5, 0.003 * max(size_px))


def fit_circle(points: RimPoints, size_px: tuple[int, int], *, frames: int = 1, seed: int = 0) -> Circle | None:
    """The circle that most clearness agrees on (RANSAC over triples, refitted), or None if there is no plausible one.

    Args:
        points: Rim points.
        size_px: (width, height) of the frame.
        frames: From how many frames the points come.
        seed: Draws the triples.
    """
    if len(points) < 6:
        return None
    draws = np.random.default_rng(seed).integers(0, len(points), (TRIALS, 3))
    centres, radii = _circles_through(points.places[draws])
    kept = _plausible(centres, radii, size_px)
    if not kept.any():
        return None
    centres, radii = centres[kept], radii[kept]
    tolerance = tolerance_px(size_px)
    off = np.abs(np.linalg.norm(points.places[None] - centres[:, None], axis=2) - radii[:, None])
    votes = ((off < tolerance) * points.clearness).sum(1)
    best = int(votes.argmax())
    centre, radius = centres[best], float(radii[best])
    for _ in range(4):
        inliers = np.abs(np.linalg.norm(points.places - centre, axis=1) - radius) < tolerance
        if inliers.sum() < 6:
            return None
        centre, radius = least_squares_circle(points.places[inliers], points.clearness[inliers])
    if not _plausible(centre[None], np.array([radius]), size_px)[0]:
        return None
    return Circle(centre, radius, rim_confidence(points, centre, radius, size_px, frames=frames))


def rim_confidence(
    points: RimPoints,
    centre: Float[np.ndarray, "2"],
    radius: float,
    size_px: tuple[int, int],
    *,
    slack_px: float = 0.0,
    frames: int = 1,
) -> float:
    """Share of the strip ends on a circle where enough frames show an edge, times how clear these edges are.

    Args:
        points: Rim points of all frames.
        centre: Of the circle.
        radius: Of the circle.
        size_px: (width, height) of the frames.
        slack_px: How much farther from the circle a point may lie, as where it moves from frame to frame.
        frames: How many frames.
    """
    off = np.abs(np.linalg.norm(points.places - centre, axis=1) - radius)
    inliers = off < tolerance_px(size_px) + slack_px
    expected = _crossings(centre, radius, size_px) + _crossings(centre[::-1], radius, (size_px[1], size_px[0]))
    if not inliers.any() or not expected:
        return 0.0
    shown = (np.bincount(points.strip[inliers], minlength=4 * STRIPS) >= max(1, SHOWN_SHARE * frames)).sum()
    clear = np.cbrt(points.score(centre)[inliers]).mean()
    return float(min(1.0, shown / expected) * clear)


def _crossings(centre: np.ndarray, radius: float, size_px: tuple[int, int]) -> int:
    """How often the strips of one direction cross a circle inside the frame."""
    width, height = size_px
    rows = np.array(_strip_places(height)) + 0.5
    half = np.sqrt(np.maximum(radius**2 - (rows - centre[1]) ** 2, 0))
    crossed = half > 0.05 * radius
    left, right = centre[0] - half, centre[0] + half
    margin = BLUR_PX + 2
    return int((crossed & (left > margin)).sum() + (crossed & (right < width - margin)).sum())


def _circles_through(triples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres and radii of the circles through triples of points, shape (trials, 3, 2); infinite where on a line."""
    a, b, c = triples[:, 0], triples[:, 1], triples[:, 2]
    ab, ac = b - a, c - a
    twice_area = 2 * (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    twice_area = np.where(np.abs(twice_area) < 1e-6, np.nan, twice_area)
    bb, cc = (ab**2).sum(1), (ac**2).sum(1)
    x = (ac[:, 1] * bb - ab[:, 1] * cc) / twice_area
    y = (ab[:, 0] * cc - ac[:, 0] * bb) / twice_area
    return a + np.stack([x, y], 1), np.hypot(x, y)


def _plausible(centres: np.ndarray, radii: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """Whether a scope could show that: centre in the middle half of the frame, radius from a fifth of its height on."""
    width, height = size_px
    with np.errstate(invalid="ignore"):
        inside = (np.abs(centres[:, 0] - width / 2) < 0.35 * width) & (
            np.abs(centres[:, 1] - height / 2) < 0.3 * height
        )
        fitting = (radii > 0.2 * min(size_px)) & (radii < 0.75 * np.hypot(width, height))
    return inside & fitting & np.isfinite(radii)


def least_squares_circle(places: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """The circle of smallest algebraic distance (Kasa 1976), then five Gauss-Newton steps on the geometric one."""
    root = np.sqrt(weights)[:, None]
    shift = places.mean(0)
    local = places - shift
    system = np.hstack([2 * local, np.ones((len(local), 1))]) * root
    solution = np.linalg.lstsq(system, (local**2).sum(1) * root[:, 0], rcond=None)[0]
    centre, radius = solution[:2], float(np.sqrt(max(solution[2] + (solution[:2] ** 2).sum(), 1e-9)))
    for _ in range(5):
        away = local - centre
        distance = np.maximum(np.linalg.norm(away, axis=1), 1e-9)
        jacobian = np.hstack([away / distance[:, None], np.ones((len(local), 1))]) * root
        step = np.linalg.lstsq(jacobian, (distance - radius) * root[:, 0], rcond=None)[0]
        centre, radius = centre + step[:2], radius + float(step[2])
    return centre + shift, radius
