"""Phantom anatomies: closed surfaces on the field's zero, normals into air, landmarks, seeds and splits."""

import numpy as np
import pytest
import torch
import trimesh

from depthscope.errors import BadInputError
from depthscope.simulation.anatomy import SPLITS, Anatomy, patient, split_of
from depthscope.simulation.anatomy.field import Bending, Ripples, ellipsoid, scroll, smooth_max, with_gradient
from depthscope.simulation.anatomy.nasal import NasalCavity

COARSE_MM = 0.9


@pytest.fixture(scope="module", params=["nasal", "colon"])
def anatomy(request) -> Anatomy:
    return patient(4, request.param, spacing_mm=COARSE_MM)


def test_surface_is_closed_and_on_the_zero_of_the_field(anatomy):
    surface = anatomy.surface
    mesh = trimesh.Trimesh(surface.points.numpy(), surface.faces.numpy(), process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume < 0  # counter-clockwise seen from the air, which is inside
    assert float((anatomy.field(surface.points).abs() < 1e-3).double().mean()) > 0.999
    assert len(anatomy.regions) == len(surface.points)
    assert int(anatomy.regions.max()) < len(anatomy.region_names)


def test_surface_lies_within_the_bounds(anatomy):
    low, high = (torch.tensor(corner, dtype=torch.float64) for corner in anatomy.shape.bounds)
    assert bool((anatomy.surface.points > low + 1).all())
    assert bool((anatomy.surface.points < high - 1).all())


def test_normals_point_into_air(anatomy):
    surface = anatomy.surface
    some = slice(None, None, 7)
    assert float((anatomy.field(surface.points[some] + 0.05 * surface.normals[some]) < 0).double().mean()) > 0.99
    assert float((anatomy.field(surface.points[some] - 0.05 * surface.normals[some]) > 0).double().mean()) > 0.99
    facing = (surface.face_normals * surface.normals[surface.faces[:, 0]]).sum(-1)
    assert float((facing > 0).double().mean()) > 0.98


def test_landmarks_lie_on_the_surface(anatomy):
    points = torch.stack(list(anatomy.landmarks.values()))
    assert float(anatomy.distance_mm(points).abs().max()) < 0.1
    mesh = anatomy.surface.points
    assert float(torch.cdist(points, mesh).amin(1).max()) < 1.5 * COARSE_MM


def test_lumen_runs_through_air(anatomy):
    assert bool((anatomy.field(anatomy.lumen) < 0).all())
    steps = (anatomy.lumen[1:] - anatomy.lumen[:-1]).norm(dim=-1)
    assert float(steps.max()) < 0.6


def test_turbinates_and_folds_are_labelled(anatomy):
    share = torch.bincount(anatomy.regions, minlength=len(anatomy.region_names)) / len(anatomy.regions)
    wanted = ("septum", "inferior_turbinate", "middle_turbinate") if anatomy.kind == "nasal" else ("wall", "fold")
    for name in wanted:
        assert share[anatomy.region_names.index(name)] > 0.03


def test_gradient_is_that_of_differences(anatomy):
    points = anatomy.surface.points[::997]
    _, gradient = with_gradient(anatomy.field, points)
    h = 1e-5
    shifts = h * torch.eye(3, dtype=points.dtype)
    numeric = torch.stack([(anatomy.field(points + d) - anatomy.field(points - d)) / (2 * h) for d in shifts], -1)
    close = (gradient - numeric).norm(dim=-1) < 1e-2
    assert float(close.double().mean()) > 0.97  # the rest lies on creases


@pytest.mark.parametrize("kind", ["nasal", "colon"])
def test_a_seed_gives_one_anatomy_and_another_seed_another(kind):
    first, again, other = (patient(seed, kind, spacing_mm=1.0) for seed in (7, 7, 8))
    assert torch.equal(first.surface.points, again.surface.points)
    assert all(torch.equal(first.landmarks[name], again.landmarks[name]) for name in first.landmarks)
    assert first.surface.points.shape != other.surface.points.shape


def test_swelling_moves_landmarks_into_air_and_not_far():
    before, after = (patient(5, "nasal", swelling, spacing_mm=1.0) for swelling in (0.0, 1.2))
    name = "inferior_turbinate_head"
    assert 0.05 < float((after.landmarks[name] - before.landmarks[name]).norm()) < 2.0
    assert float(before.field(after.landmarks[name][None])) < 0
    volume = [float(trimesh.Trimesh(a.surface.points, a.surface.faces, process=False).volume) for a in (before, after)]
    assert abs(volume[1]) < abs(volume[0])


@pytest.mark.parametrize(
    "options", [(-1, "nasal"), (0, "ear"), (0, "nasal", 2.0), (0, "colon", -0.1), (0, "nasal", 0.0, 3.0)]
)
def test_impossible_options_are_refused(options):
    with pytest.raises((BadInputError, TypeError)):  # the checked types of the tests refuse an unknown name first
        patient(*options)


def test_splits_are_by_patient_and_disjoint():
    assert [split_of(seed) for seed in (0, 9999, 10000, 10999, 11000, 11999)] == [
        "train", "train", "validation", "validation", "test", "test",
    ]  # fmt: skip
    assert sum(map(len, SPLITS.values())) == len(set().union(*SPLITS.values()))
    for seed in (-1, 12000):
        with pytest.raises(BadInputError):
            split_of(seed)


def test_smooth_maximum_is_the_plain_one_further_apart_than_the_blend():
    a, b = torch.tensor([0.0, 0.0, 3.0]), torch.tensor([2.0, 0.0, 0.0])
    torch.testing.assert_close(smooth_max(a, b, 1.0), torch.tensor([2.0, 0.25, 3.0]))


def test_ellipsoid_with_equal_radii_is_a_sphere():
    points = torch.tensor([[3.0, 0, 0], [0, 1.0, 0]], dtype=torch.float64)
    value = ellipsoid(points, (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    torch.testing.assert_close(value, torch.tensor([-1.0, 1.0], dtype=torch.float64), atol=1e-4, rtol=0)


def test_scroll_is_the_distance_to_stem_and_arc():
    across = torch.tensor([-2.0, 0.0, 0.0, -3.0], dtype=torch.float64)
    up = torch.tensor([3.0, -2.0, 0.0, 1.0], dtype=torch.float64)
    distance = scroll(across, up, 2.0, 3.0, stem=5.0)
    torch.testing.assert_close(distance, torch.tensor([0.0, 0.0, 2.0, 1.0], dtype=torch.float64), atol=1e-4, rtol=0)


def test_ripples_have_the_spread_asked_for():
    ripples = Ripples.drawn(np.random.default_rng(0), (3.0, 6.0), (0.3, 0.4))
    points = 200 * torch.rand(20000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(ripples(points).std()) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("seed", [3, 11000, 11003])
def test_a_nose_is_bent_without_folds_and_the_way_back_is_exact(seed):
    shape = NasalCavity.drawn(seed, 0.0)
    draw = torch.Generator().manual_seed(0)
    own = torch.rand(2000, 3, dtype=torch.float64, generator=draw) * torch.tensor([25.0, 80.0, 45.0])
    torch.testing.assert_close(shape.own(shape.in_patient(own)), own, atol=1e-6, rtol=0)
    points = shape.in_patient(own).requires_grad_()
    rows = [torch.autograd.grad(axis.sum(), points, retain_graph=True)[0] for axis in shape.own(points).unbind(-1)]
    assert float((shape.side * torch.linalg.det(torch.stack(rows, 1))).min()) > 0.1


def test_noses_differ_by_more_than_their_dimensions_but_not_at_the_nostril():
    first, other = (NasalCavity.drawn(seed, 0.0) for seed in (7, 8))
    own = torch.tensor([[5.0, 0.0, 8.0], [5.0, 40.0, 12.0], [5.0, 60.0, 20.0]], dtype=torch.float64)
    mirror = torch.tensor([[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]], dtype=torch.float64)[:, None]
    shifts = torch.stack([(n.in_patient(own) * mirror[int(n.side < 0)] - own) for n in (first, other)])
    assert float(shifts[:, 0].abs().max()) == 0
    assert float((shifts[0] - shifts[1])[1:].norm(dim=-1).min()) > 0.5


def test_bending_has_the_spread_asked_for():
    bending = Bending.drawn(np.random.default_rng(0), (3.0, 6.0), (0.3, 0.4), count=60)
    points = 200 * torch.rand(20000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bending(points).std(0), torch.full((3,), 0.5, dtype=torch.float64), atol=0.08, rtol=0)
