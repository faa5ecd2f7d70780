import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, RigidMotion
from depthscope.geometry.motion import rotate
from depthscope.simulation.breathing import Breathing, breathed
from depthscope.simulation.clip_files import Take, flow_after, gains, photographed, shown_at
from depthscope.simulation.debris import Debris, soiled
from depthscope.simulation.disturbances import Disturbances
from depthscope.simulation.exposure import Shutter, beside, row_by_row
from depthscope.simulation.faults import Faults, with_faults
from depthscope.simulation.instrument import Instrument, carried, placed, solid
from depthscope.simulation.light import Lighting
from depthscope.simulation.patch import flat_patch
from depthscope.simulation.path import TrajectoryOptions
from depthscope.simulation.presets import subject
from depthscope.simulation.render import RenderView, Shading, render, truth
from depthscope.simulation.sensor import ScopeDisc
from depthscope.simulation.texture import Mucosa
from test_simulation_render import moved, scene, tube, view

LENS = Camera((48, 40), (30.0, 30.3), (23.3, 20.6))


def along(count: int) -> RigidMotion:
    path = [moved(0.4 * i, 0.1 * i, 0.5 * i, 0.02 * i) for i in range(count)]
    return RigidMotion(torch.stack([m.rotation for m in path]), torch.stack([m.translation for m in path]))


def take(disturbances: Disturbances, **scope) -> Take:
    drawn = subject(1, "nasal", "typical", 0.0, (64, 48))
    ball = scene(trimesh.creation.icosphere(subdivisions=5, radius=14.0), Mucosa(drawn.look, 1))
    return Take(ball, replace(drawn.scope, **scope), along(6), 1, 0, disturbances)


def test_breath_never_moves_tissue_further_than_it_says():
    breathing, points = Breathing(0.4, 0.3, 0.1, 1.2, seed=4), torch.randn(500, 3, dtype=torch.float64) * 30
    far = max(float(breathing.displacement(points, t).norm(dim=-1).max()) for t in np.linspace(0, 4, 41))
    assert 0.1 < far <= 0.5


def test_the_field_has_the_gradient_that_it_says():
    breathing, point = Breathing(0.4, seed=4), torch.tensor([[3.0, -2.0, 5.0]], dtype=torch.float64)
    told = breathing.gradient(point, 0.7)[0]
    steps = 1e-5 * torch.eye(3, dtype=torch.float64)
    found = (breathing.displacement(point + steps, 0.7) - breathing.displacement(point - steps, 0.7)) / 2e-5
    assert torch.allclose(told, found.T, atol=1e-8) and float(told.abs().max()) > 1e-3


def test_normals_stay_upright_on_breathing_tissue():
    ball = scene(trimesh.creation.icosphere(subdivisions=5, radius=14.0))
    now = breathed(ball, Breathing(1.0, wavelength_mm=12.0, seed=2), 0.9)
    mesh = trimesh.Trimesh(now.surface.points.numpy(), now.surface.faces.numpy(), process=False)
    found = functional.normalize(now.surface.normals, dim=-1)
    cosine = (found * -torch.from_numpy(np.array(mesh.vertex_normals))).sum(-1)
    before = (ball.surface.normals * found).sum(-1)
    assert float(cosine.min()) > 1 - 5e-6 and float(before.min()) < 0.99


def test_flow_of_breathing_tissue_ends_where_the_next_frame_sees_it():
    clip = take(Disturbances(Breathing(0.5, 2.0, seed=3)))
    rendered, _, _ = photographed(clip, 1, 500.0)
    flow, seen = flow_after(clip, 1, rendered)
    pixels = (flow + clip.view.image(clip.view.pixels))[seen]
    there = clip.motions[2].inverse()
    hits = clip.tissue(2).cast(there.translation[None], rotate(there.rotation, clip.scope.camera.unproject(pixels)))
    met = clip.tissue(2).places(hits)
    start = clip.tissue(2).places(rendered.sight.tissue)[seen[clip.view.shown]]
    assert float((met - start).norm(dim=-1).quantile(0.99)) < 2e-3
    still = flow_after(replace(clip, disturbances=Disturbances()), 1, rendered)[0]
    assert float((still - flow)[seen].norm(dim=-1).max()) > 0.2


def test_the_shaft_has_its_diameter_and_the_mask_is_where_it_is_seen():
    shaft = solid(3.0, 5.0)
    assert float(shaft.surface.points[:, :2].norm(dim=-1).max()) == pytest.approx(1.5)
    starts = torch.tensor([[10.0, 0.0, -20.0], [0.0, 10.0, -33.3]], dtype=torch.float64)
    hits = shaft.cast(starts, -functional.normalize(starts * starts.new_tensor([1, 1, 0]), dim=-1))
    assert torch.allclose(hits.distance, torch.full_like(hits.distance, 8.5), atol=1e-3)

    clip = take(Disturbances(instrument=Instrument(2.0, seed=1)))
    rendered, _, _ = photographed(clip, 0, 500.0)
    bare, _ = truth(clip.scene, clip.view, clip.motions[0])
    covered = rendered.instrument
    assert 0.02 < float(covered.float().mean()) < 0.6
    assert bool((rendered.depth[covered] < bare[covered]).all())
    assert bool((rendered.depth[~covered] == bare[~covered]).all())


def test_flow_of_the_instrument_is_its_own():
    clip = take(Disturbances(instrument=Instrument(2.0, period_s=0.5, seed=1)))
    rendered, _, _ = photographed(clip, 0, 500.0)
    flow, _ = flow_after(clip, 0, rendered)
    now, later = clip.instrument(0), clip.instrument(1)
    assert now is not None and later is not None
    rays = clip.view.rays()[rendered.sight.instrument]
    world = clip.motions[0].inverse().apply(rendered.sight.depth[rendered.sight.instrument][:, None] * rays)
    after = clip.scope.camera.project(clip.motions[1].apply(carried(now, later, world)))
    found = (flow + clip.view.image(clip.view.pixels))[rendered.instrument]
    assert float((after - found).norm(dim=-1).max()) < 1e-6


def test_an_instrument_stays_before_the_tissue_and_shades_it():
    ball, held = scene(trimesh.creation.icosphere(subdivisions=5, radius=14.0)), Instrument(3.0, seed=2)
    for t in np.linspace(0, 3, 13):
        thing = placed(held, ball, moved(1.0, 0.0, 0.0), float(t))
        assert float(thing.world_from_own.translation.norm()) < 14.0
    plain = Shading(1, film=0.0, translucency_mm=0.0)
    light = Lighting()
    light = replace(light, lamps=(replace(light.lamps[0], position_mm=(-1.5, 1.5, 0.0)),))
    thing = placed(held, ball, moved(), 0.4)
    without = render(ball, view(LENS), moved(), light, plain)
    shaded = render(ball, view(LENS), moved(), light, plain, instrument=thing)
    darker = (shaded.light[..., 0] < 0.2 * without.light[..., 0]) & ~shaded.instrument
    assert int(darker.sum()) > 3 and bool((shaded.shadow & darker).any())


def test_each_row_of_a_rolling_shutter_has_its_own_moment():
    motions, rows = along(4), torch.tensor([0.5, 20.0, 39.5], dtype=torch.float64)
    (found,) = row_by_row(motions, 1, Shutter(readout=0.4), rows, 40, 4)
    z = found.origin[:, 2]
    assert float(z[1]) == pytest.approx(0.5, abs=0.01)
    assert float(z[2] - z[0]) == pytest.approx(0.5 * 0.4 * 39 / 40, rel=1e-6)
    fields = Shutter(fields=0.5).row_shares(torch.tensor([0.5, 1.5], dtype=torch.float64), 40)
    assert float(fields[1] - fields[0]) == pytest.approx(0.5)
    first = beside(motions, 0, torch.tensor(-0.25, dtype=torch.float64))  # before the clip it moves as after it
    assert float(first.origin[2]) == pytest.approx(-0.125)


def test_a_rolling_shutter_shows_points_where_their_row_was():
    clip = take(Disturbances(), shutter=Shutter(readout=0.4))
    frame, at = torch.tensor([2, 2]), torch.tensor([[0.0, -4.0, 10.0], [0.0, 4.0, 10.0]], dtype=torch.float64)
    late = shown_at(clip, frame, at)
    share = 0.4 * (late[:, 1] / 48 - 0.5)
    again = clip.scope.camera.project(beside(clip.motions, frame, share).apply(at))
    assert float((late - again).abs().max()) < 1e-3
    still = shown_at(replace(clip, scope=replace(clip.scope, shutter=Shutter())), frame, at)
    assert float((late - still).norm(dim=-1).min()) > 0.02
    rolling, _, picture = photographed(clip, 2, 500.0)
    other = replace(clip, scope=replace(clip.scope, shutter=Shutter()))
    normal, _, sharp = photographed(other, 2, 500.0)
    assert bool((rolling.depth == normal.depth).all()) and bool((picture != sharp).any())


def test_droplets_stay_where_they_are_and_hide_only_what_the_mask_says():
    disc = ScopeDisc((64, 48), (32.0, 24.0), 23.0)
    depth = RenderView(LENS, torch.ones(48, 64, dtype=torch.bool)).image(
        torch.full((48 * 64,), 12.0, dtype=torch.float64)
    )
    light = torch.rand(48, 64, 3, generator=torch.Generator().manual_seed(1))
    debris = Debris(droplets=3, seed=5)
    first, hidden = soiled(light, depth, debris, disc, 30.0, 0.0)
    _, later = soiled(light, depth, debris, disc, 30.0, 1.0)
    assert bool((hidden == later).all()) and 0.01 < float(hidden.float().mean()) < 0.6
    clear = (first - light).abs().amax(-1) < 1e-6
    assert bool(clear.any()) and not bool((clear & hidden).any())
    moving = [soiled(light, depth, Debris(bits=6, seed=5), disc, 30.0, t)[1] for t in (0.0, 1.0)]
    assert bool((moving[0] != moving[1]).any())


def test_fog_takes_contrast():
    disc = ScopeDisc((64, 48), (32.0, 24.0), 23.0)
    light, depth = torch.rand(48, 64, 3, generator=torch.Generator().manual_seed(1)), torch.ones(48, 64).double()
    spread = [float(soiled(light, depth, Debris(fog=fog), disc, 30.0, 0.0)[0].std()) for fog in (0.1, 0.5, 0.9)]
    assert light.std() > spread[0] > spread[1] > spread[2]


def test_a_planar_patch_is_a_plane():
    wall = tube(10.0)
    for flatness, most in ((1.0, 1e-6), (0.0, 1.0)):
        patch = flat_patch(wall, view(LENS), moved(), flatness)
        seen, _ = truth(patch, view(LENS), moved())
        spread = float(seen[seen > 0].max() - seen[seen > 0].min())
        assert spread < most if flatness else spread > most


def test_no_faults_is_the_same_subject_and_each_fault_changes_it():
    plain = subject(2, "nasal")
    assert with_faults(plain, Faults()) is plain and with_faults(plain, Faults.parsed("fog=0,debris=0")) is plain
    for name in Faults().severities:
        assert with_faults(plain, Faults(**{name: 1.0})) != plain, name
    assert Faults.parsed("fog=0.5, wrong_focal=0.2") == Faults(fog=0.5, wrong_focal=0.2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("smoke=1", "fault 'smoke'"),
        ("fog=2", "fog=2"),
        ("fog=-0.1", "0 to 1"),
        ("fog", "fog=SEVERITY"),
        ("fog=1,fog=0", "twice"),
        ("pure_rotation=1,static_scene=1", "one fault of the camera's way"),
        ("fog=nan", "fog=nan"),
    ],
)
def test_bad_faults_are_told(text, told):
    with pytest.raises(BadInputError, match=told):
        Faults.parsed(text)


def test_impossible_disturbances_are_refused():
    for wrong in (
        lambda: Breathing(5.0),
        lambda: Breathing(1.0, wavelength_mm=5.0),
        lambda: Instrument(0.1),
        lambda: Instrument(reach=1.5),
        lambda: Debris(droplets=-1),
        lambda: Shutter(readout=2.0),
        lambda: TrajectoryOptions(travel=1.5),
        lambda: Disturbances(planar=2.0),
        lambda: replace(subject(1, "nasal"), swelling_mm=2.0),
    ):
        with pytest.raises(BadInputError):
            wrong()


def test_the_gain_of_any_frame_can_be_had_alone_with_everything_on():
    clip = take(Disturbances(Breathing(0.2), Instrument(2.0), Debris(2)).of_clip(1, 0))
    assert gains(clip, range(3, 4)) == pytest.approx(gains(clip, range(0, 4))[3:], rel=1e-12)
    assert math.isfinite(gains(clip, range(1))[0])
