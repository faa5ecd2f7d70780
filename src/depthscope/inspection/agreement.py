"""Agreement of independent answers: frames without themselves, halves of the tracks, two runs, own adjustment."""

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, Similarity
from depthscope.inspection.adjustment import Bundle, adjusted, triangulated
from depthscope.inspection.check import NOT_STILL, Check, at_least, at_most, cannot_tell
from depthscope.inspection.evidence import Evidence
from depthscope.sequence import Sequence

MOST_RESECTION, MOST_SPLIT, MOST_MOVED, MOST_RUNS = 0.03, 0.15, 0.25, 0.1
FEWEST = 12


def path_error(one: Tensor, two: Tensor) -> float:
    """RMS distance of camera centres after the best similarity, over the RMS extent of the path."""
    if len(one) < 4:
        return float("nan")
    try:
        moved = Similarity.estimate(one, two).apply(one)
    except BadInputError:
        return float("inf")
    extent = (two - two.mean(0)).norm(dim=-1).square().mean().sqrt()
    return float((moved - two).norm(dim=-1).square().mean().sqrt() / extent.clamp_min(1e-12))


def resection(evidence: Evidence) -> Check:
    """Is a frame found where it is said to be, from points triangulated without it (RANSAC PnP)?"""
    distances = [d for d in resected(evidence).values() if d is not None]
    if len(distances) < 3:
        return cannot_tell(MOST_RESECTION, "at most", "too few tracks of our own to find frames again")
    ordered = torch.tensor(distances, dtype=torch.float64)
    value = float(ordered.quantile(0.75))
    return at_most(
        value,
        MOST_RESECTION,
        f"frames located without their own help lie {float(ordered.quantile(0.5)):.1%} of the median depth away "
        f"(median of {len(distances)}; three quarters within {value:.1%})",
        "single frames are placed wrongly; leave out those named, or reconstruct again",
        unit="%",
    )


def resected(evidence: Evidence) -> dict[int, float | None]:
    """For up to 10 frames of the adjusted window: distance over median depth; None where the frame is not found."""
    scene, start = evidence.working.median_depth, evidence.adjusted_frames.start
    return {f + start: None if away is None else away / scene for f, away in _resected(evidence.own).items()}


@lru_cache(maxsize=4)
def _resected(own: Bundle) -> dict[int, float | None]:
    """The distances of `resected`, for the frames of the window; asked by cleaning, and again by the verdict."""
    frames = len(own.camera_from_world.translation)
    found: dict[int, float | None] = {}
    for f in range(0, frames, max(1, -(-frames // 10))):
        here = own.frame == f
        tracks = torch.zeros(len(own.points), dtype=torch.bool)
        tracks[own.track[here]] = True
        without = replace(own, track=own.track[~here], frame=own.frame[~here], plane=own.plane[~here])
        seen = torch.bincount(without.track, minlength=len(own.points)) >= 3
        tracks &= seen
        if int(tracks.sum()) < FEWEST:
            continue
        solved = adjusted(triangulated(without.of_tracks(tracks)), poses=False, steps=3)
        rows = here & tracks[own.track]
        number = (torch.cumsum(tracks, 0) - 1)[own.track[rows]]
        points, plane = solved.bundle.points[number], own.plane[rows]
        finite = points.isfinite().all(-1)
        ok, turn, shift, inliers = False, None, None, None
        if int(finite.sum()) >= FEWEST:
            cv2.setRNGSeed(0)
            ok, turn, shift, inliers = cv2.solvePnPRansac(
                points[finite].numpy(),
                plane[finite].numpy(),
                np.eye(3),
                None,
                reprojectionError=2.5 / own.focal_px,
                iterationsCount=100,
                flags=cv2.SOLVEPNP_EPNP,
            )
        if not ok or inliers is None or turn is None or shift is None:
            found[f] = None
            continue
        chosen = np.asarray(inliers, np.int64)[:, 0]
        turn, shift = cv2.solvePnPRefineLM(
            points[finite].numpy()[chosen], plane[finite].numpy()[chosen], np.eye(3), None, turn, shift
        )
        rotation = torch.from_numpy(cv2.Rodrigues(turn)[0])
        centre = RigidMotion(rotation, torch.from_numpy(shift[:, 0])).origin
        found[f] = float((centre - own.camera_from_world[f].origin).norm())
    return found


def own_adjustment(evidence: Evidence) -> Check:
    """Does a bundle adjustment of own tracks leave the path where it is?"""
    own = evidence.own
    if len(own.points) < 4 * FEWEST:
        return cannot_tell(MOST_MOVED, "at most", "too few tracks of our own to adjust")
    value = path_error(evidence.with_given_lens.bundle.camera_from_world.origin, own.camera_from_world.origin)
    return at_most(
        value,
        MOST_MOVED,
        f"an adjustment to tracks that SfM did not see moves the cameras by {value:.0%} of the extent of their path",
        f"the poses are not where the images want them: {NOT_STILL}",
        unit="%",
    )


def split_tracks(evidence: Evidence) -> Check:
    """Do two halves of the tracks, each adjusted alone, give one path?"""
    halves = split(evidence)
    if halves is None:
        return cannot_tell(MOST_SPLIT, "at most", "too few tracks of our own for two halves")
    value = path_error(*(half.camera_from_world.origin for half in halves))
    return at_most(
        value,
        MOST_SPLIT,
        f"two reconstructions from one half of the tracks each differ by {value:.0%} of the path",
        "the motion is not determined by what is seen: move more sideways, or use a longer clip",
        unit="%",
        null=0.0,
    )


def split(evidence: Evidence) -> tuple[Bundle, Bundle] | None:
    """The two halves, adjusted from the given poses."""
    own = evidence.with_given_lens.bundle
    if len(own.points) < 8 * FEWEST:
        return None
    draw = torch.Generator().manual_seed(evidence.seed + 1)
    half = torch.randperm(len(own.points), generator=draw) < len(own.points) // 2
    one, two = (adjusted(own.of_tracks(h), steps=10).bundle for h in (half, ~half))
    return one, two


def two_runs(evidence: Evidence) -> Check:
    """Does a second reconstruction of the clip give the same path?"""
    second = evidence.witnesses.second_run
    value = float("nan") if second is None else runs_differ(evidence.sequence, second)
    if value != value:
        return cannot_tell(MOST_RUNS, "at most", "there is no second run to compare with")
    return at_most(
        value,
        MOST_RUNS,
        f"a second run of SfM with other settings differs by {value:.0%} of the path",
        "the result depends on chance: the images do not determine it; film with more sideways motion and overlap",
        unit="%",
        null=0.0,
    )


def runs_differ(one: Sequence, two: Sequence) -> float:
    """Path error over the frames that both placed."""
    place = {name: number for number, name in enumerate(two.frame_names)}
    pairs = [(i, place[name]) for i, name in enumerate(one.frame_names) if name in place]
    if len(pairs) < max(4, len(one) // 3):
        return float("inf")
    first, second = torch.tensor(pairs).unbind(-1)
    return path_error(two.camera_centres[second], one.camera_centres[first])


LEAST_SHARED_RUN = 0.5


def second_run_share(evidence: Evidence) -> Check:
    """Does a second reconstruction place the same frames?"""
    second = evidence.witnesses.second_run
    if second is None:
        return cannot_tell(LEAST_SHARED_RUN, "at least", "there is no second run to compare with")
    names = set(second.frame_names)
    share = sum(name in names for name in evidence.sequence.frame_names) / len(evidence.sequence)
    return at_least(
        share,
        LEAST_SHARED_RUN,
        f"a second run placed {share:.0%} of the same frames",
        "the result depends on chance; film with more overlap",
        unit="%",
    )
