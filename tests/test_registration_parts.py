"""Parts of the registration against numbers worked out by hand: noise, penalties, what cameras see, confidence."""

import math
from dataclasses import replace

import pytest
import torch
import trimesh

from depthscope.geometry import RigidMotion, Similarity, Surface
from depthscope.registration import PointNoise, Search, SurfaceView, Target
from depthscope.registration.certainty import ConfidenceCalibration, RegistrationEvidence
from depthscope.registration.residuals import noised, robust, robust_weight, stepped
from depthscope.registration.search import air_places
from depthscope.registration.sight import sighted
from depthscope.registration.solve import AIR_MM, Penalty
from depthscope.registration.view import Samples, fibonacci, sampled

NOISE = PointNoise()


def similarity(scale: float = 1.0) -> Similarity:
    """One start: no rotation, no shift."""
    eye, nowhere = torch.eye(3, dtype=torch.float64)[None], torch.zeros(1, 3, dtype=torch.float64)
    return Similarity(torch.tensor([scale], dtype=torch.float64), RigidMotion(eye, nowhere))


def plane(side: float = 20.0, count: int = 21, height: float = 0.0) -> Surface:
    """A square in z = `height` with its normals upwards."""
    line = torch.linspace(-side, side, count, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="xy")
    points = torch.stack([x, y, torch.full_like(x, height)], -1).reshape(-1, 3)
    i = torch.arange(count * (count - 1)).reshape(count - 1, count)[:, :-1].reshape(-1)
    faces = torch.cat([torch.stack([i, i + 1, i + count], 1), torch.stack([i + 1, i + count + 1, i + count], 1)])
    return Surface(points, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(points), None, faces, "mm")


def looked_at(height: float = 10.0, lower: float = 0.0, std: float = 0.3) -> Samples:
    """Points below a camera in (0, 0, height), `lower` below the plane z = 0 along their rays, which are steep."""
    line = torch.linspace(-0.1, 0.1, 8, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="xy")
    centre = torch.tensor([0.0, 0.0, height], dtype=torch.float64)
    way = torch.stack([x, y, torch.zeros_like(x)], -1).reshape(-1, 3) - centre
    points = centre + way * (1 + lower / height)
    normals = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(points)
    return sampled((SurfaceView(Surface(points, normals), centre, std / height),), NOISE, 64)


def test_noise_of_the_surface_shrinks_with_the_scale_and_annealing_softens_normals():
    samples = looked_at()
    stage = noised(samples, torch.tensor([3.0], dtype=torch.float64), NOISE, added_mm=2.0, added_rad=0.5)
    from_target = (0.25**2 + 2.0**2) / 9
    torch.testing.assert_close(stage.along[0], samples.along**2 + from_target)
    torch.testing.assert_close(stage.across[0], samples.across**2 + from_target)
    softened = 1 / (1 + samples.kappa * 0.25)
    torch.testing.assert_close(stage.kappa[0], samples.kappa * softened)
    oval = replace(samples, beta=0.1 * samples.kappa)
    found = noised(oval, torch.tensor([3.0], dtype=torch.float64), NOISE, added_mm=2.0, added_rad=0.5)
    torch.testing.assert_close(found.beta[0], 0.1 * samples.kappa * softened)


def test_normals_are_known_worse_along_the_tilt():
    """Seen from the front both tilts are known alike; at 60 degrees the relief counts along the tilt alone."""
    front = sampled_at(0.0)
    least = math.radians(7.0) ** 2
    torch.testing.assert_close(front.kappa, torch.full_like(front.kappa, 1 / (0.2**2 + least)), rtol=2e-3, atol=0)
    assert float((front.beta / front.kappa).max()) < 1e-3
    tilted = sampled_at(60.0)
    along = (0.2 * 0.25) ** 2 + (0.15 * math.sqrt(0.75) * 0.5) ** 2 + least
    across = (0.2 * 0.5) ** 2 + least
    kappa, beta = (1 / along + 1 / across) / 2, abs(1 / along - 1 / across) / 4
    torch.testing.assert_close(tilted.kappa, torch.full_like(tilted.kappa, kappa), rtol=1e-2, atol=0)
    torch.testing.assert_close(tilted.beta, torch.full_like(tilted.beta, beta), rtol=5e-2, atol=0)


def sampled_at(tilt_deg: float) -> Samples:
    """A small patch seen from 100 mm at an angle to its normal."""
    line = torch.linspace(-0.1, 0.1, 8, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="xy")
    points = torch.stack([x, y, torch.zeros_like(x)], -1).reshape(-1, 3)
    normals = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(points)
    tilt = math.radians(tilt_deg)
    centre = 100 * torch.tensor([math.sin(tilt), 0.0, math.cos(tilt)], dtype=torch.float64)
    return sampled((SurfaceView(Surface(points, normals), centre),), NOISE, 64)


def test_the_robust_energy_is_the_energy_where_it_is_small_and_ends_at_one_value():
    small = torch.tensor([1e-6, 1e-4], dtype=torch.float64)
    torch.testing.assert_close(robust(small), small, rtol=1e-4, atol=0)
    assert float(robust(torch.tensor(1e9, dtype=torch.float64))) == pytest.approx(7.8, rel=1e-6)
    at, step = torch.tensor([0.5, 3.0, 20.0], dtype=torch.float64), 1e-5
    torch.testing.assert_close(
        robust_weight(at), (robust(at + step) - robust(at - step)) / (2 * step), rtol=1e-6, atol=0
    )


def test_derivatives_of_the_penalty_for_cameras_in_tissue_are_numeric_ones():
    draw = torch.Generator().manual_seed(3)
    centres = 3 * torch.randn(4, 3, generator=draw, dtype=torch.float64)
    samples = replace(looked_at(), centres=centres)
    at = stepped(similarity(1.4), torch.tensor([[0.2, -0.3, 0.1, 1, 2, 3, 0]], dtype=torch.float64))
    normal = torch.nn.functional.normalize(torch.randn(1, 4, 3, generator=draw, dtype=torch.float64), dim=-1)
    place = torch.einsum("bij,vj->bvi", at.motion.rotation, centres) * at.scale + at.motion.translation[:, None]
    room = torch.tensor([[-0.6, 0.1, -1.0, AIR_MM + 1.0]], dtype=torch.float64)  # the last one is in air
    penalty = Penalty(room, normal, place)
    violated, jacobian = penalty.terms(samples, at)
    assert bool((violated[0, :3] > 0).all()) and float(violated[0, 3]) == 0
    for k in range(7):
        step = torch.zeros(1, 7, dtype=torch.float64)
        step[0, k] = 1e-6
        ahead, behind = (penalty.terms(samples, stepped(at, sign * step))[0] for sign in (1, -1))
        torch.testing.assert_close(jacobian[..., k], (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("lower", "coverage", "nearer"), [(0.9, 1.0, 0.0), (1.1, 0.0, 1.0), (-1.1, 0.0, 0.0)])
def test_a_point_is_covered_within_two_deviations_along_its_ray(lower, coverage, nearer):
    """0.3 mm of the point and 0.4 mm of the surface make 0.5 mm: two of them are 1 mm."""
    noise = replace(NOISE, surface_mm=0.4, across=1e-6)
    samples = looked_at(lower=lower)
    samples = replace(samples, along=torch.full_like(samples.along, 0.3), across=torch.full_like(samples.across, 1e-6))
    found = sighted(samples, Target(plane()), similarity(), noise)
    assert float(found.coverage[0]) == pytest.approx(coverage)
    assert float(found.nearer[0]) == pytest.approx(nearer)


@pytest.mark.parametrize(("height", "violated"), [(10.0, 0.0), (-10.0, 1.0)])
def test_a_camera_below_the_surface_is_in_tissue(height, violated):
    samples = replace(looked_at(), centres=torch.tensor([[0.0, 0.0, height]], dtype=torch.float64))
    found = sighted(samples, Target(plane()), similarity(), NOISE)
    assert float(found.air_violation[0]) == violated


def evidence(odds: float) -> RegistrationEvidence:
    return RegistrationEvidence(odds, 1.0, 1.5, 0.9, 0.0, 0.0, 1.0, 0.9, 0.5)


def test_confidence_is_a_probability_by_the_logistic_curve():
    """Evidence in which only the odds speak: log(1 + e^3 - 1) - 3 = 0 is as likely right as wrong."""
    calibration = ConfidenceCalibration((1.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0, 2.0, "by hand")
    assert calibration(evidence(math.expm1(3.0))) == pytest.approx(0.5)
    assert calibration(evidence(0.0)) == pytest.approx(1 / (1 + math.exp(3.0)))
    for offset, probability in ((2.0, 0.8808), (-2.0, 0.1192), (-1e4, 0.0), (1e4, 1.0)):
        found = replace(calibration, offset=offset)(evidence(math.expm1(3.0)))
        assert found == pytest.approx(probability, abs=1e-4)


def test_directions_are_spread_evenly():
    """No hole and no crowd: each is about as far from its nearest as the area of each allows."""
    directions = fibonacci(100)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(100, dtype=torch.float64))
    between = torch.cdist(directions, directions).fill_diagonal_(9.0).amin(-1)
    ideal = math.sqrt(4 * math.pi / 100)
    assert float(between.min()) > 0.75 * ideal and float(between.max()) < 1.1 * ideal


def test_places_in_a_large_cavity_are_at_a_quarter_and_three_quarters_of_the_reach():
    """A ball of 60 mm with places 2 mm apart: 6 and 18 mm off its wall, and about its middle, but none between."""
    ball = trimesh.creation.icosphere(2, radius=60.0)
    points, faces = torch.from_numpy(ball.vertices.copy()), torch.from_numpy(ball.faces.copy()).flip(1)
    target = Target(Surface(points, -points / 60, None, faces, "mm"), spacing_mm=4.0, coarse_mm=15.0)
    room = 60 - air_places(target, Search(step_mm=2.0)).norm(dim=-1)
    near, far, middle = (room - 6).abs() < 3, (room - 18).abs() < 3, room > 45
    assert bool(near.any()) and bool(far.any()) and bool((near | far | middle).all())


def test_faces_have_the_normals_of_their_vertices_unless_these_contradict():
    flat = plane(count=3)
    tilted = torch.nn.functional.normalize(torch.tensor([0.3, 0.0, 1.0], dtype=torch.float64), dim=0)
    assert flat.normals is not None
    target = Target(replace(flat, normals=tilted.expand_as(flat.normals)))
    torch.testing.assert_close(target.face_normals, tilted.expand(8, 3))
    turned = Target(replace(flat, normals=-flat.normals))
    torch.testing.assert_close(turned.face_normals, torch.tensor([0.0, 0.0, 1.0]).double().expand(8, 3))


def test_both_sides_of_a_thin_sheet_have_coarse_samples():
    """0.1 mm apart, in the same cells, facing away from each other: one sample of each side in each cell."""
    above, below = plane(side=6.0, count=13, height=0.1), plane(side=6.0, count=13)
    assert above.faces is not None and below.faces is not None and below.normals is not None
    faces = torch.cat([above.faces, below.faces.flip(1) + len(above.points)])
    normals = torch.cat([below.normals, -below.normals])
    sheet = Surface(torch.cat([above.points, below.points]), normals, None, faces, "mm")
    points, normals = Target(sheet, coarse_mm=1.2).coarse_samples
    up, down = points[normals[:, 2] > 0], points[normals[:, 2] < 0]
    assert len(up) == len(down) == 100  # 12 mm by 12 mm in cells of 1.2 mm
    assert float(torch.cdist(up, down).amin(-1).max()) < 0.2
