"""Fusion against closed forms: spheres and tubes keep their radius, nothing is invented, memory stays bounded."""

import math
from dataclasses import replace

import pytest
import torch

from depthscope.errors import BadInputError, NoAnswerError
from depthscope.fusion import DepthFrame, Fusion, fuse
from depthscope.fusion.scales import smoothed
from depthscope.fusion.volume import Volume, corners_of, keys_of
from depthscope.geometry import Camera, RigidMotion
from depthscope.geometry.depth import rays

CAMERA = Camera((96, 80), (60.0, 60.0), (48.0, 40.0))


def turned(angle: float, axis: int) -> torch.Tensor:
    """Rotation about one axis, float64."""
    c, s = math.cos(angle), math.sin(angle)
    first, second = [i for i in range(3) if i != axis]
    rotation = torch.eye(3, dtype=torch.float64)
    rotation[first, first] = rotation[second, second] = c
    rotation[first, second], rotation[second, first] = -s, s
    return rotation


def at_origin(rotation: torch.Tensor) -> RigidMotion:
    return RigidMotion(rotation, torch.zeros(3, dtype=torch.float64))


UNMOVED = at_origin(torch.eye(3, dtype=torch.float64))


def sphere_depth(motion: RigidMotion, radius: float, camera: Camera = CAMERA) -> torch.Tensor:
    """Depth of the inside of a sphere around the origin, closed form."""
    direction = rays(camera.size_px[1], camera.size_px[0], camera.pinhole[None])[0]
    centre = motion.translation  # of the sphere, in camera axes
    a, b = (direction**2).sum(-1), direction @ centre
    return ((b + (b**2 - a * (centre @ centre - radius**2)).sqrt()) / a).float()


def sphere_views(count: int, radius: float, noise: float = 0.0) -> list[DepthFrame]:
    """Views from near the centre of a sphere, looking all around."""
    generator = torch.Generator().manual_seed(1)
    frames = []
    for number in range(count):
        rotation = turned(2 * math.pi * number / count, 1) @ turned(0.9 * math.sin(number), 0)
        motion = RigidMotion(rotation, 0.2 * radius * torch.rand(3, generator=generator, dtype=torch.float64))
        depth = sphere_depth(motion, radius)
        depth = depth * torch.exp(noise * torch.randn(depth.shape, generator=generator))
        image = torch.full((*depth.shape, 3), 200, dtype=torch.uint8)
        frames.append(DepthFrame(depth, CAMERA, motion, image))
    return frames


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_sphere_keeps_its_radius(noise):
    fused = fuse(sphere_views(16, 10.0, noise), Fusion(voxel=0.25))
    radius = fused.surface.points.norm(dim=-1)
    assert float(radius.mean()) == pytest.approx(10.0, rel=0.002)
    assert float((radius - 10).abs().quantile(0.95)) < (0.03 if noise == 0 else 0.25)  # single pixels are off by 0.2


def test_normals_point_into_the_air_and_faces_agree_with_them():
    surface = fuse(sphere_views(16, 10.0), Fusion(voxel=0.4)).surface
    inwards = -torch.nn.functional.normalize(surface.points, dim=-1)
    assert float((surface.normals * inwards).sum(-1).quantile(0.02)) > 0.9
    middle = surface.points[surface.faces].mean(1)
    assert float((surface.face_normals * -torch.nn.functional.normalize(middle, dim=-1)).sum(-1).quantile(0.05)) > 0.8


def test_a_closed_sphere_has_no_seams():
    wide = Camera((96, 96), (36.0, 36.0), (48.0, 48.0))
    six = [turned(quarter * math.pi / 2, 1) for quarter in range(4)] + [turned(s * math.pi / 2, 0) for s in (1, -1)]
    views = [DepthFrame(sphere_depth(at_origin(turn), 10.0, wide), wide, at_origin(turn)) for turn in six]
    surface = fuse(views, Fusion(voxel=0.35)).surface
    edges = torch.cat([surface.faces[:, [0, 1]], surface.faces[:, [1, 2]], surface.faces[:, [2, 0]]]).sort(-1).values
    _, count = torch.unique(edges, dim=0, return_counts=True)
    assert count.bincount().tolist() == [0, 0, len(count)]  # every edge belongs to two faces: pieces are joined


def test_colours_and_their_absence():
    views = sphere_views(4, 10.0)
    assert int((fuse(views, Fusion(voxel=0.5)).surface.colours.int() - 200).abs().max()) <= 1
    assert fuse([replace(v, image=None) for v in views], Fusion(voxel=0.5)).surface.colours is None


def test_what_is_masked_or_unknown_gives_no_surface():
    left = torch.zeros(80, 96, dtype=torch.bool)
    left[:, :40] = True
    depth = sphere_depth(UNMOVED, 10.0)
    by_mask = fuse([DepthFrame(depth, CAMERA, UNMOVED, content=left)], Fusion(voxel=0.25)).surface
    by_zero = fuse([DepthFrame(torch.where(left, depth, 0.0), CAMERA, UNMOVED)], Fusion(voxel=0.25)).surface
    for surface in (by_mask, by_zero):
        x, _, z = surface.points.unbind(-1)
        assert float((60 * x / z + 48).max()) < 41


def test_a_wall_before_another_is_not_joined_to_it():
    """The edge of depth between two walls belongs to neither."""
    depth = torch.full((80, 96), 10.0)
    depth[:, :48] = 5.0
    z = fuse([DepthFrame(depth, CAMERA, UNMOVED)], Fusion(voxel=0.1)).surface.points[:, 2]
    assert bool((((z - 5).abs() < 0.1) | ((z - 10).abs() < 0.1)).all())


def test_floaters_are_dropped_and_counted():
    depth = torch.full((80, 96), 10.0)
    depth[10:30, 10:30] = 6.0
    fused = fuse([DepthFrame(depth, CAMERA, UNMOVED)], Fusion(voxel=0.2, least_share=0.05))
    assert fused.floaters == 1 and 0 < fused.floater_share < 0.05
    assert float(fused.surface.points[:, 2].min()) > 9.5
    kept = fuse([DepthFrame(depth, CAMERA, UNMOVED)], Fusion(voxel=0.2, least_share=0.0))
    assert kept.floaters == 0 and float(kept.surface.points[:, 2].min()) < 6.5


def test_a_later_view_carves_away_what_was_wrong():
    wall, wrong = torch.full((80, 96), 10.0), torch.full((80, 96), 10.0)
    wrong[30:50, 30:60] = 7.0
    views = [DepthFrame(wrong, CAMERA, UNMOVED)] + [DepthFrame(wall, CAMERA, UNMOVED)] * 3
    assert float(fuse(views, Fusion(voxel=0.2, least_share=0.0)).surface.points[:, 2].min()) > 9.5


def test_a_view_that_is_less_sure_moves_the_surface_less():
    near, far = torch.full((80, 96), 10.0), torch.full((80, 96), 10.3)
    sure, unsure = torch.full((80, 96), 0.3), torch.full((80, 96), 0.9)
    views = [DepthFrame(near, CAMERA, UNMOVED, std=sure), DepthFrame(far, CAMERA, UNMOVED, std=unsure)]
    z = float(fuse(views, Fusion(voxel=0.1)).surface.points[:, 2].quantile(0.5))
    assert 10.0 < z < 10.1


def test_memory_is_bounded_by_coarser_voxels():
    fused = fuse(sphere_views(16, 10.0), Fusion(voxel=0.1, most_blocks=700))
    assert fused.blocks <= 700 and fused.voxel in (0.2, 0.4, 0.8)
    assert float(fused.surface.points.norm(dim=-1).mean()) == pytest.approx(10.0, rel=0.01)


def test_the_world_may_move_and_stretch():
    views = sphere_views(8, 10.0)
    shift = RigidMotion(turned(0.7, 2), torch.tensor([40.0, -300.0, 25.0], dtype=torch.float64))
    moved = [replace(v, camera_from_world=v.camera_from_world @ shift.inverse()) for v in views]
    back = fuse(moved, Fusion(voxel=0.25)).surface.moved(shift.inverse().to(torch.float32))
    assert float((back.points.norm(dim=-1) - 10).abs().quantile(0.95)) < 0.04


def test_keys_name_blocks():
    corners = torch.randint(-1000, 1000, (500, 3), generator=torch.Generator().manual_seed(0))
    assert bool((corners_of(keys_of(corners)) == corners).all())
    volume = Volume(1.0, 100)
    assert not bool(volume.find(keys_of(corners))[1].any())


@pytest.mark.parametrize(
    "frames, error, told",
    [
        ([], BadInputError, "no depth maps"),
        (
            [DepthFrame(torch.zeros(80, 96), CAMERA, RigidMotion(torch.eye(3), torch.zeros(3)))],
            NoAnswerError,
            "none of 1",
        ),
        ([DepthFrame(torch.ones(8, 8), CAMERA, RigidMotion(torch.eye(3), torch.zeros(3)))], BadInputError, "8 x 8"),
    ],
)
def test_nothing_to_fuse(frames, error, told):
    with pytest.raises(error, match=told):
        fuse(frames)


@pytest.mark.parametrize(
    "options", [{"voxel": 0.0}, {"edge": -1.0}, {"truncation_voxels": (4.0, 2.0)}, {"most_blocks": 2}]
)
def test_options_out_of_range(options):
    with pytest.raises(BadInputError):
        Fusion(**options)


def test_scales_are_smoothed_by_what_each_frame_knows():
    truth = torch.linspace(0.0, 0.2, 30, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    error = torch.full((30,), 0.05, dtype=torch.float64)
    measured = truth + error * torch.randn(30, generator=generator, dtype=torch.float64)
    measured[7], error[7] = torch.nan, torch.inf
    path, deviation = smoothed(measured, error)
    assert float((path - truth).abs().mean()) < 0.7 * float((measured - truth).nan_to_num().abs().mean())
    assert bool(path.isfinite().all()) and float(deviation[7]) > float(deviation[15])
    sure = smoothed(measured, torch.where(error.isfinite(), 1e-6, error))[0]
    assert bool(torch.allclose(sure[error.isfinite()], measured[error.isfinite()], atol=1e-6))
    with pytest.raises(BadInputError, match="no frame has a sparse point"):
        smoothed(torch.full((3,), torch.nan), torch.full((3,), torch.inf))


def test_uncertain_pixels_say_nothing_and_the_surface_knows_its_deviation():
    """Half of each view is off by a half, and says so: the sphere is there where the other half saw it."""
    views = []
    for view in sphere_views(16, 10.0):
        depth, std = view.depth.clone(), 0.02 * view.depth
        depth[:, :48], std[:, :48] = 1.5 * depth[:, :48], 0.5 * depth[:, :48]
        views.append(replace(view, depth=depth, std=std))
    surface = fuse(views, Fusion(voxel=0.4)).surface
    assert float((surface.points.norm(dim=-1) - 10).abs().max()) < 0.5
    known = surface.std / 10
    assert 0.012 < float(known.median()) < 0.022  # of depth, which is at most the radius
    believed = fuse(views, Fusion(voxel=0.4, most_relative_std=1.0)).surface
    assert float((believed.points.norm(dim=-1) - 10).abs().max()) > 3
