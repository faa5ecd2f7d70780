"""Laws of depth maps: the warping layer (W1-W8), sparse flow (O1-O3), normals."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch.autograd import gradcheck

from depthscope.geometry import Pinhole, RigidMotion
from depthscope.geometry.depth import backprojected, flow, normals, sample, warped
from scenes import F64, WALL, ball_pair, grid, motion, pinhole, stacked, tensor, wall_pair

MOVE = motion((0.04, -0.06, 0.03), (0.12, -0.05, 0.06))

small_moves = st.builds(motion, st.tuples(*[st.floats(-0.15, 0.15)] * 3), st.tuples(*[st.floats(-0.2, 0.2)] * 3))


def one(move: RigidMotion) -> RigidMotion:
    return stacked(move)


def noise(*shape: int, low: float = 0.5, high: float = 2.0, seed: int = 0) -> torch.Tensor:
    return low + (high - low) * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_samples_at_pixel_centres_are_the_pixels_and_between_them_the_mean():
    maps = noise(1, 1, 5, 7)
    assert torch.allclose(sample(maps, grid(7, 5)[None]), maps, 0, 1e-14)
    between = sample(maps, tensor(3.0, 2.5)[None, None])  # on the edge of columns 2 and 3, in row 2
    assert torch.allclose(between[0, 0, 0], maps[0, 0, 2, 2:4].mean(), 0, 1e-14)
    assert torch.allclose(sample(maps, tensor(-3.0, 2.5)[None, None])[0, 0, 0], maps[0, 0, 2, 0], 0, 1e-14)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_w1_no_motion_changes_nothing(dtype, tolerance):
    far, near = noise(2, 20, 30).to(dtype), noise(2, 20, 30, seed=1).to(dtype)
    mask = torch.ones(2, 20, 30, dtype=torch.bool)
    mask[:, :, :7] = False
    still, camera = RigidMotion.identity(2, dtype=dtype), pinhole(30, 20, 2).to(dtype)
    warp = warped(far, near, still, camera, mask, mask)
    assert torch.equal(warp.valid, mask)
    assert (warp.depth - far)[mask].abs().max() < tolerance
    assert torch.equal(warped(far, near, still, camera).valid, torch.ones_like(mask))


@given(small_moves)
def test_w2_a_plane_is_warped_exactly(move):
    j, k = wall_pair(24, 16, move)
    warp = warped(j, k, one(move), pinhole(24, 16))
    x, y = warp.position.unbind(-1)
    inside = (x >= 0.5) & (x <= 23.5) & (y >= 0.5) & (y <= 15.5)  # beyond, within 1e-4 px, the border is repeated
    assert (warp.valid & inside).any()
    assert ((warp.depth - k) / k)[warp.valid & inside].abs().max() < 1e-12  # rounding: 1/z of a plane is affine
    assert ((warp.depth - k) / k)[warp.valid].abs().max() < 1e-4


def test_w2_half_a_pixel_is_noticed():
    j, k = wall_pair(48, 32, MOVE)
    camera = pinhole(48, 32)
    off = Pinhole(camera.focal_px, camera.centre_px - 0.5)  # pixel centres at integers, as elsewhere
    warp = warped(j, k, one(MOVE), off)
    assert ((warp.depth - k) / k)[warp.valid].abs().max() > 1e-4


def test_w3_on_a_ball_the_error_falls_fourfold_with_each_doubling():
    errors = []
    for width in (32, 64, 128):
        j, k = ball_pair(width, width * 3 // 4, MOVE)
        warp = warped(j, k, one(MOVE), pinhole(width, width * 3 // 4))
        errors.append(float(((warp.depth - k).abs() / k)[warp.valid].mean()))
    assert errors[0] < 1e-3
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert 3.6 < coarse / fine < 4.4  # O(h^2); the mean moves a little with the border


@given(small_moves, st.floats(0.1, 50))
def test_w4_depths_and_motion_in_another_unit_only_change_the_unit(move, unit):
    far, near, camera = noise(1, 12, 16), noise(1, 12, 16, seed=1), pinhole(16, 12)
    a = warped(far, near, one(move), camera, occlusion_tolerance=0.1)
    b = warped(unit * far, unit * near, one(move).scaled(unit), camera, occlusion_tolerance=0.1)
    assert torch.allclose(a.position, b.position, 0, 1e-9)
    both = a.valid & b.valid  # a pixel on a threshold may fall on either side
    assert (a.valid != b.valid).sum() <= 1
    assert torch.allclose(unit * a.depth[both], b.depth[both], 1e-10, 0)


def test_w5_a_pure_turn_moves_pixels_whatever_their_depth():
    turn = one(motion((0.05, 0.1, -0.2)))
    far, camera = noise(1, 20, 30), pinhole(30, 20)
    a, b = (warped(far, noise(1, 20, 30, seed=s), turn, camera) for s in (1, 2))
    assert torch.equal(a.valid, b.valid)
    assert (a.position - b.position).abs().max() < 1e-11


def test_w6_equals_a_loop_over_the_pixels():
    width, height, tolerance = 11, 8, 0.1
    move = motion((0.03, -0.05, 0.1), (0.15, 0.1, -0.1))
    far, near, camera = noise(height, width, seed=3), noise(height, width, seed=4), pinhole(width, height)
    far_mask, near_mask = noise(height, width, seed=5) > 0.6, noise(height, width, seed=6) > 0.6
    f, c = camera.focal_px[0].numpy(), camera.centre_px[0].numpy()
    rotation, translation = move.rotation.numpy(), move.translation.numpy()

    warp = warped(
        far[None], near[None], one(move), camera, far_mask[None], near_mask[None], occlusion_tolerance=tolerance
    )
    kinds = set()
    for row in range(height):
        for column in range(width):
            ray = np.array([(column + 0.5 - c[0]) / f[0], (row + 0.5 - c[1]) / f[1], 1])
            x = rotation.T @ (near[row, column].item() * ray - translation)
            q = x[:2] / x[2] * f + c
            inside = x[2] > 1e-3 and 0.5 <= q[0] <= width - 0.5 and 0.5 <= q[1] <= height - 0.5
            kind = "outside"
            if inside:
                left, top = int(np.floor(q[0] - 0.5)), int(np.floor(q[1] - 0.5))
                inverse, content = 0.0, 0.0
                for r in (top, top + 1):
                    for s in (left, left + 1):
                        share = (1 - abs(q[0] - 0.5 - s)) * (1 - abs(q[1] - 0.5 - r))
                        if share > 0:
                            inverse += share / (far[r, s].item() if far_mask[r, s] else 1.0)
                            content += share * far_mask[r, s].item()
                point = np.array([*((q - c) / f), 1]) / inverse
                depth = (rotation @ point + translation)[2]
                if content < 1 - 1e-3 or not near_mask[row, column]:
                    kind = "masked"
                else:
                    kind = "hidden" if x[2] > (1 + tolerance) / inverse else "valid"
            kinds.add(kind)
            assert warp.valid[0, row, column].item() == (kind == "valid")
            assert warp.hidden[0, row, column].item() == (kind == "hidden")
            if kind == "valid":
                assert warp.depth[0, row, column].item() == pytest.approx(depth, rel=1e-10)
                assert warp.position[0, row, column].numpy() == pytest.approx(q, abs=1e-9)
    assert kinds == {"outside", "masked", "hidden", "valid"}  # the loop has met every branch


PLATE = (-0.25, -0.2, 0.2, 0.25)  # left, top, right, bottom of a plate at depth 1 before a wall at depth 2


def on_plate(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x > PLATE[0]) & (x < PLATE[2]) & (y > PLATE[1]) & (y < PLATE[3])


def plate_and_wall(width: int, height: int, shift: torch.Tensor) -> torch.Tensor:
    """Depth seen by a camera that stands at `shift` and looks straight ahead, by casting the ray of each pixel."""
    rays = pinhole(width, height)[0].unproject(grid(width, height))
    hit = shift + (1 - shift[2]) * rays
    return torch.where(on_plate(hit[..., 0], hit[..., 1]), 1 - shift[2], 2 - shift[2])


def test_w7_hides_just_the_pixels_that_the_far_camera_cannot_see():
    width, height, shift = 96, 72, tensor(0.2, 0.1, -0.05)
    far, near = plate_and_wall(width, height, tensor(0, 0, 0)), plate_and_wall(width, height, shift)
    camera, near_from_far = pinhole(width, height), one(motion(shift=(-shift).tolist()))
    warp = warped(far[None], near[None], near_from_far, camera, occlusion_tolerance=0.1)

    surface = shift + near[..., None] * camera[0].unproject(grid(width, height))
    crossing = surface / surface[..., 2:]  # where the ray from the far camera passes the depth of the plate
    occluded = (surface[..., 2] > 1.5) & on_plate(crossing[..., 0], crossing[..., 1])
    corners = camera[0].project(tensor([PLATE[0], PLATE[1], 1.0], [PLATE[2], PLATE[3], 1.0]))
    x, y = warp.position[0].unbind(-1)
    to_x, to_y = (x[..., None] - corners[:, 0]).abs().amin(-1), (y[..., None] - corners[:, 1]).abs().amin(-1)
    near_edge = (to_x < 1) | (to_y < 1)  # there bilinear samples mix both surfaces
    judged = (warp.valid | warp.hidden)[0] & ~near_edge

    assert torch.equal(warp.hidden[0][judged], occluded[judged])
    assert 50 < occluded[judged].sum() < judged.sum() / 2
    assert torch.allclose(warp.depth[0][judged & ~occluded], near[judged & ~occluded], 0, 1e-12)
    everything = warped(far[None], near[None], near_from_far, camera)
    assert not everything.hidden.any()
    assert torch.equal(everything.valid, warp.valid | warp.hidden)


def test_l3_a_free_space_violation_is_seen_in_one_direction_and_hidden_in_the_other():
    j, k = wall_pair(48, 36, MOVE)
    camera, k_from_j = pinhole(48, 36), one(MOVE)
    k[:, 12:24, 16:32] *= 0.6  # frame k claims something in front of the wall
    wrong = torch.zeros_like(k, dtype=torch.bool)
    wrong[:, 12:24, 16:32] = True
    onto_k = warped(j, k, k_from_j, camera, occlusion_tolerance=0.1)
    assert (onto_k.valid | ~wrong).all()
    assert (onto_k.depth - k)[wrong].abs().min() > 0.1
    onto_j = warped(k, j, k_from_j.inverse(), camera, occlusion_tolerance=0.1)
    assert onto_j.hidden.sum() > 50
    assert (onto_j.depth - j)[onto_j.valid].abs().max() < 0.1 * j.max()  # what is left there is below the tolerance


def test_w8_gradients_are_those_of_the_formula():
    far, near = noise(1, 4, 5, seed=8, low=0.9, high=1.1), noise(1, 4, 5, seed=9, low=0.9, high=1.1)
    camera, move = pinhole(5, 4), one(motion((0.01, -0.02, 0.03), (0.05, 0.03, -0.02)))

    def depth(f, n):
        warp = warped(f, n, move, camera)
        return torch.where(warp.valid, warp.depth, 0.0)

    assert gradcheck(depth, (far.requires_grad_(), near.requires_grad_()))  # no sample lies on a pixel centre
    for tensor_, gradient in zip((far, near), torch.autograd.grad(depth(far, near).sum(), (far, near)), strict=True):
        assert gradient.shape == tensor_.shape
        assert gradient.abs().sum() > 0


def test_a_detached_position_stops_the_near_gradient_only():
    far, near = noise(1, 6, 8).requires_grad_(), noise(1, 6, 8, seed=1).requires_grad_()
    warped(far, near, one(MOVE), pinhole(8, 6), detach_position=True).depth.sum().backward()
    assert near.grad is None
    assert far.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "move",
    [motion(shift=(0, 0, -50)), motion((0, np.pi, 0)), motion(shift=(1e4, 0, 0)), motion((0, np.pi / 2, 0))],
    ids=["behind", "turned", "away", "sideways"],
)
def test_nothing_in_common_gives_no_valid_pixel_and_no_gradient(move):
    far, near = noise(1, 6, 8, low=0.99, high=1).requires_grad_(), noise(1, 6, 8, low=0.99, high=1).requires_grad_()
    warp = warped(far, near, one(move), pinhole(8, 6))
    torch.where(warp.valid, warp.depth - near, 0.0).sum().backward()
    assert not warp.valid.any()
    assert (warp.depth == 1).all()
    for values in (far, near):
        assert values.grad is None or bool((values.grad == 0).all())


def test_masked_depths_of_the_far_frame_never_matter():
    mask = torch.ones(1, 20, 30, dtype=torch.bool)
    mask[:, :5] = False
    j, k = wall_pair(30, 20, MOVE)
    results = []
    for value in (0.0, 7.0, float("nan")):
        far = torch.where(mask, j, value).requires_grad_()
        warp = warped(far, k, one(MOVE), pinhole(30, 20), mask)
        (gradient,) = torch.autograd.grad(warp.depth.sum(), far)
        assert (gradient[~mask] == 0).all()
        results.append(warp)
    assert results[0].valid.any()
    for other in results[1:]:
        assert torch.equal(other.valid, results[0].valid)
        assert torch.equal(other.depth, results[0].depth)


def test_mixed_precision_does_not_move_the_samples():
    j, k = (d.float() for d in wall_pair(64, 48, MOVE))
    with torch.autocast("cpu", torch.bfloat16):
        warp = warped(j, k, one(MOVE).to(torch.float32), pinhole(64, 48).to(torch.float32))
    assert warp.depth.dtype == torch.float32
    assert ((warp.depth - k) / k)[warp.valid].abs().max() < 1e-5  # float32; bfloat16 would be off by 1e-2


def test_backprojected_points_project_to_their_pixels_at_their_depth():
    depth, camera = noise(2, 9, 7), pinhole(7, 9, 2)
    points = backprojected(depth, camera)
    assert torch.equal(points[..., 2], depth)
    assert torch.allclose(camera[:, None, None].project(points), grid(7, 9).expand(2, 9, 7, 2), 0, 1e-12)


@given(small_moves)
def test_o1_the_flow_of_a_point_leads_to_its_projection(move):
    camera, pixels, depth = pinhole(64, 48, 1), 5 + 30 * noise(1, 9, 2), noise(1, 9)
    moved, front = flow(depth, pixels, one(move), camera)
    target = camera[:, None].project(move.apply(depth[..., None] * camera[:, None].unproject(pixels)))
    assert front.all()
    assert torch.allclose(pixels + moved, target, 0, 1e-10)


def test_o2_moving_towards_a_wall_makes_it_grow_from_the_centre():
    z, step = 1.7, 0.3
    camera, pixels = pinhole(64, 48), 60 * noise(1, 20, 2, low=0, high=1)
    moved, _ = flow(torch.full((1, 20), z, dtype=F64), pixels, one(motion(shift=(0, 0, -step))), camera)
    assert torch.allclose(moved, (pixels - camera.centre_px) * step / (z - step), 0, 1e-12)


def test_o3_the_gradient_of_flow_is_that_of_the_formula():
    pixels, camera = 10 + 20 * noise(1, 6, 2), pinhole(64, 48)
    assert gradcheck(lambda d: flow(d, pixels, one(MOVE), camera)[0], (noise(1, 6).requires_grad_(),))


def test_a_pure_turn_moves_points_whatever_their_depth():
    pixels, turn = 10 + 20 * noise(1, 6, 2), one(motion((0.1, 0.05, -0.1)))
    a, b = (flow(noise(1, 6, seed=s), pixels, turn, pinhole(64, 48))[0] for s in (0, 1))
    assert torch.allclose(a, b, 0, 1e-11)


def test_a_point_that_falls_behind_the_camera_has_no_flow_and_no_gradient():
    depth = tensor(0.5, 3.0)[None].requires_grad_()
    moved, front = flow(depth, tensor([20, 20], [20, 20])[None], one(motion(shift=(0.1, 0, -1))), pinhole(64, 48))
    moved.sum().backward()
    assert front.tolist() == [[False, True]]
    assert moved[0, 0].tolist() == [0, 0]
    assert depth.grad[0, 0] == 0
    assert depth.grad[0, 1] != 0


def test_normals_of_a_plane_are_its_normal_towards_the_camera():
    depth, _ = wall_pair(24, 16, motion())
    expected = -WALL.expand(1, 16, 24, 3)  # the wall's normal points away from the camera
    assert torch.allclose(normals(depth, pinhole(24, 16)), expected, 0, 1e-10)


def test_normals_inside_a_ball_point_to_its_centre():
    depth, _ = ball_pair(96, 72, motion())
    camera = pinhole(96, 72)
    expected = torch.nn.functional.normalize(tensor(0.1, 0.05, 0.2) - backprojected(depth, camera), dim=-1)
    cosine = (normals(depth, camera) * expected).sum(-1)[:, 1:-1, 1:-1]  # one-sided differences at the rim
    assert cosine.min() > 0.9999  # 0.8 degrees: central differences over two pixels err by O(h^2)
