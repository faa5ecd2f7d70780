"""Support: is there enough of everything, and does it lie on tissue?"""

import math

import torch

from depthscope.inspection.check import Check, at_least, at_most, cannot_tell
from depthscope.inspection.evidence import Evidence

LEAST_FRAMES, LEAST_REGISTERED = 8.0, 0.8
LEAST_POINTS, LEAST_TRACK, LEAST_PAIRS, LEAST_SHARED = 30.0, 3.0, 1.0, 10
LEAST_CELLS, MOST_STATIONARY, MOST_ON_HIGHLIGHTS = 0.12, 0.2, 0.35
CELLS, STILL_PX, MOVING_PX = 8, 1.0, 4.0


def frames_placed(evidence: Evidence) -> Check:
    """Are there frames enough for errors to show?"""
    placed = len(evidence.sequence)
    return at_least(
        float(placed),
        LEAST_FRAMES,
        f"{placed} frames were placed",
        "so few explain nearly any motion; give more frames of the same place",
    )


def registered_share(evidence: Evidence) -> Check:
    """Did SfM place the frames it was given?"""
    placed, lost = len(evidence.sequence), len(evidence.sequence.unregistered)
    share = placed / (placed + lost)
    return at_least(
        share,
        LEAST_REGISTERED,
        f"{placed} of {placed + lost} frames were placed ({share:.0%})",
        "film more slowly or with more overlap, or leave out where sight is lost (depthscope reconstruct with --start "
        "and --end)",
        unit="%",
    )


def points_per_frame(evidence: Evidence) -> Check:
    """Does the typical frame have points to learn from?"""
    counts = evidence.sequence.seen.sum(1).double()
    median = float(counts.quantile(0.5))
    return at_least(
        median,
        LEAST_POINTS,
        f"frames see {median:.0f} points each (median; fewest {int(counts.min())})",
        "too few to scale a depth map by; let SfM find more features (lower its threshold, use larger images)",
    )


def track_length(evidence: Evidence) -> Check:
    """Are points followed through the clip?"""
    mean = len(evidence.sequence.observations) / len(evidence.sequence.points)
    return at_least(
        mean,
        LEAST_TRACK,
        f"a point is seen by {mean:.1f} frames (mean)",
        "points of two frames cannot be told from wrong matches; match more neighbours of each frame",
    )


def co_visible_pairs(evidence: Evidence) -> Check:
    """Are there pairs of frames that see the same points?"""
    seen = evidence.sequence.seen.float()
    pairs = int(((seen @ seen.T).triu(1) >= LEAST_SHARED).sum())
    ratio = pairs / len(evidence.sequence)
    return at_least(
        ratio,
        LEAST_PAIRS,
        f"{pairs} pairs of frames share {LEAST_SHARED} points or more, {ratio:.1f} per frame",
        "the consistency of depth between frames has little to work on; use more overlap",
    )


def cells_occupied(evidence: Evidence) -> Check:
    """Are the points spread over the picture?"""
    sequence = evidence.sequence
    width, height = sequence.size_px
    pixels = evidence.measured.nan_to_num(-1)
    column = (pixels[:, 0] / width * CELLS).floor().long()
    row = (pixels[:, 1] / height * CELLS).floor().long()
    inside = (column >= 0) & (column < CELLS) & (row >= 0) & (row < CELLS)
    cell = torch.zeros(len(sequence), CELLS * CELLS, dtype=torch.bool)
    cell[sequence.observations.frame[inside], (row * CELLS + column)[inside]] = True
    there = CELLS * CELLS
    if sequence.mask is not None:
        share = torch.nn.functional.adaptive_avg_pool2d(sequence.mask[None, None].float(), CELLS)
        there = max(1, int((share > 0.5).sum()))
    value = float((cell.sum(1).double() / there).clamp_max(1).quantile(0.5))
    return at_least(
        value,
        LEAST_CELLS,
        f"points lie in {value:.0%} of the cells of an 8 x 8 grid over the tissue (median frame)",
        "all depth comes from one corner of the picture; mask less, or let SfM find more features",
        unit="%",
    )


def stationary_share(evidence: Evidence) -> Check:
    """Do points stand still in the image while the scene moves (dirt, overlay, rim)?"""
    still, moving = stationary_points(evidence)
    if not bool(moving):
        return cannot_tell(MOST_STATIONARY, "at most", "the picture hardly moves")
    share = float(still.double().mean())
    return at_most(
        share,
        MOST_STATIONARY,
        f"{share:.0%} of the points stand still in the image while the scene moves",
        "they sit on the lens or on an overlay, not on tissue; mask them before SfM",
        unit="%",
    )


def stationary_points(evidence: Evidence) -> tuple[torch.Tensor, bool]:
    """Points whose observations keep their place, and whether the picture moves so that this means anything."""
    observations, pixels = evidence.sequence.observations, evidence.measured.nan_to_num()
    count = len(evidence.sequence.points)
    spread = torch.zeros(count, dtype=torch.float64)
    for axis in range(2):
        low = torch.full((count,), math.inf, dtype=torch.float64)
        high = torch.full((count,), -math.inf, dtype=torch.float64)
        low = low.scatter_reduce(0, observations.point, pixels[:, axis], "amin")
        high = high.scatter_reduce(0, observations.point, pixels[:, axis], "amax")
        spread = torch.maximum(spread, high - low)
    seen = torch.bincount(observations.point, minlength=count)
    tracks = evidence.tracks.corners
    first, later = tracks.pairs(2)
    if len(first) < 30:
        return torch.zeros(count, dtype=torch.bool), False
    motion = float((tracks.pixels[first] - tracks.pixels[later]).norm(dim=-1).quantile(0.5)) / evidence.images.scale
    return (spread < STILL_PX) & (seen >= 3), motion > MOVING_PX


def highlight_share(evidence: Evidence) -> Check:
    """Do points sit on mirror images of the lamp?"""
    working, images = evidence.working, evidence.images
    hit = on_highlight(evidence)
    area = sum(float(h.mean()) for h in images.highlight) / len(working)
    share = float(hit.double().mean())
    return at_most(
        share,
        MOST_ON_HIGHLIGHTS,
        f"{share:.0%} of the observations lie on highlights",
        "highlights move with the lamp, not with the tissue; mask them before SfM",
        unit="%",
        null=area,
    )


def on_highlight(evidence: Evidence) -> torch.Tensor:
    """For each observation of `working` whether it lies on a highlight."""
    working = evidence.working
    column, row = working.projections.nan_to_num().long().unbind(-1)
    width, height = working.size_px
    hit = torch.zeros(len(column), dtype=torch.bool)
    for f, highlight in enumerate(evidence.images.highlight):
        rows = working.observations.frame == f
        hit[rows] = torch.from_numpy(highlight)[row[rows].clamp(0, height - 1), column[rows].clamp(0, width - 1)]
    return hit
