"""Residuals of oriented points on a surface, whitened by the noise of a depth map, and their derivatives."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.geometry import RigidMotion, Similarity
from depthscope.geometry.rotation import rotation_from_vector, skew
from depthscope.registration.target import Beliefs
from depthscope.registration.view import PointNoise, Samples

SATURATION = 7.8
"""Energy at which a point is given up: half of twice chi-square of 3 degrees at 0.95 (Geman-McClure)."""

SLIDE_MM = 2.0
"""How far a surface is taken for its tangent plane: standard deviation of what is added along it."""


@dataclass(frozen=True, eq=False)
class Noised:
    """Variances of one stage: along and across the rays in the source's unit, and the normals' concentration."""

    along: Float[Tensor, "starts samples"]
    across: Float[Tensor, "starts samples"]
    kappa: Float[Tensor, "starts samples"]
    beta: Float[Tensor, "starts samples"]


def noised(
    samples: Samples, scale: Float[Tensor, " starts"], noise: PointNoise, added_mm: float, added_rad: float
) -> Noised:
    """C = S_x + (S_y + annealing)/s^2, diagonal along and across each ray, and kappa lowered by the annealing."""
    from_target = ((noise.surface_mm**2 + added_mm**2) / scale**2)[:, None]
    softened = 1 / (1 + samples.kappa * added_rad**2)
    ones = torch.ones_like(from_target)
    return Noised(
        samples.along**2 + from_target,
        samples.across**2 + from_target,
        samples.kappa * softened * ones,
        samples.beta * softened * ones,
    )


def believed(samples: Samples, at: Similarity, stage: Noised) -> Beliefs:
    """The samples of all starts in the target's frame, shape (starts * samples, ...)."""
    rotation, scale = at.motion.rotation, at.scale

    def turned(vectors: Tensor) -> Tensor:
        return torch.einsum("bij,nj->bni", rotation, vectors).reshape(-1, 3)

    position = turned(samples.position).reshape(len(scale), -1, 3) * scale[:, None, None]
    position = position + at.motion.translation[:, None]
    square = scale[:, None] ** 2
    return Beliefs(
        position.reshape(-1, 3),
        turned(samples.normal),
        turned(samples.ray),
        (stage.along * square).reshape(-1),
        (stage.across * square).reshape(-1),
        stage.kappa.reshape(-1),
        stage.beta.reshape(-1),
        turned(samples.sure),
    )


def stepped(at: Similarity, step: Float[Tensor, "starts 7"]) -> Similarity:
    """R <- R Exp(w), t <- t + dt, ln s <- ln s + dl, for steps (w, dt, dl)."""
    rotation = at.motion.rotation @ rotation_from_vector(step[:, :3])
    u, _, vt = torch.linalg.svd(rotation)  # rounding must not add up over the iterations
    return Similarity(at.scale * step[:, 6].exp(), RigidMotion(u @ vt, at.motion.translation + step[:, 3:6]))


@dataclass(frozen=True, eq=False)
class Terms:
    """Residuals whitened by their noise, and how they change with (w, t, ln s), before robust weights.

    Attributes:
        residual: Shape (starts, samples, 9): z off the plane, z along it in three parts, the normals' five.
        jacobian: Shape (starts, samples, 9, 7), or None.
    """

    residual: Float[Tensor, "starts samples 9"]
    jacobian: Float[Tensor, "starts samples 9 7"] | None

    @property
    def energy(self) -> Float[Tensor, "starts samples"]:
        """Half the sum of squares: 1/2 z^T C^-1 z + E_o."""
        return 0.5 * self.residual.square().sum(-1)

    def without_sliding(self) -> "Terms":
        """The same without what holds points on their planes: that steadies steps, but is no information."""
        kept = self.residual.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
        jacobian = None if self.jacobian is None else self.jacobian * kept[:, None]
        return Terms(self.residual * kept, jacobian)


def terms(
    samples: Samples,
    at: Similarity,
    point: Float[Tensor, "starts samples 3"],
    normal: Float[Tensor, "starts samples 3"],
    stage: Noised,
    derivatives: bool = True,
) -> Terms:
    """Residuals and their derivatives at matched points y with normals m.

    The surface about y is taken for a plane, of which any point may be the true one: minimised over the plane,
    1/2 z^T C^-1 z is 1/2 (q.z)^2 / (q^T C q). Sliding along it farther than `SLIDE_MM` costs.

    With v = R^T (y - t)/s and q = R^T m: dz/dw = [v]x, dz/dt = -R^T/s, dz/dl = -v; dq/dw = [q]x.
    """
    rotation, scale = at.motion.rotation, at.scale[:, None, None]
    v = torch.einsum("bji,bnj->bni", rotation, point - at.motion.translation[:, None]) / scale
    q = torch.einsum("bji,bnj->bni", rotation, normal)
    z, x, n, sure = v - samples.position, samples.position, samples.normal, samples.sure
    facing = (q * samples.ray).sum(-1) ** 2
    tight = (stage.across + (stage.along - stage.across) * facing).rsqrt()
    slack = (SLIDE_MM**2 / scale[..., 0] ** 2 + stage.across).rsqrt()
    spread, oval = (stage.kappa - 2 * stage.beta).clamp_min(0).sqrt(), (2 * stage.beta).sqrt()
    off_plane = (q * z).sum(-1, keepdim=True)
    residual = torch.cat(
        [
            tight[..., None] * off_plane,
            slack[..., None] * (z - off_plane * q),
            spread[..., None] * (n - q),
            (oval * (1 - (n * q).sum(-1)))[..., None],
            (math.sqrt(2) * oval * (sure * q).sum(-1))[..., None],
        ],
        -1,
    )
    if not derivatives:
        return Terms(residual, None)
    turned_q = skew(q)
    by_plane = torch.cat(
        [
            torch.linalg.cross(q, x.expand_as(q)),
            -normal / scale,
            -(q * v).sum(-1, keepdim=True),
        ],
        -1,
    )
    # What slides is frozen along the normal: its own turn is of second order where the point lies on the plane.
    by_z = torch.cat(
        [
            skew(v),
            (-rotation.transpose(-1, -2) / scale)[:, None].expand(*v.shape[:2], 3, 3),
            -v[..., None],
        ],
        -1,
    )
    by_slide = by_z - q[..., None] * (q[..., None, :] @ by_z)
    by_w = torch.cat(
        [
            -spread[..., None, None] * turned_q,
            -oval[..., None, None] * (n[:, None] @ turned_q),
            math.sqrt(2) * oval[..., None, None] * (sure[:, None] @ turned_q),
        ],
        -2,
    )
    others = torch.cat([by_w, by_w.new_zeros(*by_w.shape[:-1], 4)], -1)
    by_position = [tight[..., None, None] * by_plane[..., None, :], slack[..., None, None] * by_slide]
    return Terms(residual, torch.cat([*by_position, others], -2))


def robust(energy: Tensor) -> Tensor:
    """Geman-McClure: e/(1 + e/7.8), which no point exceeds however far off it is."""
    return energy / (1 + energy / SATURATION)


def robust_weight(energy: Tensor) -> Tensor:
    """Its derivative."""
    return (1 + energy / SATURATION) ** -2


def placed(at: Similarity, points: Float[Tensor, "points 3"]) -> Float[Tensor, "starts points 3"]:
    """Points of the source in the target's frame, for every start."""
    moved = torch.einsum("bij,nj->bni", at.motion.rotation, points) * at.scale[:, None, None]
    return moved + at.motion.translation[:, None]
