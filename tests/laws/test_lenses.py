"""Laws of lenses as tensors: rays and pixels are inverse over the whole field, with gradients, for every model."""

import math

import pytest
import torch

from depthscope.geometry import (
    Brown,
    Camera,
    DistortingLens,
    KannalaBrandt,
    NoDistortion,
    Pinhole,
    RigidMotion,
    Scaramuzza,
    converted,
    depth_of,
    stacked,
)
from depthscope.geometry.depth import backprojected, flow, warped
from depthscope.objectives.photometric.synthesis import synthesised
from scenes import F64, grid, motion, tensor

SIZE = (120, 96)
LENSES = {
    "pinhole": (NoDistortion(), 90.0),
    "brown4": (Brown((-0.28, 0.07, 0.001, -0.002)), 90.0),
    "brown5": (Brown((-0.3, 0.11, -0.0015, 0.001, -0.02)), 90.0),
    "brown8": (Brown((0.4, 0.1, 0.001, 0.0005, 0.01, 0.65, 0.12, 0.01)), 90.0),
    "fisheye140": (KannalaBrandt((0.03, -0.012, 0.004, -0.001)), 45.0),
    "fisheye220": (KannalaBrandt((-0.01, 0.001, 0.0, 0.0)), 30.0),
    "scaramuzza160": (Scaramuzza((-0.42, 0.03, -0.02, 1.001, 0.0005, -0.0007)), 55.0),
    "scaramuzza200": (Scaramuzza((-0.55, 0.02, -0.06, 0.999, -0.0004, 0.0003)), 45.0),
}
lenses = pytest.mark.parametrize(("lens", "focal"), LENSES.values(), ids=LENSES.keys())


def camera(lens, focal: float = 60.0) -> Camera:
    return Camera(SIZE, (focal, 1.01 * focal), (0.52 * SIZE[0], 0.49 * SIZE[1]), lens)


@lenses
def test_a_ray_goes_back_to_its_pixel_over_the_whole_frame(lens, focal):
    one = camera(lens, focal)
    pixels, rays = grid(*SIZE), one.rays
    assert rays.isfinite().all()  # each of these lenses covers its frame
    assert torch.allclose(rays.norm(dim=-1), torch.ones((), dtype=F64), 0, 1e-12)
    assert (one.project(3 * rays) - pixels).abs().max() < 1e-6


@lenses
def test_a_direction_comes_back_from_its_pixel_up_to_the_end_of_the_field(lens, focal):
    one = camera(lens, focal)
    end = getattr(lens, "widest_rad", math.atan(min(getattr(lens, "last_radius", 50.0), 50.0)))
    angle, turn = torch.linspace(0, 0.99 * end, 200, dtype=F64), torch.linspace(0, 40, 200, dtype=F64)
    rays = torch.stack([angle.sin() * turn.cos(), angle.sin() * turn.sin(), angle.cos()], -1)
    seen = lens.sees(rays)
    assert seen.double().mean() > 0.99
    back = one.directions(one.project(2.5 * rays))
    assert (back - rays)[seen].norm(dim=-1).nan_to_num(1.0).max() < 1e-6


def test_a_field_beyond_180_degrees_has_rays_that_point_backwards():
    one = camera(*LENSES["fisheye220"])
    assert one.depth_kind == "distance" and float(one.rays[..., 2].min()) < -0.3
    assert one.unproject(grid(*SIZE))[0, 0, :2].isnan().all()  # there is no plane z = 1 for them
    assert camera(*LENSES["scaramuzza200"]).rays[..., 2].min() < -0.05


@pytest.mark.parametrize(
    ("lens", "end"),
    [
        (Brown((-0.3, 0.0, 0.0, 0.0)), math.atan(math.sqrt(1 / 0.9))),
        (KannalaBrandt((-0.2, 0.0, 0.0, 0.0)), 1 / 0.6**0.5),
    ],
)
def test_the_fold_of_a_lens_is_known(lens, end):
    """The radius r (1 + k r^2) rises up to r = 1 / sqrt(-3 k); beyond it two rays would share a pixel."""
    inside, beyond = (tensor(math.sin(a), 0.0, math.cos(a)) for a in (end - 1e-6, end + 1e-6))
    assert bool(lens.sees(inside)) and not bool(lens.sees(beyond))
    assert lens.sensor(inside).isfinite().all() and lens.sensor(beyond).isnan().all()
    assert lens.direction(lens.sensor(inside) * 1.01).isnan().all()


@lenses
def test_gradients_of_both_ways(lens, focal):
    for kind in ("z", "distance"):
        one = camera(lens, focal)
        batch = DistortingLens(
            tensor(focal, focal)[None], tensor(50.0, 40.0)[None], (lens,), torch.tensor([0]), tensor(-1.0), kind
        )
        points = tensor((0.4, -0.3, 1.2), (-0.2, 0.5, 0.9), (0.1, 0.02, 2.0))[None].requires_grad_()
        assert torch.autograd.gradcheck(batch[:, None].project, (points,))
        pixels = one.project(tensor((0.4, -0.3, 1.2), (-0.2, 0.5, 0.9), (0.01, 0.02, 2.0)))[None]
        assert torch.autograd.gradcheck(batch[:, None].unproject, (pixels.requires_grad_(),), atol=1e-5)


@lenses
def test_gradients_reach_the_focal_length(lens, focal):
    rays = camera(lens, focal).directions(tensor((30.0, 50.0), (70.0, 20.0)))

    def there_and_back(f):
        batch = DistortingLens(f[None], tensor(60.0, 47.0)[None], (lens,), torch.tensor([0]), tensor(1.0))
        return batch[:, None].project(rays[None]), batch[:, None].unproject(tensor((30.0, 50.0), (70.0, 20.0))[None])

    assert torch.autograd.gradcheck(there_and_back, (tensor(focal, focal).requires_grad_(),), atol=1e-5)


def test_a_batch_of_different_lenses_is_each_of_them():
    every = [camera(*one) for one in LENSES.values()]
    batch = stacked([one.lens("distance", grid=True) for one in every])
    assert isinstance(batch, DistortingLens) and batch.grid is not None
    points = tensor((0.3, -0.2, 1.0), (0.1, 0.4, 0.8)).expand(len(every), 2, 3)
    together = batch[:, None].project(points)
    free = DistortingLens(batch.focal_px, batch.centre_px, batch.models, batch.which, batch.across, "distance")
    for number, one in enumerate(every):
        assert torch.allclose(together[number], one.project(points[number]), 0, 1e-9)
        assert torch.allclose(batch.rays(SIZE[1], SIZE[0])[number], one.rays, 0, 1e-12)
        assert torch.allclose(free.rays(SIZE[1], SIZE[0])[number], one.rays, 0, 1e-9)


def test_pinholes_stay_pinholes_in_a_batch_and_kinds_do_not_mix():
    plain = camera(NoDistortion())
    assert isinstance(stacked([plain.lens(), plain.lens()]), Pinhole)
    with pytest.raises(ValueError, match="different kinds"):
        stacked([plain.lens("z"), plain.lens("distance")])


@lenses
def test_a_mirrored_lens_sees_mirrored_points(lens, focal):
    one = camera(lens, focal).lens("distance", grid=True).repeated(2)
    turned = one.mirrored(torch.tensor([True, False]), SIZE[0])
    points = tensor((0.3, -0.2, 1.0), (0.1, 0.4, 0.8))
    flipped = turned[:, None].project(torch.stack([points * tensor(-1.0, 1.0, 1.0), points]))
    plain = one[:, None].project(points.expand(2, 2, 3))
    assert torch.allclose(flipped[0], plain[0] * tensor(-1.0, 1.0) + tensor(float(SIZE[0]), 0.0), 0, 1e-9)
    assert torch.equal(flipped[1], plain[1])
    assert turned.grid is not None
    again = turned.with_intrinsics(turned.focal_px, turned.centre_px)
    assert again.grid is None and torch.allclose(again.rays(SIZE[1], SIZE[0]), turned.grid, 0, 1e-9)


@lenses
def test_kinds_of_depth_convert_exactly(lens, focal):
    rays = camera(lens, focal).rays
    distance = 1 + torch.rand(SIZE[::-1], dtype=F64, generator=torch.Generator().manual_seed(0))
    z, forward = converted(distance, rays, "distance", "z"), rays[..., 2] > 1e-3
    assert torch.allclose(z[forward], (distance * rays[..., 2])[forward], 0, 1e-12)
    assert torch.allclose(converted(z, 7 * rays, "z", "distance")[forward], distance[forward], 1e-12, 0)
    assert converted(distance, rays, "z", "z") is distance
    assert bool((converted(distance, rays, "distance", "z")[rays[..., 2] <= 0] == 0).all())


def wall(lens, camera_from_world: RigidMotion, pixels) -> torch.Tensor:
    """Depth of the wall z + 0.2 x = 2.5 of the world at pixels, along the rays of the lens."""
    normal, offset = tensor(0.2, 0.0, 1.0), 2.5
    turned = camera_from_world.rotation @ normal
    return (offset + turned @ camera_from_world.translation) / (lens.unproject(pixels) @ turned)


WIDE = [("fisheye140", "z"), ("fisheye140", "distance"), ("scaramuzza160", "distance"), ("brown5", "z")]


@pytest.mark.parametrize(("name", "kind"), WIDE)
def test_the_wall_of_one_frame_is_the_wall_of_the_other(name, kind):
    """The warping layer, flow and view synthesis on the recorded frame, against the closed form."""
    lens = camera(*LENSES[name]).resized((2 * SIZE[0], 2 * SIZE[1])).lens(kind, grid=True)
    moves = [motion(), motion((0.02, -0.05, 0.01), (0.12, 0.03, 0.2))]
    near_from_far = moves[0] @ moves[1].inverse()
    pixels = grid(2 * SIZE[0], 2 * SIZE[1])
    near, far = (wall(lens, move, pixels) for move in moves)
    known = [(d > 0) & (d < 25) for d in (near, far)]
    batch = lens[None]
    moved = RigidMotion(near_from_far.rotation[None], near_from_far.translation[None])
    result = warped(
        torch.where(known[1], far, 1.0)[None],
        torch.where(known[0], near, 1.0)[None],
        moved,
        batch,
        known[1][None],
        known[0][None],
    )
    assert result.valid.double().mean() > 0.5
    error = ((result.depth[0] - near).abs() / near)[result.valid[0]]
    assert error.quantile(0.99) < 2e-3  # inverse depth is linear between pixels of a pinhole alone
    points = backprojected(torch.where(known[0], near, 1.0)[None], batch)
    expected = batch[:, None, None].project(moved.inverse().unsqueeze(1).unsqueeze(1).apply(points))
    assert torch.allclose(result.position[result.valid], expected[result.valid], 0, 1e-6)
    some = result.valid[0].nonzero()[::97]
    row, column = some.unbind(-1)
    shift, front = flow(near[row, column][None], pixels[row, column][None], moved.inverse(), batch)
    assert bool(front.all())
    assert torch.allclose(shift[0], (result.position[0] - pixels)[row, column], 0, 1e-6)
    view = synthesised(
        pixels.movedim(-1, 0)[None], torch.where(known[0], near, 1.0)[None], moved.inverse(), batch, batch,
        known[0][None],
    )  # fmt: skip
    both = view.valid[0] & result.valid[0]
    assert torch.allclose(view.image[0].movedim(0, -1)[both], result.position[0][both], 0, 2e-4)
    there = depth_of(moved.inverse().unsqueeze(1).unsqueeze(1).apply(points), kind)
    assert torch.allclose(view.depth[0][both], there[0][both], 0, 1e-9)


def test_gradients_of_the_warp_are_finite_where_the_lens_ends():
    """Points behind the camera and beyond the fold are left out, and poison nothing."""
    lens = camera(Brown((-0.3, 0.0, 0.0, 0.0)), 130.0).lens(grid=True)[None]
    depth = torch.full((1, SIZE[1], SIZE[0]), 0.3, dtype=F64, requires_grad=True)
    moved = RigidMotion(torch.eye(3, dtype=F64)[None], tensor(0.4, 0.0, -0.2)[None])
    result = warped(depth, depth, moved, lens)
    result.depth.sum().backward()
    assert depth.grad is not None and bool(depth.grad.isfinite().all())


@pytest.mark.parametrize("kind", ["z", "distance"])
def test_a_lens_without_distortion_warps_as_the_pinhole(kind):
    """The golden value: the general path on a pinhole gives the pinhole's figures to 1e-6."""
    plain = camera(NoDistortion())
    general = plain.lens("distance", grid=True) if kind == "distance" else None
    if general is None:
        one = plain.pinhole
        general = DistortingLens(
            one.focal_px, one.centre_px, (NoDistortion(),), torch.tensor(0), torch.tensor(1.0).double()
        )
    pixels, moves = grid(*SIZE), [motion(), motion((0.02, -0.05, 0.01), (0.12, 0.03, 0.2))]
    moved = moves[0] @ moves[1].inverse()
    moved = RigidMotion(moved.rotation[None], moved.translation[None])
    far, near = (wall(plain.pinhole, move, pixels)[None] for move in reversed(moves))
    expected = warped(far, near, moved, plain.pinhole[None])
    rays = plain.rays[None]
    found = warped(*(converted(d, rays, "z", kind) for d in (far, near)), moved, general[None])
    depth = converted(found.depth, rays, kind, "z")
    both = expected.valid & found.valid
    assert both.double().mean() > 0.5 and bool((expected.valid == found.valid).all())
    tolerance = 1e-6 if kind == "z" else 2e-4  # inverse distance is not linear between pixels
    assert torch.allclose(depth[both], expected.depth[both], 0, tolerance)
    assert torch.allclose(found.position[both], expected.position[both], 0, 1e-6)
