"""Stills: exact depth on the recorded frame, a function of their seeds, and lenses as wide as asked."""

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
import trimesh

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, RigidMotion, Surface
from depthscope.geometry.casting import RayCaster
from depthscope.geometry.depth import pixel_grid
from depthscope.simulation import stills as module
from depthscope.simulation.anatomy import Anatomy, patient
from depthscope.simulation.finish import Finish
from depthscope.simulation.haze import Bubbles, Smoke
from depthscope.simulation.lenses import FIELDS_DEG, fisheye, full_frame, lens_for, octagon, projected_radius
from depthscope.simulation.patients.options import with_lens
from depthscope.simulation.presets import round_picture, subject
from depthscope.simulation.render import RenderView, Scene, sight
from depthscope.simulation.stills import stills
from depthscope.simulation.texture import Look, Mucosa, Plain, tones
from depthscope.simulation.tools import Tool
from depthscope.simulation.viewpoints import Viewpoints

COARSE_MM = {"nasal": 1.0, "colon": 1.2, "bronchus": 1.2, "abdomen": 2.0}


@lru_cache
def coarse(kind: str) -> Anatomy:
    return patient(5, kind, spacing_mm=COARSE_MM[kind])


@pytest.fixture(scope="module", autouse=True)
def coarse_patients():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            module, "patient", lambda seed, kind, spacing_mm: coarse(kind) if seed == 5 else patient(seed, kind)
        )
        yield


@pytest.fixture(scope="module", params=list(COARSE_MM))
def drawn(request):
    return list(stills(request.param, 5, 1, 4, (96, 80)))


def test_a_still_is_a_recorded_frame_with_masks_and_depth(drawn):
    for still in drawn:
        assert still.image.shape == (80, 96, 3) and still.image.dtype == np.uint8
        assert still.depth.shape == still.content.shape == still.foreign.shape == still.hidden.shape == (80, 96)
        assert still.depth.dtype == np.float32
        assert not still.depth[~still.content].any() and not still.foreign[~still.content].any()
        assert (still.depth[still.content] > 0).mean() > 0.98
        assert still.image[still.content].mean() > 15
        assert still.camera.size_px == (96, 80)


def test_distance_along_the_ray_is_depth_times_the_ray(drawn):
    still = drawn[0]
    rays = still.camera.unproject(pixel_grid(80, 96, torch.empty(0, dtype=torch.float64)))
    points = torch.from_numpy(still.depth).double()[..., None] * rays
    seen = still.depth > 0
    np.testing.assert_allclose(still.distance[seen], points.norm(dim=-1).numpy()[seen], rtol=1e-6)
    assert (still.distance >= still.depth).all()


def test_a_still_depends_on_its_seeds_and_number_alone(drawn):
    kind = drawn[0].anatomy
    (again,) = stills(kind, 5, 1, 1, (96, 80), first=2)
    for name in ("image", "depth", "content", "foreign", "hidden"):
        np.testing.assert_array_equal(getattr(again, name), getattr(drawn[2], name))
    assert again.camera == drawn[2].camera
    (other,) = stills(kind, 5, 2, 1, (96, 80), first=2)
    assert not np.array_equal(other.depth, drawn[2].depth)
    assert len({still.camera for still in drawn}) == len(drawn)


def test_depth_lies_on_the_field_of_the_anatomy(monkeypatch):
    poses = []
    wrapped = Viewpoints.drawn
    monkeypatch.setattr(Viewpoints, "drawn", lambda self, draw: poses.append(wrapped(self, draw)) or poses[-1])
    still = next(s for s in stills("colon", 5, 3, 8, (64, 64)) if not s.foreign.any())
    rays = still.camera.unproject(pixel_grid(64, 64, torch.empty(0, dtype=torch.float64)))
    shown = torch.from_numpy(still.depth > 0)
    anatomy = coarse("colon")
    points = poses[-1].inverse().apply(torch.from_numpy(still.depth)[shown].double()[:, None] * rays[shown])
    # The mesh's flat triangles differ from the curved field by its sagitta.
    off = anatomy.distance_mm(points).abs()
    assert float(off.median()) < 0.04 and float(off.quantile(0.95)) < 0.3


@pytest.mark.parametrize("kind", list(COARSE_MM))
def test_viewpoints_are_in_the_air_and_spread_over_the_anatomy(kind):
    anatomy = coarse(kind)
    viewpoints = Viewpoints.of(anatomy)
    draw = np.random.default_rng(0)
    cameras = [viewpoints.drawn(draw) for _ in range(60)]
    centres = torch.stack([camera.origin for camera in cameras])
    assert bool((anatomy.field(centres) < 0).all())
    for passage in anatomy.passages:
        nearest = torch.cdist(centres, passage).argmin(1).double() / len(passage)
        assert float(nearest.max() - nearest.min()) > 0.6
    caster = RayCaster(anatomy.surface)
    clear = [float(c.norm()) for c in torch.cdist(centres, anatomy.surface.points[::7]).amin(1)[:, None]]
    assert min(clear) >= viewpoints.gaze.clearance_mm
    ahead = torch.stack([camera.inverse().rotation[:, 2] for camera in cameras])
    assert float(caster.cast(centres, ahead).found.double().mean()) > 0.95


@pytest.mark.parametrize("field_deg", FIELDS_DEG.values())
@pytest.mark.parametrize("projection", [-0.9, -0.5, 0.0, 0.5])
def test_lenses_span_their_field_and_have_a_way_back(field_deg, projection):
    disc = round_picture((256, 256), 0.48)
    camera = lens_for(disc, field_deg, projection)
    rim = torch.tensor([[disc.centre_px[0] + disc.radius_px, disc.centre_px[1]]], dtype=torch.float64)
    ray = camera.unproject(rim)[0]
    assert math.degrees(math.atan2(float(ray[:2].norm()), float(ray[2]))) == pytest.approx(field_deg / 2, abs=1e-6)
    pixels = pixel_grid(256, 256, torch.empty(0, dtype=torch.float64))[disc.inside() > 0]
    torch.testing.assert_close(camera.project(camera.unproject(pixels)), pixels, atol=1e-8, rtol=0)


def test_fisheye_follows_the_projection_and_never_folds():
    angle = torch.linspace(0.01, math.pi / 2, 300, dtype=torch.float64)
    for projection in (-0.95, -0.5, 0.0, 0.3, 0.75):
        lens = fisheye(projection, math.radians(60))
        within = angle < math.radians(60)
        wanted = projected_radius(angle, projection)
        assert float((lens.radius(angle) - wanted)[within].abs().max()) < 2e-4
        assert float(lens.radius(angle).diff().min()) > 0


@pytest.mark.parametrize("disc", [octagon((96, 80)), full_frame((96, 80)), octagon((80, 96), 1.0, 0.05)])
def test_cropped_pictures_lie_within_the_image_circle(disc):
    shown = disc.inside() > 0
    assert bool(shown[40, 40])
    pixels = pixel_grid(*reversed(disc.size_px), torch.empty(0, dtype=torch.float64))[shown]
    away = (pixels - torch.tensor(disc.centre_px, dtype=torch.float64)).norm(dim=-1)
    assert float(away.max()) <= disc.radius_px
    assert float(away.max()) > disc.radius_px - 12


def test_full_frame_shows_every_pixel_and_an_octagon_cuts_its_corners():
    assert bool((full_frame((96, 80)).inside() > 0).all())
    shown = octagon((96, 80)).inside() > 0
    assert not bool(shown[0, 0]) and bool(shown[40, 3]) and bool(shown[3, 48])


@pytest.mark.parametrize("options", [{"draw_seed": -1}, {"count": -1}, {"size": (32, 64)}, {"patient_seed": -1}])
def test_impossible_stills_are_refused(options):
    with pytest.raises(BadInputError):
        list(stills(**{"anatomy": "nasal", "patient_seed": 0, "draw_seed": 0, "count": 1, **options}))


@pytest.mark.parametrize("options", [{"field_deg": 20.0}, {"field_deg": 180.0}, {"projection": 0.9}])
def test_impossible_lenses_are_refused(options):
    with pytest.raises(BadInputError):
        lens_for(**{"disc": round_picture((64, 64), 0.5), "field_deg": 90.0, **options})


def test_a_finish_that_asks_for_nothing_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Finish().recorded(image), image)
    light = torch.rand(40, 50, 3)
    assert Finish().smeared(light) is light


def test_local_tone_brightens_what_is_dark_and_leaves_black():
    image = np.full((64, 96, 3), 180, np.uint8)
    image[:, :48] = 40
    image[:4] = 0
    toned = Finish(local_tone=0.6).recorded(image)
    assert toned[40, 8, 0] > 44 and toned[40, 90, 0] < 176
    assert toned[0].max() == 0


def test_a_smear_keeps_the_light_and_goes_the_way_it_should():
    light = torch.zeros(41, 41, 3)
    light[20, 20] = 1.0
    smeared = Finish(motion_px=8.0, motion_rad=0.0).smeared(light)
    assert float(smeared.sum()) == pytest.approx(3.0, rel=1e-5)
    row, column = (smeared[..., 0] > 0.02).nonzero().unbind(-1)
    assert int(column.max() - column.min()) >= 6 and int(row.max() - row.min()) <= 2


@pytest.mark.parametrize("opening", [0.0, 0.6])
def test_a_tool_stands_where_it_should_and_has_its_own_depth(opening):
    board = trimesh.creation.box((200.0, 200.0, 1.0))
    board.apply_translation((0, 0, 40.5))
    points, normals = torch.from_numpy(np.array(board.vertices)), torch.from_numpy(np.array(board.vertex_normals))
    surface = Surface(points, normals, None, torch.from_numpy(np.array(board.faces)), "mm")
    scene = Scene(surface, Plain(), torch.zeros(len(points), 3))
    view = RenderView(Camera((64, 64), (40.0, 40.0), (32.0, 32.0)), torch.ones(64, 64, dtype=torch.bool))
    still = RigidMotion(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    tool = Tool(3.0, 4.0, opening, reach=0.5, at=(0.3, -0.2), side_rad=0.0)
    placed = tool.before(view, still, sight(scene, view, still))
    seen = sight(scene, view, still, placed)
    foreign, depth = view.image(seen.instrument), view.image(seen.depth)
    assert 0.01 < float(foreign.double().mean()) < 0.5
    assert float(depth[~foreign].min()) == pytest.approx(40.0, abs=1e-5)
    assert float(depth[foreign].max()) < 30.0
    if not opening:
        column, row = round(32 + 0.3 * 31.5), round(32 - 0.2 * 31.5)
        assert bool(foreign[row - 2 : row + 3, column - 2 : column + 3].any())
    assert bool(foreign[:, -1].any())  # it comes in from the right


def test_regions_are_tinted_and_their_seams_are_smooth():
    anatomy = coarse("abdomen")
    table = tones(anatomy.surface, anatomy.regions, anatomy.region_names, 3)
    assert table.shape == (len(anatomy.regions), 6)
    fat, liver = (table[anatomy.regions == anatomy.region_names.index(n)].mean(0) for n in ("omentum", "liver"))
    assert float(fat[5] / fat[3]) < 0.75 and float(liver[3]) < 0.6  # yellow, and dark
    assert tones(anatomy.surface, anatomy.regions, ("wall",) * 9, 1).shape[1] == 3


def test_what_lies_on_tissue_covers_the_share_asked_for():
    draw = np.random.default_rng(3)
    points = torch.from_numpy(draw.uniform(-60, 60, (4000, 3))).float()
    normals = torch.nn.functional.normalize(torch.from_numpy(draw.normal(size=(4000, 3))).float(), dim=-1)
    flat, cell = torch.tensor([[1.0, 1.0, 0.0]]).expand(4000, 3), torch.full((4000,), 0.3)
    bare = Mucosa(Look(), 5).albedo(points, normals, flat, cell)
    covered = Mucosa(Look(cover_share=0.3, cover_opacity=1.0, cover=(0.1, 0.2, 0.9)), 5).albedo(
        points, normals, flat, cell
    )
    changed = ((covered - bare).abs().amax(-1) > 0.1).double().mean()
    assert 0.15 < float(changed) < 0.45
    bloody = Mucosa(Look(bleeding=3.0), 5).albedo(points, normals, flat, cell)
    assert bool((bloody[:, 1] <= bare[:, 1] + 1e-6).all()) and float((bloody - bare).abs().amax()) > 0.1


@pytest.mark.parametrize("options", [{"motion_px": -1.0}, {"local_tone": 2.0}, {"rescale": 0.0}, {"jpeg_quality": 101}])
def test_impossible_finishes_are_refused(options):
    with pytest.raises(BadInputError):
        Finish(**options)


def plain_view() -> RenderView:
    return RenderView(Camera((48, 40), (30.0, 30.0), (24.0, 20.0)), torch.ones(40, 48, dtype=torch.bool))


def test_smoke_takes_more_light_the_farther_it_comes():
    light, depth = torch.full((40, 48, 3), 0.5), torch.full((40, 48), 20.0, dtype=torch.float64)
    depth[:, 24:] = 40.0
    depth[:2] = 0.0
    seen = Smoke(opacity=0.5, brightness=0.0).seen_through(light, depth)
    near, far = float(seen[20, 5, 0]), float(seen[20, 40, 0])
    median = float(depth[depth > 0].median())
    assert near == pytest.approx(0.5 * 0.5 ** (20 / median), rel=1e-5)
    assert far == pytest.approx(0.5 * 0.5 ** (40 / median), rel=1e-5)
    assert torch.equal(seen[:2], light[:2])
    assert Smoke().seen_through(light, depth) is light


def test_bubbles_are_drawn_by_seed_where_there_is_tissue():
    light, depth = torch.full((40, 48, 3), 0.2), torch.full((40, 48), 10.0, dtype=torch.float64)
    depth[:, :12] = 0.0
    view, bubbles = plain_view(), Bubbles(40, 1.0, seed=3)
    first, again = (bubbles.before(light, depth, view) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first, light)
    assert not torch.equal(first, Bubbles(40, 1.0, seed=4).before(light, depth, view))
    assert float(first.max()) > 0.3 and float(first.min()) < 0.18
    assert Bubbles().before(light, depth, view) is light


def test_a_preset_lens_replaces_the_scopes_own():
    scope = subject(3, "colon", size_px=(96, 80)).scope
    wide = with_lens(scope, "colonoscope_160")
    rim = torch.tensor([[scope.disc.centre_px[0] + scope.disc.radius_px, scope.disc.centre_px[1]]], dtype=torch.float64)
    ray = wide.camera.unproject(rim)[0]
    assert math.degrees(2 * math.atan2(float(ray[:2].norm()), float(ray[2]))) == pytest.approx(160, abs=1e-6)
    assert bool(RenderView(wide.camera, scope.disc.inside() > 0).rays().isfinite().all())
    with pytest.raises(BadInputError, match="sinus_70"):
        with_lens(scope, "eagle_eye")


@pytest.mark.parametrize(
    "thing", [lambda: Smoke(opacity=1.0), lambda: Smoke(patchy=-1.0), lambda: Bubbles(radius_mm=0.0)]
)
def test_impossible_smoke_and_bubbles_are_refused(thing):
    with pytest.raises(BadInputError):
        thing()
