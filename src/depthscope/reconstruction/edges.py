"""Tracks beside an edge of something nearer: their patch holds two depths, and follows the one that stands out.

So a far point beside a near fold comes out too near, with residuals as small as any other's. Two things tell: the
halves of its patch, each aligned alone, put the point at different depths; or all that its depth is known by lies off
its middle.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from depthscope.reconstruction.alignment import PLACES, REACH_PX, ROUND, Patches
from depthscope.reconstruction.sightings import Sightings

STEPS = 6
LEAST_ALIKE, FARTHEST_PX = 0.5, 4.0
"""Correlation of a half with that of the middle frame, and how far from the whole's place it is believed."""

KNOWN = 0.3
"""Standard deviation of ln depth up to which a half says anything."""

MOST_APART = 0.2
"""Of ln depth between halves. A wall that is seen at 70 degrees of incidence has as much."""

MOST_BESIDE = 0.36
"""How far off the middle a patch's information may lie, over half its side."""

HALVES = tuple(ROUND / (1 + np.exp(1.25 - 2.5 * (PLACES @ way))) for way in ((-1, 0), (1, 0), (0, -1), (0, 1)))
"""Left, right, upper and lower half of the round window, from half a pixel beyond the middle, with a soft border."""


def hold_two_depths(
    seen: Sightings,
    places: Float[np.ndarray, "sightings 2"],
    grey: dict[int, np.ndarray],
    warp: Float[np.ndarray, "sightings 2 2"],
    parallax: Float[np.ndarray, "sightings 2"],
    rows: Int[np.ndarray, " rows"],
) -> Bool[np.ndarray, " points"]:
    """Points whose patch does not lie at one depth.

    Args:
        seen: The observations.
        places: Where each patch was found, working pixels.
        grey: The images.
        warp: From the middle frame of its track to each.
        parallax: Pixels that each moves by as its point comes nearer, for each unit of -ln depth.
        rows: Observations that are looked at.
    """
    count = len(seen.world)
    if not len(rows):
        return np.zeros(count, bool)
    patches = Patches.around(seen, places, grey, warp, rows)
    nearest, farthest = np.full(count, -np.inf), np.full(count, np.inf)
    for half in HALVES:
        nearer, std = depths(patches, half, seen.point[rows], parallax[rows], count)
        known = std < KNOWN
        nearest[known] = np.maximum(nearest[known], nearer[known])
        farthest[known] = np.minimum(farthest[known], nearer[known])
    beside = np.linalg.norm(middle_of_information(patches, seen.point[rows], parallax[rows], count), axis=1)
    return (nearest - farthest > MOST_APART) | (beside > MOST_BESIDE * REACH_PX)


def depths(
    patches: Patches,
    window: Float[np.ndarray, " pixels"],
    point: Int[np.ndarray, " rows"],
    parallax: Float[np.ndarray, "rows 2"],
    count: int,
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """How much nearer (-ln depth) a part of its patch puts each point, by least squares, and the standard deviation."""
    moved, alike = patches.aligned(window, STEPS)
    kept = ((np.linalg.norm(moved, axis=1) < FARTHEST_PX) & (alike > LEAST_ALIKE)).astype(float)
    square = np.bincount(point, kept * (parallax**2).sum(1), count)
    nearer = np.bincount(point, kept * (parallax * moved).sum(1), count) / np.maximum(square, 1e-9)
    missed = ((moved - parallax * nearer[point, None]) ** 2).sum(1)
    free = np.maximum(2 * np.bincount(point, kept, count) - 1, 1)
    variance = np.bincount(point, kept * missed, count) / free
    return nearer, np.where(square > 0, np.sqrt(variance / np.maximum(square, 1e-9)), np.inf)


def middle_of_information(
    patches: Patches, point: Int[np.ndarray, " rows"], parallax: Float[np.ndarray, "rows 2"], count: int
) -> Float[np.ndarray, "points 2"]:
    """Where in a patch the brightness changes as the point comes nearer: the mean place, by the squared change."""
    weight = (ROUND / ROUND.sum()).astype(np.float32)
    slope = patches.slope - (weight @ patches.slope)[:, None]
    along = (patches.inverse @ parallax[..., None].astype(np.float32))[..., 0]
    change = (slope[patches.of] @ along[..., None])[..., 0] ** 2 * weight
    total = np.zeros((count, len(weight)), np.float32)
    np.add.at(total, point, change)
    return (total @ PLACES) / np.maximum(total.sum(1), 1e-9)[:, None]
