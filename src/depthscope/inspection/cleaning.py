"""Cleaning: bad points and frames go one by one before a clip is refused for them."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.inspection.agreement import MOST_RESECTION, resected
from depthscope.inspection.check import NOT_STILL
from depthscope.inspection.degeneracy import depth_deviations
from depthscope.inspection.evidence import Evidence, working_scale
from depthscope.inspection.geometry import MOST_JUMP, confirmed_steps, largest_jump
from depthscope.inspection.retracking import KNOWN_DEPTH, MOST_ERROR, end_point_errors
from depthscope.inspection.support import on_highlight, stationary_points
from depthscope.sequence import Sequence

MOST_ERROR_PX = 4.0
"""Of working images."""

MOST_DEPTH_RATIO = 0.35
ON_HIGHLIGHT = 0.6
MOST_HIGHLIGHT = 0.05
"""Of the picture; where more is saturated it is over-exposed, not mirroring the lamp."""

MOST_DEVIATION = 0.15
"""Standard deviation over depth from which a point teaches nothing and tells no scale."""

MOST_DROPPED_FRAMES, MOST_DROPPED_POINTS = 0.3, 0.5

MOST_CONTRADICTED = 0.25
"""Share of points that the images contradict from which they are no stray ones: dropping the worst would only hide what
is wrong with all. Real clips have up to 9 %, noisy phantoms 22 %."""

TOO_MUCH = f"not where the images put them, which is too much to drop: {NOT_STILL}"


@dataclass(frozen=True, eq=False)
class Cleaned:
    """What remains of a sequence.

    Attributes:
        sequence: Without what was dropped; its notes say what that was.
        notes: The same notes.
        dropped_frames: Names of frames.
        dropped_points: Number of points.
        too_much: So much is bad that the rest is not to be believed either; nothing was dropped.
        evidence: What was looked at, on the sequence as it was.
        kept: Which of its points are left.
    """

    sequence: Sequence
    notes: tuple[str, ...]
    dropped_frames: tuple[str, ...]
    dropped_points: int
    too_much: bool
    evidence: Evidence
    kept: Bool[Tensor, " points"]


def cleaned(sequence: Sequence) -> Cleaned:
    """Drops points that fail by themselves, then frames that do; where nothing would be left, everything stays.

    Raises:
        BadInputError: An image cannot be read.
    """
    evidence = Evidence(sequence)
    bad, notes = _bad_points(evidence)
    everything = torch.ones_like(bad)
    frames = _bad_frames(evidence)
    names = tuple(name for name, wrong in zip(sequence.frame_names, frames.tolist(), strict=True) if wrong)
    if names:
        notes.append(f"dropped {len(names)} frames that are found elsewhere without their own help: {_few(names)}")
    too_much = float(frames.double().mean()) > MOST_DROPPED_FRAMES or float(bad.double().mean()) > MOST_DROPPED_POINTS
    if too_much:
        share = f"{float(bad.double().mean()):.0%} of the points and {len(names)} of {len(sequence)} frames"
        return Cleaned(sequence, (f"{share} are {TOO_MUCH}",), (), 0, True, evidence, everything)
    if not notes:
        return Cleaned(sequence, (), (), 0, False, evidence, everything)
    try:
        rest = sequence.with_points(~bad)
        if names:
            rest = rest.with_frames(~frames)
            lost = tuple(path.name for path, wrong in zip(sequence.images, frames.tolist(), strict=True) if wrong)
            rest = replace(rest, unregistered=(*rest.unregistered, *lost))
        rest = replace(rest, notes=(*rest.notes, *notes))
    except BadInputError:
        notes = ["nothing would be left without the bad points and frames"]
        return Cleaned(sequence, tuple(notes), (), 0, True, evidence, everything)
    return Cleaned(rest, tuple(notes), names, int(bad.sum()), False, evidence, ~bad)


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _bad_points(evidence: Evidence) -> tuple[Tensor, list[str]]:
    """Which points are dropped, and why in words."""
    clip, count = evidence.sequence, len(evidence.sequence.points)
    observations = clip.observations
    seen = torch.bincount(observations.point, minlength=count)
    reasons: dict[str, Tensor] = {}
    behind = clip.observed_depths <= 0
    reasons["that lie behind a camera that saw them"] = _share(observations.point, behind, seen) > 0
    if observations.pixels is not None:
        off = (clip.projections - observations.pixels.double()).norm(dim=-1).nan_to_num(1e3)
        mean = torch.zeros(count, dtype=torch.float64).index_add(0, observations.point, off) / seen.clamp_min(1)
        most = MOST_ERROR_PX / working_scale(clip.size_px)
        reasons[f"that miss their observations by more than {most:g} px"] = mean > most
    still, moving = stationary_points(evidence)
    if moving:
        reasons["that stand still in the image while the scene moves"] = still
    if len(evidence.working) == len(clip):  # else points of `working` have other numbers
        if sum(float(h.mean()) for h in evidence.images.highlight) / len(clip) < MOST_HIGHLIGHT:
            reasons["that lie on highlights"] = _share(observations.point, on_highlight(evidence), seen) > ON_HIGHLIGHT
        contradicted = _fail_retracking(evidence, count)
        if float(contradicted.double().mean()) <= MOST_CONTRADICTED:
            reasons["that do not move with the images"] = contradicted
        uncertain = depth_deviations(evidence) > MOST_DEVIATION
        if float(uncertain.double().mean()) <= MOST_DROPPED_POINTS:  # else it is the clip that is poor, and is told so
            reasons[f"whose depth is uncertain by more than {MOST_DEVIATION:.0%}"] = uncertain
    bad = torch.zeros(count, dtype=torch.bool)
    notes = []
    for why, some in reasons.items():
        fresh = some & ~bad
        if bool(fresh.any()):
            notes.append(f"dropped {int(fresh.sum())} of {count} points {why}")
        bad |= some
    return bad, notes


def _share(point: Tensor, wrong: Tensor, seen: Tensor) -> Tensor:
    total = torch.zeros(len(seen), dtype=torch.float64).index_add(0, point, wrong.double())
    return total / seen.clamp_min(1)


def _fail_retracking(evidence: Evidence, count: int) -> Tensor:
    """Points that optical flow takes elsewhere, or whose depth it contradicts: most of their tracks agree on it."""
    tracks = evidence.tracks
    rows = (tracks.point[tracks.track] >= 0) & (tracks.frame > tracks.start[tracks.track])
    point = tracks.point[tracks.track[rows]]
    errors, gap = end_point_errors(evidence)
    wrong = errors > 2 * MOST_ERROR * evidence.working.size_px[0]
    near = gap <= 5
    seen = torch.bincount(point[near], minlength=count)
    failing = (_share(point[near], wrong[near], seen) > 0.5) & (seen >= 3)
    found, own, clip = evidence.retriangulated, evidence.retriangulated_tracks, evidence.working
    motion = clip.camera_from_world[own.start]
    ratio = torch.log(motion.apply(found.bundle.points)[:, 2] / motion.apply(clip.points[own.point])[:, 2])
    known = (found.depth_sd < KNOWN_DEPTH) & ratio.isfinite()
    if int(known.sum()) >= 25:
        ratio = ratio - ratio[known].quantile(0.5)
        seen = torch.bincount(own.point[known], minlength=count)
        failing |= (_share(own.point[known], ratio[known].abs() > MOST_DEPTH_RATIO, seen) > 0.5) & (seen >= 2)
    return failing


def _bad_frames(evidence: Evidence) -> Tensor:
    """Frames that are found far from where they are said to be, and single ones that jump out of the path and back."""
    bad = torch.zeros(len(evidence.sequence), dtype=torch.bool)
    if len(evidence.working) == len(evidence.sequence):
        for frame, distance in resected(evidence).items():
            bad[frame] = distance is not None and distance > 3 * MOST_RESECTION
    bad |= _outliers_of_the_path(evidence)
    return bad


def _outliers_of_the_path(evidence: Evidence) -> Tensor:
    """Frames whose neighbours lie near each other and far from them."""
    centres = evidence.sequence.camera_centres
    bad = torch.zeros(len(centres), dtype=torch.bool)
    _, ratio = largest_jump(evidence)
    if ratio <= MOST_JUMP or len(centres) < 6:
        return bad
    step = (centres[1:] - centres[:-1]).norm(dim=-1)
    over = (centres[2:] - centres[:-2]).norm(dim=-1)
    typical = step.quantile(0.5)
    bad[1:-1] = (torch.minimum(step[1:], step[:-1]) > MOST_JUMP * typical) & (over < 3 * typical)
    confirmed = confirmed_steps(evidence)
    real = [f for f in range(1, len(centres) - 1) if f in confirmed and f - 1 in confirmed]
    bad[real] = False
    return bad
