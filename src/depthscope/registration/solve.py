"""The similarity of greatest likelihood near given starts: annealed, robust least squares, many starts at once.

Residuals are measured in the source's unit, z = R^T (y - t)/s - x: the noisy side is regressed on the clean one, which
leaves the scale unbiased, and shrinking the source onto a point of the surface is no solution. The normals' energy
(Kent) is a sum of five squares, so that least squares need no approximation.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, Similarity
from depthscope.registration.target import Beliefs, Matches, Target
from depthscope.registration.view import Noise, Samples

SATURATION = 7.8
"""Energy at which a point is given up: half of twice chi-square of 3 degrees at 0.95 (Geman-McClure)."""

SLIDE_MM = 2.0
"""How far a surface is taken for its tangent plane: standard deviation of what is added along it."""

AIR_MM, AIR_STD_MM = 0.5, 0.3
"""How far from tissue a camera is at least, and how sharply that is enforced."""


@dataclass(frozen=True)
class Annealing:
    """How the noise is lowered to the declared one.

    Attributes:
        start_mm: Standard deviation of the positions added at the start.
        start_angle_deg: The same of the normals.
        iterations: In all.
        annealed: Share of them after which nothing is added any more.
        exact: Whether matches are the exact most likely points of the faces, or close samples.
        pull: Effective number of observations, against which priors are weighed.
        scale_std: Standard deviation of the logarithm of the scale about that of the start; infinite for none.
        least_cosine: Faces turned farther than this from the point's normal are not matched once annealed.
    """

    start_mm: float = 4.0
    start_angle_deg: float = 40.0
    iterations: int = 20
    annealed: float = 0.6
    exact: bool = True
    pull: float = 60.0
    scale_std: float = 0.3
    least_cosine: float = 0.17

    def __post_init__(self) -> None:
        if not (0 <= self.start_mm <= 50 and 0 <= self.start_angle_deg <= 90 and self.iterations >= 1):
            raise BadInputError(f"{self}", "0 to 50 mm, 0 to 90 degrees, and at least one iteration")
        if not (0 < self.annealed <= 1 and self.pull > 0 and self.scale_std > 0):
            raise BadInputError(f"{self}", "a share of 0 to 1, and positive numbers")


@dataclass(frozen=True, eq=False)
class Solved:
    """Where each start ended.

    Attributes:
        target_from_source: The best iterates, batch shape (starts,).
        cost: Their mean energy per point without annealing, robust, with the penalties, shape (starts,).
        step: Length of the last step: the rms displacement of the samples in mm, shape (starts,).
    """

    target_from_source: Similarity
    cost: Float[Tensor, " starts"]
    step: Float[Tensor, " starts"]


@dataclass(frozen=True, eq=False)
class Noised:
    """Variances of one stage: along and across the rays in the source's unit, and the normals' concentration."""

    along: Float[Tensor, "starts samples"]
    across: Float[Tensor, "starts samples"]
    kappa: Float[Tensor, "starts samples"]
    beta: Float[Tensor, "starts samples"]


def noised(
    samples: Samples, scale: Float[Tensor, " starts"], noise: Noise, added_mm: float, added_rad: float
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


def crossed(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """[v]x, so that [v]x u = v x u."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack([zero, -z, y], -1), torch.stack([z, zero, -x], -1), torch.stack([-y, x, zero], -1)]
    return torch.stack(rows, -2)


def exponential(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation by a vector's length about its direction (Rodrigues)."""
    return torch.linalg.matrix_exp(crossed(vectors))


def stepped(at: Similarity, step: Float[Tensor, "starts 7"]) -> Similarity:
    """R <- R Exp(w), t <- t + dt, ln s <- ln s + dl, for steps (w, dt, dl)."""
    rotation = at.motion.rotation @ exponential(step[:, :3])
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
    turned_q = crossed(q)
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
            crossed(v),
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


@dataclass(frozen=True, eq=False)
class Penalty:
    """Cameras are in air: planes of the target near them that they must stay in front of.

    Attributes:
        room_mm: Signed distance of each camera at the place where the planes were found, shape (starts, views).
        normal: Of the planes, shape (starts, views, 3).
        place: The cameras then, shape (starts, views, 3).
    """

    room_mm: Float[Tensor, "starts views"]
    normal: Float[Tensor, "starts views 3"]
    place: Float[Tensor, "starts views 3"]

    @classmethod
    def near(cls, samples: Samples, at: Similarity, target: Target) -> "Penalty":
        """The planes nearest to the cameras."""
        place = placed(at, samples.centres)
        room, normal = target.signed_distance(place.reshape(-1, 3))
        return cls(room.reshape(place.shape[:2]), normal.reshape(place.shape), place)

    def terms(self, samples: Samples, at: Similarity) -> tuple[Tensor, Tensor]:
        """Residuals, shape (starts, views), and their derivatives, shape (starts, views, 7)."""
        place = placed(at, samples.centres)
        room = self.room_mm + ((place - self.place) * self.normal).sum(-1)
        violated = (AIR_MM - room).clamp(0, 2.0) / AIR_STD_MM
        active = ((AIR_MM - room) > 0).to(room) / AIR_STD_MM
        arm = torch.einsum("bij,vj->bvi", at.motion.rotation, samples.centres) * at.scale[:, None, None]
        turned = torch.einsum("bij,vjk->bvik", at.motion.rotation, crossed(samples.centres))
        by_w = -at.scale[:, None, None] * torch.einsum("bvi,bvik->bvk", self.normal, -turned)
        by_all = torch.cat([by_w, -self.normal, -(self.normal * arm).sum(-1, keepdim=True)], -1)
        return violated, active[..., None] * by_all


def placed(at: Similarity, points: Float[Tensor, "points 3"]) -> Float[Tensor, "starts points 3"]:
    """Points of the source in the target's frame, for every start."""
    moved = torch.einsum("bij,nj->bni", at.motion.rotation, points) * at.scale[:, None, None]
    return moved + at.motion.translation[:, None]


@dataclass(frozen=True, eq=False)
class Problem:
    """What is solved.

    Attributes:
        samples: Centred on their centroid.
        target: The surface.
        noise: The assumed noise.
        cameras: Whether the samples' centres are those of real cameras, which stay in air.
    """

    samples: Samples
    target: Target
    noise: Noise
    cameras: bool = True

    def match(self, at: Similarity, stage: Noised, annealing: Annealing, exact: bool) -> Matches:
        """Matches of the samples of all starts, in rows."""
        beliefs = believed(self.samples, at, stage)
        if not exact:
            return self.target.near(beliefs)
        centres = placed(at, self.samples.centres)[:, self.samples.view].reshape(-1, 3) if self.cameras else None
        return self.target.most_likely(beliefs, centres, most=160, least_cosine=annealing.least_cosine)


def solve(problem: Problem, starts: Similarity, annealing: Annealing) -> Solved:
    """Levenberg-Marquardt from each start, the noise lowered geometrically to the declared one.

    Each iteration matches anew and takes one step that lowers the cost at those matches. The iterate with the least
    cost at the declared noise is returned, not the last.
    """
    samples, noise = problem.samples, problem.noise
    at, first = starts, starts.scale.log()
    count, size = len(starts.scale), len(samples)
    damping = torch.full((count,), 1e-3, dtype=torch.float64)
    best, best_cost = starts, torch.full((count,), torch.inf, dtype=torch.float64)
    moved = torch.full((count,), torch.inf, dtype=torch.float64)
    lowering = max(1, math.ceil(annealing.annealed * annealing.iterations))

    for iteration in range(annealing.iterations + 1):
        share = min(1.0, iteration / lowering)
        annealed = share >= 1 or annealing.start_mm == 0
        added_mm = 0.0 if annealed else annealing.start_mm * (0.15 / annealing.start_mm) ** share
        added_rad = 0.0 if annealed else math.radians(annealing.start_angle_deg) * 0.1**share
        stage = noised(samples, at.scale, noise, added_mm, added_rad)
        matches = problem.match(at, stage, annealing, annealing.exact)
        point, normal = matches.point.reshape(count, size, 3), matches.normal.reshape(count, size, 3)
        there = matches.found.reshape(count, size) & (matches.normal.reshape(count, size, 3) != 0).any(-1)
        penalty = Penalty.near(samples, at, problem.target) if problem.cameras else None

        def cost(
            place: Similarity, point=point, normal=normal, stage=stage, there=there, penalty=penalty
        ) -> tuple[Tensor, Terms]:
            found = terms(samples, place, point, normal, stage, derivatives=False)
            return total(samples, found.energy, there, place, first, annealing, penalty), found

        current = terms(samples, at, point, normal, stage)
        energy = current.energy
        now = total(samples, energy, there, at, first, annealing, penalty)
        if annealed:
            better = now < best_cost
            best_cost = torch.where(better, now, best_cost)
            best = chosen(better, at, best)
        if iteration == annealing.iterations or (annealed and bool((moved < 2e-3).all())):
            break
        hessian, gradient = normal_equations(samples, current, there, at, first, annealing, penalty)
        pending, moved = torch.ones(count, dtype=torch.bool), torch.zeros(count, dtype=torch.float64)
        for _ in range(4):
            diagonal = torch.diagonal(hessian, dim1=-2, dim2=-1)
            damped = hessian + torch.diag_embed(damping[:, None] * diagonal + 1e-12)
            step = -torch.linalg.solve(damped, gradient[..., None])[..., 0]
            step = limited(step)
            trial = stepped(at, step)
            after, _ = cost(trial)
            accepted = pending & (after <= now)
            if bool(accepted.any()):
                shift = (placed(trial, samples.position) - placed(at, samples.position)).square().sum(-1)
                moved = torch.where(accepted, (shift * samples.weight).sum(-1).sqrt(), moved)
                at = chosen(accepted, trial, at)
                now = torch.where(accepted, after, now)
            damping = torch.where(accepted, damping / 4, torch.where(pending, damping * 8, damping)).clamp(1e-7, 1e4)
            pending &= ~accepted
            if not bool(pending.any()):
                break
    return Solved(best, best_cost, moved)


def total(
    samples: Samples,
    energy: Float[Tensor, "starts samples"],
    there: Tensor,
    at: Similarity,
    first: Float[Tensor, " starts"],
    annealing: Annealing,
    penalty: Penalty | None,
) -> Float[Tensor, " starts"]:
    """Mean robust energy; unmatched points cost what the farthest do; priors are weighed against `annealing.pull`."""
    robustly = torch.where(there, robust(energy), SATURATION)
    cost = (robustly * samples.weight).sum(-1)
    cost = cost + 0.5 * ((at.scale.log() - first) / annealing.scale_std) ** 2 / annealing.pull
    if penalty is not None:
        violated, _ = penalty.terms(samples, at)
        cost = cost + 0.5 * violated.square().mean(-1) * 0.2
    return cost


def normal_equations(
    samples: Samples,
    current: Terms,
    there: Tensor,
    at: Similarity,
    first: Float[Tensor, " starts"],
    annealing: Annealing,
    penalty: Penalty | None,
) -> tuple[Float[Tensor, "starts 7 7"], Float[Tensor, "starts 7"]]:
    """J^T W J and J^T W r of everything in `total`."""
    assert current.jacobian is not None
    weight = robust_weight(current.energy) * there * samples.weight
    count = weight.shape[0]
    jacobian = (current.jacobian * weight.sqrt()[..., None, None]).reshape(count, -1, 7)
    residual = (current.residual * weight.sqrt()[..., None]).reshape(count, -1)
    hessian = jacobian.transpose(-1, -2) @ jacobian
    gradient = torch.einsum("bik,bi->bk", jacobian, residual)
    precision = 1 / (annealing.scale_std**2 * annealing.pull)
    hessian[:, 6, 6] += precision
    gradient[:, 6] += precision * (at.scale.log() - first)
    if penalty is not None:
        violated, by_all = penalty.terms(samples, at)
        share = 0.2 / violated.shape[1]
        hessian += share * torch.einsum("bvi,bvj->bij", by_all, by_all)
        gradient += share * torch.einsum("bvi,bv->bi", by_all, violated)
    return hessian, gradient


def limited(step: Float[Tensor, "starts 7"]) -> Float[Tensor, "starts 7"]:
    """A step of at most 20 degrees, 5 mm and a factor of 1.2 in scale."""
    lengths = torch.stack([step[:, :3].norm(dim=-1) / 0.35, step[:, 3:6].norm(dim=-1) / 5, step[:, 6].abs() / 0.2], -1)
    return step / lengths.amax(-1, keepdim=True).clamp_min(1)


def chosen(mask: Tensor, first: Similarity, second: Similarity) -> Similarity:
    """From each of two batches, the first where the mask says so."""
    return Similarity(
        torch.where(mask, first.scale, second.scale),
        RigidMotion(
            torch.where(mask[:, None, None], first.motion.rotation, second.motion.rotation),
            torch.where(mask[:, None], first.motion.translation, second.motion.translation),
        ),
    )


def without_scale_prior(annealing: Annealing) -> Annealing:
    """The same with the scale left to the data."""
    return replace(annealing, scale_std=1e3)
