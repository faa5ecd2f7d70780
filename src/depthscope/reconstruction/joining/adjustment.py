"""Bundle adjustment of a map: points that several of its clips saw pull the clips together."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Similarity
from depthscope.inspection.adjustment import Bundle, adjusted, triangulated
from depthscope.reconstruction.joining.merging import Merged
from depthscope.sequence import Sequence

MOST_FRAMES = 200
"""Larger maps stay as they were joined: the dense equations grow with the square of the frames."""

MOST_LINKING, MOST_TRACKS = 600, 1200
"""Points that several clips saw, and points in all, by which poses are adjusted; all points follow."""

LEAST_LINKING = 20


@dataclass(frozen=True)
class MapAdjustment:
    """What adjusting a map did.

    Attributes:
        linking_points: Points that several clips saw.
        before_px: Reprojection error before, median over all observations.
        after_px: And after; NaN where nothing was adjusted.
        kept: Whether the adjusted map is the result: its error is smaller.
    """

    linking_points: int
    before_px: float
    after_px: float = float("nan")
    kept: bool = False

    def figures(self) -> dict[str, Any]:
        """As plain values; None for an error that there is not."""
        return {key: None if value != value else value for key, value in asdict(self).items()}


def adjusted_map(found: Merged, seed: int = 0) -> tuple[Sequence, MapAdjustment]:
    """Moves cameras and points of a map to where all observations want them; as it was where that does not help.

    Args:
        found: A map, in the world and the unit of its first member, which it keeps.
        seed: Of the points that are drawn.
    """
    sequence, count = found.sequence, int(found.linking.sum())
    whole, known = bundle_of_map(sequence)
    before = MapAdjustment(count, float(whole.errors_px.quantile(0.5)))
    if count < LEAST_LINKING or len(sequence) > MOST_FRAMES:
        return sequence, before
    some = adjusted(whole.of_tracks(drawn(found, known, seed)), steps=20).bundle
    rest = adjusted(triangulated(replace(whole, camera_from_world=some.camera_from_world)), poses=False, steps=8).bundle
    after = replace(before, after_px=float(rest.errors_px.quantile(0.5)))
    if not after.after_px < after.before_px:
        return sequence, after
    moved = replace(sequence, camera_from_world=rest.camera_from_world, points=rest.points)
    try:
        back = Similarity.estimate(moved.camera_centres, sequence.camera_centres)
    except BadInputError:
        return sequence, after
    return moved.moved(back), replace(after, kept=True)


def bundle_of_map(sequence: Sequence) -> tuple[Bundle, Bool[Tensor, " points"]]:
    """All observations of a sequence that lie on the plane z = 1, and the points that two or more of them see."""
    seen = sequence.observations
    pixels = (sequence.projections if seen.pixels is None else seen.pixels).double()
    plane: Float[Tensor, "observations 2"] = torch.full_like(pixels, torch.nan)
    for camera in dict.fromkeys(sequence.cameras):
        own = torch.tensor([one == camera for one in sequence.cameras])[seen.frame]
        plane[own] = camera.unproject(pixels[own])[:, :2]
    valid = plane.isfinite().all(-1)
    focal = sum(sequence.cameras[0].focal_px) / 2
    bundle = Bundle(
        seen.point[valid], seen.frame[valid], plane[valid], sequence.camera_from_world, sequence.points.double(), focal
    )
    return bundle, torch.bincount(bundle.track, minlength=len(sequence.points)) >= 2


def drawn(found: Merged, known: Bool[Tensor, " points"], seed: int) -> Bool[Tensor, " points"]:
    """Points by which poses are adjusted: those that link the clips, then those that most frames see."""
    draw = torch.Generator().manual_seed(seed)
    linking = (found.linking & known).nonzero().flatten()
    linking = linking[torch.randperm(len(linking), generator=draw)[:MOST_LINKING]]
    seen = torch.bincount(found.sequence.observations.point, minlength=len(known)).double()
    seen[~known | found.linking] = 0
    seen += torch.rand(len(seen), generator=draw, dtype=torch.float64) * (seen > 0)
    others = seen.argsort(descending=True)[: MOST_TRACKS - len(linking)]
    chosen = torch.zeros_like(known)
    chosen[linking] = True
    chosen[others[seen[others] > 0]] = True
    return chosen
