"""A reconstruction to a CT: one similarity, how it was found, and whether to believe it."""

import math
import time
from collections.abc import Callable, Sequence as Rows
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, Similarity, Surface
from depthscope.registration.alignment import Alignment, Residuals
from depthscope.registration.certainty import (
    Mode,
    RegistrationEvidence,
    covariance,
    displaced,
    independent_samples,
    predicted_tre,
)
from depthscope.registration.options import Registration, refusals
from depthscope.registration.residuals import believed, noised, placed, terms
from depthscope.registration.search import distinct, found_starts, panoramas
from depthscope.registration.sight import Sight, sighted
from depthscope.registration.solve import Annealing, Problem, Solved, normal_equations, solve
from depthscope.registration.target import Beliefs, Target
from depthscope.registration.view import PointNoise, Samples, SurfaceView, sampled, viewpoint


def register(
    source: Surface | tuple[SurfaceView, ...],
    target: Surface | Target,
    options: Registration | None = None,
    starts: Rows[Similarity] = (),
    told: Callable[[str], None] = lambda stage: None,
) -> Alignment:
    """The similarity from a reconstruction to a CT surface, without a start by hand.

    Places in the target's air are searched for what the source shows; the best starts are refined by annealed robust
    least squares on oriented points with the noise of depth maps; ends are told apart as modes, and ranked by a
    posterior in the source's unit together with what the cameras would see, never by residuals in mm.

    Args:
        source: Views with their camera centres, in one frame and unit; or a surface alone, for which a place to see it
            from is guessed and nothing is concluded from cameras.
        target: Mesh in mm with normals into the air.
        options: How.
        starts: ``target_from_source``, roughly: so many starts more. They never take the place of the others.
        told: Called with the name of each stage when it begins.

    Raises:
        BadInputError: A surface without normals or faces, too few points, or neither search nor start.
    """
    options, began = options or Registration(), time.perf_counter()
    if options.search is None and not starts:
        raise BadInputError("neither a search nor a start", "one of them", "give a start, or leave the search on")
    cameras = not isinstance(source, Surface)
    views = (SurfaceView(source, viewpoint(source)),) if isinstance(source, Surface) else source
    if not views:
        raise BadInputError("no views", "at least one")
    target = target if isinstance(target, Target) else Target(target)
    samples = sampled(views, options.noise, options.fine)
    centred_from_source = _shift(-samples.centroid)
    centred = samples.moved(centred_from_source)
    given = [start @ centred_from_source.inverse() for start in starts]

    bounds = scale_bounds(samples, options) if cameras else extent_bounds(samples, target, options)

    told("search")
    begun = _starts(centred, target, options, given, bounds)
    told("refine")
    stages = [_with_prior(stage, options) for stage in options.stages]
    order = torch.randperm(len(centred), generator=torch.Generator().manual_seed(options.seed))
    few, some = centred[order[: options.coarse]], centred[order[: options.middle]]
    problem = Problem(few, target, options.noise, cameras)
    ends = _within(solve(problem, _at_prior(begun, options), stages[0]), bounds)
    ranked = sighted(few, target, ends.target_from_source, options.noise)
    unlikely = _unlikely(ends.target_from_source.scale, bounds if cameras else None)
    blur = _blur(few, ends.target_from_source.scale, options, cameras)
    by_cost = (ends.cost + 0.5 * ranked.cost + blur + unlikely / stages[0].pull).argsort()
    ordered = _rows(ends.target_from_source, by_cost)
    kept = distinct(few, ordered, options.refined, apart_mm=1.5)
    # What each start led to is counted over all of them, not over those that are kept.
    second = _within(solve(replace(problem, samples=some), kept, stages[1]), bounds)
    told("modes")
    second = _settled(replace(problem, samples=some), second, options, bounds)
    best, alignment_modes, spread, seen = _modes(
        some, target, second, ordered, options, bounds if cameras else None, cameras
    )
    told("finish")
    last = solve(replace(problem, samples=centred), _rows(best, torch.tensor([0])), stages[2])
    found = _concluded(
        replace(problem, samples=centred), last, alignment_modes, spread, seen, centred_from_source, options, began
    )
    if bounds is None or bounds[0] <= found.scale <= bounds[1]:
        return found
    if cameras:
        distance = found.scale * float(samples.distance.median())
        return replace(found, reasons=(f"the cameras would see from {distance:.1f} mm in the median", *found.reasons))
    size = found.scale * float(_radius(samples.position, samples.weight))
    return replace(found, reasons=(f"the surface would be {2 * size:.1f} mm wide", *found.reasons))


def scale_bounds(samples: Samples, options: Registration) -> tuple[float, float] | None:
    """Least and greatest mm to a unit of the source at which its cameras were where endoscopes are used."""
    if options.working_mm is None or options.scale_prior is not None:
        return None
    least, most = options.working_mm
    distance = float(samples.distance.median())
    return least / distance, most / distance


def extent_bounds(samples: Samples, target: Target, options: Registration) -> tuple[float, float] | None:
    """Least and greatest mm to a unit of a surface without cameras at which its extent can be told from noise.

    Made small enough, a surface lies well on any wall; and it is no larger than what it is a part of.
    """
    if options.scale_prior is not None:
        return None
    own = float(_radius(samples.position, samples.weight))
    points = target.coarse_samples[0]
    whole = float(_radius(points, torch.full((len(points),), 1 / len(points), dtype=points.dtype)))
    least = min(options.least_radius_mm, 0.5 * whole)
    return least / own, 1.3 * whole / own


def _radius(points: Float[Tensor, "points 3"], weight: Float[Tensor, " points"]) -> Float[Tensor, ""]:
    """Root mean square distance from the centroid."""
    middle = (points * weight[:, None]).sum(0)
    return ((points - middle).square().sum(-1) * weight).sum().sqrt()


def _blur(
    samples: Samples, scale: Float[Tensor, " starts"], options: Registration, cameras: bool
) -> Float[Tensor, " starts"]:
    """Mean logarithm of the standard deviation off the surface, in the source's unit: what a likelihood is divided by.

    The target's own error grows in the source's unit as the scale shrinks. Energies alone fall then, and the smallest
    scale would win. With cameras or a prior the scale is bounded otherwise, and the confidence was calibrated so.
    """
    if cameras or options.scale_prior is not None:
        return torch.zeros_like(scale)
    facing = (samples.ray * samples.normal).sum(-1).square()
    own = samples.across**2 + (samples.along**2 - samples.across**2) * facing
    variance = own + (options.noise.surface_mm / scale[:, None]) ** 2
    return 0.5 * variance.log() @ samples.weight


def _within(ends: Solved, bounds: tuple[float, float] | None) -> Solved:
    """The same ends, with those out of bounds behind all others."""
    if bounds is None:
        return ends
    scale = ends.target_from_source.scale
    return replace(ends, cost=ends.cost + 1e3 * ((scale < bounds[0]) | (scale > bounds[1])).to(ends.cost))


def _unlikely(scale: Float[Tensor, " starts"], bounds: tuple[float, float] | None) -> Float[Tensor, " starts"]:
    """Minus the log probability of scales, but for a constant: log-normal, the bounds 2.5 standard deviations away."""
    if bounds is None:
        return torch.zeros_like(scale)
    middle, deviation = 0.5 * math.log(bounds[0] * bounds[1]), math.log(bounds[1] / bounds[0]) / 5
    return 0.5 * ((scale.log() - middle) / deviation) ** 2


def _shift(by: Float[Tensor, "3"]) -> Similarity:
    one, eye = torch.tensor(1.0, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    return Similarity(one, RigidMotion(eye, by))


def _rows(several: Similarity, rows: Tensor) -> Similarity:
    return Similarity(several.scale[rows], several.motion[rows])


def _with_prior(stage: Annealing, options: Registration) -> Annealing:
    """A prior acts with its own width; without one the scale is held loosely about that of each start, then freely."""
    if options.scale_prior is not None:
        return replace(stage, scale_std=options.scale_prior.log_std)
    return stage if stage.start_mm > 2 else replace(stage, scale_std=1e3)


def _at_prior(starts: Similarity, options: Registration) -> Similarity:
    """Starts whose scale is that of the prior, where there is one; the cameras' view of the centroid stays."""
    if options.scale_prior is None:
        return starts
    return Similarity(torch.full_like(starts.scale, options.scale_prior.scale), starts.motion)


def _starts(
    samples: Samples,
    target: Target,
    options: Registration,
    given: Rows[Similarity],
    bounds: tuple[float, float] | None,
) -> Similarity:
    """Everything to begin from, the given starts last."""
    found = []
    if options.search is not None:
        search = options.search if options.search.scale is not None else replace(options.search, scale=bounds)
        if options.scale_prior is not None and search.scale is None:
            prior = options.scale_prior
            reach = math.exp(3 * prior.log_std + 0.1)
            search = replace(search, scale=(prior.scale / reach, prior.scale * reach))
        found.append(found_starts(samples, target, search, panoramas(target, search)))
    for start in given:
        motion = RigidMotion(start.motion.rotation.double()[None], start.motion.translation.double()[None])
        found.append(Similarity(start.scale.double()[None], motion))
    return Similarity(
        torch.cat([s.scale for s in found]),
        RigidMotion(torch.cat([s.motion.rotation for s in found]), torch.cat([s.motion.translation for s in found])),
    )


def _settled(problem: Problem, ends: Solved, options: Registration, bounds: tuple[float, float] | None) -> Solved:
    """The ends that are nearly as good as the best, matched exactly: matching to close samples favours wrong places."""
    seen = sighted(problem.samples, problem.target, ends.target_from_source, options.noise)
    score = ends.cost + 0.5 * seen.cost + 2.0 * seen.air_violation
    close = score.argsort()[: options.contested]
    close = close[score[close] < score.min() + options.contested_cost]
    if len(close) < 2:
        return ends
    stage = replace(_with_prior(options.stages[2], options), iterations=1, start_mm=0.0)
    exact = _within(solve(problem, _rows(ends.target_from_source, close), stage), bounds)
    at, there = ends.target_from_source, exact.target_from_source
    motion = RigidMotion(
        at.motion.rotation.index_copy(0, close, there.motion.rotation),
        at.motion.translation.index_copy(0, close, there.motion.translation),
    )
    return Solved(
        Similarity(at.scale.index_copy(0, close, there.scale), motion),
        ends.cost.index_copy(0, close, exact.cost),
        ends.step.index_copy(0, close, exact.step),
    )


def _modes(
    samples: Samples,
    target: Target,
    ends: Solved,
    coarse: Similarity,
    options: Registration,
    bounds: tuple[float, float] | None,
    cameras: bool,
) -> tuple[Similarity, tuple[Mode, ...], float, Sight]:
    """Distinct ends with their posterior, best first; the spread of the ends of the best; and what is seen there."""
    seen = sighted(samples, target, ends.target_from_source, options.noise)
    blur = _blur(samples, ends.target_from_source.scale, options, cameras)
    score = ends.cost + 0.5 * seen.cost + 2.0 * seen.air_violation + blur
    at, least = ends.target_from_source, int(score.argmin())
    residual = _signed(samples, target, Similarity(at.scale[least], at.motion[least]), options.noise)
    independent = independent_samples(samples, residual)
    score = score + _unlikely(at.scale, bounds) / independent
    order = score.argsort()
    left, kept = torch.ones(len(order), dtype=torch.bool), []
    for row in order.tolist():
        if left[row]:
            kept.append(row)
            one = Similarity(at.scale[row], at.motion[row])
            near = displaced(samples, at, one) < 1.0
            left &= ~(near & ((at.scale / at.scale[row]).log().abs() < 0.03))
            left[row] = False
    rows = torch.tensor(kept)
    several = _rows(at, rows)
    first = Similarity(several.scale[0], several.motion[0])
    away = displaced(samples, several, first)
    coarse_away = torch.stack(
        [displaced(samples, coarse, Similarity(several.scale[i], several.motion[i])) for i in range(len(kept))]
    )
    counted = torch.where(coarse_away.amin(0) < 4.0, coarse_away.argmin(0), -1)
    modes = tuple(
        Mode(
            tuple(tuple(row) for row in Similarity(several.scale[i], several.motion[i]).matrix.tolist()),
            float(several.scale[i]),
            max(1, int((counted == i).sum())),  # refined from one that was nearer to another mode before
            -independent * float(score[row]),
            float(seen.coverage[row]),
            float(seen.nearer[row]),
            float(seen.air_violation[row]),
            float(away[i]),
        )
        for i, row in enumerate(kept)
    )
    together = displaced(samples, at, first)
    near = together[together < 2.0]
    picked = Sight(*(getattr(seen, name)[rows] for name in ("coverage", "nearer", "further", "air_violation", "cost")))
    return several, modes, float(near.square().mean().sqrt()), picked


def _signed(samples: Samples, target: Target, at: Similarity, noise: PointNoise) -> Float[Tensor, " samples"]:
    """Distances to the matched planes in declared standard deviations, in front positive."""
    batch = Similarity(at.scale[None], at.motion.unsqueeze(0))
    stage = noised(samples, batch.scale, noise, 0.0, 0.0)
    matches = target.near(believed(samples, batch, stage))
    found = terms(samples, batch, matches.point[None], matches.normal[None], stage, derivatives=False)
    return found.residual[0, :, 0]


def _concluded(
    problem: Problem,
    last: Solved,
    modes: tuple[Mode, ...],
    spread: float,
    seen: Sight,
    centred_from_source: Similarity,
    options: Registration,
    began: float,
) -> Alignment:
    samples, target, noise = problem.samples, problem.target, options.noise
    batch = last.target_from_source
    at = Similarity(batch.scale[0], batch.motion[0])
    stage = noised(samples, batch.scale, noise, 0.0, 0.0)
    matches = problem.match(batch, stage, options.stages[2], exact=True)
    count = len(samples)
    found = terms(samples, batch, matches.point.reshape(1, count, 3), matches.normal.reshape(1, count, 3), stage)
    alone = replace(options.stages[2], scale_std=1e6 if options.scale_prior is None else options.scale_prior.log_std)
    there = matches.found[None]
    hessian, _ = normal_equations(samples, found.without_sliding(), there, batch, batch.scale.log(), alone, None)
    independent = independent_samples(samples, found.residual[0, :, 0])
    spread_of = covariance(hessian[0], independent)
    tre = predicted_tre(samples, at, spread_of)
    inlier = there[0] & (found.residual[0, :, 0].abs() < 2.8) & (found.energy[0] < 11.0)
    sight = sighted(samples, target, batch, noise)
    elsewhere = [m.log_posterior for m in modes[1:] if m.away_mm > max(2.0, 2 * min(tre, 3.0))]
    log_odds = modes[0].log_posterior - max(elsewhere) if elsewhere else 50.0
    evidence = RegistrationEvidence(
        min(50.0, log_odds),
        float(last.cost[0]),
        float(sight.cost[0]),
        float(sight.coverage[0]),
        float(sight.nearer[0]),
        float(sight.air_violation[0]) if problem.cameras else 0.0,
        tre,
        float((inlier.double() * samples.weight).sum()),
        modes[0].starts / max(1, sum(m.starts for m in modes)),
    )
    if not problem.cameras and options.scale_prior is None:
        # Rays from a place that was guessed say nothing of walls that no one camera could see together.
        evidence = replace(evidence, sight_cost=1.5, coverage=evidence.inlier_share, sight_violation=0.0)
    confidence = options.calibration(evidence)
    centres = placed(batch, samples.centres)[0][samples.view] if problem.cameras else None
    distance = nearest(target, placed(batch, samples.position)[0], samples.normal @ at.motion.rotation.T, centres)
    return Alignment(
        at @ centred_from_source,
        Residuals(distance, inlier),
        spread_of,
        -centred_from_source.motion.translation,
        modes,
        evidence,
        confidence,
        refusals(evidence, confidence, options),
        bool(last.step[0] < 0.05),
        spread,
        independent,
        time.perf_counter() - began,
    )


def nearest(
    target: Target,
    points: Float[Tensor, "points 3"],
    normals: Float[Tensor, "points 3"] | None = None,
    cameras: Float[Tensor, "points 3"] | None = None,
) -> Float[Tensor, " points"]:
    """Distances in mm to the nearest point of the target that faces the camera and is turned alike; else to any."""
    one = torch.ones(len(points), dtype=torch.float64)
    fixed = torch.nn.functional.normalize(points.new_tensor([[1.0, 0.0, 0.0]]), dim=-1).expand_as(points)
    facing = fixed if normals is None else normals.double()
    beliefs = Beliefs(points.double(), facing, fixed, one, one, 1e-6 * one, 0 * one, fixed)
    free = target.most_likely(beliefs, most=32)
    distance = (free.point - points).norm(dim=-1)
    if normals is None:
        return distance
    gated = target.most_likely(beliefs, cameras, most=128, least_cosine=0.17)
    return torch.where(gated.found, (gated.point - points).norm(dim=-1), distance)
