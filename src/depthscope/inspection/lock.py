"""Lock-on: do points land on the same tissue, in frames that saw them and in frames that did not?"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from depthscope.geometry.depth import sample
from depthscope.inspection.check import Check, at_least, cannot_tell
from depthscope.inspection.evidence import Evidence
from depthscope.photo_consistency import another_of_the_same
from depthscope.sequence import Sequence

LEAST_LOCK_ON, LEAST_ABOVE_NULL = 0.4, 0.2
LEAST_UNSEEN = 0.12
PATCH, REACH, NEAR_PX = 11, 8, 1.5
MOST_PAIRS, FEWEST_PAIRS, FARTHEST = 400, 60, 6
TEXTURE = 6.0
"""Grey levels (standard deviation, after local equalisation) that a patch must have to be compared."""

TURN_DEG = 1.5


def photo_consistency_seen(evidence: Evidence) -> Check:
    """Do the projections of a point show the same tissue?"""
    score = evidence.photo_consistency
    if not score.pairs:
        return cannot_tell(LEAST_LOCK_ON, "at least", "no point is seen by two frames")
    return at_least(
        score.mean,
        LEAST_LOCK_ON,
        f"patches around the projections of a point correlate by {score.mean:.2f} over {score.pairs} pairs",
        "the poses, the camera or the points do not belong to these images; check that all come from one run of SfM",
        null=score.null_mean,
    )


def photo_consistency_above_null(evidence: Evidence) -> Check:
    """More than those of different points do?"""
    score = evidence.photo_consistency
    return at_least(
        score.mean - score.null_mean,
        LEAST_ABOVE_NULL,
        f"patches of one point correlate by {score.mean - score.null_mean:.2f} more than those of different points do",
        "the images look alike everywhere, so that the correlation proves nothing",
        null=0.0,
    )


def photo_consistency_unseen(evidence: Evidence) -> Check:
    """Does a point land on its tissue in frames that it was not triangulated from?

    The peak of the normalised correlation of its patch (brought over by the local fronto-parallel plane) is sought
    within 8 px; the figure is the share of peaks within 1.5 px of the prediction, less the same share with poses turned
    by 1.5 degrees. p is of a sign test against depths shuffled within the frame.
    """
    rows, target = _unseen_pairs(evidence.working, evidence.seed)
    if len(rows) < FEWEST_PAIRS:
        return cannot_tell(LEAST_UNSEEN, "at least", "nearly every point was triangulated from every frame near it")
    draw = torch.Generator().manual_seed(evidence.seed)
    frames = evidence.working.observations.frame
    depth = evidence.working.observed_points[rows, 2]
    wrong = depth[another_of_the_same(frames[rows], draw)]
    hit, known = _hits(evidence, rows, target, depth, 0.0)
    other, _ = _hits(evidence, rows, target, wrong, 0.0)
    turned, _ = _hits(evidence, rows, target, depth, TURN_DEG)
    count = int(known.sum())
    if count < FEWEST_PAIRS:
        return cannot_tell(LEAST_UNSEEN, "at least", f"only {count} patches have enough texture to be found again")
    share, null = (float(h[known].double().mean()) for h in (hit, turned))
    only, lost = int((hit & ~other & known).sum()), int((other & ~hit & known).sum())
    p = 0.5 * math.erfc((only - lost - 1) / math.sqrt(2 * max(1, only + lost)))
    error = math.sqrt((share * (1 - share) + null * (1 - null)) / count)
    return at_least(
        share - null,
        LEAST_UNSEEN,
        f"in frames that did not triangulate them {share:.0%} of {count} points lie within {NEAR_PX} px of the tissue, "
        f"{null:.0%} with poses turned by {TURN_DEG} degrees",
        "points do not land on their tissue in other frames: poses or depths are wrong; reconstruct again",
        unit="% apart",
        null=0.0,
        standard_error=error,
        p_value=p,
    )


def _unseen_pairs(clip: Sequence, seed: int) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Observations, and frames near them in time that did not see their points."""
    frame, point = clip.observations.frame, clip.observations.point
    rows, targets = [], []
    for gap in [g for g in range(-FARTHEST, FARTHEST + 1) if g]:
        target = frame + gap
        valid = (target >= 0) & (target < len(clip))
        valid &= ~clip.seen[target.clamp(0, len(clip) - 1), point]
        rows.append(valid.nonzero().flatten())
        targets.append(target[valid])
    row, target = torch.cat(rows), torch.cat(targets)
    order = torch.randperm(len(row), generator=torch.Generator().manual_seed(seed))[: 3 * MOST_PAIRS]
    return row[order], target[order]


def _hits(
    evidence: Evidence, rows: Tensor, target: Tensor, depth: Float[Tensor, " pairs"], turn_deg: float
) -> tuple[Tensor, Tensor]:
    """Whether the best place of each patch lies where it is predicted, and whether that means anything."""
    clip, grey = evidence.working, evidence.images.grey
    hit, known = torch.zeros(len(rows), dtype=torch.bool), torch.zeros(len(rows), dtype=torch.bool)
    source = clip.observations.frame[rows]
    at = clip.projections[rows]
    angle = torch.full((len(rows),), math.radians(turn_deg), dtype=torch.float64)
    angle = angle * torch.where(torch.arange(len(rows)) % 2 == 0, 1.0, -1.0)
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    across = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], -1).reshape(-1, 3, 3)
    upright = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], -1).reshape(-1, 3, 3)
    turn = torch.where((torch.arange(len(rows)) % 4 < 2)[:, None, None], across, upright)
    camera = clip.cameras[0]
    step = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    rays = camera.unproject(at[:, None] + step)
    motion = clip.camera_from_world[target] @ clip.camera_from_world[source].inverse()
    seen = motion.unsqueeze(1).apply(rays * depth[:, None, None])
    seen = (turn[:, None] @ seen[..., None])[..., 0]
    there = camera.project(seen)
    centre, affine = there[:, 0], (there[:, 1:] - there[:, :1]).transpose(-1, -2) / 4
    size = torch.tensor(clip.size_px, dtype=torch.float64)
    margin = REACH + PATCH
    usable = ((centre > margin) & (centre < size - margin)).all(-1) & (at > PATCH).all(-1) & (at < size - PATCH).all(-1)
    stretch = torch.linalg.det(affine.nan_to_num()).abs()
    usable &= (stretch > 0.2) & (stretch < 5)
    usable &= torch.cumsum(usable, 0) <= MOST_PAIRS
    small, wide = _grid(PATCH), _grid(PATCH + 2 * REACH)
    for a in torch.unique(source[usable]).tolist():
        first = torch.from_numpy(grey[a])[None, None].float()
        for b in torch.unique(target[usable & (source == a)]).tolist():
            some = (usable & (source == a) & (target == b)).nonzero().flatten()
            second = torch.from_numpy(grey[b])[None, None].float()
            patch = sample(first, (at[some, None, None] + small).float()[None])[0, 0]
            places = centre[some, None, None] + (affine[some, None, None] @ wide[..., None])[..., 0]
            window = sample(second, places.float()[None])[0, 0]
            peak, offset = _peak(patch, window)
            off = (affine[some] @ offset.double()[..., None])[..., 0].norm(dim=-1)
            hit[some] = (off <= NEAR_PX) & (peak > 0.4)
            known[some] = patch.flatten(1).std(-1) > TEXTURE
    return hit, known


def _grid(side: int) -> Tensor:
    offset = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    return torch.stack(torch.meshgrid(offset, offset, indexing="xy"), -1)


def _peak(patch: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """The highest correlation of each patch in its window, and where it is from the middle, (x, y)."""
    flat = patch.flatten(1)
    flat = torch.nn.functional.normalize(flat - flat.mean(-1, keepdim=True), dim=-1)
    pieces = torch.nn.functional.unfold(window[:, None], PATCH)
    pieces = pieces - pieces.mean(1, keepdim=True)
    score = (flat[:, :, None] * pieces).sum(1) / pieces.norm(dim=1).clamp_min(1e-6)
    best, place = score.max(-1)
    side = 2 * REACH + 1
    return best, torch.stack([place % side - REACH, torch.div(place, side, rounding_mode="floor") - REACH], -1).float()
