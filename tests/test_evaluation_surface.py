"""Distances between surfaces: closed forms, and exactness against brute force."""

from dataclasses import replace

import pytest
import torch
import trimesh

from depthscope.errors import BadInputError
from depthscope.evaluation import surface_error
from depthscope.evaluation.surface import sampled
from depthscope.geometry import Surface
from depthscope.geometry.nearest import NearestPoint, on_triangles


def sphere(radius: float, subdivisions: int = 4, unit: str = "mm") -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return Surface(torch.tensor(mesh.vertices.copy()), faces=torch.tensor(mesh.faces.copy()), unit=unit)


def test_golden_concentric_spheres():
    found = surface_error(sphere(10.0), sphere(11.0), samples=5000)
    for distances in (found.accuracy, found.completeness):
        assert distances.mean == pytest.approx(1, abs=0.02) and distances.p95 == pytest.approx(1, abs=0.04)
    assert found.chamfer == pytest.approx(1, abs=0.02)
    assert found.f_scores[0.5] == 0 and found.f_scores[2.0] == pytest.approx(1)


def test_what_was_never_seen_does_not_count():
    whole = sphere(10.0)
    upper = whole.points[whole.faces].mean(1)[:, 2] > 0
    half = replace(whole, faces=whole.faces[upper])
    assert surface_error(half, whole, samples=4000).completeness.mean > 1
    assert surface_error(half, whole, upper, samples=4000).completeness.p95 < 1e-6
    assert surface_error(half, whole, samples=4000).accuracy.p95 < 1e-6


def test_samples_are_even_over_the_area():
    generator = torch.Generator().manual_seed(0)
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 0, 0], [8, 0, 0], [5, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    drawn = sampled(Surface(points, faces=faces), 20_000, generator)
    assert float((drawn[:, 0] > 2).double().mean()) == pytest.approx(0.75, abs=0.015)
    small = drawn[drawn[:, 0] < 2]
    assert small[:, :2].mean(0).tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.01)


def test_the_nearest_point_is_that_of_brute_force():
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    faces = torch.randint(0, 60, (300, 3), generator=generator)
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])]
    queries = 2 * torch.randn(200, 3, generator=generator, dtype=torch.float64)
    found = NearestPoint(Surface(points, faces=faces))(queries)
    corners = points[faces]
    every = on_triangles(queries[:, None].expand(-1, len(faces), -1), corners.expand(200, -1, -1, -1))
    best = (every - queries[:, None]).norm(dim=-1).min(1).values
    assert torch.allclose(found.distance, best, atol=1e-12)
    assert torch.allclose((found.point - queries).norm(dim=-1), found.distance, atol=1e-12)


def test_the_nearest_point_of_a_triangle_beats_any_sample_of_it():
    generator = torch.Generator().manual_seed(4)
    corners = torch.randn(50, 3, 3, generator=generator, dtype=torch.float64)
    queries = 2 * torch.randn(50, 3, generator=generator, dtype=torch.float64)
    closest = on_triangles(queries, corners)
    weights = torch.distributions.Dirichlet(torch.ones(3, dtype=torch.float64)).sample((3000,))
    samples = torch.einsum("sk,tkd->tsd", weights, corners)
    best = (samples - queries[:, None]).norm(dim=-1).min(1).values
    distance = (closest - queries).norm(dim=-1)
    assert bool((distance <= best + 1e-12).all())
    assert float((best - distance).max()) < 0.1


def test_units_must_agree():
    with pytest.raises(BadInputError, match="in sfm and mm"):
        surface_error(sphere(1.0, 1, "sfm"), sphere(1.0, 1))
    with pytest.raises(BadInputError, match="no face of the truth was seen"):
        surface_error(sphere(1.0, 1), sphere(1.0, 1), torch.zeros(80, dtype=torch.bool))
