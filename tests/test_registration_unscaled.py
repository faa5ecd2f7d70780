"""Surfaces without cameras and without a scale: what the shape alone must settle before one is accepted."""

import math

import numpy as np
import pytest
import torch
import trimesh

from depthscope.errors import NoAnswerError
from depthscope.geometry import RigidMotion, Similarity, Surface
from depthscope.registration import (
    Alignment,
    Registration,
    RegistrationEvidence,
    Residuals,
    ScalePrior,
    Search,
    SurfaceView,
    Target,
    register_unscaled,
    registration as core,
    unscaled,
)
from depthscope.registration.view import PointNoise, sampled, viewpoint
from depthscope.simulation.anatomy import patient
from noses import similarity

QUICK = Registration(search=Search(step_mm=4.5, turn_deg=25.0, rays=32, kept=24), coarse=200, middle=400, fine=500)


def bowl(count: int = 2000, radius: float = 10.0) -> Surface:
    """Half a sphere, seen from within, longer along x."""
    way = torch.nn.functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    way[:, 2] = way[:, 2].abs()
    stretched = way.double() * torch.tensor([2 * radius, radius, radius], dtype=torch.float64)
    return Surface(stretched, -way.double())


SQUARE = Surface(
    torch.tensor([[0.0, 0, 0], [9, 0, 0], [0, 9, 0]], dtype=torch.float64),
    torch.tensor([[0.0, 0, 1]] * 3, dtype=torch.float64),
    faces=torch.tensor([[0, 1, 2]]),
)


def placed_at(x_mm: float, scale: float = 1.0, reasons: tuple[str, ...] = ()) -> Alignment:
    shift = RigidMotion(torch.eye(3, dtype=torch.float64), torch.tensor([x_mm, 0, 0], dtype=torch.float64))
    sure = RegistrationEvidence(20.0, 1.0, 1.5, 0.98, 0.0, 0.0, 0.5, 0.95, 0.5)
    place = Similarity(torch.tensor(scale, dtype=torch.float64), shift)
    residuals = Residuals(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.bool))
    spread, middle = torch.eye(7, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    return Alignment(place, residuals, spread, middle, (), sure, 0.99, reasons, True, 0.1, 50.0, 1.0)


def test_halves_lie_on_either_side_of_the_longest_axis():
    one, other = unscaled.halves(bowl())
    assert len(one.points) == len(other.points) == 1000
    left, right = sorted((one, other), key=lambda part: float(part.points[:, 0].mean()))
    assert float(left.points[:, 0].max()) < float(right.points[:, 0].min()) + 2  # of 40


@pytest.mark.parametrize(
    ("halves", "accepted"),
    [
        (((0.5, 1.0), (-0.4, 1.0)), True),
        (((0.5, 1.0), (20.0, 1.0)), False),
        (((0.0, 1.0), (0.0, 0.2)), False),  # in the same place, but shrunk
        (((0.0, 1.0), None), False),
    ],
)
def test_both_halves_must_agree_with_the_whole(monkeypatch, halves, accepted):
    left, sizes = [(0.0, 1.0), *halves], []

    def played(surface, target, options, starts=(), told=None):
        sizes.append(len(surface.points))
        assert len(starts) == (len(sizes) > 1)  # the halves begin from the whole's place too
        if (place := left.pop(0)) is None:
            raise NoAnswerError("nowhere")
        return placed_at(*place)

    monkeypatch.setattr(unscaled, "register", played)
    found = register_unscaled(bowl(), SQUARE)
    assert sizes == [2000, 1000, 1000] and found.ambiguous != accepted
    assert accepted or (found.reasons[0] == unscaled.UNSETTLED and "a half of the surface" in found.reasons[1])
    assert not math.isnan(found.evidence.halves_apart_mm)


def test_a_known_scale_or_a_refusal_asks_no_halves(monkeypatch):
    calls = []

    def played(surface, *rest):
        calls.append(len(surface.points))
        return placed_at(0.0, reasons=() if len(calls) == 1 else ("no",))

    monkeypatch.setattr(unscaled, "register", played)
    assert not register_unscaled(bowl(), SQUARE, Registration(scale_prior=ScalePrior(1.0))).ambiguous
    assert register_unscaled(bowl(), SQUARE).reasons == ("no",) and calls == [2000, 2000]


def test_shrinking_costs_likelihood_without_cameras_only():
    surface = bowl()
    samples = sampled((SurfaceView(surface, viewpoint(surface)),), PointNoise(), 300)
    scale = torch.tensor([1e-3, 0.03, 1.0, 30.0], dtype=torch.float64)
    blur = core._blur(samples, scale, Registration(), cameras=False)
    assert bool((blur.diff() < 0).all())
    # Where the target's error is all there is, a tenth of the scale costs ln 10; where it is none, nothing.
    finer = core._blur(samples, scale / 10, Registration(), cameras=False)
    assert float(finer[0] - blur[0]) == pytest.approx(math.log(10), abs=0.01)
    assert float(core._blur(samples, 1e3 * scale, Registration(), False)[3] - blur[3]) == pytest.approx(0, abs=0.01)
    assert not core._blur(samples, scale, Registration(), cameras=True).any()
    assert not core._blur(samples, scale, Registration(scale_prior=ScalePrior(1.0)), cameras=False).any()


def test_a_surface_is_no_speck_and_no_larger_than_its_target():
    surface = bowl()
    samples = sampled((SurfaceView(surface, viewpoint(surface)),), PointNoise(), 300)
    own = float((surface.points - surface.points.mean(0)).square().sum(-1).mean().sqrt())
    ball = trimesh.creation.icosphere(subdivisions=3, radius=60.0)
    points = torch.from_numpy(np.array(ball.vertices))
    target = Target(Surface(points, -points / 60, faces=torch.from_numpy(np.array(ball.faces)).flip(1)))
    bounds = core.extent_bounds(samples, target, Registration())
    assert bounds is not None
    assert bounds[0] * own == pytest.approx(4.0, rel=0.1) and bounds[1] * own == pytest.approx(1.3 * 60, rel=0.1)
    assert core.extent_bounds(samples, target, Registration(scale_prior=ScalePrior(1.0))) is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4, 7])
def test_noisy_points_are_never_accepted_elsewhere(seed):
    """Patches of a wall at an unknown scale, to their own surface and to another patient's."""
    own, other = (patient(number, "nasal", spacing_mm=1.2).surface for number in (seed, seed + 1))
    draw = np.random.default_rng(seed)
    assert own.normals is not None
    points, normals = own.points.double(), own.normals.double()
    for radius in (10.0, 30.0):
        middle = points[int(draw.integers(len(points)))]
        rows = ((points - middle).norm(dim=-1) < radius).nonzero()[:, 0]
        noisy = points[rows] + 0.5 * torch.from_numpy(draw.standard_normal((len(rows), 3)))
        away = similarity(draw, math.exp(draw.uniform(-3, 3)))
        source = Surface(away.apply(noisy), normals[rows] @ away.motion.rotation.T)
        for target in (own, other):
            try:
                found = register_unscaled(source, target, QUICK)
            except NoAnswerError:
                continue
            error = (found.target_from_source.apply(source.points) - points[rows]).norm(dim=-1).mean()
            assert found.ambiguous or (target is own and float(error) < 2)
