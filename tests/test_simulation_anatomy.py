"""Phantom anatomies: closed surfaces on the field's zero, normals into air, landmarks, seeds and splits."""

import numpy as np
import pytest
import torch
import trimesh

from depthscope.errors import BadInputError
from depthscope.simulation.anatomy import SPLITS, Anatomy, patient, split_of
from depthscope.simulation.anatomy.abdomen import Abdomen
from depthscope.simulation.anatomy.bronchus import BronchialTree
from depthscope.simulation.anatomy.extraction import first_touch
from depthscope.simulation.anatomy.field import Bending, Ripples, ellipsoid, scroll, smooth_max, with_gradient
from depthscope.simulation.anatomy.nasal import NasalCavity

COARSE_MM = {"nasal": 0.9, "colon": 0.9, "bronchus": 1.1, "abdomen": 2.0}


@pytest.fixture(scope="module", params=list(COARSE_MM))
def anatomy(request) -> Anatomy:
    return patient(4, request.param, spacing_mm=COARSE_MM[request.param])


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
    assert float(torch.cdist(points, mesh).amin(1).max()) < 1.5 * COARSE_MM[anatomy.kind]


def test_every_passage_runs_through_air(anatomy):
    assert anatomy.passages[0] is anatomy.lumen
    for passage in anatomy.passages:
        assert bool((anatomy.field(passage) < 0).all())
        assert float((passage[1:] - passage[:-1]).norm(dim=-1).max()) < 0.6


def test_turbinates_and_folds_are_labelled(anatomy):
    share = torch.bincount(anatomy.regions, minlength=len(anatomy.region_names)) / len(anatomy.regions)
    wanted = {
        "nasal": ("septum", "inferior_turbinate", "middle_turbinate"),
        "colon": ("wall", "fold"),
        "bronchus": ("trachea", "main_bronchus", "lobar_bronchus", "segmental_bronchus", "cartilage"),
        "abdomen": ("peritoneum", "liver", "large_bowel", "bowel"),
    }
    for name in wanted[anatomy.kind]:
        assert share[anatomy.region_names.index(name)] > 0.03


def test_gradient_is_that_of_differences(anatomy):
    points = anatomy.surface.points[::997]
    _, gradient = with_gradient(anatomy.field, points)
    h = 1e-5
    shifts = h * torch.eye(3, dtype=points.dtype)
    numeric = torch.stack([(anatomy.field(points + d) - anatomy.field(points - d)) / (2 * h) for d in shifts], -1)
    close = (gradient - numeric).norm(dim=-1) < 1e-2
    assert float(close.double().mean()) > 0.97  # the rest lies on creases


@pytest.mark.parametrize("kind", list(COARSE_MM))
def test_a_seed_gives_one_anatomy_and_another_seed_another(kind):
    first, again, other = (patient(seed, kind, spacing_mm=min(1.3 * COARSE_MM[kind], 2.0)) for seed in (7, 7, 8))
    assert torch.equal(first.surface.points, again.surface.points)
    assert all(torch.equal(first.landmarks[name], again.landmarks[name]) for name in first.landmarks)
    assert first.surface.points.shape != other.surface.points.shape


def test_airways_halve_their_cube_and_part_at_a_carina():
    tree = BronchialTree.drawn(11, 0.0)
    for airway in range(len(tree.parent)):
        children = (tree.parent == airway).nonzero()[:, 0]
        if airway and len(children):  # Murray: r0^3 = r1^3 + r2^3
            assert float((tree.radius[children, 0] ** 3).sum()) == pytest.approx(float(tree.radius[airway, 1] ** 3))
    right, left = (tree.end[i] - tree.start[i] for i in (1, 2))
    assert float(left.norm()) > 1.3 * float(right.norm())
    angle = float(torch.rad2deg(torch.arccos((right @ left) / right.norm() / left.norm())))
    assert 35 < angle < 95
    assert 10 < 2 * float(tree.radius[0, 1]) < 25
    assert int(tree.generation.max()) >= 3 and len(tree.parent) > 12


def test_the_membrane_behind_the_trachea_is_flat_and_its_front_has_cartilages():
    tree = BronchialTree.drawn(3, 0.0)
    axis = tree.end[0] - tree.start[0]
    along = torch.linspace(12, 30, 400, dtype=torch.float64)
    reach = {}
    for name, way in (("front", -tree.behind[0]), ("back", tree.behind[0])):
        steps = torch.arange(3.0, 14.0, 0.02, dtype=torch.float64)
        points = tree.start[0] + along[:, None, None] * axis / axis.norm() + steps[:, None] * way
        tissue = tree(tree.in_patient(points)) > 0
        reach[name] = steps[tissue.int().argmax(1)]
    assert float(reach["back"].mean()) < 0.9 * float(reach["front"].mean())
    assert float(reach["front"].std()) > 3 * float(reach["back"].std())  # rings before, none behind


def test_organs_of_an_abdomen_hang_under_the_dome_within_working_distance():
    shape = Abdomen.drawn(2, 0.0)
    for way in shape.middles:
        assert float(shape(way).max()) < -9.0
        ends = 0.5 * (way[-1] - way[-20])
        hit = first_touch(shape, way[-1:], ends[None], reach=200.0)
        assert 8 < float((hit - way[-1]).norm()) < 150


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
