"""A small bundle adjustment: tracks against poses, points and, if asked, the focal length and one distortion term.

Levenberg-Marquardt with the points eliminated (Schur complement; Triggs et al. 1999), Cauchy weights. Dense, for some
tens of frames and hundreds of tracks: a witness, not a reconstruction.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from depthscope.geometry import RigidMotion
from depthscope.geometry.rotation import rotation_from_vector, skew
from depthscope.geometry.scale import robust_std

ROBUST_PX = 1.5
"""Residual from which an observation loses weight."""

STEPS = 15


@dataclass(frozen=True, eq=False)
class Bundle:
    """Tracks with what they are explained by; all rays are on the plane z = 1 of the given camera, undistorted.

    Attributes:
        track: Number of the track of each observation.
        frame: Its frame.
        plane: Where it was seen, (observations, 2).
        camera_from_world: Poses.
        points: One for each track.
        focal_px: Pixels per unit of the plane.
        log_focal: ln of true over given focal length.
        k1: Radial distortion that the given camera lacks.
    """

    track: Int[Tensor, " observations"]
    frame: Int[Tensor, " observations"]
    plane: Float[Tensor, "observations 2"]
    camera_from_world: RigidMotion
    points: Float[Tensor, "tracks 3"]
    focal_px: float
    log_focal: float = 0.0
    k1: float = 0.0

    @property
    def residuals_px(self) -> Float[Tensor, "observations 2"]:
        """Predicted minus seen."""
        camera = self.camera_from_world[self.frame].apply(self.points[self.track])
        flat = camera[:, :2] / _safe(camera[:, 2:])
        bent = math.exp(self.log_focal) * (1 + self.k1 * (flat * flat).sum(-1, keepdim=True)) * flat
        return (bent - self.plane) * self.focal_px

    @property
    def errors_px(self) -> Float[Tensor, " observations"]:
        """Length of the residuals; 1000 behind the camera."""
        depth = self.camera_from_world[self.frame].apply(self.points[self.track])[:, 2]
        return torch.where(depth > 0, self.residuals_px.norm(dim=-1).clamp_max(1e3), 1e3)

    @property
    def cost(self) -> float:
        """Mean Cauchy cost."""
        return float(torch.log1p((self.errors_px / ROBUST_PX) ** 2).mean())

    def of_tracks(self, chosen: Bool[Tensor, " tracks"]) -> "Bundle":
        """Some of the tracks, renumbered."""
        number, rows = torch.cumsum(chosen, 0) - 1, chosen[self.track]
        return replace(
            self,
            track=number[self.track[rows]],
            frame=self.frame[rows],
            plane=self.plane[rows],
            points=self.points[chosen],
        )


@dataclass(frozen=True, eq=False)
class Adjusted:
    """What came out.

    Attributes:
        bundle: The adjusted bundle.
        log_focal_sd: Standard deviation of `log_focal` with all else free; infinite where it was not.
        sigma_px: Robust standard deviation of one coordinate of a residual.
        depth_sd: For each track, the standard deviation of its depth (its largest direction) over its mean depth, poses
            held.
        weakest: Its unit vector in the world for each track.
    """

    bundle: Bundle
    log_focal_sd: float
    sigma_px: float
    depth_sd: Float[Tensor, " tracks"]
    weakest: Float[Tensor, "tracks 3"]


def triangulated(bundle: Bundle) -> Bundle:
    """Points from rays and poses alone: nearest to all rays of a track, each row weighted alike."""
    rays = torch.nn.functional.normalize(torch.cat([bundle.plane, torch.ones_like(bundle.plane[:, :1])], -1), dim=-1)
    motion = bundle.camera_from_world.inverse()[bundle.frame]
    directions = RigidMotion(motion.rotation, torch.zeros_like(motion.translation)).apply(rays)
    across = torch.eye(3, dtype=rays.dtype) - directions[:, :, None] * directions[:, None, :]
    count = len(bundle.points)
    matrix = rays.new_zeros(count, 3, 3).index_add(0, bundle.track, across)
    right = rays.new_zeros(count, 3).index_add(0, bundle.track, (across @ motion.translation[..., None])[..., 0])
    tiny = 1e-7 * torch.eye(3, dtype=rays.dtype)
    start = torch.full((count,), len(bundle.track), dtype=torch.long)
    start = start.scatter_reduce(0, bundle.track, torch.arange(len(bundle.track)), "amin")
    guess = bundle.points.nan_to_num()
    points = torch.linalg.solve(matrix + tiny, (right + (tiny @ guess[..., None])[..., 0])[..., None])[..., 0]
    start = start.clamp_max(len(bundle.track) - 1)  # a track that nobody saw keeps its place whatever its depth is
    depth = bundle.camera_from_world[bundle.frame[start]].apply(points)[:, 2]
    return replace(bundle, points=torch.where((depth > 0)[:, None], points, guess))


def adjusted(
    bundle: Bundle, *, poses: bool = True, intrinsics: bool = False, steps: int = STEPS, robust_px: float = ROBUST_PX
) -> Adjusted:
    """Moves points, and if asked poses (all but the first) and focal length with k1, to where the tracks want them."""
    damping = 1e-4
    cost = _cost(bundle, robust_px)
    for _ in range(steps):
        system = _System.of(bundle, poses, intrinsics, robust_px)
        for _ in range(4):
            trial = system.stepped(bundle, damping)
            found = _cost(trial, robust_px)
            if found < cost:
                break
            damping *= 10
        else:
            break
        gain, cost, bundle, damping = cost - found, found, trial, max(damping / 10, 1e-9)
        if gain < 1e-5 * cost and damping < 1e-4:
            break
    system = _System.of(bundle, poses, intrinsics, robust_px)
    residuals = bundle.residuals_px
    sigma = float(robust_std(residuals)) if len(residuals) else math.nan
    spread, weakest = system.point_sd()
    camera = bundle.camera_from_world[bundle.frame].apply(bundle.points[bundle.track])[:, 2]
    depth = torch.zeros_like(spread).index_add(0, bundle.track, camera)
    depth = depth / torch.bincount(bundle.track, minlength=len(spread)).clamp_min(1)
    noise = max(sigma, 0.3)
    sd = system.log_focal_sd() * noise if intrinsics else math.inf
    return Adjusted(bundle, sd, sigma, noise * spread / depth.clamp_min(1e-12), weakest)


def _cost(bundle: Bundle, robust_px: float) -> float:
    return float(torch.log1p((bundle.errors_px / robust_px) ** 2).sum())


def _safe(depth: Tensor) -> Tensor:
    return torch.where(depth.abs() < 1e-9, 1e-9, depth)


@dataclass(frozen=True, eq=False)
class _System:
    """Normal equations: cameras C (6 a frame, 2 for the lens), points P, between them W; without cameras no C or W."""

    cameras: Tensor
    points: Tensor
    between: Tensor
    right_cameras: Tensor
    right_points: Tensor
    free: Tensor

    @classmethod
    def of(cls, bundle: Bundle, poses: bool, intrinsics: bool, robust_px: float) -> "_System":
        rotation = bundle.camera_from_world.rotation[bundle.frame]
        turned = (rotation @ bundle.points[bundle.track][..., None])[..., 0]
        camera = turned + bundle.camera_from_world.translation[bundle.frame]
        depth = _safe(camera[:, 2])
        flat = camera[:, :2] / depth[:, None]
        square = (flat * flat).sum(-1)
        grow = math.exp(bundle.log_focal) * bundle.focal_px
        zero = torch.zeros_like(depth)
        project = torch.stack(
            [
                torch.stack([1 / depth, zero, -flat[:, 0] / depth], -1),
                torch.stack([zero, 1 / depth, -flat[:, 1] / depth], -1),
            ],
            -2,
        )
        eye = torch.eye(2, dtype=depth.dtype)
        bend = (1 + bundle.k1 * square)[:, None, None] * eye + 2 * bundle.k1 * flat[:, :, None] * flat[:, None, :]
        by_camera = grow * bend @ project
        by_point = by_camera @ rotation
        residual = bundle.residuals_px
        weight = (1 / (1 + (residual.norm(dim=-1) / robust_px) ** 2))[:, None, None]
        weight = torch.where((depth > 0)[:, None, None], weight, 1e-6)
        frames, tracks = len(bundle.camera_from_world.translation), len(bundle.points)
        size = 6 * frames + 2
        free = torch.zeros(size, dtype=torch.bool)
        free[6:-2] = poses
        free[-2:] = intrinsics
        by_point_t = (weight * by_point).transpose(-1, -2)
        of_points = depth.new_zeros(tracks, 3, 3).index_add(0, bundle.track, by_point_t @ by_point)
        right_points = depth.new_zeros(tracks, 3).index_add(0, bundle.track, (by_point_t @ residual[..., None])[..., 0])
        if not (poses or intrinsics):  # then the points are alone, and what is between them and cameras costs the most
            nothing = depth.new_zeros(0)
            return cls(nothing, of_points, nothing, nothing, right_points, free)
        by_pose = torch.cat([by_camera @ -skew(turned), by_camera], -1)
        bent = grow * (1 + bundle.k1 * square)[:, None] * flat
        by_lens = torch.stack([bent, grow * square[:, None] * flat], -1)
        columns = torch.cat(
            [6 * bundle.frame[:, None] + torch.arange(6), torch.full((len(depth), 2), size - 2) + torch.arange(2)], -1
        )
        by_all = torch.cat([by_pose, by_lens], -1)
        weighted = (weight * by_all).transpose(-1, -2)
        place = columns[:, :, None] * size + columns[:, None, :]
        matrix = depth.new_zeros(size * size).index_add(0, place.flatten(), (weighted @ by_all).flatten())
        right = depth.new_zeros(size).index_add(0, columns.flatten(), (weighted @ residual[..., None]).flatten())
        between = depth.new_zeros(size * tracks, 3).index_add(
            0, (columns * tracks + bundle.track[:, None]).flatten(), (weighted @ by_point).flatten(0, 1)
        )
        return cls(matrix.reshape(size, size), of_points, between.reshape(size, tracks, 3), right, right_points, free)

    def stepped(self, bundle: Bundle, damping: float) -> Bundle:
        """The bundle after one damped step."""
        diagonal = torch.diagonal(self.points, dim1=-2, dim2=-1)
        inverse = torch.linalg.inv(
            self.points + torch.diag_embed(damping * diagonal + 1e-9 * (diagonal.mean() + 1e-30))
        )
        if not bool(self.free.any()):
            return replace(bundle, points=bundle.points - (inverse @ self.right_points[..., None])[..., 0])
        delta = torch.zeros(len(self.free), dtype=self.cameras.dtype)
        between = self.between[self.free]
        pulled = torch.einsum("ctk,tkl->ctl", between, inverse)
        matrix = self.cameras[self.free][:, self.free]
        matrix = matrix + torch.diag(damping * matrix.diagonal() + 1e-9 * matrix.diagonal().mean())
        matrix = matrix - pulled.flatten(1) @ between.flatten(1).T
        right = self.right_cameras[self.free] - pulled.flatten(1) @ self.right_points.flatten()
        delta[self.free] = -torch.linalg.lstsq(matrix, right[:, None], driver="gelsd").solution[:, 0]
        toward = self.right_points + torch.einsum("ctk,c->tk", self.between, delta)
        points = bundle.points - (inverse @ toward[..., None])[..., 0]
        turn = delta[:-2].reshape(-1, 6)
        motion = bundle.camera_from_world
        rotation = rotation_from_vector(turn[:, :3]) @ motion.rotation
        return replace(
            bundle,
            points=points,
            camera_from_world=RigidMotion(rotation, motion.translation + turn[:, 3:]),
            log_focal=max(-1.5, min(1.5, bundle.log_focal + float(delta[-2]))),
            k1=bundle.k1 + float(delta[-1]),
        )

    def log_focal_sd(self) -> float:
        """For noise of one pixel."""
        diagonal = torch.diagonal(self.points, dim1=-2, dim2=-1)
        inverse = torch.linalg.inv(self.points + torch.diag_embed(1e-9 * (diagonal + diagonal.mean())))
        between = self.between[self.free]
        matrix = self.cameras[self.free][:, self.free]
        reduced = matrix - torch.einsum("ctk,tkl->ctl", between, inverse).flatten(1) @ between.flatten(1).T
        reduced = reduced + torch.diag(1e-9 * matrix.diagonal())
        return math.sqrt(max(0.0, float(torch.linalg.inv(reduced)[-2, -2])))

    def point_sd(self) -> tuple[Tensor, Tensor]:
        """For each point the standard deviation along its weakest direction, and that direction, for one pixel."""
        values, vectors = torch.linalg.eigh(self.points)
        return values[:, 0].clamp_min(1e-30).rsqrt(), vectors[..., 0]
