"""First verdict on a sequence: can it supervise a network, and if not, why not?

Each check is a function of the evidence that returns a figure, its gate and a sentence; a sequence is accepted when all
of them pass. The gates are set where training has nothing left to learn from, not where it is easy: the example clip of
the reference passes each of them with a wide margin.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from depthscope.lock_on import LockOn, lock_on
from depthscope.sequence import Sequence

LEAST_LOCK_ON = 0.4
LEAST_ABOVE_NULL = 0.2
LEAST_SHARE_IN_VIEW = 0.95
LEAST_POINTS_PER_FRAME = 30.0
LEAST_TRACK_LENGTH = 3.0
LEAST_SHARED_POINTS = 10
LEAST_PAIRS_PER_FRAME = 1.0
LEAST_ANGLE_DEG = 1.5
LEAST_REGISTERED = 0.5

MOST_POINTS_FOR_ANGLES = 2000
MOST_VIEWS_FOR_ANGLES = 48


@dataclass(frozen=True)
class Check:
    """One figure and its gate.

    Attributes:
        value: The figure.
        gate: The least that passes.
        passed: Whether it does.
        sentence: What that means.
    """

    value: float
    gate: float
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """Whether a sequence is usable.

    Attributes:
        accepted: Every check passed.
        reasons: The sentences of those that did not.
        checks: All of them by name.
    """

    accepted: bool
    reasons: tuple[str, ...]
    checks: dict[str, Check]


@dataclass(frozen=True, eq=False)
class Evidence:
    """A sequence with what several checks look at, computed once."""

    sequence: Sequence

    @cached_property
    def lock_on(self) -> LockOn:
        """How alike the patches of a point are."""
        return lock_on(self.sequence)

    @cached_property
    def inside_image(self) -> Bool[Tensor, " observations"]:
        """Which projections fall inside the image."""
        size = torch.tensor(self.sequence.size_px, dtype=torch.float64)
        pixels = self.sequence.projections
        return ((pixels >= 0) & (pixels < size)).all(-1)  # NaN, behind the camera, is not inside

    @cached_property
    def inside_mask(self) -> Bool[Tensor, " observations"]:
        """Which projections fall on tissue."""
        if self.sequence.mask is None:
            return self.inside_image
        column, row = self.sequence.projections.nan_to_num().long().unbind(-1)
        height, width = self.sequence.mask.shape
        on_tissue = self.sequence.mask[row.clamp(0, height - 1), column.clamp(0, width - 1)]
        return self.inside_image & on_tissue


def inspect(sequence: Sequence) -> Verdict:
    """Runs every check.

    Raises:
        BadInputError: An image cannot be read.
    """
    evidence = Evidence(sequence)
    checks = {name: check(evidence) for name, check in CHECKS.items()}
    reasons = tuple(check.sentence for check in checks.values() if not check.passed)
    return Verdict(not reasons, reasons, checks)


def lock_on_score(evidence: Evidence) -> Check:
    """Do the projections of a point show the same tissue?"""
    score = evidence.lock_on
    return _at_least(
        score.mean,
        LEAST_LOCK_ON,
        f"patches around the projections of a point correlate by {score.mean:.2f} over {score.pairs} pairs",
        "the poses, the camera or the points do not belong to these images",
    )


def lock_on_above_null(evidence: Evidence) -> Check:
    """More than those of different points do?"""
    score = evidence.lock_on
    return _at_least(
        score.mean - score.null_mean,
        LEAST_ABOVE_NULL,
        f"that is {score.mean - score.null_mean:.2f} more than patches of different points do ({score.null_mean:.2f})",
        "the images look alike everywhere, so that the correlation proves nothing",
    )


def in_front(evidence: Evidence) -> Check:
    """Do the points lie in front of the cameras that saw them?"""
    share = float((evidence.sequence.observed_depths > 0).double().mean())
    return _at_least(
        share,
        LEAST_SHARE_IN_VIEW,
        f"{share:.1%} of the observed points lie in front of their cameras",
        "the poses may be stored in the other direction",
    )


def inside_image(evidence: Evidence) -> Check:
    """Do they project into the image?"""
    share = float(evidence.inside_image.double().mean())
    return _at_least(
        share,
        LEAST_SHARE_IN_VIEW,
        f"{share:.1%} of the observations project into the image",
        "the camera's numbers may belong to another image size",
    )


def inside_mask(evidence: Evidence) -> Check:
    """And onto tissue?"""
    share = float(evidence.inside_mask.double().mean())
    return _at_least(
        share,
        LEAST_SHARE_IN_VIEW,
        f"{share:.1%} of the observations project into the mask",
        "the mask may be inverted or belong to other frames",
    )


def points_per_frame(evidence: Evidence) -> Check:
    """Does the typical frame have points to learn from?"""
    counts = evidence.sequence.seen.sum(1).double()
    median = float(counts.quantile(0.5))
    return _at_least(
        median,
        LEAST_POINTS_PER_FRAME,
        f"frames see {median:.0f} points each (median; fewest {int(counts.min())})",
        "too few to scale a depth map by; let SfM find more features",
    )


def track_length(evidence: Evidence) -> Check:
    """Are points followed through the clip?"""
    mean = len(evidence.sequence.observations) / len(evidence.sequence.points)
    return _at_least(
        mean,
        LEAST_TRACK_LENGTH,
        f"a point is seen by {mean:.1f} frames (mean)",
        "points of two frames cannot be told from wrong matches",
    )


def co_visible_pairs(evidence: Evidence) -> Check:
    """Are there pairs of frames that see the same points?"""
    seen = evidence.sequence.seen.float()
    shared = seen @ seen.T
    pairs = int((shared.triu(1) >= LEAST_SHARED_POINTS).sum())
    ratio = pairs / len(evidence.sequence)
    return _at_least(
        ratio,
        LEAST_PAIRS_PER_FRAME,
        f"{pairs} pairs of frames share {LEAST_SHARED_POINTS} points or more, {ratio:.1f} per frame",
        "the consistency of depth between frames has little to work on",
    )


def triangulation_angle(evidence: Evidence) -> Check:
    """Did the camera move enough to know the depth?"""
    median = float(largest_angles_deg(evidence.sequence).quantile(0.5))
    return _at_least(
        median,
        LEAST_ANGLE_DEG,
        f"the rays to a point meet at {median:.1f} degrees (largest of each point, median)",
        "the camera moved too little sideways for depths to be known",
    )


def registered_share(evidence: Evidence) -> Check:
    """Did SfM place the frames it was given?"""
    placed, lost = len(evidence.sequence), len(evidence.sequence.unregistered)
    share = placed / (placed + lost)
    return _at_least(
        share,
        LEAST_REGISTERED,
        f"{placed} of {placed + lost} frames were registered ({share:.0%})",
        "what SfM made of the clip covers too little of it",
    )


CHECKS: dict[str, Callable[[Evidence], Check]] = {
    "lock_on": lock_on_score,
    "lock_on_above_null": lock_on_above_null,
    "in_front": in_front,
    "inside_image": inside_image,
    "inside_mask": inside_mask,
    "points_per_frame": points_per_frame,
    "track_length": track_length,
    "co_visible_pairs": co_visible_pairs,
    "triangulation_angle": triangulation_angle,
    "registered_share": registered_share,
}
"""The checks in the order in which they are told."""


def largest_angles_deg(sequence: Sequence) -> Float[Tensor, " points"]:
    """The largest angle between two rays of each point, in degrees; of a sample where there are very many points."""
    rows = _rows_by_point(sequence)
    centres = sequence.camera_centres[sequence.observations.frame]
    rays = torch.nn.functional.normalize(centres - sequence.points[sequence.observations.point], dim=-1)
    rays = torch.cat([rays, rays.new_zeros(1, 3)])  # row -1: no observation
    angles = []
    for some in rows.split(100):
        directions = rays[some]
        lengths = (directions[:, :, None] - directions[:, None, :]).norm(dim=-1)
        there = some >= 0
        lengths = torch.where(there[:, :, None] & there[:, None, :], lengths, 0.0)
        angles.append(2 * torch.asin((lengths.amax((1, 2)) / 2).clamp_max(1)))
    return torch.rad2deg(torch.cat(angles))


def _rows_by_point(sequence: Sequence) -> Int[Tensor, "points views"]:
    """The observations of each point, filled up with -1; at most evenly spaced `MOST_VIEWS_FOR_ANGLES` of them."""
    point = sequence.observations.point
    order = torch.argsort(point * len(sequence) + sequence.observations.frame)
    observed, count = torch.unique_consecutive(point[order], return_counts=True)
    start = count.cumsum(0) - count
    stride = (len(observed) + MOST_POINTS_FOR_ANGLES - 1) // MOST_POINTS_FOR_ANGLES
    start, count = start[::stride], count[::stride]
    views = min(int(count.max()), MOST_VIEWS_FOR_ANGLES)
    step = torch.arange(views)
    spread = (step * (count[:, None] - 1).double() / max(1, views - 1)).round().long()
    place = torch.where(count[:, None] > views, spread, step.expand(len(count), views))
    return torch.where(place < count[:, None], order[(start[:, None] + place).clamp_max(len(order) - 1)], -1)


def _at_least(value: float, gate: float, found: str, otherwise: str) -> Check:
    passed = value >= gate  # NaN does not pass
    return Check(value, gate, passed, found if passed else f"{found}, less than {gate:g}: {otherwise}")
