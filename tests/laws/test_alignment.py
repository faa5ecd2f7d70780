"""Laws of the registration's parts: energies, exact matches, derivatives, scale, covariance."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from depthscope.geometry import RigidMotion, Similarity, Surface
from depthscope.geometry.rotation import rotation_from_vector
from depthscope.geometry.surface import vertex_normals
from depthscope.registration import Annealing, PointNoise, SurfaceView, Target, iterated_closest_points, viewpoint
from depthscope.registration.certainty import covariance, displaced
from depthscope.registration.residuals import believed, noised, stepped, terms
from depthscope.registration.search import rotations
from depthscope.registration.solve import Problem, normal_equations, solve
from depthscope.registration.target import Beliefs, closest_points
from depthscope.registration.view import Samples, sampled, thinned
from noses import similarity


def bumpy(draw: np.random.Generator, count: int = 40, size: float = 20.0) -> Surface:
    """A bowl with bumps that no motion maps onto itself, seen from above; normals upwards."""
    x, y = np.meshgrid(np.linspace(-size, size, count), np.linspace(-size, size, count))
    z = 0.02 * (x**2 + 0.6 * y**2)
    for _ in range(14):
        u, v = draw.uniform(-size, size, 2)
        z = z + draw.uniform(-3, 5) * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * draw.uniform(2, 5) ** 2))
    points = torch.from_numpy(np.stack([x, y, z], -1).reshape(-1, 3))
    i = torch.arange(count * (count - 1)).reshape(count - 1, count)[:, :-1].reshape(-1)
    faces = torch.cat([torch.stack([i, i + 1, i + count], 1), torch.stack([i + 1, i + count + 1, i + count], 1)])
    normals = vertex_normals(points, faces)
    assert float(normals[:, 2].min()) > 0
    return Surface(points, normals, None, faces, "mm")


def view_of(
    surface: Surface, true: Similarity, count: int, draw: np.random.Generator, noise: float = 0.0
) -> SurfaceView:
    """Points in the middle of faces of a surface, as a camera above it would have them; `noise` is relative."""
    target, source_from_target = Target(surface), true.inverse()
    inner = (target.corners.mean(1)[:, :2].abs().amax(1) < 15).nonzero()[:, 0].numpy()
    faces = torch.from_numpy(draw.choice(inner, count, replace=False))
    centre = torch.tensor([1.0, -2.0, 32.0], dtype=torch.float64)
    way = target.corners[faces].mean(1) - centre
    points = centre + way * torch.from_numpy(np.exp(noise * draw.standard_normal(count)))[:, None]
    normals = target.face_normals[faces] @ source_from_target.motion.rotation.T
    moved = source_from_target.apply(points)
    return SurfaceView(Surface(moved, normals), source_from_target.apply(centre), max(noise, 0.005))


def batch(*several: Similarity) -> Similarity:
    scale = torch.stack([one.scale for one in several])
    rotation = torch.stack([one.motion.rotation for one in several])
    return Similarity(scale, RigidMotion(rotation, torch.stack([one.motion.translation for one in several])))


def about(samples: Samples) -> Similarity:
    """The shift that centres samples."""
    eye = torch.eye(3, dtype=torch.float64)
    return Similarity(torch.tensor(1.0, dtype=torch.float64), RigidMotion(eye, -samples.centroid))


def beliefs(draw: np.random.Generator, count: int, spread: float = 8.0) -> Beliefs:
    """Drawn beliefs with axes of every kind."""

    def unit() -> torch.Tensor:
        return torch.nn.functional.normalize(torch.from_numpy(draw.normal(size=(count, 3))), dim=-1)

    normal = unit()
    sure = torch.nn.functional.normalize(torch.linalg.cross(normal, unit()), dim=-1)
    kappa = torch.from_numpy(draw.uniform(3, 40, count))
    return Beliefs(
        torch.from_numpy(draw.uniform(-spread, spread, (count, 3))), normal, unit(),
        torch.from_numpy(draw.uniform(0.2, 9, count)), torch.from_numpy(draw.uniform(0.2, 2, count)),
        kappa, kappa * torch.from_numpy(draw.uniform(0, 0.45, count)), sure,
    )  # fmt: skip


def test_five_squares_are_kents_energy():
    draw = np.random.default_rng(0)
    b = beliefs(draw, 200)
    m = torch.nn.functional.normalize(torch.from_numpy(draw.normal(size=(200, 1, 3))), dim=-1)
    c, g2 = (m[:, 0] * b.normal).sum(-1), (m[:, 0] * b.sure).sum(-1)
    g1 = (m[:, 0] * torch.linalg.cross(b.sure, b.normal)).sum(-1)
    torch.testing.assert_close(b.orientation(m)[:, 0], b.kappa * (1 - c) - b.beta * (g1**2 - g2**2))
    assert float(b.orientation(m).min()) >= 0


def test_the_most_likely_point_is_that_of_brute_force():
    draw = np.random.default_rng(1)
    surface = bumpy(draw, 16)
    target, b = Target(surface, spacing_mm=1.0), beliefs(draw, 40)
    cameras = torch.tensor([[0.0, 0.0, 30.0]], dtype=torch.float64).expand(40, 3)
    found = target.most_likely(b, cameras, most=100_000, least_cosine=0.0)
    points = closest_points(b, target.corners[None].expand(40, -1, 3, 3))
    normals = target.face_normals[None].expand(40, -1, 3)
    admitted = ((cameras[:, None] - points) * normals).sum(-1) > 0
    admitted &= (normals * b.normal[:, None]).sum(-1) >= 0
    energy = torch.where(admitted, b.energy(points, normals), torch.inf)
    assert bool(found.found.any()) and bool((found.found == energy.isfinite().any(1)).all())
    some = found.found
    torch.testing.assert_close(found.energy[some], energy.amin(1)[some], rtol=1e-9, atol=1e-9)


def test_closest_points_beat_every_other_point_of_their_triangles():
    draw = np.random.default_rng(2)
    b, corners = beliefs(draw, 40), torch.from_numpy(draw.normal(0, 4, (40, 5, 3, 3)))
    best = b.energy(closest_points(b, corners), b.normal[:, None].expand(40, 5, 3))
    for _ in range(200):
        share = torch.from_numpy(draw.dirichlet(np.ones(3), (40, 5)))
        other = (share[..., None] * corners).sum(-2)
        assert bool((b.energy(other, b.normal[:, None].expand(40, 5, 3)) >= best - 1e-9).all())


def test_no_match_crosses_a_thin_sheet():
    grid = torch.linspace(-10, 10, 21, dtype=torch.float64)
    xy = torch.cartesian_prod(grid, grid)
    i = torch.arange(20 * 21).reshape(20, 21)[:, :-1].reshape(-1)
    faces = torch.cat([torch.stack([i, i + 21, i + 1], 1), torch.stack([i + 1, i + 21, i + 22], 1)])
    top = torch.cat([xy, torch.full((441, 1), 0.75, dtype=torch.float64)], 1)
    sheet = torch.cat([top, top * top.new_tensor([1.0, 1.0, -1.0])])
    both = torch.cat([faces, faces.flip(1) + 441])
    target = Target(Surface(sheet, vertex_normals(sheet, both), None, both, "mm"))
    draw = np.random.default_rng(3)
    count = 200
    up = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).expand(count, 3)
    aside = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64).expand(count, 3)
    place = torch.from_numpy(draw.uniform(-8, 8, (count, 3))) * torch.tensor([1.0, 1.0, 0.1])  # some below the sheet
    one = torch.ones(count, dtype=torch.float64)
    found = target.most_likely(Beliefs(place, up, aside, one, one, 30 * one, 0 * one, aside))
    assert bool((found.point[:, 2] > 0).all()) and bool((place[:, 2] < 0).any())


def test_analytic_derivatives_are_numeric_ones():
    draw = np.random.default_rng(4)
    true = similarity(draw, 1.7)
    samples = sampled((view_of(bumpy(draw), true, 80, draw, 0.03),), PointNoise(), 80)
    samples = replace(samples, along=samples.across)  # the noise's own turning is frozen within a step
    at = batch(true)
    stage = noised(samples, at.scale, PointNoise(), 0.5, 0.1)
    point = true.apply(samples.position)[None] + torch.from_numpy(draw.normal(0, 0.5, (1, len(samples), 3)))
    normal = torch.nn.functional.normalize(torch.from_numpy(draw.normal(size=(1, len(samples), 3))), dim=-1)
    found = terms(samples, at, point, normal, stage)
    assert found.jacobian is not None
    exact = [0, 4, 5, 6, 7, 8]  # what slides along the plane is frozen there by design
    for k in range(7):
        step = torch.zeros(1, 7, dtype=torch.float64)
        step[0, k] = 1e-6
        ahead = terms(samples, stepped(at, step), point, normal, stage, derivatives=False).residual
        behind = terms(samples, stepped(at, -step), point, normal, stage, derivatives=False).residual
        numeric = (ahead - behind) / 2e-6
        torch.testing.assert_close(found.jacobian[..., exact, k], numeric[..., exact], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_exact_data_gives_the_exact_similarity(scale):
    draw = np.random.default_rng(5)
    surface, true = bumpy(draw), similarity(draw, scale)
    samples = sampled((view_of(surface, true, 500, draw),), PointNoise(), 400)
    middle = about(samples)
    truth = true @ middle.inverse()
    off = torch.tensor([[0.15, -0.1, 0.12, 1.0, -1.5, 0.8, 0.1]], dtype=torch.float64)
    start = stepped(batch(truth), off)
    problem = Problem(samples.moved(middle), Target(surface), PointNoise())
    found = solve(problem, start, Annealing(start_mm=2.0, iterations=14, scale_std=1e4)).target_from_source
    assert float(displaced(problem.samples, found, truth)[0]) < 5e-3  # steps end at 2e-3 mm
    assert float(found.scale[0]) == pytest.approx(scale, rel=2e-4)


def test_scale_is_unbiased_and_the_covariance_covers():
    draw = np.random.default_rng(6)
    surface, true, noise = bumpy(draw), similarity(draw, 1.4), PointNoise(surface_mm=0.02, across=1e-3)
    target, logs, z = Target(surface), [], []
    for _ in range(12):
        samples = sampled((view_of(surface, true, 400, draw, 0.02),), noise, 400)
        middle = about(samples)
        truth = batch(true @ middle.inverse())
        problem = Problem(samples.moved(middle), target, noise)
        found = solve(problem, truth, Annealing(start_mm=0.3, iterations=8, exact=False, scale_std=1e4))
        at = found.target_from_source
        stage = noised(problem.samples, at.scale, noise, 0.0, 0.0)
        matches = target.near(believed(problem.samples, at, stage))
        there = torch.ones(1, len(samples), dtype=torch.bool)
        now = terms(problem.samples, at, matches.point[None], matches.normal[None], stage)
        hessian, _ = normal_equations(
            problem.samples, now.without_sliding(), there, at, at.scale.log(), Annealing(scale_std=1e6), None
        )
        logs.append(math.log(float(at.scale[0]) / 1.4))
        z.append(logs[-1] / math.sqrt(float(covariance(hessian[0], float(len(samples)))[6, 6])))
    assert abs(np.mean(logs)) < 3 * np.std(logs) / math.sqrt(12) + 1e-3
    assert np.std(logs) < 0.02
    assert 0.4 < float(np.sqrt(np.mean(np.square(z)))) < 2.0


def test_a_start_far_away_ends_better_than_it_began():
    draw = np.random.default_rng(7)
    surface, true = bumpy(draw), similarity(draw, 1.0)
    samples = sampled((view_of(surface, true, 500, draw, 0.01),), PointNoise(), 300)
    middle = about(samples)
    truth = true @ middle.inverse()
    start = stepped(batch(truth), torch.tensor([[0.0, 0.0, 0.0, 0.0, 9.0, 12.0, 0.0]], dtype=torch.float64))
    problem = Problem(samples.moved(middle), Target(surface), PointNoise())
    found = solve(problem, start, Annealing(iterations=30, exact=False))
    assert float(displaced(problem.samples, found.target_from_source, truth)[0]) < 15
    assert 0.4 < float(found.target_from_source.scale[0]) < 2.5  # and has not collapsed


def test_thinning_does_not_depend_on_the_order():
    draw = np.random.default_rng(8)
    points = torch.from_numpy(draw.uniform(0, 10, (3000, 3)) * [1, 1, 0.1])
    order = torch.from_numpy(draw.permutation(3000))
    first, cell = thinned(points, 200)
    second, other = thinned(points[order], 200)
    assert cell == other and 100 < len(first) <= 200
    assert {tuple(p) for p in points[first].tolist()} == {tuple(p) for p in points[order][second].tolist()}


def test_rotations_leave_no_gap():
    draw = np.random.default_rng(9)
    tried = rotations(20.0)
    worst = 0.0
    for _ in range(100):
        turn = rotation_from_vector(torch.from_numpy(draw.normal(0, 2, 3)))
        trace = torch.einsum("rij,ij->r", tried, turn)
        worst = max(worst, float(torch.arccos(((trace - 1) / 2).clamp(-1, 1)).min()))
    assert math.degrees(worst) < 22


def test_viewpoint_is_in_front_of_what_it_sees():
    draw = np.random.default_rng(10)
    view = view_of(bumpy(draw), similarity(draw, 0.3), 600, draw)
    place = viewpoint(view.surface)
    assert view.surface.normals is not None
    facing = ((place - view.surface.points) * view.surface.normals).sum(-1) > 0
    assert float(facing.double().mean()) > 0.9


def test_icp_with_scaling_finds_the_optimum_nearby():
    draw = np.random.default_rng(11)
    surface = bumpy(draw, 120)
    true = similarity(draw, 1.3)
    points = true.inverse().apply(surface.points[torch.from_numpy(draw.choice(len(surface.points), 1500))])
    start = stepped(batch(true), torch.tensor([[0.02, 0.02, -0.02, 0.5, 0.5, 0.5, 0.03]], dtype=torch.float64))
    start = Similarity(start.scale[0], start.motion[0])
    found = iterated_closest_points(points, surface, start, kept=1.0)
    before, after = ((s.apply(points) - true.apply(points)).norm(dim=-1).mean() for s in (start, found))
    assert float(after) < 0.7 * float(before)  # it crawls along the surface
