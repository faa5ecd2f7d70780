"""Points of two reconstructions that are the same place on the tissue: in frames of both, or by matched frames."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from depthscope.sequence import Sequence

SAME_KEYPOINT, SAME_PLACE = 0.0015, 0.004
"""Share of the frame's width within which observations of one frame are one keypoint, and a match is an observation."""

Matcher = Callable[[Path, Path], tuple[Float[np.ndarray, "matches 2"], Float[np.ndarray, "matches 2"]]]
"""Where two images show the same, pixels of each (the centre of the top-left pixel is (0.5, 0.5))."""


@dataclass(frozen=True, eq=False)
class Correspondences:
    """Pairs of points of two sequences, each with an observation in both.

    Attributes:
        points: Number of the point in the first and in the second sequence, shape (pairs, 2).
        frames: Position of a frame that sees it in each, shape (pairs, 2).
        pixels: Where, in each, shape (pairs, 2, 2).
    """

    points: Int[Tensor, "pairs 2"]
    frames: Int[Tensor, "pairs 2"]
    pixels: Float[Tensor, "pairs 2 2"]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, chosen: Tensor) -> "Correspondences":
        """The chosen rows."""
        return Correspondences(self.points[chosen], self.frames[chosen], self.pixels[chosen])

    @classmethod
    def none(cls) -> "Correspondences":
        """No pair."""
        empty = torch.empty(0, 2, dtype=torch.int64)
        return cls(empty, empty, torch.empty(0, 2, 2, dtype=torch.float64))

    @classmethod
    def joined(cls, parts: "list[Correspondences]") -> "Correspondences":
        """All rows of several."""
        if not parts:
            return cls.none()
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in ("points", "frames", "pixels")))


def in_shared_frames(first: Sequence, second: Sequence) -> Correspondences:
    """Points that two reconstructions of overlapping clips saw at one place of one frame.

    Args:
        first: A sequence.
        second: Another one; frames of one name are one frame.
    """
    place = {name: number for number, name in enumerate(second.frame_names)}
    shared = [(number, place[name]) for number, name in enumerate(first.frame_names) if name in place]
    reach = SAME_KEYPOINT * first.size_px[0]
    parts = []
    for one, other in shared:
        left, right = observed_in(first, one), observed_in(second, other)
        rows = mutually_nearest(left[1], right[1], reach)
        parts.append(_rows((left, one), (right, other), rows))
    return Correspondences.joined(parts)


def in_matched_frames(
    first: Sequence, second: Sequence, pairs: list[tuple[int, int]], matcher: Matcher
) -> Correspondences:
    """Points that two reconstructions saw at places which a matcher takes for one.

    Args:
        first: A sequence.
        second: Another one.
        pairs: Frames of each to match.
        matcher: Of two images.
    """
    reach = SAME_PLACE * first.size_px[0]
    parts = []
    for one, other in pairs:
        left, right = observed_in(first, one), observed_in(second, other)
        at_left, at_right = matcher(first.images[one], second.images[other])
        if not len(at_left) or not len(left[0]) or not len(right[0]):
            continue
        far_left, near_left = nearest(left[1], at_left)
        far_right, near_right = nearest(right[1], at_right)
        good = (far_left < reach) & (far_right < reach)
        rows = np.unique(np.stack([near_left[good], near_right[good]], 1), axis=0)
        parts.append(_rows((left, one), (right, other), rows))
    return Correspondences.joined(parts)


def observed_in(sequence: Sequence, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """The points that a frame sees, and where SfM saw them (or where they project)."""
    rows = sequence.observations.frame == frame
    pixels = sequence.observations.pixels
    at = (sequence.projections if pixels is None else pixels)[rows]
    return sequence.observations.point[rows].numpy(), at.double().numpy()


def nearest(places: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each place that is asked for how far the nearest of others is, and which."""
    far, which = KDTree(places).query(asked)
    return np.asarray(far), np.asarray(which)


def mutually_nearest(one: np.ndarray, other: np.ndarray, reach: float) -> Int[np.ndarray, "pairs 2"]:
    """Rows of two sets of places that are each other's nearest, within a distance."""
    if not len(one) or not len(other):
        return np.empty((0, 2), np.int64)
    far, there = nearest(other, one)
    _, back = nearest(one, other)
    rows = np.arange(len(one))
    good = (far < reach) & (back[there] == rows)
    return np.stack([rows[good], there[good]], 1)


def _rows(
    left: tuple[tuple[np.ndarray, np.ndarray], int], right: tuple[tuple[np.ndarray, np.ndarray], int], rows: np.ndarray
) -> Correspondences:
    (points, places), frame = left
    (others, there), other = right
    return Correspondences(
        torch.from_numpy(np.stack([points[rows[:, 0]], others[rows[:, 1]]], 1).astype(np.int64)),
        torch.tensor([frame, other]).expand(len(rows), 2).clone(),
        torch.from_numpy(np.stack([places[rows[:, 0]], there[rows[:, 1]]], 1)),
    )
