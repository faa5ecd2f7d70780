"""Tracks brought to one place on the tissue: each keypoint moves to where its patch looks like that of its track.

A detector places each keypoint by its own frame alone, to about half a pixel; on small triangulation angles that is
much of the depth. So the patch of each track's middle frame is sought around the other keypoints. Those that it is not
found at leave their track where it has others, and tracks whose patch holds two depths are given up. Then everything
is adjusted once more.
"""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from jaxtyping import Bool, Float

from depthscope.reconstruction.alignment import ROUND, Patches, comparable
from depthscope.reconstruction.bundle import adjust, filtered
from depthscope.reconstruction.edges import hold_two_depths
from depthscope.reconstruction.front_end import read_picture, working_name
from depthscope.reconstruction.job import Job
from depthscope.reconstruction.sightings import Sightings, Transfer, sightings

FARTHEST_PX = 2.0
"""A keypoint that would move farther sees something else."""

LEAST_ALIKE = 0.7
"""Correlation of a patch with that of its track, weighted toward the middle."""

FEWEST_FOUND = 3
"""Where a track has so many keypoints that are found again, the others leave it; else they stay where they are."""

ROBUST_PX, ADJUSTED_STEPS = 0.5, 20
"""Residual from which an observation loses weight: refined ones miss by a fraction of a pixel. Steps of adjustment."""


@dataclass(frozen=True)
class Refined:
    """What refining came to.

    Attributes:
        found_again: Share of the observations that were found again.
        given_up: Share of the points whose patch held two depths.
        done: (image, keypoint) of all observations that are where their track is.
    """

    found_again: float
    given_up: float
    done: frozenset[tuple[int, int]]


def refine(
    job: Job,
    model: pycolmap.Reconstruction,
    images: Path,
    done: Set[tuple[int, int]] = frozenset(),
    *,
    free_poses: bool,
    free_lens: bool,
) -> Refined:
    """Moves the keypoints of all tracks, drops what is not found again or holds two depths, adjusts, and filters.

    Args:
        job: The clip.
        model: In working pixels; changed in place.
        images: The working images.
        done: (image, keypoint) of an earlier call; tracks of no others stay as they are.
        free_poses: Whether the cameras may move too.
        free_lens: Whether the lens may change.
    """
    seen = sightings(model)
    numbers = sorted(model.point3D_ids())  # as `sightings` numbers the points
    keys = list(zip(seen.image.tolist(), seen.keypoint.tolist(), strict=True))
    fresh = np.array([key not in done for key in keys], bool)
    fresh = np.bincount(seen.point[fresh], minlength=len(seen.world))[seen.point] > 0
    shown = np.unique(seen.image[fresh]).tolist()
    grey = {i: read_picture(images / working_name(i - 1), cv2.IMREAD_GRAYSCALE) for i in shown}
    transfer = Transfer.of(model, seen)
    shift, found = shifts(seen, grey, transfer.warp, fresh)
    again = comparable(seen, transfer.warp, found & fresh)
    mixed = hold_two_depths(seen, seen.pixels + shift, grey, transfer.warp, transfer.parallax, again)
    enough = np.bincount(seen.point[found], minlength=len(seen.world))[seen.point] >= FEWEST_FOUND
    for (image, keypoint), place, ok, others in zip(keys, seen.pixels + shift, found, enough, strict=True):
        if ok:
            model.images[image].points2D[keypoint].xy = place
        elif others:
            model.delete_observation(image, keypoint)
    for point in np.flatnonzero(mixed).tolist():
        if model.exists_point3D(numbers[point]):
            model.delete_point3D(numbers[point])
    adjust(job, model, robust_px=ROBUST_PX, free_lens=free_lens, free_poses=free_poses, steps=ADJUSTED_STEPS)
    filtered(model)
    kept = found & ~mixed[seen.point]
    looked_at = np.unique(seen.point[fresh])
    return Refined(
        float(found[fresh].mean()) if fresh.any() else 1.0,
        float(mixed[looked_at].mean()) if len(looked_at) else 0.0,
        frozenset(key for key, ok in zip(keys, kept, strict=True) if ok) | frozenset(done),
    )


def shifts(
    seen: Sightings,
    grey: dict[int, np.ndarray],
    warp: Float[np.ndarray, "sightings 2 2"],
    fresh: Bool[np.ndarray, " sightings"],
) -> tuple[Float[np.ndarray, "sightings 2"], Bool[np.ndarray, " sightings"]]:
    """How far each keypoint is from where its track's patch fits best, and whether it fits there.

    Args:
        seen: The observations.
        grey: The images.
        warp: From the middle frame of its track to each.
        fresh: Which are looked at; the others count as found where they are.
    """
    rows = comparable(seen, warp, fresh)
    shift = np.zeros_like(seen.pixels)
    found = ~fresh | (seen.reference == np.arange(len(seen.image)))
    if not len(rows):
        return shift, found
    moved, alike = Patches.around(seen, seen.pixels, grey, warp, rows).aligned(ROUND)
    good = (np.linalg.norm(moved, axis=1) < FARTHEST_PX) & (alike > LEAST_ALIKE)
    shift[rows[good]], found[rows[good]] = moved[good], True
    return shift, found
