import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion, RigidMotion, Surface
from depthscope.geometry.motion import rotate
from depthscope.simulation.clip_files import (
    Take,
    between,
    during,
    frame,
    gains,
    packed_flow,
    unpacked_flow,
    write_array,
)
from depthscope.simulation.light import Lamp, Lighting
from depthscope.simulation.presets import subject
from depthscope.simulation.render import RenderView, Scene, Shading, flow_to, render, truth
from depthscope.simulation.texture import Look, Mucosa, Plain

SIZE = (48, 40)
STILL = RigidMotion.identity()


def camera(distortion=None, focal: float = 30.0) -> Camera:
    return Camera(SIZE, (focal, focal * 1.01), (23.3, 20.6), distortion or NoDistortion())


def view(lens: Camera) -> RenderView:
    return RenderView(lens, torch.ones(SIZE[1], SIZE[0], dtype=torch.bool))


def scene(mesh: trimesh.Trimesh, texture=None, inward: bool = True) -> Scene:
    points = torch.from_numpy(np.array(mesh.vertices, dtype=np.float64))
    normals = torch.from_numpy(np.array(mesh.vertex_normals, dtype=np.float64)) * (-1 if inward else 1)
    surface = Surface(points, normals, None, torch.from_numpy(np.array(mesh.faces, dtype=np.int64)), "mm")
    return Scene(surface, texture or Plain(), torch.ones(len(points), 3))


def tube(radius: float = 10.0, texture=None) -> Scene:
    """A tube about z, finely faceted, closed far ahead and behind."""
    mesh = trimesh.creation.cylinder(radius=radius, height=400.0, sections=1440)
    rough = scene(mesh, texture)
    across = rough.surface.points * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    return replace(rough, surface=replace(rough.surface, normals=functional.normalize(-across, dim=-1)))


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0) -> RigidMotion:
    c, s = math.cos(turn), math.sin(turn)
    rotation = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)
    return RigidMotion(rotation, -rotate(rotation, torch.tensor([x, y, z], dtype=torch.float64)))


def test_depth_of_a_plane_is_along_z():
    plane = trimesh.creation.box((500.0, 500.0, 2.0))
    plane.apply_translation((0, 0, 13.0))
    depth, normals = truth(scene(plane, inward=False), view(camera()), STILL)
    assert float((depth - 12).abs().max()) < 1e-9
    assert set(map(tuple, normals.reshape(-1, 3).abs().round(decimals=5).unique(dim=0).tolist())) != set()


@pytest.mark.parametrize(
    "distortion", [NoDistortion(), Brown((-0.2, 0.02, 0.001, -0.001)), KannalaBrandt((-0.02, 0.0, 0.0, 0.0))]
)
def test_depth_inside_a_tube_is_the_closed_form(distortion):
    seen = view(camera(distortion))
    place = moved(1.5, -2.0, 0.0, 0.3)
    depth, normals = truth(tube(), seen, place)
    world = place.inverse()
    d, o = rotate(world.rotation, seen.rays()), world.translation
    a, b, c = d[:, :2].square().sum(-1), (d[:, :2] * o[:2]).sum(-1), o[:2].square().sum() - 100.0
    expected = (-b + (b * b - a * c).sqrt()) / a
    sides = (expected * d[:, 2]).abs() < 190
    error = (depth[seen.shown] / expected - 1).abs()[sides]
    assert int(sides.sum()) > 1000 and float(error.max()) < 1e-4
    points = o + expected[:, None] * d
    inward = rotate(place.rotation, functional.normalize(-points * points.new_tensor([1, 1, 0]), dim=-1))
    assert float((normals[seen.shown] - inward)[sides].norm(dim=-1).quantile(0.99)) < 5e-3


def test_depth_of_a_sphere_is_the_closed_form():
    ball = trimesh.creation.icosphere(subdivisions=7, radius=20.0)
    depth, normals = truth(scene(ball), view(camera()), moved(3.0, -4.0, 2.0, 0.4))
    place = moved(3.0, -4.0, 2.0, 0.4).inverse()
    d, o = rotate(place.rotation, view(camera()).rays()), place.translation
    a, b, c = d.square().sum(-1), (d * o).sum(-1), o.square().sum() - 400.0
    expected = (-b + (b * b - a * c).sqrt()) / a
    assert float((depth.flatten() / expected - 1).abs().max()) < 1e-4
    outward = functional.normalize(-(o + expected[:, None] * d), dim=-1)
    found = rotate(place.rotation, normals.reshape(-1, 3))
    assert float((found - outward).norm(dim=-1).max()) < 2e-3


def test_half_a_turn_about_the_axis_flips_the_picture_exactly():
    centred = Camera(SIZE, (30.0, 30.0), (SIZE[0] / 2, SIZE[1] / 2))
    half = RigidMotion(
        torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64)), torch.zeros(3, dtype=torch.float64)
    )
    depth, _ = truth(tube(), view(centred), moved(2.0, 1.0))
    turned, _ = truth(tube(), view(centred), half @ moved(2.0, 1.0))
    assert float((depth.flip(0, 1) - turned).abs().max()) < 1e-6


def test_linear_light_follows_the_law_and_adds_over_lamps():
    plane = trimesh.creation.box((500.0, 500.0, 2.0))
    lamps = (Lamp((2.0, 0.0, 0.0), spread=2.0), Lamp((-1.0, 1.0, 0.0), strength=0.5))
    matte = Shading(1, shadows=False, film=0.0, translucency_mm=0.0)
    seen, results = view(camera()), {}
    for z in (10.0, 20.0):
        plane.apply_translation((0, 0, z + 1 - plane.centroid[2]))
        wall = scene(plane, inward=False)
        for chosen in (lamps, lamps[:1], lamps[1:]):
            results[z, chosen] = render(wall, seen, STILL, Lighting(chosen), matte).light
        alone = render(wall, seen, STILL, Lighting((Lamp(),)), matte).light[..., 0].double()
        cosine = functional.normalize(seen.rays(), dim=-1)[:, 2].reshape(alone.shape)
        # Vertices of a box share rounded normals with other sides only at its edges, far outside the picture.
        assert torch.allclose(alone * z**2 / cosine**3, torch.full_like(alone, 0.5 / math.pi), rtol=0.2)
        both = results[z, lamps[:1]] + results[z, lamps[1:]]
        assert torch.allclose(results[z, lamps], both, rtol=1e-5)


def test_walls_cast_shadows_of_a_lamp_beside_the_lens():
    post = trimesh.creation.box((2.0, 60.0, 1.0))
    post.apply_translation((0, 0, 10.0))
    back = trimesh.creation.box((400.0, 400.0, 1.0))
    back.apply_translation((0, 0, 30.0))
    wall = scene(trimesh.util.concatenate([post, back]), inward=False)
    light = Lighting((Lamp((4.0, 0.0, 0.0)),))
    seen = view(camera())
    lit = render(wall, seen, STILL, light, Shading(2, film=0.0, translucency_mm=0.0))
    bright = render(wall, seen, STILL, light, Shading(2, shadows=False, film=0.0, translucency_mm=0.0))
    assert bool(lit.shadow.any()) and float(lit.light[lit.shadow].max()) < 0.6 * float(bright.light.max())
    assert float((lit.light[lit.shadow] / bright.light[lit.shadow].clamp_min(1e-9)).mean()) < 0.3
    # The lamp stands right of the lens, so the shadow falls to the left of the post.
    assert float(lit.shadow.nonzero()[:, 1].float().mean()) < SIZE[0] / 2


def test_flow_depth_and_motions_agree_and_survive_the_file(tmp_path):
    wall, seen = tube(), view(camera(Brown((-0.2, 0.02, 0.0, 0.0))))
    here, there = moved(1.0, 0.5, 0.0), moved(1.4, 0.2, 1.5, 0.03)
    depth, _ = truth(wall, seen, here)
    flow, visible = flow_to(wall, seen, depth, here, there)
    write_array(tmp_path / "flow.png", packed_flow(flow, visible))
    stored, known = unpacked_flow(tmp_path / "flow.png")
    assert bool((known == visible).all()) and float(visible.float().mean()) > 0.6
    other, _ = truth(wall, seen, there)
    pixels = seen.pixels[visible.flatten()] + stored[visible].double()
    # Where the flow ends, the other frame's ray meets the same point.
    rays = seen.camera.unproject(pixels)
    hits = wall.cast(there.inverse().translation[None], rotate(there.inverse().rotation, rays))
    met = there.inverse().apply(hits.distance[:, None] * rays)
    again = seen.camera.project(here.apply(met))
    error = (again - seen.pixels[visible.flatten()]).norm(dim=-1)
    assert float(error.quantile(0.99)) < 0.02
    assert other.shape == depth.shape


def test_warping_by_true_depth_shows_the_same_colour_under_constant_light():
    wall, seen = tube(texture=Mucosa(Look(), 1)), view(camera())
    points = []
    for place in (moved(1.0, 0.5, 0.0), moved(1.2, 0.4, 0.6, 0.02)):
        depth, _ = truth(wall, seen, place)
        points.append(place.inverse().apply(depth[seen.shown][:, None] * seen.rays()))
    normals = functional.normalize(-points[0] * points[0].new_tensor([1, 1, 0]), dim=-1)
    tones, cell = torch.ones(len(points[0]), 3), torch.full((len(points[0]),), 0.05)
    first = wall.texture.albedo(points[0], normals, tones, cell)
    again = wall.texture.albedo(points[0] + 1e-7, normals, tones, cell)
    assert float((first - again).abs().max()) < 1 / 255


def test_every_frame_is_a_function_of_its_number():
    drawn = subject(1, "nasal", "typical", 1.0, (64, 48))
    path = [moved(0.1 * i, 0.0, 0.3 * i, 0.01 * i) for i in range(9)]
    motions = RigidMotion(torch.stack([m.rotation for m in path]), torch.stack([m.translation for m in path]))
    take = Take(tube(texture=Mucosa(drawn.look, 1)), drawn.scope, motions, 1, 0)
    together = gains(take, range(0, 8))
    assert gains(take, range(5, 7)) == pytest.approx(together[5:7], rel=1e-12)
    first, second = (frame(take, 6, together[6])[1] for _ in range(2))
    assert bool((first == second).all()) and bool((first != frame(take, 5, together[5])[1]).any())
    assert together[1] != together[7]


def test_motion_over_the_exposure_is_centred_on_the_frame():
    path = [moved(0.0, 0.0, float(i), 0.02 * i) for i in range(4)]
    motions = RigidMotion(torch.stack([m.rotation for m in path]), torch.stack([m.translation for m in path]))
    for number in (0, 2):
        moments = during(motions, number, 0.5, 4)
        centre = torch.stack([m.origin for m in moments])
        assert float((centre.mean(0) - motions[number].origin).norm()) < 1e-9
        assert float(centre[-1, 2] - centre[0, 2]) == pytest.approx(0.375)
    middle = between(path[0], path[2], 0.5)
    assert float((middle.origin - path[1].origin).norm()) < 1e-9
    assert float((middle.rotation - path[1].rotation).abs().max()) < 1e-6


def test_a_lens_that_does_not_reach_the_rim_is_refused():
    with pytest.raises(BadInputError, match="sends no ray"):
        view(camera(KannalaBrandt((0.0, 0.0, 0.0, 0.0)), focal=12.0)).rays()
    with pytest.raises(BadInputError, match="0 rays"):
        Shading(samples=0)
