"""Laws of view synthesis and of what is asked of it: each in closed form, in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch.autograd import gradcheck

from depthscope.errors import BadInputError
from depthscope.geometry import Pinhole, RigidMotion
from depthscope.geometry.depth import backprojected
from depthscope.networks import KnownMotion, PairPose, SnippetPose
from depthscope.objectives import ViewSynthesis
from depthscope.objectives.photometric import (
    AffineBrightness,
    EdgeAware,
    EverySource,
    GeometryConsistency,
    Highlights,
    MinimumReprojection,
    PhotometricError,
    SecondOrder,
    synthesised,
)
from depthscope.objectives.photometric.agreement import depth_difference
from depthscope.objectives.photometric.error import reflected, window_mean, window_mean_adjoint
from depthscope.objectives.photometric.reprojection import explainability_penalty
from depthscope.supervision import SnippetRule, SparsePoints
from scenes import F64, grid, motion, pinhole, stacked, tensor
from textured import MOVES, batch_of, interpolation_error, predicted, seen_wall, wall_snippet

SIZE = (64, 48)

small_moves = st.builds(motion, st.tuples(*[st.floats(-0.06, 0.06)] * 3), st.tuples(*[st.floats(-0.1, 0.1)] * 3))

MONODEPTH2 = ViewSynthesis(reprojection=MinimumReprojection(), full_resolution=True)
SFMLEARNER = ViewSynthesis(
    motion=SnippetPose(explainability=True),
    error=PhotometricError(0.0),
    reprojection=EverySource(0.2),
    smoothness=SecondOrder(),
    average_scales=False,
)
EVERY = (
    MONODEPTH2,
    SFMLEARNER,
    ViewSynthesis(
        reprojection=MinimumReprojection(auto_mask=False),
        brightness=AffineBrightness(),
        highlights=Highlights(),
        consistency=GeometryConsistency(),
    ),
)


def noise(*shape: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    return low + (high - low) * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def of_everything(objective: ViewSynthesis, batch, prediction):
    """The losses, with whatever the objective wants predicted beside depth and motion."""
    motions, size = prediction.motions, prediction.disparities[0].shape
    if isinstance(objective.reprojection, EverySource) and objective.reprojection.explainability is not None:
        sources = motions.translation.shape[1]
        logits = tuple(
            noise(size[0], sources, 2, *one.shape[-2:], seed=n) for n, one in enumerate(prediction.disparities)
        )
        prediction = prediction._replace(motions=motions._replace(explained=logits))
    if objective.consistency is not None:
        sources = motions.translation.shape[1]
        prediction = prediction._replace(source_disparities=noise(size[0], sources, *size[1:], low=0.8, high=1.2))
    return objective(prediction, batch)


# --- 1 to 4: synthesis


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_no_motion_returns_the_image(dtype, tolerance):
    image, depth = noise(2, 3, 48, 640).to(dtype), noise(2, 48, 640, low=0.3, high=5.0, seed=1).to(dtype)
    camera = pinhole(640, 48, 2).to(dtype)
    view = synthesised(image, depth, RigidMotion.identity(2, dtype=dtype), camera, camera)
    assert bool(view.valid.all())
    assert (view.image - image).abs().max() < tolerance
    assert (view.depth - depth).abs().max() < tolerance


@given(small_moves, st.floats(0.2, 5.0))
def test_depth_and_translation_share_one_scale(move, factor):
    image, depth = noise(1, 3, 16, 24), noise(1, 16, 24, low=0.5, high=2.0, seed=1)
    camera = pinhole(24, 16)
    near = synthesised(image, depth, stacked(move), camera, camera)
    far = synthesised(image, factor * depth, stacked(move).scaled(factor), camera, camera)
    both = near.valid & far.valid  # a pixel on the border may fall to either side by rounding
    assert (near.valid ^ far.valid).sum() <= 2
    assert torch.allclose(near.image * both[:, None], far.image * both[:, None], 0, 1e-10)


@given(small_moves)
def test_flip_crop_and_resize_keep_camera_and_motion_right(move):
    image, depth = noise(1, 3, 16, 24), noise(1, 16, 24, low=0.8, high=1.5, seed=1)
    camera, move = pinhole(24, 16), stacked(move)
    view = synthesised(image, depth, move, camera, camera)

    turned = Pinhole(camera.focal_px, torch.stack([24 - camera.centre_px[:, 0], camera.centre_px[:, 1]], -1))
    flipped = synthesised(image.flip(-1), depth.flip(-1), move.mirrored, turned, turned)
    assert torch.equal(flipped.valid.flip(-1), view.valid)
    assert torch.allclose(flipped.image.flip(-1), view.image, 0, 1e-10)

    left, top, width, height = 5, 3, 15, 11
    window = Pinhole(camera.focal_px, camera.centre_px - tensor(left, top))
    part = (..., slice(top, top + height), slice(left, left + width))
    cropped = synthesised(image, depth[part], move, window, camera)  # the target alone is cropped
    assert torch.allclose(cropped.image, view.image[part], 0, 1e-10)

    ratio = tensor(2.0, 3.0)
    larger = Pinhole(camera.focal_px * ratio, camera.centre_px * ratio)
    points = backprojected(depth, camera)
    assert torch.allclose(larger[:, None, None].project(points), grid(24, 16) * ratio, 0, 1e-10)


@pytest.mark.parametrize("number", [0, 1])
def test_true_depth_and_motion_reproduce_the_view(number):
    width, height = 160, 120
    target, depth = seen_wall(motion(), width, height)
    source, _ = seen_wall(MOVES[number], width, height)
    camera, bound = pinhole(width, height), interpolation_error(depth, pinhole(width, height))

    def error(**changes) -> float:
        given = {"depth": depth[None], "source_from_target": stacked(MOVES[number])} | changes
        view = synthesised(source[None], target_camera=camera, source_camera=camera, **given)
        assert view.valid.float().mean() > 0.7
        return float((view.image - target)[view.valid[:, None].expand_as(view.image)].abs().max())

    assert error() < bound < 0.01
    assert error(depth=1.2 * depth[None]) > 3 * bound
    wrong = motion((0.0, 0.01, 0.0), (0.0, 0.0, 0.0)) @ MOVES[number]
    assert error(source_from_target=stacked(wrong)) > 3 * bound
    assert error(source_from_target=stacked(MOVES[number].inverse())) > 3 * bound
    shifted = Pinhole(camera.focal_px, camera.centre_px + 0.5)  # what half a pixel of convention costs
    assert error(source_from_target=stacked(MOVES[number])) < 0.5 * float(
        (synthesised(source[None], depth[None], stacked(MOVES[number]), camera, shifted).image - target)
        .abs()
        .amax(1)
        .median()
        + bound
    )


def test_positions_are_those_of_the_camera():
    depth = noise(1, 12, 16, low=0.5, high=3.0)
    camera, other = pinhole(16, 12), Pinhole(tensor(20.0, 21.0)[None], tensor(9.0, 5.0)[None])
    view = synthesised(noise(1, 3, 12, 16), depth, stacked(MOVES[0]), camera, other)
    moved = MOVES[0].apply(backprojected(depth, camera))
    expected = moved[..., :2] / moved[..., 2:] * other.focal_px + other.centre_px
    assert torch.allclose(view.position[view.valid], expected[view.valid], 0, 1e-9)
    assert torch.allclose(view.depth[view.valid], moved[..., 2][view.valid], 0, 1e-12)


def test_gradients_of_synthesis_are_right():
    image, depth = noise(1, 2, 6, 7), noise(1, 6, 7, low=0.9, high=1.1, seed=3).requires_grad_()
    turn, shift = tensor(0.011, -0.017, 0.013)[None].requires_grad_(), tensor(0.021, 0.013, -0.011)[None]
    shift.requires_grad_()
    camera = pinhole(7, 6)

    def value(depth, turn, shift):
        view = synthesised(image, depth, RigidMotion.from_axis_angle(turn, shift), camera, camera)
        return view.image, view.depth

    assert gradcheck(value, (depth, turn, shift), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("objective", EVERY, ids=["monodepth2", "sfmlearner", "endoscopy"])
@pytest.mark.parametrize("junk", [0.77, float("nan"), float("inf")])
def test_what_is_outside_the_mask_has_no_influence(objective, junk):
    batch, depth, motions = wall_snippet(*SIZE)
    columns, rows = grid(*SIZE).unbind(-1)
    mask = ((columns - 30) ** 2 + (rows - 25) ** 2 < 22**2).expand(1, 3, -1, -1)

    def loss_and_gradient(images):
        z = depth.clone().requires_grad_()
        masked = replace(batch, images=images, mask=mask)
        loss = of_everything(objective, masked, predicted(z, motions, 4))["loss"]
        return loss.detach(), torch.autograd.grad(loss, z)[0]

    loss, gradient = loss_and_gradient(batch.images)
    changed = torch.where(mask[:, :, None], batch.images, junk)
    again, gradient_again = loss_and_gradient(changed)
    assert loss > 0 and torch.equal(loss, again)
    assert bool(gradient.isfinite().all()) and torch.equal(gradient, gradient_again)


def test_what_is_behind_the_camera_or_out_of_view_has_no_influence():
    image, depth = noise(1, 3, 12, 16), noise(1, 12, 16, low=0.5, high=1.0).requires_grad_()
    camera = pinhole(16, 12)
    back = stacked(motion(shift=(0.0, 0.0, -0.75)))  # about half of the surface is now behind
    view = synthesised(image, depth, back, camera, camera)
    assert 0 < view.valid.float().mean() < 1
    (slope,) = torch.autograd.grad(view.image.sum(), depth)
    assert bool(slope.isfinite().all()) and bool((slope[~view.valid] == 0).all())
    assert bool((view.image.detach() * ~view.valid[:, None] == 0).all())
    nothing = synthesised(image, depth, stacked(motion(shift=(0.0, 0.0, -3.0))), camera, camera)
    assert not bool(nothing.valid.any())


# --- 5: photometric error


def similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """SSIM of images of one channel, from the error."""
    error = PhotometricError(1.0)
    return 1 - 2 * error(a, error.reference(b))


def test_the_written_gradient_of_similarity_is_right():
    image, other = noise(2, 3, 5, 7), noise(2, 3, 5, 7, seed=1)
    reference = PhotometricError(1.0).reference(0.5 * image + 0.5 * other)
    assert gradcheck(lambda x: PhotometricError(1.0)(x, reference), image.requires_grad_(), atol=1e-6)


@pytest.mark.parametrize("size", [(2, 2), (2, 5), (6, 9)])
def test_window_means_and_their_adjoint(size):
    a, b = noise(1, 2, *size), noise(1, 2, *size, seed=1)
    pooled = torch.nn.functional.avg_pool2d(reflected(a), 3, stride=1)
    assert torch.allclose(window_mean(a), pooled, 0, 1e-14)
    assert torch.allclose((window_mean(a) * b).sum(), (a * window_mean_adjoint(b)).sum(), 0, 1e-12)


def test_similarity_agrees_with_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    a, b = noise(1, 3, 20, 30), noise(1, 3, 20, 30, seed=1)
    b = 0.6 * a + 0.4 * b
    found = similarity(a.transpose(0, 1), b.transpose(0, 1))
    for channel in range(3):
        _, expected = metrics.structural_similarity(
            a[0, channel].numpy(),
            b[0, channel].numpy(),
            win_size=3,
            data_range=1.0,
            use_sample_covariance=False,
            full=True,
        )
        inner = (slice(1, -1), slice(1, -1))  # the borders are padded differently
        assert np.allclose(found[channel].numpy()[inner], expected[inner], 0, 1e-10)


def test_similarity_of_even_images_in_closed_form():
    a, b = torch.full((1, 3, 5, 6), 0.3, dtype=F64), torch.full((1, 3, 5, 6), 0.6, dtype=F64)
    error = PhotometricError()
    assert torch.allclose(similarity(a, b), tensor(0.8000444), 0, 1e-7)
    assert torch.allclose(error(a, error.reference(b)), tensor(0.1299811), 0, 1e-7)


@given(st.integers(0, 1000), st.floats(0.0, 1.0))
def test_the_error_is_symmetric_bounded_and_nothing_for_equal_images(seed, structure):
    a, b = noise(2, 3, 6, 8, seed=seed), noise(2, 3, 6, 8, seed=seed + 1)
    error = PhotometricError(structure)
    ab, ba = error(a, error.reference(b)), error(b, error.reference(a))
    assert torch.allclose(ab, ba, 0, 1e-12)
    assert float(ab.min()) >= 0 and float(ab.max()) <= 1
    assert float(error(a, error.reference(a)).abs().max()) < 1e-12


def test_the_error_is_valid_where_its_window_is():
    valid = torch.ones(1, 7, 9, dtype=torch.bool)
    valid[0, 3, 4] = False
    expected = torch.ones_like(valid)
    expected[0, 2:5, 3:6] = False
    assert torch.equal(PhotometricError().valid(valid), expected)
    assert torch.equal(PhotometricError(0.0).valid(valid), valid)
    a = noise(1, 3, 7, 9)
    assert torch.allclose(window_mean(a)[0, :, 3, 4], a[0, :, 2:5, 3:6].mean((-1, -2)), 0, 1e-14)


# --- 6, 7: minimum and auto-mask


def test_the_minimum_is_the_least_of_the_sources_in_any_order():
    errors, valid = noise(2, 3, 5, 6), noise(2, 3, 5, 6, seed=1) > 0.3
    minimum = MinimumReprojection(auto_mask=False)
    loss = minimum(errors, valid).loss
    assert torch.equal(loss, minimum(errors.flip(1), valid.flip(1)).loss)
    everywhere = torch.ones_like(valid)
    one = minimum(errors[:, :1], everywhere[:, :1]).loss
    assert torch.allclose(one, errors[:, 0].mean((-1, -2)), 0, 1e-14)
    three = minimum(errors, everywhere).loss
    assert bool((three <= minimum(errors[:, :2], everywhere[:, :2]).loss).all())
    assert bool((three <= errors.mean((1, -1, -2))).all())


def test_the_minimum_picks_the_source_that_sees_the_pixel():
    batch, depth, motions = wall_snippet(160, 120)
    images = batch.images.clone()
    images[:, 1, :, :, :80] = noise(1, 3, 120, 80)  # the first source is covered on its left half
    mask = torch.ones(1, 3, 120, 160, dtype=torch.bool)
    mask[:, 0, :20], mask[:, 0, -20:], mask[:, 0, :, :20], mask[:, 0, :, -20:] = (False,) * 4  # seen by both
    batch = replace(batch, images=images, mask=mask)

    def loss(reprojection) -> float:
        objective = ViewSynthesis(reprojection=reprojection, full_resolution=True, smoothness=EdgeAware(0.0))
        return float(objective(predicted(depth, motions), batch)["view"])

    assert loss(MinimumReprojection(auto_mask=False)) < 0.01
    assert loss(EverySource()) / 2 > 0.1


def test_a_camera_at_rest_teaches_nothing():
    image, depth = seen_wall(motion(), *SIZE)
    batch = batch_of(image.expand(1, 3, -1, -1, -1))
    z = (depth[None] * noise(1, 48, 64, low=0.7, high=1.4)).requires_grad_()
    for move in (RigidMotion.identity(1, 2), stacked(*MOVES).unsqueeze(0)):
        losses = replace(MONODEPTH2, smoothness=EdgeAware(0.0))(predicted(z, move, 4), batch)
        assert losses["kept"].item() == 0 and losses["loss"].item() < 1e-15
        assert float(torch.autograd.grad(losses["loss"], z)[0].abs().max()) == 0
    moving, depth, motions = wall_snippet(*SIZE)
    kept = [float(MONODEPTH2(predicted(depth, motions, 4), moving)["kept"]) for _ in range(2)]
    assert kept[0] > 0.7 and kept[0] == kept[1]  # no noise in it


def test_without_the_auto_mask_unwarped_sources_play_no_part():
    errors, still = noise(1, 2, 4, 5), torch.zeros(1, 2, 4, 5, dtype=F64)
    where = torch.ones(1, 2, 4, 5, dtype=torch.bool)
    plain = MinimumReprojection(auto_mask=False)(errors, where, still, where)
    assert float(plain.loss) == pytest.approx(float(errors.min(1).values.mean())) and float(plain.kept) == 1
    masked = MinimumReprojection()(errors, where, still, where)
    assert float(masked.loss) == 0 and float(masked.kept) == 0
    assert float(MinimumReprojection()(errors, where).loss) == float(plain.loss)  # none are given


def test_a_pixel_won_by_rest_has_no_gradient_and_stays_in_the_mean():
    errors = tensor(0.3, 0.1)[None, None, None].requires_grad_()
    still, seen = tensor(0.2, 0.2)[None, None, None], torch.ones(1, 1, 1, 2, dtype=torch.bool)
    found = MinimumReprojection()(errors, seen, still, seen)
    assert found.loss.item() == pytest.approx((0.2 + 0.1) / 2)
    assert torch.autograd.grad(found.loss.sum(), errors)[0].flatten().tolist() == [0.0, 0.5]
    assert float(found.kept) == 0.5


# --- 8: smoothness


def planes(*slopes: tuple[float, float, float]) -> torch.Tensor:
    """Disparities a + b x + c y, each of shape (1, 12, 16)."""
    x, y = grid(16, 12).unbind(-1)
    return torch.stack([a + b * x + c * y for a, b, c in slopes])


def test_smoothness_of_planes_and_edges():
    image, disparity = noise(1, 3, 12, 16), noise(1, 12, 16, low=0.5, high=2.0)
    aware, plain = EdgeAware(), EdgeAware(edges=False)
    even = torch.full_like(disparity, 0.7)
    assert float(aware(even, image)) == 0 and float(SecondOrder()(even, image)) == 0
    assert torch.allclose(aware(37 * disparity, image), aware(disparity, image), 1e-6, 0)  # 1e-7 beside the mean
    assert 0 < float(aware(disparity, image)) < float(plain(disparity, image))
    tilted = planes((1.0, 0.03, -0.02))
    assert float(SecondOrder()(tilted, image)) < 1e-12 < 1e-4 < float(SecondOrder()(1 / tilted, image))
    slope = (0.03 + 0.02) / float(tilted.mean())
    assert float(plain(tilted, image)) == pytest.approx(slope, rel=1e-6)


def test_smoothness_in_closed_form_at_an_edge():
    disparity = torch.ones(1, 2, 4, dtype=F64)
    disparity[..., 2:] = 3.0  # one step of 2 in a map of mean 2
    image = torch.zeros(1, 3, 2, 4, dtype=F64)
    image[..., 2:] = 0.5
    assert float(EdgeAware()(disparity, image)) == pytest.approx(np.exp(-0.5) / 3, rel=1e-6)  # one of three differences
    mask = torch.ones(1, 2, 4, dtype=torch.bool)
    mask[..., 2:] = False
    assert float(EdgeAware()(disparity, image, mask)) == 0
    assert float(SecondOrder()(disparity, image)) == pytest.approx(2.0)  # xx: (2 + 2) / 2; xy, yx and yy: 0


# --- 9: explainability


def test_a_mask_of_one_is_the_plain_loss_and_equal_logits_cost_log_2():
    errors, valid = noise(2, 2, 6, 8), torch.ones(2, 2, 6, 8, dtype=torch.bool)
    sure = torch.stack([torch.full((2, 2, 6, 8), -40.0), torch.full((2, 2, 6, 8), 40.0)], 2).to(F64)
    plain = EverySource()(errors, valid).loss
    assert torch.allclose(plain, errors.mean((-1, -2)).sum(1), 0, 1e-14)
    assert torch.allclose(EverySource(0.2)(errors, valid, sure).loss, plain, 0, 1e-12)
    even = torch.zeros(2, 2, 2, 6, 8, dtype=F64)
    assert torch.allclose(explainability_penalty(even), tensor(1.0, 1.0) * 2 * np.log(2), 0, 1e-12)
    found = EverySource(0.2)(errors, valid, even)
    assert torch.allclose(found.loss, plain / 2, 0, 1e-12)
    assert torch.allclose(found.penalty, tensor(1.0, 1.0) * 0.2 * 2 * np.log(2), 0, 1e-12)
    assert EverySource()(errors, valid).penalty is None


def test_a_mask_of_another_size_is_enlarged_source_by_source():
    errors, valid = noise(1, 2, 6, 8), torch.ones(1, 2, 6, 8, dtype=torch.bool)
    even = torch.tensor([[0.3, -0.2], [1.1, 0.4]], dtype=F64).reshape(1, 2, 2, 1, 1)  # of two sources, no and yes
    small, full = (EverySource(0.2)(errors, valid, even.expand(-1, -1, -1, h, w)) for h, w in ((3, 4), (6, 8)))
    assert torch.allclose(small.loss, full.loss, 0, 1e-12) and torch.allclose(small.penalty, full.penalty, 0, 1e-12)
    share = (even[0, :, 1] - even[0, :, 0]).sigmoid().flatten()
    assert float(full.loss) == pytest.approx(float((share * errors[0].mean((-1, -2))).sum()), rel=1e-12)


def test_the_weight_of_the_images_does_not_weigh_the_explainability_regulariser():
    """SfMLearner compares images in -1..1, hence a view weight of 2; its lambda_e of 0.2 stays 0.2."""
    batch, depth, motions = wall_snippet(*SIZE)
    objective = replace(SFMLEARNER, view_weight=2.0)
    even = tuple(torch.zeros(1, 2, 2, 48 // 2**s, 64 // 2**s, dtype=F64) for s in range(4))
    prediction = predicted(depth, motions, 4)
    prediction = prediction._replace(motions=prediction.motions._replace(explained=even))
    double, single = objective(prediction, batch), replace(objective, view_weight=1.0)(prediction, batch)
    assert float(double["explained"]) == pytest.approx(0.2 * 4 * 2 * np.log(2), rel=1e-12)  # scales, sources
    assert float(double["view"]) == pytest.approx(2 * float(single["view"]), rel=1e-12)
    assert float(double["loss"]) == pytest.approx(sum(float(double[n]) for n in ("view", "smooth", "explained")))


# --- 11: geometry consistency


def test_depths_agree_at_truth_and_differ_by_their_ratio():
    width, height = 64, 48
    target, source = seen_wall(motion(), width, height)[1][None], seen_wall(MOVES[0], width, height)[1][None]
    camera = pinhole(width, height)

    def difference(factor: float, unit: float = 1.0):
        move = stacked(MOVES[0]).scaled(unit)
        view = synthesised(source[:, None], unit * target, move, camera, camera)
        values = depth_difference(view, factor * unit * source)[view.valid]
        assert float(values.min()) >= 0 and float(values.max()) < 1
        return values

    assert float(difference(1.0).max()) < 1e-3  # exact on a plane but for the samples on the outermost centres
    assert float(difference(1.0).median()) < 1e-12
    assert torch.allclose(difference(1.0, unit=7.0), difference(1.0), 0, 1e-12)
    for factor in (0.5, 2.0, 3.0):
        assert float(difference(factor).median()) == pytest.approx(abs(factor - 1) / (factor + 1), abs=1e-9)


def test_the_weight_of_disagreement_has_no_gradient():
    batch, depth, motions = wall_snippet(*SIZE)
    objective = ViewSynthesis(full_resolution=True, consistency=GeometryConsistency(0.0), smoothness=EdgeAware(0.0))
    others = torch.stack([seen_wall(move, *SIZE)[1] for move in MOVES])[None].requires_grad_()
    losses = objective(predicted(0.9 * depth, motions, source_disparities=1 / others), batch)
    assert float(torch.autograd.grad(losses["loss"], others)[0].abs().max()) == 0
    agreeing = predicted(depth, motions, source_disparities=1 / others)
    found = replace(objective, consistency=GeometryConsistency(1.0))(agreeing, batch)
    assert float(found["consistency"]) < 1e-4
    halved = predicted(depth, motions, source_disparities=2 / others)
    assert float(replace(objective, consistency=GeometryConsistency(1.0))(halved, batch)["consistency"]) == (
        pytest.approx(1 / 3, abs=0.01)
    )


# --- 12: light


@given(st.floats(0.5, 2.0), st.floats(-0.3, 0.3))
def test_the_affine_model_finds_gain_and_shift(gain, shift):
    image, valid = noise(2, 3, 10, 12), noise(2, 10, 12, seed=1) > 0.4
    target = torch.where(valid[:, None], gain * image + shift, 9.0)
    a, b = AffineBrightness().fitted(torch.where(valid[:, None], image, -9.0), target, valid)
    assert torch.allclose(a, torch.full_like(a, gain), 0, 1e-9) and torch.allclose(
        b, torch.full_like(b, shift), 0, 1e-9
    )
    nothing = torch.zeros_like(valid)
    assert torch.equal(AffineBrightness()(image, target, nothing), image)


def test_an_even_image_has_no_gain_of_its_own():
    """Where either image has no contrast, only the brightness is shifted."""
    rich, even = noise(1, 3, 6, 8), torch.full((1, 3, 6, 8), 0.4, dtype=F64)
    valid = torch.ones(1, 6, 8, dtype=torch.bool)
    for image, target in ((rich, even), (even, rich), (even, even)):
        a, b = AffineBrightness().fitted(image, target, valid)
        assert torch.equal(a, torch.ones_like(a))
        assert torch.allclose(b, target.mean((-1, -2)) - image.mean((-1, -2)), 0, 1e-12)


def test_the_affine_model_takes_a_change_of_exposure_out_of_the_loss():
    batch, depth, motions = wall_snippet(160, 120)
    images = batch.images.clone()
    images[:, 1:] = 0.7 * images[:, 1:] + 0.05
    dimmed = replace(batch, images=images)

    def view(objective, some) -> float:
        return float(objective(predicted(depth, motions), some)["view"])

    plain = ViewSynthesis(full_resolution=True)
    corrected = replace(plain, brightness=AffineBrightness())
    assert view(plain, dimmed) > 10 * view(plain, batch)
    assert view(corrected, dimmed) == pytest.approx(view(corrected, batch), rel=0.1)
    at_rest = replace(corrected, reprojection=MinimumReprojection())  # rest is compared in the same light
    flicker = images[:, :1] * tensor(1.0, 0.7, 1.2)[:, None, None, None]
    still = RigidMotion.identity(1, 2)
    assert float(at_rest(predicted(1.3 * depth, still), replace(batch, images=flicker))["kept"]) < 0.02


def test_highlights_are_bright_pale_and_grown():
    image = torch.full((1, 3, 11, 13), 0.4, dtype=F64)
    image[0, :, 5, 6] = 0.95
    image[0, 0, 1, 1] = 0.95  # a saturated red is tissue
    found = Highlights(grown_px=1)(image)
    expected = torch.zeros(1, 11, 13, dtype=torch.bool)
    expected[0, 4:7, 5:8] = True
    assert torch.equal(found, expected)


def test_highlights_have_no_influence_in_target_or_source():
    batch, depth, motions = wall_snippet(160, 120)
    objective = ViewSynthesis(full_resolution=True, highlights=Highlights(), smoothness=EdgeAware(0.0))
    images = batch.images.clone()
    images[:, 0, :, 50:56, 60:66] = 1.0
    images[:, 2, :, 80:90, 30:36] = 1.0
    shiny = replace(batch, images=images)

    def view(some, one) -> float:
        return float(one(predicted(depth, motions), some)["view"])

    clean = view(batch, objective)
    assert view(shiny, objective) == pytest.approx(clean, rel=0.1)
    assert view(shiny, replace(objective, highlights=None)) > 2 * clean


# --- 13 and the whole


@pytest.mark.parametrize("objective", EVERY, ids=["monodepth2", "sfmlearner", "endoscopy"])
def test_a_batch_is_the_mean_of_its_samples(objective):
    parts = [wall_snippet(*SIZE, target=motion((0.0, 0.1 * n, 0.0), (0.1 * n, 0.0, 0.0))) for n in range(3)]
    depth = torch.cat([part[1] for part in parts]) * noise(3, 48, 64, low=0.9, high=1.1)
    motions = stacked(*MOVES).unsqueeze(0)[[0, 0, 0]]
    whole = batch_of(torch.cat([part[0].images for part in parts]))
    plain = replace(objective, consistency=None)
    if plain.motion == SFMLEARNER.motion:
        plain = replace(plain, motion=SnippetPose(), reprojection=EverySource())
    together = plain(predicted(depth, motions, 4), whole)
    alone = [
        plain(predicted(depth[n : n + 1], motions[n : n + 1], 4), batch_of(whole.images[n : n + 1])) for n in range(3)
    ]
    for name in ("loss", "view", "smooth"):
        assert float(together[name]) == pytest.approx(sum(float(one[name]) for one in alone) / 3, rel=1e-12)


@pytest.mark.parametrize("objective", EVERY, ids=["monodepth2", "sfmlearner", "endoscopy"])
def test_an_empty_mask_costs_nothing(objective):
    batch, depth, motions = wall_snippet(*SIZE)
    empty = replace(batch, mask=torch.zeros(1, 3, 48, 64, dtype=torch.bool))
    z = depth.clone().requires_grad_()
    losses = of_everything(replace(objective, consistency=None), empty, predicted(z, motions, 4))
    free = 0.2 * 4 * 2 if objective is SFMLEARNER else 0.0  # the penalty of the masks themselves
    assert 0 <= float(losses["loss"]) <= free
    assert float(torch.autograd.grad(losses["loss"], z, allow_unused=True)[0].abs().max()) == 0


@pytest.mark.parametrize("full", [True, False])
def test_truth_is_the_least_of_all_scalings(full):
    batch, depth, motions = wall_snippet(160, 120)
    objective = ViewSynthesis(reprojection=MinimumReprojection(), full_resolution=full, smoothness=EdgeAware(0.0))
    losses = {
        f: float(objective(predicted(f * depth, motions, 4), batch)["view"]) for f in (0.8, 0.95, 1.0, 1.05, 1.25)
    }
    assert min(losses, key=losses.__getitem__) == 1.0
    assert losses[0.8] > 5 * losses[1.0]


def test_known_motions_take_the_scale_of_the_points():
    batch, depth, motions = wall_snippet(160, 120)
    pixels = grid(160, 120)[10:-10:20, 10:-10:20].reshape(1, 1, -1, 2)
    at = depth[0, 10:-10:20, 10:-10:20].reshape(1, 1, -1)
    points = SparsePoints(pixels.expand(1, 3, -1, -1), at.expand(1, 3, -1), torch.ones_like(at).expand(1, 3, -1))
    known = replace(batch, temporal=motions, points=points)
    objective = ViewSynthesis(motion=KnownMotion(), full_resolution=True)
    assert objective.needs_sfm
    losses = []
    for factor in (1.0, 0.2, 7.0):
        prediction = predicted(factor * depth, motions)._replace(motions=None)
        losses.append(float(objective(prediction, known)["view"]))
    assert losses[0] < 0.01 and losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-3)  # points lie between pixels
    blind = replace(known, points=replace(points, weight=torch.zeros_like(points.weight)))
    assert float(objective(predicted(depth, motions)._replace(motions=None), blind)["loss"]) == 0
    with pytest.raises(BadInputError, match="motions for 2 sources"):
        objective(predicted(depth, motions)._replace(motions=None), batch)


def test_a_learned_camera_finds_its_way():
    batch, depth, motions = wall_snippet(160, 120)
    wrong = replace(batch, camera=Pinhole(batch.camera.focal_px * 1.1, batch.camera.centre_px + 3.0))
    objective = ViewSynthesis(full_resolution=True, smoothness=EdgeAware(0.0), learn_camera=True)
    right = tensor(-np.log(1.1), -np.log(1.1), 0.0, 0.0)
    right[2:] = -3.0 / wrong.camera.focal_px[0, 0]
    losses = {
        name: float(objective(predicted(depth, motions, camera=camera), wrong)["view"])
        for name, camera in (("wrong", tensor(0.0, 0.0, 0.0, 0.0)), ("right", right))
    }
    assert 20 * losses["right"] < losses["wrong"]

    # of a mirrored sample the shift goes to the other side
    turned = Pinhole(
        wrong.camera.focal_px, torch.stack([160 - wrong.camera.centre_px[..., 0], wrong.camera.centre_px[..., 1]], -1)
    )
    mirrored = replace(wrong, images=wrong.images.flip(-1), camera=turned, mirrored=torch.tensor([True]))
    found = objective(predicted(depth.flip(-1), motions.mirrored, camera=right), mirrored)
    assert float(found["view"]) == pytest.approx(losses["right"], rel=1e-6)


def test_the_whole_objective_has_the_right_gradient():
    batch, depth, motions = wall_snippet(12, 10)
    z = (depth * noise(1, 10, 12, low=0.95, high=1.05)).requires_grad_()
    turn, shift = (0.01 * noise(2, 3)).requires_grad_(), (0.03 * noise(2, 3, seed=4)).requires_grad_()
    objective = ViewSynthesis(reprojection=MinimumReprojection(auto_mask=False), full_resolution=True)

    def loss(z, turn, shift):
        return objective(predicted(z, RigidMotion.from_axis_angle(turn, shift).unsqueeze(0), 2), batch)["loss"]

    assert gradcheck(loss, (z, turn, shift), eps=1e-8, atol=1e-5)


def test_options_that_contradict_each_other_are_refused():
    for wrong in (
        {"reprojection": EverySource(0.2)},
        {"motion": SnippetPose(explainability=True)},
        {"motion": KnownMotion(), "learn_camera": True},
        {"motion": KnownMotion(), "snippets": SnippetRule(stereo=True)},
        {"view_weight": 0.0},
    ):
        with pytest.raises(BadInputError):
            ViewSynthesis(**wrong)
    ViewSynthesis(motion=PairPose(), snippets=SnippetRule(stereo=True))
    for rule in ({"offsets": (1, -1)}, {"offsets": (0, 1)}, {"offsets": ()}, {"stride": 0}, {"flow_px": -1.0}):
        with pytest.raises(BadInputError):
            SnippetRule(**rule)
