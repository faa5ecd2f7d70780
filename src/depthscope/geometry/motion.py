"""Rigid motions and similarities, named ``target_from_source`` so that products cancel visibly."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.shapes import Points, Rotations, Scalars, Vectors


def rotate(rotation: Float[Tensor, "*#batch 3 3"], vectors: Float[Tensor, "*#batch 3"]) -> Vectors:
    """R v, written element by element: a matrix product would round to bf16 under autocast."""
    x, y, z = vectors.unbind(-1)
    return rotation[..., :, 0] * x[..., None] + rotation[..., :, 1] * y[..., None] + rotation[..., :, 2] * z[..., None]


@dataclass(frozen=True, eq=False)
class RigidMotion:
    """Rigid motion ``target_from_source``: X_target = R X_source + t, over any batch shape.

    Attributes:
        rotation: R, shape (*batch, 3, 3), orthonormal with determinant +1.
        translation: t, shape (*batch, 3), in the unit of the points.

    Example:
        >>> far_from_near = RigidMotion.identity()
        >>> (far_from_near @ far_from_near.inverse()).translation.tolist()
        [0.0, 0.0, 0.0]
    """

    rotation: Rotations
    translation: Vectors

    def __post_init__(self) -> None:
        if self.rotation.shape[-2:] != (3, 3) or self.rotation.shape[:-1] != self.translation.shape:
            raise BadInputError(
                f"a motion with rotation {tuple(self.rotation.shape)} and translation {tuple(self.translation.shape)}",
                "shapes (*batch, 3, 3) and (*batch, 3)",
            )

    @classmethod
    def identity(cls, *batch: int, dtype: torch.dtype = torch.float64) -> "RigidMotion":
        """The motion that moves nothing, of batch shape ``batch``."""
        return cls(torch.eye(3, dtype=dtype).expand(*batch, 3, 3), torch.zeros(*batch, 3, dtype=dtype))

    @classmethod
    def from_quaternion(
        cls, quaternion_wxyz: Float[Tensor, "*batch 4"], translation: Float[Tensor, "*batch 3"]
    ) -> "RigidMotion":
        """From Hamilton quaternions, w first; they are normalised, and a zero quaternion gives NaN."""
        w, x, y, z = (quaternion_wxyz / quaternion_wxyz.norm(dim=-1, keepdim=True)).unbind(-1)
        rows = [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
            torch.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
            torch.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
        ]
        return cls(torch.stack(rows, -2), translation)

    @classmethod
    def from_axis_angle(
        cls, axis_angle: Float[Tensor, "*batch 3"], translation: Float[Tensor, "*batch 3"]
    ) -> "RigidMotion":
        """From rotation vectors (axis times angle in radians), by Rodrigues' formula.

        Near zero its two factors are series in the squared angle, so that the gradient there is that of the rotation
        and not 0 or NaN: a network whose rotation starts at zero can leave it.
        """
        x, y, z = axis_angle.unbind(-1)
        square = (axis_angle * axis_angle).sum(-1)
        small = square < 1e-4  # the next terms are below 1e-14 of the first
        safe = torch.where(small, torch.ones_like(square), square)
        angle = safe.sqrt()
        sine = torch.where(small, 1 - square / 6 + square**2 / 120 - square**3 / 5040, angle.sin() / angle)
        # 1 - cos by the half angle, which does not cancel
        cosine = torch.where(
            small, 0.5 - square / 24 + square**2 / 720 - square**3 / 40320, 2 * (angle / 2).sin() ** 2 / safe
        )
        rows = [
            torch.stack([1 - cosine * (y * y + z * z), cosine * x * y - sine * z, cosine * x * z + sine * y], -1),
            torch.stack([cosine * x * y + sine * z, 1 - cosine * (x * x + z * z), cosine * y * z - sine * x], -1),
            torch.stack([cosine * x * z - sine * y, cosine * y * z + sine * x, 1 - cosine * (x * x + y * y)], -1),
        ]
        return cls(torch.stack(rows, -2), translation)

    @classmethod
    def from_euler(cls, angles_rad: Float[Tensor, "*batch 3"], translation: Float[Tensor, "*batch 3"]) -> "RigidMotion":
        """From angles about x, y and z, R = R_x R_y R_z: about z first."""
        (sx, sy, sz), (cx, cy, cz) = angles_rad.sin().unbind(-1), angles_rad.cos().unbind(-1)
        rows = [
            torch.stack([cy * cz, -cy * sz, sy], -1),
            torch.stack([cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy], -1),
            torch.stack([sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy], -1),
        ]
        return cls(torch.stack(rows, -2), translation)

    @property
    def quaternion_wxyz(self) -> Float[Tensor, "*batch 4"]:
        """The rotations as unit quaternions with w >= 0, from the largest of the four components (no cancellation)."""
        r = self.rotation
        r00, r11, r22 = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
        squares = torch.stack([1 + r00 + r11 + r22, 1 + r00 - r11 - r22, 1 - r00 + r11 - r22, 1 - r00 - r11 + r22], -1)
        yz, xz, xy = r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
        s_xy, s_xz, s_yz = r[..., 1, 0] + r[..., 0, 1], r[..., 0, 2] + r[..., 2, 0], r[..., 2, 1] + r[..., 1, 2]
        candidates = torch.stack(
            [
                torch.stack([squares[..., 0], yz, xz, xy], -1),
                torch.stack([yz, squares[..., 1], s_xy, s_xz], -1),
                torch.stack([xz, s_xy, squares[..., 2], s_yz], -1),
                torch.stack([xy, s_xz, s_yz, squares[..., 3]], -1),
            ],
            -2,
        )
        best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
        quaternion = candidates.gather(-2, best).squeeze(-2)
        quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
        return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)

    def __matmul__(self, other: "RigidMotion") -> "RigidMotion":
        """``a_from_b @ b_from_c = a_from_c``."""
        columns = [rotate(self.rotation, other.rotation[..., :, i]) for i in range(3)]
        return RigidMotion(torch.stack(columns, -1), rotate(self.rotation, other.translation) + self.translation)

    def __getitem__(self, index) -> "RigidMotion":
        """Motions picked along the batch."""
        return RigidMotion(self.rotation[index], self.translation[index])

    def inverse(self) -> "RigidMotion":
        """``source_from_target``."""
        transposed = self.rotation.transpose(-1, -2)
        return RigidMotion(transposed, -rotate(transposed, self.translation))

    def apply(self, points: Points) -> Vectors:
        """X_target of points X_source; the batch shapes broadcast."""
        return rotate(self.rotation, points) + self.translation

    @property
    def origin(self) -> Vectors:
        """Where the target's origin lies in the source frame; of ``camera_from_world``, the camera's centre."""
        return -rotate(self.rotation.transpose(-1, -2), self.translation)

    @property
    def angle_rad(self) -> Scalars:
        """Rotation angle in 0..pi."""
        q = self.quaternion_wxyz
        return 2 * torch.atan2(q[..., 1:].norm(dim=-1), q[..., 0])

    def scaled(self, factor: float | Scalars) -> "RigidMotion":
        """The same motion after multiplying the unit of length: t becomes ``factor`` t."""
        factor = torch.as_tensor(factor, dtype=self.translation.dtype, device=self.translation.device)
        return replace(self, translation=self.translation * factor[..., None])

    def to(self, *args, **kwargs) -> "RigidMotion":
        """As ``Tensor.to``."""
        return RigidMotion(self.rotation.to(*args, **kwargs), self.translation.to(*args, **kwargs))

    @property
    def mirrored(self) -> "RigidMotion":
        """The motion that a camera seems to make in images mirrored left to right: F M F with F = diag(-1, 1, 1)."""
        across = self.rotation.new_tensor([-1.0, 1.0, 1.0])
        return RigidMotion(across[:, None] * self.rotation * across, across * self.translation)

    def unsqueeze(self, dim: int) -> "RigidMotion":
        """A new batch axis, counted from the front."""
        return RigidMotion(self.rotation.unsqueeze(dim), self.translation.unsqueeze(dim))

    def defects(self, tolerance: float = 1e-3) -> list[str]:
        """What keeps each motion of a batch from being rigid: 'not finite', 'not a rotation', or '' (in order)."""
        rotation, translation = self.rotation.reshape(-1, 3, 3), self.translation.reshape(-1, 3)
        finite = rotation.isfinite().all(-1).all(-1) & translation.isfinite().all(-1)
        gram = rotation @ rotation.transpose(-1, -2) - torch.eye(3, dtype=rotation.dtype)
        proper = (gram.abs().amax((-1, -2)) < tolerance) & (torch.linalg.det(rotation.nan_to_num()) > 0)
        return [
            "not finite" if not ok else "" if good else "not a rotation"
            for ok, good in zip(finite.tolist(), proper.tolist(), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Similarity:
    """Similarity ``target_from_source``: X_target = s R X_source + t.

    Attributes:
        scale: s > 0, shape ``(*batch)``.
        motion: R and t.
    """

    scale: Scalars
    motion: RigidMotion

    def __post_init__(self) -> None:
        if bool((self.scale <= 0).any()):
            raise BadInputError(f"a similarity of scale {self.scale.min().item():g}", "a positive scale")

    @classmethod
    def estimate(
        cls,
        source: Float[Tensor, "points 3"],
        target: Float[Tensor, "points 3"],
        weight: Float[Tensor, " points"] | None = None,
    ) -> "Similarity":
        """The least-squares similarity of matched points (Umeyama 1991, eq. 40-42); never a reflection.

        Raises:
            BadInputError: Fewer than 3 points, or all source points coincide.
        """
        if len(source) < 3:
            raise BadInputError(f"{len(source)} matched points", "at least 3 to estimate a similarity")
        weight = torch.ones_like(source[:, 0]) if weight is None else weight
        weight = (weight / weight.sum())[:, None]
        source_mean, target_mean = (weight * source).sum(0), (weight * target).sum(0)
        s, t = source - source_mean, target - target_mean
        variance = (weight * s * s).sum()
        if not float(variance) > 0:  # also NaN: no weight at all
            raise BadInputError("source points that all coincide", "points spread in space")
        u, d, vt = torch.linalg.svd((weight * t).T @ s)
        sign = torch.ones_like(d)
        sign[2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vt))
        rotation = u @ torch.diag(sign) @ vt
        scale = (d * sign).sum() / variance
        return cls(scale, RigidMotion(rotation, target_mean - scale * rotate(rotation, source_mean)))

    def apply(self, points: Points) -> Vectors:
        """X_target of points X_source."""
        return self.scale[..., None] * rotate(self.motion.rotation, points) + self.motion.translation

    def inverse(self) -> "Similarity":
        """``source_from_target``."""
        transposed = self.motion.rotation.transpose(-1, -2)
        translation = -rotate(transposed, self.motion.translation) / self.scale[..., None]
        return Similarity(1 / self.scale, RigidMotion(transposed, translation))

    def __matmul__(self, other: "Similarity") -> "Similarity":
        """``a_from_b @ b_from_c = a_from_c``."""
        rotation = (self.motion @ other.motion).rotation
        return Similarity(self.scale * other.scale, RigidMotion(rotation, self.apply(other.motion.translation)))

    @property
    def matrix(self) -> Float[Tensor, "*batch 4 4"]:
        """As a 4x4 matrix, row-major."""
        top = torch.cat([self.scale[..., None, None] * self.motion.rotation, self.motion.translation[..., None]], -1)
        bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
        return torch.cat([top, bottom], -2)
