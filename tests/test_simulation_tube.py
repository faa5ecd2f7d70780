"""The simulated tube: its depth against closed forms, and pictures, points and motions against its depth."""

import hashlib
from dataclasses import replace

import cv2
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.geometry.depth import pixel_grid
from depthscope.simulation import Tube, ray_depth, simulate

SMALL = Tube(frames=8, size_px=(96, 80), points=200)
SMOOTH = Tube(size_px=(96, 80), bend=0.0, fold_depth=0.0, bumps=0, roughness=0.0, pinch=0.0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tube")
    return folder, simulate(replace(SMALL, pixel_noise_px=0.0, depth_noise=0.0), folder)


def depth_of(folder, frame: int) -> torch.Tensor:
    return torch.from_numpy(cv2.imread(str(folder / "depth" / f"{frame:04d}.tiff"), cv2.IMREAD_UNCHANGED)).double()


def all_rays(options: Tube) -> torch.Tensor:
    width, height = options.size_px
    return options.camera.unproject(pixel_grid(height, width, options.content))


def digest(folder) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


def test_depth_in_a_straight_tube_is_that_of_a_cylinder():
    rays = all_rays(SMOOTH)
    centre = torch.tensor([2.0, -3.0, 1.0], dtype=torch.float64)
    depth = ray_depth(SMOOTH.wall(), RigidMotion(torch.eye(3, dtype=torch.float64), -centre), rays)

    # |centre + t ray| = radius in x and y.
    a = rays[..., :2].square().sum(-1)
    b = (rays[..., :2] * centre[:2]).sum(-1)
    exact = (-b + (b * b + a * (SMOOTH.radius_mm**2 - centre[:2].square().sum())).sqrt()) / a
    side = centre[2] + exact < (SMOOTH.length - 0.5) * SMOOTH.radius_mm  # the corner with the end is rounded
    assert 0.3 < float(side.double().mean()) < 1
    torch.testing.assert_close(depth[side], exact[side], atol=1e-6, rtol=0)


def test_depth_of_the_end_wall_is_the_same_in_every_direction():
    rays = all_rays(SMOOTH)
    near_axis = rays[..., :2].norm(dim=-1) < 0.1
    depth = ray_depth(SMOOTH.wall(), RigidMotion.identity(), rays[near_axis])
    torch.testing.assert_close(depth, torch.full_like(depth, SMOOTH.length * SMOOTH.radius_mm), atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_ray_ends_at_the_first_wall(seed):
    options = replace(SMALL, seed=seed)
    wall, motion = options.wall(), options.camera_from_world()[3]
    rays = all_rays(options)[2::5, 2::5].reshape(-1, 3)
    depth = ray_depth(wall, motion, rays)
    world_from_camera = motion.inverse()
    assert float(wall.field(world_from_camera.apply(depth[:, None] * rays)).abs().max()) < 1e-6

    # No place along the way lies in the wall, but where a ray grazes a fold.
    share = torch.linspace(0, 0.999, 400, dtype=torch.float64)
    before = wall.field(world_from_camera.apply((share * depth[:, None])[..., None] * rays[:, None])).min(-1).values
    assert float((before < 0).double().mean()) < 0.005
    assert float(before.min()) > -0.02 * options.radius_mm


@pytest.mark.parametrize("seed", range(5))
def test_the_slope_of_the_field_is_bounded(seed):
    options = replace(SMALL, seed=seed)
    wall, motion = options.wall(), options.camera_from_world()[0]
    rays = all_rays(options).reshape(-1, 3)
    points = motion.inverse().apply(ray_depth(wall, motion, rays)[:, None] * rays).requires_grad_()
    (slope,) = torch.autograd.grad(wall.field(points).sum(), points)
    assert float(slope.norm(dim=-1).max()) <= wall.steepness


def test_points_lie_on_the_surface_that_the_depth_maps_show(clip):
    folder, sequence = clip
    assert float(SMALL.wall().field(sequence.points).abs().max()) < 1e-5
    torch.testing.assert_close(sequence.observations.pixels, sequence.projections, atol=1e-9, rtol=0)
    column, row = sequence.projections.long().unbind(-1)
    for frame in range(len(sequence)):
        depth = depth_of(folder, frame)[None]
        nearest = -torch.nn.functional.max_pool2d(-depth, 3, 1, 1)[0]
        furthest = torch.nn.functional.max_pool2d(depth, 3, 1, 1)[0]
        mine = sequence.observations.frame == frame
        at, seen = (row[mine], column[mine]), sequence.observed_depths[mine]
        assert bool((seen > nearest[at] * 0.99).all()) and bool((seen < furthest[at] * 1.01).all())


def test_a_pixel_comes_back_from_another_frame_or_is_hidden_there(clip):
    folder, sequence = clip
    width, height = sequence.size_px
    camera, wall = sequence.cameras[0], SMALL.wall()
    near, far = 6, 1
    far_from_near = sequence.camera_from_world[far] @ sequence.camera_from_world[near].inverse()
    pixels = pixel_grid(height, width, sequence.points)[sequence.mask]
    moved = far_from_near.apply(depth_of(folder, near)[sequence.mask][:, None] * camera.unproject(pixels))
    position = camera.project(moved)
    inside = (position > 0).all(-1) & (position < torch.tensor([width, height])).all(-1)
    pixels, moved, position = pixels[inside], moved[inside], position[inside]

    rays = camera.unproject(position)
    traced = ray_depth(wall, sequence.camera_from_world[far], rays)
    visible = (traced - moved[:, 2]).abs() < 1e-3 * moved[:, 2]
    assert 0.002 < float((~visible).double().mean()) < 0.2  # folds hide something, and not much
    # What hides lies in front, but for the crests that the ray to them only grazes.
    assert float((traced > 1.001 * moved[:, 2]).double().mean()) < 0.002

    back = camera.project(far_from_near.inverse().apply(traced[:, None] * rays))
    off_px = (back - pixels).norm(dim=-1)[visible]
    assert float(off_px.max()) < 0.02
    assert float(off_px.quantile(0.5)) < 1e-4


def test_every_point_is_seen_in_one_run_of_frames(clip):
    _, sequence = clip
    seen = sequence.seen
    assert int(seen.sum(0).min()) >= 3
    starts = seen[0].long() + (seen[1:] & ~seen[:-1]).sum(0)
    assert bool((starts == 1).all())
    column, row = sequence.projections.long().unbind(-1)
    assert bool(sequence.mask[row, column].all())
    assert len(sequence.points) > 0.8 * SMALL.points


def test_noise_and_outliers_are_as_asked(tmp_path):
    options = replace(SMALL, points=400, outliers=0.2, pixel_noise_px=0.5, depth_noise=0.0)
    sequence = simulate(options, tmp_path)
    off_mm = options.wall().field(sequence.points).abs()
    assert float((off_mm > 0.05).double().mean()) == pytest.approx(0.2, abs=0.06)
    noise = sequence.observations.pixels - sequence.projections
    assert float(noise.std()) == pytest.approx(0.5, rel=0.1)
    assert float(sequence.point_error_px.median()) == pytest.approx(0.63, rel=0.15)  # Rayleigh: 1.25 x 0.5


def test_the_seed_decides_everything(clip, tmp_path):
    folder, sequence = clip
    options = replace(SMALL, pixel_noise_px=0.0, depth_noise=0.0)
    again = simulate(options, tmp_path / "again")
    assert digest(tmp_path / "again") == digest(folder)
    assert torch.equal(again.points, sequence.points)
    other = simulate(replace(options, seed=1), tmp_path / "other")
    assert digest(tmp_path / "other") != digest(folder)
    assert not torch.equal(other.points[:50], sequence.points[:50])


@pytest.mark.parametrize("seed", range(4))
def test_the_path_is_short_and_gentle_as_in_a_real_clip(seed):
    options = Tube(seed=seed)
    motions, wall = options.camera_from_world(), options.wall()
    assert motions.defects() == [""] * options.frames
    depth = ray_depth(
        wall, motions[0], options.camera.unproject(torch.rand(500, 2).double() * torch.tensor([320, 256]))
    )
    length = (motions.origin[1:] - motions.origin[:-1]).norm(dim=-1).sum() / depth.median()
    assert 0.3 < float(length) < 0.8
    turn = motions[torch.tensor([0])] @ motions[torch.tensor([options.frames - 1])].inverse()
    assert float(turn.angle_rad.rad2deg()) < 12
    assert float(wall.field(motions.origin).min()) > 0.2 * options.radius_mm


def test_pictures_are_round_exposed_and_coloured_like_tissue(clip):
    folder, sequence = clip
    for path in sequence.images[::3]:
        picture = torch.from_numpy(cv2.imread(str(path))).flip(-1).double() / 255
        assert float(picture[0, 0].max()) == 0
        red, green, blue = picture[sequence.mask].mean(0).tolist()
        assert 0.3 < green < 0.8 and red > green > 0.8 * blue
        assert float((picture[sequence.mask] > 0.99).all(-1).double().mean()) < 0.03


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Tube(frames=2),
        lambda: Tube(size_px=(16, 16)),
        lambda: Tube(fold_depth=0.6),
        lambda: Tube(length=2.0),
        lambda: Tube(outliers=1.0),
        lambda: Tube(depth_noise=-0.1),
    ],
)
def test_options_that_make_no_clip_are_refused(wrong):
    with pytest.raises(BadInputError, match="expected"):
        wrong()


def test_a_path_through_the_wall_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="of the wall.*less sway"):
        simulate(replace(SMALL, sway=2.0), tmp_path)
