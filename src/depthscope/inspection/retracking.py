"""Re-tracking: projections followed by optical flow, against where the poses send the points, and at what depth."""

import math

import torch

from depthscope.inspection.check import NOT_STILL, Check, at_least, at_most, cannot_tell, cut_at
from depthscope.inspection.evidence import Evidence

GAPS = (1, 2, 5, 10)
MOST_ERROR = 0.012
"""Of the image width, at a gap of 5 frames (the longest there is in shorter clips)."""

MOST_DEPTH_ERROR, MOST_DEPTH_FACTOR, LEAST_ORDER = 0.2, 0.14, 0.4
MOST_FOCAL_FACTOR = 0.35
"""Half of the ln of a factor beyond which no focal length is mistaken for another."""

KNOWN_DEPTH = 0.1
FEWEST = 25
MOST_BREAK, LEAST_TYPICAL_PX, FEWEST_IN_FRAME = 8.0, 0.7, 10


def retracking(evidence: Evidence) -> Check:
    """Where does optical flow take the projections of points, and where do the poses?"""
    errors = errors_by_gap(evidence)
    if not errors:
        return cannot_tell(MOST_ERROR, "at most", "too few projections could be followed by optical flow")
    told = ", ".join(f"{error / evidence.images.scale:.1f} px after {gap}" for gap, error in errors.items())
    gap = max(g for g in errors if g <= 5)
    return at_most(
        errors[gap] / evidence.working.size_px[0],
        MOST_ERROR,
        f"optical flow and poses disagree on where points go: {told} frames (median)",
        f"the points do not move with the images: {NOT_STILL}",
        unit=" px",
        per_unit=evidence.working.size_px[0] / evidence.images.scale,
    )


def path_break(evidence: Evidence) -> Check:
    """Is there one place where points go elsewhere from a frame to the next, and not at the others?"""
    medians = step_errors_px(evidence)
    if len(medians) < 4:
        return cannot_tell(MOST_BREAK, "at most", "too few projections could be followed by optical flow")
    where = max(medians, key=lambda frame: medians[frame])
    typical = max(float(torch.tensor(list(medians.values()), dtype=torch.float64).quantile(0.5)), LEAST_TYPICAL_PX)
    value = medians[where] / typical
    names = evidence.working.frame_names
    last = min(where + 1, len(names) - 1)
    return at_most(
        value,
        MOST_BREAK,
        f"from frame {names[where]} to {names[last]} poses and optical flow part {value:.1f} times as far as elsewhere",
        f"the path jumps there, or the frame misleads; {cut_at(names[last])}",
        null=1.0,
    )


def step_errors_px(evidence: Evidence) -> dict[int, float]:
    """For frames of the window: the median distance of optical flow to the next one from projections there."""
    errors, gap = end_point_errors(evidence)
    tracks = evidence.tracks
    rows = (tracks.point[tracks.track] >= 0) & (tracks.frame > tracks.start[tracks.track])
    start, errors = tracks.start[tracks.track[rows]][gap == 1], errors[gap == 1]
    frames = [f for f in torch.unique(start).tolist() if int((start == f).sum()) >= FEWEST_IN_FRAME]
    return {frame: float(errors[start == frame].quantile(0.5)) for frame in frames}


def errors_by_gap(evidence: Evidence) -> dict[int, float]:
    """Median distance in working pixels at each gap with enough points."""
    errors, gap = end_point_errors(evidence)
    found = {}
    for wanted in GAPS:
        some = errors[(gap == wanted)]
        if len(some) >= FEWEST:
            found[wanted] = float(some.quantile(0.5))
    return found


def end_point_errors(evidence: Evidence) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each row of each followed projection: distance in working pixels (1000 behind the camera), and its gap."""
    tracks, clip = evidence.tracks, evidence.working
    rows = (tracks.point[tracks.track] >= 0) & (tracks.frame > tracks.start[tracks.track])
    track, frame = tracks.track[rows], tracks.frame[rows]
    seen = clip.camera_from_world[frame].apply(clip.points[tracks.point[track]])
    pixels = torch.full((len(track), 2), torch.nan, dtype=torch.float64)
    for camera in dict.fromkeys(clip.cameras):
        own = torch.tensor([c == camera for c in clip.cameras])[frame]
        pixels[own] = camera.project(seen[own])
    return (pixels - tracks.pixels[rows]).norm(dim=-1).nan_to_num(1000.0), frame - tracks.start[track]


def depth_ratios(evidence: Evidence) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of followed points with a well-known own depth: ln(own depth / given), its sd, the given depth, the frame."""
    found, tracks, clip = evidence.retriangulated, evidence.retriangulated_tracks, evidence.working
    motion = clip.camera_from_world[tracks.start]
    own, given = motion.apply(found.bundle.points)[:, 2], motion.apply(clip.points[tracks.point])[:, 2]
    ratio = torch.log(own / given)
    good = (found.depth_sd < KNOWN_DEPTH) & ratio.isfinite()
    return ratio[good], found.depth_sd[good], given[good], tracks.start[good]


def depth_scale(evidence: Evidence) -> Check:
    """Are all points off by one factor? Depth is focal length times baseline over parallax: it tells the former."""
    ratio, _, _, _ = depth_ratios(evidence)
    if len(ratio) < FEWEST:
        return cannot_tell(MOST_DEPTH_FACTOR, "at most", "optical flow tells the depth of too few points")
    middle = float(ratio.quantile(0.5))
    scatter = float((ratio - middle).abs().quantile(0.5))
    factor = math.exp(middle)
    one_factor = scatter < 0.5 * abs(middle) < MOST_FOCAL_FACTOR
    return at_most(
        abs(middle),
        MOST_DEPTH_FACTOR,
        f"the images put the points {factor:.2f} times as far away as they are given",
        f"the focal length is probably wrong by about {abs(factor - 1):.0%} (the camera file is not that of SfM), or "
        "points and poses are in different units; use the camera that SfM used"
        if one_factor
        else "not by one factor, so that neither units nor the focal length alone explain it: points come from wrong "
        "matches, or parts of the path have different scales; reconstruct again",
        unit="% off",
        null=0.0,
        standard_error=1.86 * scatter / len(ratio) ** 0.5,
    )


def point_depth(evidence: Evidence) -> Check:
    """Are the points, one factor aside, where the given poses and optical flow put them?"""
    ratio, sd, _, _ = depth_ratios(evidence)
    if len(ratio) < FEWEST:
        return cannot_tell(MOST_DEPTH_ERROR, "at most", "optical flow tells the depth of too few points")
    noise = 0.67 * float(sd.quantile(0.5))
    spread = float((ratio - ratio.quantile(0.5)).abs().quantile(0.5))
    value = max(0.0, spread**2 - noise**2) ** 0.5
    return at_most(
        value,
        MOST_DEPTH_ERROR,
        f"the depths of {len(ratio)} points differ by {value:.1%} from those that optical flow and the poses give",
        "single points are not where the images put them: they were moved, or triangulated from wrong matches",
        unit="%",
        null=noise,
        standard_error=float(ratio.std()) / len(ratio) ** 0.5,
    )


def depth_order(evidence: Evidence) -> Check:
    """Are near points near (rank correlation within frames)?"""
    ratio, sd, given, frame = depth_ratios(evidence)
    own = given * ratio.exp()
    found, weights = [], []
    for f in torch.unique(frame).tolist():
        some = frame == f
        if int(some.sum()) >= 12 and float(given[some].log().std()) > 0 and float(own[some].log().std()) > 0.08:
            found.append(rank_correlation(given[some], own[some]))
            weights.append(int(some.sum()))
    if len(found) < 3:
        return cannot_tell(LEAST_ORDER, "at least", "too little depth in the frames to compare its order")
    value = float(torch.tensor(found, dtype=torch.float64).quantile(0.5))
    return at_least(
        value,
        LEAST_ORDER,
        f"the order of depths within a frame agrees with that of optical flow by {value:.2f} (rank correlation)",
        "near and far are mixed up: points moved or flattened, or a mirrored reconstruction",
        null=0.0,
    )


def rank_correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Spearman's; NaN where one of the two is constant."""
    ranks = torch.stack([torch.argsort(torch.argsort(x)).double() for x in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])
