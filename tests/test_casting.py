"""Rays against meshes: where they meet first, and that rays of no direction are not asked about."""

import torch

from depthscope.geometry import Camera, RigidMotion, Surface
from depthscope.geometry.casting import RayCaster

SQUARE = Surface(
    torch.tensor([[-9.0, -9.0, 5.0], [9.0, -9.0, 5.0], [9.0, 9.0, 5.0], [-9.0, 9.0, 5.0]], dtype=torch.float64),
    faces=torch.tensor([[0, 1, 2], [0, 2, 3]]),
)


def test_distances_are_exact_and_rays_that_are_not_finite_meet_nothing():
    directions = torch.tensor([[0.0, 0, 1], [0.1, 0.2, 2], [torch.nan, 0, 1], [0, torch.inf, 1], [0, 0, -1]])
    hits = RayCaster(SQUARE).cast(torch.zeros(1, 3), directions)
    assert hits.found.tolist() == [True, True, False, False, False]
    assert hits.distance.tolist() == [5.0, 2.5, 0.0, 0.0, 0.0]
    assert torch.allclose(hits.weights[:2].sum(1), torch.ones(2, dtype=hits.weights.dtype))


def test_embree_is_given_finite_rays_alone(monkeypatch):
    """One ray of NaN makes it look at every triangle: a lens with dark corners took minutes."""
    caster, given = RayCaster(SQUARE), []

    class Tree:
        def run(self, starts, ways, **told):
            given.append((starts, ways))
            return tree.run(starts, ways, **told)

    tree = caster._tree
    monkeypatch.setitem(caster.__dict__, "_tree", Tree())
    caster.cast(torch.zeros(1, 3), torch.tensor([[0.0, 0, 1], [torch.nan, 0, 1]]))
    assert [len(ways) for _, ways in given] == [1]


def test_a_camera_sees_depth_along_its_axis():
    camera = Camera((8, 6), (6.0, 6.0), (4.0, 3.0))
    motion = RigidMotion(torch.eye(3, dtype=torch.float64), torch.tensor([0.0, 0, 1], dtype=torch.float64))
    seen = RayCaster(SQUARE).view(camera, motion)
    assert bool(seen.found.all()) and torch.allclose(seen.distance, torch.full_like(seen.distance, 6.0))
