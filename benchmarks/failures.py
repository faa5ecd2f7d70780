"""Failures of structure from motion on a clip whose truth is known, each with a dial from 0 (none) to 1.

A case is made on the level of the sequence: the observations are corrupted and, where a real reconstruction would have
absorbed that, a bundle adjustment follows, so that the residuals look as innocent as they would.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from depthscope.geometry import RigidMotion
from depthscope.inspection.adjustment import adjusted, triangulated
from depthscope.inspection.agreement import path_error
from depthscope.inspection.degeneracy import bundle_of_points
from depthscope.inspection.evidence import Evidence
from depthscope.sequence import Sequence

MOST_POINTS = 220
WRONG = 0.1


@dataclass(frozen=True, eq=False)
class Truth:
    """How wrong a case is.

    Attributes:
        path: RMS error of the camera centres after the best similarity, over the extent of the path.
        depth: Median relative depth error after one scale.
        failed: Whether one of them is above 10 %.
    """

    path: float
    depth: float

    @property
    def failed(self) -> bool:
        """Whether the case counts as wrong."""
        return not (self.path <= WRONG and self.depth <= WRONG)


def truth(case: Sequence, true: Sequence, numbers: Tensor, frames: Tensor) -> Truth:
    """Errors of a case; `numbers` and `frames` say which true points and frames are left."""
    path = path_error(case.camera_centres, true.camera_centres[frames])
    frame, point = case.observations.frame, case.observations.point
    given = case.observed_depths
    there = true.camera_from_world[frames[frame]].apply(true.points[numbers[point]])
    real = there.norm(dim=-1) if case.cameras[0].depth_kind == "distance" else there[:, 2]
    ratio = given / real
    ok = ratio > 0
    if not bool(ok.any()):
        return Truth(path, math.inf)
    ratio = ratio / ratio[ok].quantile(0.5)
    return Truth(path, float((ratio - 1).abs().quantile(0.5)))


def like_sfm(true: Sequence, draw: torch.Generator, noise_px: float) -> tuple[Sequence, Tensor]:
    """True poses and points as structure from motion would have found them: fewer points, noise, adjusted."""
    seen = true.seen.sum(0)
    chosen = (seen >= 3).nonzero().flatten()
    chosen = chosen[torch.randperm(len(chosen), generator=draw)[:MOST_POINTS]].sort().values
    kept = torch.zeros(len(true.points), dtype=torch.bool)
    kept[chosen] = True
    some = true.with_points(kept)
    pixels = some.projections + noise_px * torch.randn(len(some.observations), 2, generator=draw, dtype=torch.float64)
    observations = replace(some.observations, pixels=pixels)
    return absorbed(replace(some, observations=observations, point_error_px=None), steps=6), chosen


def absorbed(case: Sequence, steps: int = 12, *, fresh: bool = False) -> Sequence:
    """What bundle adjustment makes of the observations."""
    bundle = bundle_of_points(Evidence(case))
    if fresh:
        bundle = adjusted(triangulated(bundle), poses=False, steps=5).bundle
    found = adjusted(bundle, steps=steps).bundle
    return replace(case, points=found.points, camera_from_world=found.camera_from_world)


def reprojection_px(case: Sequence) -> float:
    """Mean reprojection error, cut at 4 px as mappers do."""
    error = (case.projections - case.observations.pixels).norm(dim=-1).nan_to_num(4.0)
    return float(error.clamp_max(4.0).mean())


def _with_pixels(case: Sequence, pixels: Tensor) -> Sequence:
    return replace(case, observations=replace(case.observations, pixels=pixels))


def shuffled_poses(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Some frames exchange their poses."""
    count = round(dial * len(case))
    some = torch.randperm(len(case), generator=draw)[:count]
    order = torch.arange(len(case))
    order[some] = some[torch.randperm(count, generator=draw)]
    return replace(case, camera_from_world=case.camera_from_world[order])


def path_jump(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """From some frame on the path is displaced."""
    extent = float((case.camera_centres - case.camera_centres.mean(0)).norm(dim=-1).square().mean().sqrt())
    shift = (
        torch.nn.functional.normalize(torch.randn(3, generator=draw, dtype=torch.float64), dim=0) * extent * dial * 2
    )
    translation = case.camera_from_world.translation.clone()
    start = int(len(case) * (0.3 + 0.4 * float(torch.rand(1, generator=draw))))
    translation[start:] += shift
    return replace(case, camera_from_world=replace(case.camera_from_world, translation=translation))


def wrong_focal(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """A focal length 0 to 30 % off, absorbed by adjustment."""
    sign = 1 if float(torch.rand(1, generator=draw)) > 0.5 else -1
    factor = 1 + sign * 0.3 * dial
    camera = case.cameras[0]
    wrong = replace(camera, focal_px=(camera.focal_px[0] * factor, camera.focal_px[1] * factor))
    return absorbed(replace(case, cameras=(wrong,) * len(case)), 25)


def focal_of_another_camera(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """The camera file of another scope, nothing adjusted."""
    factor = 1 + 0.3 * dial
    camera = case.cameras[0]
    wrong = replace(camera, focal_px=(camera.focal_px[0] * factor, camera.focal_px[1] * factor))
    changed = replace(case, cameras=(wrong,) * len(case))
    return _with_pixels(changed, changed.projections.nan_to_num())


def _along_rays(case: Sequence, factor: Tensor) -> Sequence:
    first = torch.full((len(case.points),), len(case))
    first = first.scatter_reduce(0, case.observations.point, case.observations.frame, "amin").clamp_max(len(case) - 1)
    centre = case.camera_centres[first]
    return replace(case, points=centre + (case.points - centre) * factor[:, None])


def points_moved(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Points move along their rays."""
    return _along_rays(case, torch.exp(0.5 * dial * torch.randn(len(case.points), generator=draw, dtype=torch.float64)))


def points_flattened(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Points move onto their best plane."""
    middle = case.points.mean(0)
    normal = torch.linalg.svd(case.points - middle, full_matrices=False).Vh[2]
    return replace(case, points=case.points - dial * ((case.points - middle) @ normal)[:, None] * normal)


def mirrored_depth(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Near becomes far."""
    motion = case.camera_from_world[:1]
    seen = motion.apply(case.points)
    depth = seen[:, 2].clamp_min(1e-3)
    middle = depth.quantile(0.5)
    wanted = depth * (middle / depth) ** (2 * dial)
    return replace(case, points=motion.inverse().apply(seen * (wanted / depth)[:, None]))


def wrong_matches(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Up to 80 % wrong observations, absorbed."""
    pixels = case.observations.pixels.clone()
    wrong = torch.rand(len(pixels), generator=draw) < 0.8 * dial
    pixels[wrong] += 25 * torch.randn(int(wrong.sum()), 2, generator=draw, dtype=torch.float64)
    return absorbed(_with_pixels(case, pixels), fresh=True)


def static_tracks(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Tracks that stand on the lens, absorbed."""
    point, pixels = case.observations.point, case.observations.pixels.clone()
    still = torch.rand(len(case.points), generator=draw) < 0.95 * dial
    home = torch.zeros(len(case.points), 2, dtype=torch.float64)
    home[point] = pixels
    rows = still[point]
    pixels[rows] = home[point[rows]] + 0.2 * torch.randn(int(rows.sum()), 2, generator=draw, dtype=torch.float64)
    return absorbed(_with_pixels(case, pixels), 25)


def highlight_tracks(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Tracks with half of the parallax, absorbed."""
    point, pixels = case.observations.point, case.observations.pixels.clone()
    rides = (torch.rand(len(case.points), generator=draw) < dial)[point]
    home = torch.zeros(len(case.points), 2, dtype=torch.float64)
    home[point] = pixels
    pixels[rides] = 0.5 * (pixels[rides] + home[point[rides]])
    return absorbed(_with_pixels(case, pixels), 25)


def scale_drift(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Steps grow along the path."""
    motion = case.camera_from_world
    rate = torch.exp(1.6 * dial * torch.linspace(0, 1, len(case), dtype=torch.float64))
    step = motion.origin[1:] - motion.origin[:-1]
    centres = torch.cat([motion.origin[:1], motion.origin[:1] + torch.cumsum(step * rate[1:, None], 0)])
    shift = -(motion.rotation @ centres[..., None])[..., 0]
    return _retriangulated(replace(case, camera_from_world=RigidMotion(motion.rotation, shift)))


def joined_parts(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Two parts of different scale."""
    motion, half = case.camera_from_world, len(case) // 2
    factor = math.exp(1.4 * dial * (1 if float(torch.rand(1, generator=draw)) > 0.5 else -1))
    centres = motion.origin.clone()
    centres[half:] = centres[half] + (centres[half:] - centres[half]) * factor
    shift = -(motion.rotation @ centres[..., None])[..., 0]
    return _retriangulated(replace(case, camera_from_world=RigidMotion(motion.rotation, shift)))


def random_tracks(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Tracks of noise, absorbed."""
    pixels = case.observations.pixels
    size = torch.tensor(case.size_px, dtype=torch.float64)
    drift = torch.cumsum(torch.randn(len(case), 2, generator=draw, dtype=torch.float64) * 6, 0)[case.observations.frame]
    home = torch.rand(len(case.points), 2, generator=draw, dtype=torch.float64) * size
    wild = home[case.observations.point] + drift
    return absorbed(_with_pixels(case, (1 - dial) * pixels + dial * wild), 25, fresh=True)


def hardly_moving(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Next to no baseline, the poses noise."""
    motion = case.camera_from_world
    small = _centred(motion.origin) * (1 - 0.98 * dial) + motion.origin.mean(0)
    jitter = 0.15 * dial * motion.origin.std(0).norm() * torch.randn(len(case), 3, generator=draw, dtype=torch.float64)
    shift = -(motion.rotation @ (small + jitter)[..., None])[..., 0]
    return _retriangulated(replace(case, camera_from_world=RigidMotion(motion.rotation, shift)))


def _centred(centres: Tensor) -> Tensor:
    return centres - centres.mean(0)


def merged_anatomy(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """The end of the clip is taken for its beginning."""
    count = max(0, round(0.5 * dial * len(case)))
    if not count:
        return case
    motion = case.camera_from_world
    other = torch.arange(len(case))
    other[-count:] = torch.arange(count)
    return replace(case, camera_from_world=motion[other])


def _retriangulated(case: Sequence) -> Sequence:
    bundle = bundle_of_points(Evidence(case))
    found = adjusted(triangulated(bundle), poses=False, steps=6).bundle
    return replace(case, points=found.points)


def too_few_points(case: Sequence, dial: float, draw: torch.Generator) -> Sequence:
    """Few and noisy points, absorbed."""
    left = max(6, round(len(case.points) * (1 - 0.97 * dial)))
    order = torch.randperm(len(case.points), generator=draw)
    case = _with_pixels(
        case,
        case.observations.pixels
        + 1.5 * dial * torch.randn(len(case.observations), 2, generator=draw, dtype=torch.float64),
    )
    hidden = torch.zeros(len(case.points), dtype=torch.bool)
    hidden[order[left:]] = True
    bundle = bundle_of_points(Evidence(case)).of_tracks(~hidden)
    found = adjusted(bundle, steps=15).bundle
    points = case.points.clone()
    points[~hidden] = found.points
    moved = replace(case, points=points, camera_from_world=found.camera_from_world)
    return moved.with_observations(~hidden[moved.observations.point])


FAILURES: dict[str, Callable[[Sequence, float, torch.Generator], Sequence]] = {
    "shuffled_poses": shuffled_poses,
    "path_jump": path_jump,
    "wrong_focal": wrong_focal,
    "focal_of_another_camera": focal_of_another_camera,
    "points_moved": points_moved,
    "points_flattened": points_flattened,
    "mirrored_depth": mirrored_depth,
    "wrong_matches": wrong_matches,
    "static_tracks": static_tracks,
    "highlight_tracks": highlight_tracks,
    "scale_drift": scale_drift,
    "joined_parts": joined_parts,
    "random_tracks": random_tracks,
    "hardly_moving": hardly_moving,
    "merged_anatomy": merged_anatomy,
    "too_few_points": too_few_points,
}
