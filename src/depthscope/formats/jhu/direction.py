"""Which way the poses of a JHU folder are stored: the images decide.

The projects' own programs read one and the same file in opposite ways. Whether points lie in front of the cameras does
not decide it, since the cameras hardly turn; whether the projections of a point show the same tissue does
(`photo_consistency`).
"""

import math
from dataclasses import replace
from typing import Literal

import torch

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.photo_consistency import PhotoConsistency, photo_consistency_of_each
from depthscope.sequence import Observations, Sequence

PoseDirection = Literal["auto", "camera_from_world", "world_from_camera"]
DIRECTIONS: tuple[PoseDirection, ...] = ("camera_from_world", "world_from_camera")

LOCKED, CLEARLY = 0.4, 0.2
"""A direction fits if its mean patch correlation is above the first, and above the other's by the second."""

ENOUGH_PAIRS = 20
"""With fewer patch pairs a difference of `CLEARLY` may be chance."""


class UndecidedDirectionError(BadInputError):
    """The images do not tell which way the poses are stored.

    Args:
        found: What is wrong.
        expected: What would have been right.
        remedy: What the user can do about it.
        likelier: The direction that fits better, to look at the sequence all the same.
        fits_neither: Whether the images contradict both directions, and do not merely leave it open.
    """

    def __init__(self, found: str, expected: str, remedy: str, likelier: PoseDirection, fits_neither: bool) -> None:
        super().__init__(found, expected, remedy)
        self.likelier: PoseDirection = likelier
        self.fits_neither = fits_neither


def one_in_front(
    by_direction: dict[str, RigidMotion], points: torch.Tensor, observations: Observations, asked: PoseDirection
) -> RigidMotion:
    """The motion asked for, or one with any point in front, so that a sequence can be made to begin with."""
    if asked != "auto":
        return by_direction[asked]
    for motion in by_direction.values():
        if bool((motion[observations.frame].apply(points[observations.point])[:, 2] > 0).any()):
            return motion
    return by_direction["world_from_camera"]


def found_direction(sequence: Sequence, by_direction: dict[str, RigidMotion], convention: str) -> tuple[str, str]:
    """How the poses are stored, and why we think so.

    Raises:
        UndecidedDirectionError: The images fit neither direction or both, and the file does not say.
    """
    candidates, possible = [], []
    for direction, motion in by_direction.items():
        try:
            candidates.append(replace(sequence, camera_from_world=motion))
            possible.append(direction)
        except BadInputError:  # every point behind the cameras: no such sequence
            continue
    scores = dict(zip(possible, photo_consistency_of_each(tuple(candidates)), strict=True))
    better, other = sorted(DIRECTIONS, key=lambda d: (d not in scores, -_correlation(scores.get(d))))
    high, low = _correlation(scores.get(better)), _correlation(scores.get(other))
    pairs = scores[better].pairs
    figures = f"patch correlation {high:.2f} over {pairs} pairs, the other way {low:.2f}"
    if high > LOCKED and high - low > CLEARLY and pairs >= ENOUGH_PAIRS:
        against = (
            f"; the pose file says {convention}, which the images contradict" if convention not in ("", better) else ""
        )
        return better, f"poses are {better} ({figures}){against}"
    if convention:
        return (
            convention,
            f"poses are {convention} by the convention comment of the pose file; the images do not decide ({figures})",
        )
    enough = pairs >= ENOUGH_PAIRS
    what = "both directions of the poses fit" if high > LOCKED else "neither direction of the poses fits the images"
    if not enough:
        what = "too few patches to tell the direction of the poses"
    scored = ", ".join(f"{d} {_correlation(scores.get(d)):.2f}" for d in DIRECTIONS)
    raise UndecidedDirectionError(
        f"{sequence.name}: {what} (patch correlation over {pairs} pairs: {scored})",
        f"one above {LOCKED} and the other lower by {CLEARLY}",
        "check intrinsics, frames and mask, or name the direction with --pose-direction",
        better,
        enough and high <= LOCKED,
    )


def _correlation(score: PhotoConsistency | None) -> float:
    return 0.0 if score is None or math.isnan(score.mean) else score.mean
