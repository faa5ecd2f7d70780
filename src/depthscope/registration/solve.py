"""The similarity of greatest likelihood near given starts: annealed, robust least squares, many starts at once.

Residuals are measured in the source's unit, z = R^T (y - t)/s - x: the noisy side is regressed on the clean one, which
leaves the scale unbiased, and shrinking the source onto a point of the surface is no solution. The normals' energy
(Kent) is a sum of five squares, so that least squares need no approximation.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, Similarity
from depthscope.geometry.rotation import skew
from depthscope.registration.residuals import (
    SATURATION,
    Noised,
    Terms,
    believed,
    noised,
    placed,
    robust,
    robust_weight,
    stepped,
    terms,
)
from depthscope.registration.target import Matches, Target
from depthscope.registration.view import PointNoise, Samples

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
        turned = torch.einsum("bij,vjk->bvik", at.motion.rotation, skew(samples.centres))
        by_w = -at.scale[:, None, None] * torch.einsum("bvi,bvik->bvk", self.normal, -turned)
        by_all = torch.cat([by_w, -self.normal, -(self.normal * arm).sum(-1, keepdim=True)], -1)
        return violated, active[..., None] * by_all


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
    noise: PointNoise
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
