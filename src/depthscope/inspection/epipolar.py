"""Held-out epipolar geometry: own matches against the given poses, and against an essential matrix of their own."""

import math
from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.inspection.check import NOT_STILL, Check, at_least, at_most, cannot_tell, cut_at
from depthscope.inspection.evidence import Evidence, HeldOutMatches
from depthscope.sequence import Sequence

WITHIN_PX = 1.5
LEAST_SHARE, LEAST_HELD_OUT = 0.7, 0.7
MOST_BROKEN = 0.35
MOST_MATCHES = 150
FEWEST, GAPS = 25, (1, 4)
MOST_TRACK_ERROR = 0.004


def shares(evidence: Evidence) -> list[tuple[int, int, float, float]]:
    """For pairs (first frame, gap): share of own matches within 1.5 px of the given epipolar lines, and of fresh."""
    return _shares(evidence)


@lru_cache(maxsize=4)
def _shares(evidence: Evidence) -> list[tuple[int, int, float, float]]:
    tracks, clip = evidence.tracks.of(evidence.tracks.point < 0), evidence.working
    found = []
    for gap in GAPS:
        first, later = tracks.pairs(gap)
        for f in range(0, len(clip) - gap, 1 if gap == 1 else 3):
            rows = tracks.frame[first] == f
            if int(rows.sum()) < FEWEST:
                continue
            chosen = rows.nonzero().flatten()
            chosen = chosen[:: max(1, len(chosen) // MOST_MATCHES)]
            one = clip.cameras[f].unproject(tracks.pixels[first[chosen]])[:, :2]
            two = clip.cameras[f + gap].unproject(tracks.pixels[later[chosen]])[:, :2]
            focal = sum(clip.cameras[f].focal_px) / 2
            given = sampson_px(one, two, _essential(clip.camera_from_world[f], clip.camera_from_world[f + gap]), focal)
            fresh = sampson_px(one, two, _fresh(one, two, focal), focal)
            found.append(
                (f, gap, float((given < WITHIN_PX).double().mean()), float((fresh < WITHIN_PX).double().mean()))
            )
    return found


def sampson_px(
    one: Float[Tensor, "matches 2"],
    two: Float[Tensor, "matches 2"],
    essential: Float[Tensor, "*matches 3 3"],
    focal_px: float | Float[Tensor, " matches"],
) -> Float[Tensor, " matches"]:
    """Sampson's distance from the epipolar geometry (Hartley and Zisserman 2003, eq. 11.9), in pixels.

    Args:
        one: Places on the plane z = 1 of the first camera.
        two: Of the second.
        essential: One for all matches, or one for each.
        focal_px: Likewise.
    """
    a, b = (torch.cat([x, torch.ones_like(x[:, :1])], -1) for x in (one, two))
    line, back = (essential @ a[..., None])[..., 0], (essential.mT @ b[..., None])[..., 0]
    square = (line[:, :2] ** 2).sum(-1) + (back[:, :2] ** 2).sum(-1)
    return (b * line).sum(-1).abs() / square.clamp_min(1e-30).sqrt() * focal_px


def _essential(a_from_world, b_from_world) -> Tensor:
    b_from_a = b_from_world @ a_from_world.inverse()
    x, y, z = b_from_a.translation.tolist()
    norm = math.sqrt(x * x + y * y + z * z) or 1.0
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64) / norm
    return cross @ b_from_a.rotation


def _fresh(one: Tensor, two: Tensor, focal_px: float) -> Tensor:
    cv2.setRNGSeed(0)
    matrix, _ = cv2.findEssentialMat(
        one.numpy(), two.numpy(), np.eye(3), method=cv2.USAC_FAST, prob=0.99, threshold=1.0 / focal_px, maxIters=150
    )
    if matrix is None or matrix.shape != (3, 3):
        return torch.full((3, 3), torch.nan, dtype=torch.float64)
    return torch.from_numpy(np.asarray(matrix, np.float64))


def epipolar_share(evidence: Evidence) -> Check:
    """Do own matches lie on the epipolar lines of the poses?"""
    found = shares(evidence)
    if len(found) < 3:
        return cannot_tell(LEAST_SHARE, "at least", "optical flow finds too few matches of its own")
    table = torch.tensor([(s, n) for _, _, s, n in found], dtype=torch.float64)
    share, fresh = table.quantile(0.5, dim=0).tolist()
    return at_least(
        share,
        LEAST_SHARE,
        f"{share:.0%} of matches that SfM did not see lie within {WITHIN_PX} px of where the poses allow "
        f"({fresh:.0%} with poses fitted to them)",
        "the poses do not belong to these images: shuffled, of another clip or order, or SfM failed as a whole",
        unit="%",
        null=fresh,
        standard_error=float(table[:, 0].std() / len(table) ** 0.5),
    )


def broken_links(evidence: Evidence) -> Check:
    """Is there a place in the path where the poses break?"""
    pairs = [(f, s, n) for f, gap, s, n in shares(evidence) if gap == 1 and n > 0.6]
    if len(pairs) < 3:
        return cannot_tell(MOST_BROKEN, "at most", "optical flow finds too few matches between neighbouring frames")
    typical = float(torch.tensor([n - s for _, s, n in pairs], dtype=torch.float64).quantile(0.5))
    worst, gap = max(((f, n - s - typical) for f, s, n in pairs), key=lambda row: row[1])
    names = evidence.working.frame_names
    return at_most(
        gap,
        MOST_BROKEN,
        f"between frames {names[worst]} and {names[worst + 1]} the poses lose {max(0.0, gap):.0%} of the matches",
        f"the path jumps there, or tissue or a tool moves by itself; {cut_at(names[worst + 1])}",
        unit="%",
    )


def track_fit(evidence: Evidence) -> Check:
    """Do tracks of many frames fit the poses?"""
    if len(evidence.own.points) < FEWEST:
        return cannot_tell(MOST_TRACK_ERROR, "at most", "optical flow finds too few tracks of its own")
    error = float(evidence.own.errors_px.quantile(0.5))
    fresh = float(evidence.with_given_lens.bundle.errors_px.quantile(0.5))
    return at_most(
        error / evidence.working.size_px[0],
        MOST_TRACK_ERROR,
        f"tracks that SfM did not see miss the poses by {error / evidence.images.scale:.2f} px (median; "
        f"{fresh / evidence.images.scale:.2f} px after fitting poses to them)",
        f"the poses do not explain how the images move: {NOT_STILL}",
        unit=" px",
        per_unit=evidence.working.size_px[0] / evidence.images.scale,
        null=fresh / evidence.working.size_px[0],
    )


def held_out_matches(evidence: Evidence) -> Check:
    """Do matches that were hidden from SfM fit its poses?"""
    matches = evidence.witnesses.matches
    if matches is None or len(matches.frame_a) < FEWEST:
        return cannot_tell(LEAST_HELD_OUT, "at least", "no matches were kept from SfM (`reconstruct` keeps some)")
    share = _held_out_share(evidence, matches)
    return at_least(
        share,
        LEAST_HELD_OUT,
        f"{share:.0%} of {len(matches.frame_a)} matches that were hidden from SfM fit its poses within 2 px",
        "SfM explains the matches it was given and not the others; reconstruct again with other settings",
        unit="%",
        null=None,
    )


def _held_out_share(evidence: Evidence, matches: HeldOutMatches) -> float:
    clip, scale = evidence.sequence, evidence.images.scale
    pairs, of = torch.unique(torch.stack([matches.frame_a, matches.frame_b], -1), dim=0, return_inverse=True)
    motion = clip.camera_from_world
    essential = torch.stack([_essential(motion[a], motion[b]) for a, b in pairs.tolist()])
    one, focal = _on_plane(clip, matches.frame_a, matches.pixels_a)
    two, _ = _on_plane(clip, matches.frame_b, matches.pixels_b)
    return float((sampson_px(one, two, essential[of], focal) * scale < 2).double().mean())


def _on_plane(clip: Sequence, frame: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels of frames on the plane z = 1 of their cameras, and the focal lengths of these."""
    plane, focal = torch.empty(len(frame), 2, dtype=torch.float64), torch.empty(len(frame), dtype=torch.float64)
    for camera in dict.fromkeys(clip.cameras):
        own = torch.tensor([c == camera for c in clip.cameras])[frame]
        plane[own] = camera.unproject(pixels[own].double())[:, :2]
        focal[own] = sum(camera.focal_px) / 2
    return plane, focal
