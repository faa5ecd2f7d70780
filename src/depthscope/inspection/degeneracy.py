"""Degeneracy: did the camera move so that depth, and with it everything else, is determined?"""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.geometry.scale import robust_std
from depthscope.inspection.adjustment import Bundle
from depthscope.inspection.angles import largest_angles_deg
from depthscope.inspection.check import Check, at_least, at_most, cannot_tell
from depthscope.inspection.evidence import Evidence

LEAST_ANGLE_DEG = 1.2
LEAST_PARALLAX_PX = 3.0
MOST_UNKNOWN = 0.5
MOST_FORWARD = 0.995
LARGE_SD = 0.1
PRIOR_DEGREES = 3.0
"""How many observations' worth of belief a point's own residuals have to outweigh."""

FEWEST = 25


def triangulation_angle(evidence: Evidence) -> Check:
    """Did the camera move enough to know the depth?"""
    angles = largest_angles_deg(evidence.sequence)
    median, low = angles.quantile(0.5).item(), angles.quantile(0.1).item()
    return at_least(
        median,
        LEAST_ANGLE_DEG,
        f"the rays to a point meet at {median:.1f} degrees (largest of each point, median; 10 % below {low:.1f})",
        "the camera moved too little sideways for depths to be known; use a longer clip or one with more motion",
    )


def parallax(evidence: Evidence) -> Check:
    """What is left of the motion in the images after the best homography, in units of the noise?"""
    tracks = evidence.tracks.of(evidence.tracks.point < 0)
    gap = 10
    while gap > 1 and len(tracks.pairs(gap)[0]) < 4 * FEWEST:
        gap -= 1
    first, later = tracks.pairs(gap)
    left = []
    for f in torch.unique(tracks.frame[first]).tolist():
        rows = tracks.frame[first] == f
        if int(rows.sum()) < FEWEST:
            continue
        one, two = tracks.pixels[first[rows]].numpy(), tracks.pixels[later[rows]].numpy()
        matrix, _ = cv2.findHomography(one, two, cv2.LMEDS)
        if matrix is None:
            continue
        there = np.c_[one, np.ones(len(one))] @ matrix.T
        error = np.linalg.norm(there[:, :2] / there[:, 2:] - two, axis=-1)
        left.append(float(np.quantile(error, 0.75)))
    if not left:
        return cannot_tell(LEAST_PARALLAX_PX, "at least", "optical flow finds too few matches of its own")
    noise = max(0.3, evidence.with_given_lens.sigma_px)
    value = float(np.median(left)) / noise
    return at_least(
        value,
        LEAST_PARALLAX_PX,
        f"over {gap} frames the images move {value:.1f} times the noise against each other beyond what a turn of the "
        "camera or a flat scene explains",
        "the camera only turned, or looks at a plane: there is no depth in these images; move sideways while filming",
        null=1.0,
    )


def forward_motion(evidence: Evidence) -> Check:
    """Does the camera do anything but move along its axis?"""
    clip = evidence.sequence
    gap = max(1, min(5, len(clip) - 2))
    step = (clip.camera_from_world[gap:] @ clip.camera_from_world[:-gap].inverse()).translation
    share = step[:, 2].abs() / step.norm(dim=-1).clamp_min(1e-12)
    value = float(share.quantile(0.5))
    return at_most(
        value,
        MOST_FORWARD,
        f"{value:.0%} of the motion is along the view (median)",
        "going straight ahead leaves depth near the middle unknown; move sideways too",
        unit="%",
    )


def depth_uncertainty(evidence: Evidence) -> Check:
    """How many points have a depth that their observations leave open (normal equations of the point alone)?"""
    bundle = bundle_of_points(evidence)
    sigma = float(robust_std(bundle.residuals_px).clamp_min(0.3))
    sd, along = point_uncertainty(bundle, sigma)
    open_share = float((sd > LARGE_SD).double().mean())
    median = float(sd.quantile(0.5))
    view = float(along.quantile(0.5))
    return at_most(
        open_share,
        MOST_UNKNOWN,
        f"{open_share:.0%} of the points have a depth known to no better than {LARGE_SD:.0%} (median {median:.1%}; the "
        f"weakest direction is {'the line of sight' if view > 0.8 else 'across the view'})",
        "the baseline is too small for the noise; use longer tracks or more motion",
        unit="%",
    )


def depth_deviations(evidence: Evidence) -> Float[Tensor, " points"]:
    """Standard deviation of each point's depth over its depth, poses held; infinite where nothing tells.

    From the normal equations of the point, and a noise that is the clip's own, raised where this point's observations
    miss it by more (the mean of an inverse gamma distribution that begins with `PRIOR_DEGREES` degrees of freedom).
    """
    bundle = bundle_of_points(evidence)
    count = len(bundle.points)
    typical = float(robust_std(bundle.residuals_px).clamp_min(0.3))
    seen = torch.bincount(bundle.track, minlength=count)
    square = torch.zeros(count, dtype=torch.float64).index_add(0, bundle.track, bundle.errors_px**2)
    free = (2 * seen - 3).clamp_min(1)
    noise = ((PRIOR_DEGREES * typical**2 + square) / (PRIOR_DEGREES + free)).sqrt()
    if evidence.working.observations.pixels is None:
        noise = torch.full_like(noise, typical)  # nobody kept where the point was seen
    found = torch.full((count,), torch.inf, dtype=torch.float64)
    found[seen > 0] = point_uncertainty(bundle, 1.0)[0] * noise[seen > 0]
    return found


def bundle_of_points(evidence: Evidence) -> Bundle:
    """The sequence's own observations as a bundle at working size."""
    clip = evidence.working
    pixels = clip.observations.pixels
    pixels = clip.projections if pixels is None else pixels.double()
    plane = torch.full((len(pixels), 2), torch.nan, dtype=torch.float64)
    for camera in dict.fromkeys(clip.cameras):
        own = torch.tensor([c == camera for c in clip.cameras])[clip.observations.frame]
        plane[own] = camera.unproject(pixels[own])[:, :2]
    valid = plane.isfinite().all(-1)
    return Bundle(
        clip.observations.point[valid],
        clip.observations.frame[valid],
        plane[valid],
        clip.camera_from_world,
        clip.points,
        sum(clip.cameras[0].focal_px) / 2,
    )


def point_uncertainty(bundle: Bundle, sigma_px: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard deviation over depth of each point for a noise, and how far its direction is the line of sight."""
    rotation = bundle.camera_from_world.rotation[bundle.frame]
    camera = bundle.camera_from_world[bundle.frame].apply(bundle.points[bundle.track])
    depth = camera[:, 2].clamp_min(1e-9)
    flat = camera[:, :2] / depth[:, None]
    zero = torch.zeros_like(depth)
    rows = [
        torch.stack([1 / depth, zero, -flat[:, 0] / depth], -1),
        torch.stack([zero, 1 / depth, -flat[:, 1] / depth], -1),
    ]
    matrix = bundle.focal_px * torch.stack(rows, -2) @ rotation
    count = len(bundle.points)
    normal = torch.zeros(count, 3, 3, dtype=depth.dtype).index_add(0, bundle.track, matrix.transpose(-1, -2) @ matrix)
    values, vectors = torch.linalg.eigh(normal)
    number = torch.bincount(bundle.track, minlength=count).clamp_min(1)
    mean = torch.zeros(count, dtype=depth.dtype).index_add(0, bundle.track, depth) / number
    rays = torch.nn.functional.normalize(
        bundle.points[bundle.track] - bundle.camera_from_world[bundle.frame].origin, dim=-1
    )
    along = torch.zeros(count, dtype=depth.dtype).index_add(
        0, bundle.track, (rays * vectors[bundle.track, :, 0]).sum(-1).abs()
    )
    seen = torch.bincount(bundle.track, minlength=count) > 0
    sd = sigma_px * values[:, 0].clamp_min(1e-30).rsqrt() / mean.clamp_min(1e-12)
    return sd[seen], (along / number)[seen]
