"""Geometry: points before the cameras and inside the picture, a path without jumps, points that are no plane."""

import math

import torch

from depthscope.inspection.check import Check, at_least, at_most, cannot_tell, cut_at
from depthscope.inspection.evidence import Evidence, working_scale
from depthscope.inspection.retracking import step_errors_px

LEAST_SHARE_IN_VIEW = 0.95
LEAST_RELIEF = 0.35
MOST_JUMP = 5.0

CONFIRMED_PX = 2.0
"""Distance of optical flow from the poses, in working pixels, up to which it confirms a step."""

ENOUGH_SHARED = 20
"""Points that two frames have in common, and fit, from which on these confirm the step between them."""


def in_front(evidence: Evidence) -> Check:
    """Do the points lie in front of the cameras that saw them?"""
    share = float((evidence.sequence.observed_depths > 0).double().mean())
    return at_least(
        share,
        LEAST_SHARE_IN_VIEW,
        f"{share:.1%} of the observed points lie in front of their cameras",
        "the poses may be stored in the other direction; try --pose-direction"
        if share < 0.5
        else "single points were triangulated from wrong matches, or single poses are wrong; reconstruct again",
        unit="%",
    )


def inside_image(evidence: Evidence) -> Check:
    """Do they project into the image?"""
    share = float(evidence.inside_image.double().mean())
    return at_least(
        share,
        LEAST_SHARE_IN_VIEW,
        f"{share:.1%} of the observations project into the image",
        "the camera's numbers may belong to another image size; check the calibration file",
        unit="%",
    )


def inside_mask(evidence: Evidence) -> Check:
    """And onto tissue?"""
    share = float(evidence.inside_mask.double().mean())
    return at_least(
        share,
        LEAST_SHARE_IN_VIEW,
        f"{share:.1%} of the observations project into the mask",
        "the mask may be inverted or belong to other frames",
        unit="%",
    )


def path_jump(evidence: Evidence) -> Check:
    """Is one step of the camera much longer than the steps around it, or one turn, and do the images not confirm it?"""
    where, ratio = largest_jump(evidence)
    if where < 0:
        return cannot_tell(MOST_JUMP, "at most", "too few frames to tell a jump from a step")
    names = evidence.sequence.frame_names
    return at_most(
        ratio,
        MOST_JUMP,
        f"the largest step that images do not confirm, from frame {names[where]} to {names[where + 1]}, is {ratio:.1f} "
        "times those around it"
        if ratio > 0
        else "the images confirm every step of the path",
        f"the path jumps there, or the frame misleads; {cut_at(names[where + 1])}",
        null=1.0,
    )


def largest_jump(evidence: Evidence) -> tuple[int, float]:
    """The frame before the longest step relative to the eight steps around it (their upper quartile), and the ratio.

    A hand moves by fits and starts, so a step counts only where the images do not confirm it.
    """
    clip = evidence.sequence
    between = clip.camera_from_world[1:] @ clip.camera_from_world[:-1].inverse()
    if len(clip) < 6:
        return -1, 0.0
    seen, confirmed = clip.median_depth, confirmed_steps(evidence)
    best, where = 0.0, 0
    step = (clip.camera_centres[1:] - clip.camera_centres[:-1]).norm(dim=-1)
    for length, floor in ((step, 0.005 * seen), (between.angle_rad, 0.02)):
        for f in range(len(length)):
            around = torch.cat([length[max(0, f - 4) : f], length[f + 1 : f + 5]])
            ratio = float(length[f]) / max(float(around.quantile(0.75)), floor)
            if ratio > best and f not in confirmed:
                best, where = ratio, f
    return where, best


def confirmed_steps(evidence: Evidence) -> set[int]:
    """Frames whose step to the next one is real.

    Either optical flow takes points where the poses say, or many points were measured in both frames and fit both.
    """
    start = evidence.window.start
    by_flow = {start + frame for frame, error in step_errors_px(evidence).items() if error <= CONFIRMED_PX}
    clip = evidence.sequence
    if clip.observations.pixels is None:
        return by_flow
    off = (clip.projections - clip.observations.pixels.double()).norm(dim=-1).nan_to_num(math.inf)
    fits = torch.zeros(len(clip), len(clip.points), dtype=torch.bool)
    fits[clip.observations.frame, clip.observations.point] = off * working_scale(clip.size_px) <= CONFIRMED_PX
    both_see, both_fit = clip.seen[1:] & clip.seen[:-1], fits[1:] & fits[:-1]
    shared, fitting = both_see.sum(1), both_fit.sum(1)
    by_points = (fitting >= ENOUGH_SHARED) & (fitting >= 0.5 * shared)
    return by_flow | set(by_points.nonzero().flatten().tolist())


def relief(evidence: Evidence) -> Check:
    """Are the points as far from a plane as our own triangulation says?"""
    found, tracks = evidence.retriangulated, evidence.retriangulated_tracks
    good = (found.depth_sd < 0.1) & found.bundle.points.isfinite().all(-1)
    if int(good.sum()) < 30:
        return cannot_tell(LEAST_RELIEF, "at least", "too few points could be followed by optical flow")
    given, own = evidence.working.points[tracks.point[good]], found.bundle.points[good]
    noise = float((found.depth_sd[good]).quantile(0.5)) * evidence.working.median_depth
    flat_given, flat_own = _off_plane(given), _off_plane(own)
    if flat_own < 2 * noise:
        return cannot_tell(LEAST_RELIEF, "at least", "the scene itself is nearly a plane")
    ratio = flat_given / flat_own
    return at_least(
        ratio,
        LEAST_RELIEF,
        f"the points lie {ratio:.2f} times as far off a plane as the images say",
        "the points have been flattened onto a plane; do not use them, reconstruct again with more sideways motion",
    )


def _off_plane(points: torch.Tensor) -> float:
    """Median distance from the best plane."""
    centred = points - points.median(0).values
    normal = torch.linalg.svd(centred, full_matrices=False).Vh[2]
    distance = centred @ normal
    return float((distance - distance.median()).abs().quantile(0.5))
