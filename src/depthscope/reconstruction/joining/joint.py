"""How two reconstructions lie to each other, from points they share, and whether that can be believed.

Half of the pairs of points give the similarity, by random samples of three and then by weighted least squares; the
other half, which took no part, is asked whether it agrees. Places that only look alike agree with no similarity.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from depthscope.geometry import Similarity
from depthscope.reconstruction.joining.correspondences import Correspondences
from depthscope.sequence import Sequence

SAMPLES = 400
"""Random samples of three pairs: with a third of them right, one in 27 samples is."""

WITHIN, DEPTHS_WITHIN = 0.015, 1.25
"""A pair agrees where either point falls so near to the other's observation, as a share of the width, at a depth that
differs by no more than this factor."""

NEAR = 0.1
"""Of three pairs' similarity: a point is near its partner within this share of its depth."""

LEAST_PAIRS, LEAST_AGREEING, LEAST_SHARE = 24, 20, 0.3
"""Pairs of points without which nothing is tried; held-out pairs that must agree, half of them, and their share."""

MOST_SCALE_SD = 0.02
"""Standard deviation of the logarithm of the scale."""

LEAST_SPREAD = 0.1
"""Of the agreeing points, over their median depth: a handful in one corner says nothing of the turn."""

MOST_TURN_DEG = 5.0
"""Between the motions that the two give a frame which both hold."""

ROUNDS, RESAMPLES = 8, 24


@dataclass(frozen=True, eq=False)
class Joint:
    """What joins two sequences.

    Attributes:
        second_from_first: The similarity; None where there is none to speak of.
        pairs: Of points that were looked at.
        agreeing: Of them agree, also those that gave the similarity.
        held_out_share: Share of those that took no part which agrees.
        scale_sd: Standard deviation of the logarithm of the scale.
        shared_frames: Frames that both hold.
        reason: Why it is not believed, in words; "" where it is.
        shared: Numbers of the points in the first and in the second that agree, each pair once.
    """

    second_from_first: Similarity | None
    pairs: int
    agreeing: int = 0
    held_out_share: float = 0.0
    scale_sd: float = math.nan
    shared_frames: int = 0
    reason: str = ""
    shared: Int[Tensor, "pairs 2"] = field(default_factory=lambda: torch.empty(0, 2, dtype=torch.int64))

    @property
    def accepted(self) -> bool:
        """Whether it is believed."""
        return not self.reason

    def figures(self) -> dict[str, Any]:
        """As plain values."""
        names = ("pairs", "agreeing", "held_out_share", "scale_sd", "shared_frames", "accepted", "reason")
        found = {name: getattr(self, name) for name in names}
        found["scale"] = None if self.second_from_first is None else float(self.second_from_first.scale)
        return found


def joint_of(first: Sequence, second: Sequence, found: Correspondences, seed: int = 0) -> Joint:
    """The joint of two sequences from their pairs of points, and the verdict on it.

    Args:
        first: A sequence.
        second: Another one.
        found: Pairs of their points, right and wrong ones.
        seed: Of the samples.
    """
    shared = len(set(first.frame_names) & set(second.frame_names))
    if len(found) < LEAST_PAIRS:
        return Joint(
            None, len(found), shared_frames=shared, reason=f"{len(found)} points in common, {LEAST_PAIRS} needed"
        )
    random = np.random.default_rng(seed)
    own = halves(found, random)
    taking, held = found[own], found[~own]
    similarity = sampled(first, second, taking, random)
    if similarity is None:
        return Joint(None, len(found), shared_frames=shared, reason="no three points in common fit together")
    similarity = refined(first, second, taking, similarity)
    share = float(agreeing(first, second, held, similarity).double().mean())
    kept = found[agreeing(first, second, found, similarity)]
    similarity = refined(first, second, kept, similarity) if len(kept) > 3 else similarity
    kept = found[agreeing(first, second, found, similarity)]
    sd = scale_sd(first, second, kept, random)
    told = Joint(similarity, len(found), len(kept), share, sd, shared, shared=torch.unique(kept.points, dim=0))
    return replace(told, reason=objection(first, second, told, kept))


def objection(first: Sequence, second: Sequence, joint: Joint, kept: Correspondences) -> str:
    """Why a joint is not believed; "" where it is."""
    if joint.agreeing < LEAST_AGREEING or joint.held_out_share < LEAST_SHARE:
        return (
            f"{joint.agreeing} of {joint.pairs} points in common agree, and {joint.held_out_share:.0%} of those that "
            f"were held out ({LEAST_AGREEING} and {LEAST_SHARE:.0%} are needed)"
        )
    if not joint.scale_sd < MOST_SCALE_SD:
        return f"the scale between them is known to {joint.scale_sd:.1%} only ({MOST_SCALE_SD:.0%} at most)"
    if (spread := spread_of(second, kept)) < LEAST_SPREAD:
        return f"the points in common lie in one spot ({spread:.0%} of their depth apart)"
    if joint.shared_frames and (turn := largest_turn_deg(first, second, joint)) > MOST_TURN_DEG:
        return f"a frame that both hold is turned by {turn:.1f} degrees between them"
    return ""


def halves(found: Correspondences, random: np.random.Generator) -> Bool[Tensor, " pairs"]:
    """One half of the pairs, all rows of one pair of points in the same half."""
    _, number = np.unique(found.points.numpy(), axis=0, return_inverse=True)
    number = number.reshape(-1)
    return torch.from_numpy(random.permutation(int(number.max()) + 1)[number] % 2 == 0)


def sampled(
    first: Sequence, second: Sequence, found: Correspondences, random: np.random.Generator
) -> Similarity | None:
    """The similarity of three pairs that brings the most points near their partners; None if only its own three."""
    source, target = first.points[found.points[:, 0]], second.points[found.points[:, 1]]
    if len(found) < 4:
        return None
    rows = torch.from_numpy(np.stack([random.choice(len(found), 3, replace=False) for _ in range(SAMPLES)]))
    rotation, scale, translation = of_triples(source[rows], target[rows])
    moved = scale[:, None, None] * (source @ rotation.mT) + translation[:, None]
    near = (moved - target).norm(dim=-1) < NEAR * depths(second, found, 1, target).clamp_min(0)
    count = near.sum(1)
    best = int(count.argmax())
    if int(count[best]) < 4:
        return None
    return Similarity.estimate(source[near[best]], target[near[best]])


def of_triples(
    source: Float[Tensor, "samples 3 3"], target: Float[Tensor, "samples 3 3"]
) -> tuple[Float[Tensor, "samples 3 3"], Float[Tensor, " samples"], Float[Tensor, "samples 3"]]:
    """Rotations, scales and translations of many similarities at once (Umeyama 1991); NaN where points coincide."""
    middle, there = source.mean(1), target.mean(1)
    s, t = source - middle[:, None], target - there[:, None]
    u, d, vt = torch.linalg.svd(t.mT @ s)
    sign = torch.ones_like(d)
    sign[:, 2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (d * sign).sum(1) / s.square().sum((1, 2))
    return rotation, scale, there - scale[:, None] * (rotation @ middle[..., None])[..., 0]


def refined(first: Sequence, second: Sequence, found: Correspondences, start: Similarity) -> Similarity:
    """The similarity by least squares over the pairs that agree, nearer points and smaller residuals counting more."""
    similarity = start
    for _ in range(ROUNDS):
        kept = found[agreeing(first, second, found, similarity)]
        if len(kept) < 4:
            break
        source, target = first.points[kept.points[:, 0]], second.points[kept.points[:, 1]]
        depth = depths(second, kept, 1, target).clamp_min(1e-9)
        residual = (similarity.apply(source) - target).norm(dim=-1) / depth
        usual = residual.quantile(0.5).clamp_min(1e-9)
        similarity = Similarity.estimate(source, target, 1 / (depth**2 * (1 + (residual / (2 * usual)) ** 2)))
    return similarity


def agreeing(
    first: Sequence, second: Sequence, found: Correspondences, second_from_first: Similarity
) -> Bool[Tensor, " pairs"]:
    """Which pairs agree with a similarity: each point falls where the other was seen, at about its depth."""
    source, target = first.points[found.points[:, 0]], second.points[found.points[:, 1]]
    good = torch.ones(len(found), dtype=torch.bool)
    for side, (sequence, moved, own) in enumerate(
        ((first, second_from_first.inverse().apply(target), source), (second, second_from_first.apply(source), target))
    ):
        local = sequence.camera_from_world[found.frames[:, side]].apply(moved)
        ratio = local[:, 2] / depths(sequence, found, side, own)
        off = (projected(sequence, found.frames[:, side], local) - found.pixels[:, side]).norm(dim=-1)
        near = off < WITHIN * sequence.size_px[0]  # not so where it is not finite
        good &= near & (ratio > 1 / DEPTHS_WITHIN) & (ratio < DEPTHS_WITHIN)
    return good


def projected(sequence: Sequence, frame: Tensor, local: Float[Tensor, "points 3"]) -> Float[Tensor, "points 2"]:
    """Where cameras see points given in their axes."""
    pixels = torch.full((len(local), 2), math.nan, dtype=torch.float64)
    lenses = list(dict.fromkeys(sequence.cameras))
    lens = torch.tensor([lenses.index(camera) for camera in sequence.cameras])[frame]
    for number, camera in enumerate(lenses):
        rows = (lens == number) & (local[:, 2] > 0)
        pixels[rows] = camera.project(local[rows])
    return pixels


def depths(sequence: Sequence, found: Correspondences, side: int, points: Tensor) -> Float[Tensor, " pairs"]:
    """Depth of points in the frames that see them."""
    return sequence.camera_from_world[found.frames[:, side]].apply(points)[:, 2]


def scale_sd(first: Sequence, second: Sequence, kept: Correspondences, random: np.random.Generator) -> float:
    """Standard deviation of the logarithm of the scale, by drawing the points again."""
    points, where = np.unique(kept.points.numpy(), axis=0, return_index=True)
    if len(points) < 8:
        return math.inf
    source, target = first.points[kept.points[where, 0]], second.points[kept.points[where, 1]]
    found = []
    for _ in range(RESAMPLES):
        rows = torch.from_numpy(random.integers(0, len(points), len(points)))
        found.append(math.log(float(Similarity.estimate(source[rows], target[rows]).scale)))
    return float(np.std(found, ddof=1))


def spread_of(second: Sequence, kept: Correspondences) -> float:
    """Distance of the agreeing points from their middle (median), over their depth."""
    target = second.points[kept.points[:, 1]]
    middle = target.quantile(0.5, dim=0)
    return float((target - middle).norm(dim=-1).quantile(0.5) / depths(second, kept, 1, target).quantile(0.5))


def largest_turn_deg(first: Sequence, second: Sequence, joint: Joint) -> float:
    """Of the frames that both hold, the largest angle between the motions that the two give them."""
    assert joint.second_from_first is not None
    place = {name: number for number, name in enumerate(second.frame_names)}
    turn = joint.second_from_first.motion.rotation
    angles = []
    for number, name in enumerate(first.frame_names):
        if name in place:
            other = second.camera_from_world.rotation[place[name]]
            between = other @ turn @ first.camera_from_world.rotation[number].T
            angles.append(math.degrees(math.acos(min(1.0, max(-1.0, (float(between.trace()) - 1) / 2)))))
    return max(angles, default=0.0)
