"""Laws of the losses: Eq. 3 (S1-S4), Eq. 4 and 5 (L1, L2), the flow loss, and finiteness (F1)."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from torch.autograd import gradcheck

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.geometry.depth import backprojected, flow, sample
from depthscope.geometry.scale import LogMean, LogMedian, RatioMean, TrimmedLogMean, weighted_mean
from depthscope.networks import DepthPrediction
from depthscope.objectives import Siamese
from depthscope.objectives.consistency import Absolute, LogDifference, Normalised, Relative
from depthscope.objectives.flow import sparse_flow_loss
from depthscope.objectives.sparse import robust_scale_invariant_loss, scale_agreement, scale_invariant_loss
from depthscope.supervision import PairBatch, SparsePoints
from scenes import F64, ball_pair, grid, motion, pinhole, stacked, tensor, wall_pair

MOVE = motion((0.04, -0.06, 0.03), (0.12, -0.05, 0.06))
RESIDUALS = {"absolute": Absolute(), "relative": Relative(), "log": LogDifference(), "normalised": Normalised()}
EVERYTHING = Siamese(consistency_weight=0.1, flow_weight=1.0, agreement_weight=0.1, occlusion_tolerance=0.1)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def points_of_frames(seed: int = 0, count: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    log_depth, log_sparse = random(2, 3, count, seed=seed)
    weight = random(3, count, seed=seed + 1).clamp_min(0)
    return log_depth, log_sparse, weight


# Eq. 3


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 100))
def test_s1_the_sparse_loss_does_not_know_the_scale(log_k, log_l, m):
    log_depth, log_sparse, weight = points_of_frames()
    loss = scale_invariant_loss(log_depth, log_sparse, weight)
    other = scale_invariant_loss(log_depth + log_k, log_sparse + log_l, m * weight)
    assert torch.allclose(other, loss, 0, 1e-12)


def test_s2_equals_the_paper_and_a_double_loop():
    log_depth, log_sparse, weight = points_of_frames()
    d, total = log_depth - log_sparse, weight.sum(-1)
    paper = (weight * d * d).sum(-1) / total - (weight * d).sum(-1) ** 2 / total**2
    loss = scale_invariant_loss(log_depth, log_sparse, weight)
    assert torch.allclose(loss, paper, 0, 1e-12)
    for frame in range(3):
        pairs = 0.0
        for i, j in itertools.product(range(d.shape[1]), repeat=2):
            pairs += float(weight[frame, i] * weight[frame, j] * (d[frame, i] - d[frame, j]) ** 2)
        assert float(loss[frame]) == pytest.approx(pairs / (2 * float(total[frame]) ** 2), abs=1e-12)


def test_s3_it_is_zero_only_where_all_residuals_are_equal():
    _, log_sparse, weight = points_of_frames()
    weight[:, 0] = 1
    equal = scale_invariant_loss(log_sparse + 0.7, log_sparse, weight)
    assert ((equal >= 0) & (equal < 1e-30)).all()  # rounding, squared
    changed = log_sparse + 0.7
    changed[:, 0] += 1e-3
    assert (scale_invariant_loss(changed, log_sparse, weight) > 1e-8).all()


def test_s4_the_gradient_has_no_part_along_the_scale():
    log_depth, log_sparse, weight = points_of_frames()
    log_depth.requires_grad_()
    scale_invariant_loss(log_depth, log_sparse, weight).sum().backward()
    assert log_depth.grad.sum(-1).abs().max() < 1e-14
    assert log_depth.grad.abs().max() > 0.01
    assert gradcheck(lambda d: scale_invariant_loss(d, log_sparse, weight), (log_depth,))


def test_points_without_weight_may_hold_anything():
    log_depth, log_sparse, weight = points_of_frames()
    weight[:, 3], weight[1] = 0, 0
    expected = scale_invariant_loss(log_depth, log_sparse, weight)
    log_depth[:, 3], log_sparse[:, 3] = torch.inf, -torch.inf
    log_depth.requires_grad_()
    loss = scale_invariant_loss(log_depth, log_sparse, weight)
    loss.sum().backward()
    assert torch.equal(loss, expected)
    assert loss[1] == 0
    assert (log_depth.grad[:, 3] == 0).all()
    assert (log_depth.grad[1] == 0).all()


def test_a_single_point_says_nothing_about_shape():
    assert scale_invariant_loss(tensor(3)[None], tensor(1)[None], tensor(0.5)[None]).item() == 0


def test_the_robust_loss_is_half_the_square_where_small_and_linear_where_large():
    one, none = tensor(1)[None], tensor(0)
    small = robust_scale_invariant_loss(tensor(1e-3)[None], tensor(0)[None], one, none, 0.1)
    assert small.item() == pytest.approx(0.5e-6, rel=1e-4)  # the next term is (e / width)^2 / 4
    large = robust_scale_invariant_loss(tensor(30)[None], tensor(0)[None], one, none, 0.1)
    assert large.item() == pytest.approx(0.1 * (30 - 0.1), rel=1e-4)
    moved = robust_scale_invariant_loss(tensor(1e-3 - 2)[None], tensor(0)[None], one, tensor(2), 0.1)
    assert moved.item() == pytest.approx(small.item(), rel=1e-9)


def test_with_a_standard_deviation_it_is_the_laplace_likelihood():
    log_depth, log_sparse, weight = points_of_frames()
    log_std, factor = random(3, 12, seed=5), random(3, seed=6)
    loss = robust_scale_invariant_loss(log_depth, log_sparse, weight, factor, 1e-9, log_std)
    residual = (log_depth + factor[:, None] - log_sparse).abs()
    assert torch.allclose(loss, weighted_mean(residual / log_std.exp() + log_std, weight), 0, 1e-7)  # the width


@pytest.mark.parametrize("with_std", [False, True])
def test_the_gradient_of_the_robust_loss_is_that_of_the_formula(with_std):
    log_depth, log_sparse, weight = points_of_frames(count=6)
    log_std = random(3, 6, seed=5).requires_grad_() if with_std else None

    def loss(depth, std):
        return robust_scale_invariant_loss(depth, log_sparse, weight, (log_sparse - depth).mean(-1), 0.3, std)

    assert gradcheck(loss, (log_depth.requires_grad_(), log_std))


def test_scales_that_differ_cost_their_squared_difference():
    assert scale_agreement(tensor(1, 3, 2), tensor(3, 1, 2)).tolist() == [4, 4, 0]


# Eq. 4


def residual_of(residual, warped, depth, valid, camera):
    if isinstance(residual, Normalised):
        ray_l1 = camera[:, None, None].unproject(grid(*depth.shape[:0:-1])).abs().sum(-1)
        return residual(warped, depth, valid, ray_l1)
    return residual(warped, depth, valid)


def slow_residual(residual, warped, depth, valid, camera) -> float:
    above, below, count = 0.0, 0.0, 0
    a, b = (backprojected(m[None], camera)[0] for m in (warped, depth))
    for row, column in valid.nonzero().tolist():
        p, q = float(warped[row, column]), float(depth[row, column])
        count += 1
        match residual:
            case Absolute():
                above += abs(p - q)
            case Relative():
                above += abs(p - q) / (p + q)
            case LogDifference(width=width):
                size = abs(float(torch.tensor(p / q, dtype=F64).log()))
                above += size**2 / (2 * width) if size < width else size - width / 2
            case Normalised():
                above += 2 * float((a[row, column] - b[row, column]).abs().sum())
                below += p + q
    if isinstance(residual, Normalised):
        return above / (below + 1e-5 * float(depth.mean()))
    return above / count


@pytest.mark.parametrize("residual", RESIDUALS.values(), ids=RESIDUALS.keys())
def test_consistency_equals_a_loop_and_has_its_gradient(residual):
    warped, depth = (0.1 * random(2, 2, 4, 5)).exp()
    valid, camera = random(2, 4, 5, seed=1) > -0.5, pinhole(5, 4, 2)
    losses = residual_of(residual, warped, depth, valid, camera)
    for frame in range(2):
        slow = slow_residual(residual, warped[frame], depth[frame], valid[frame], camera[frame : frame + 1])
        assert losses[frame].item() == pytest.approx(slow, rel=1e-10)
    inputs = warped.requires_grad_(), depth.requires_grad_()
    assert gradcheck(lambda w, d: residual_of(residual, w, d, valid, camera), inputs)


@pytest.mark.parametrize("residual", RESIDUALS.values(), ids=RESIDUALS.keys())
def test_an_empty_overlap_costs_nothing(residual):
    warped, depth = (0.1 * random(2, 2, 4, 5)).exp()
    warped.requires_grad_(), depth.requires_grad_()
    valid = torch.zeros(2, 4, 5, dtype=torch.bool)
    losses = residual_of(residual, warped, depth, valid, pinhole(5, 4, 2))
    losses.sum().backward()
    assert losses.tolist() == [0, 0]
    assert (warped.grad == 0).all()
    assert (depth.grad == 0).all()


@pytest.mark.parametrize("residual", [Relative(), LogDifference(), Normalised()])
def test_these_residuals_do_not_know_the_unit(residual):
    warped, depth = (0.1 * random(2, 2, 4, 5)).exp()
    valid, camera = torch.ones(2, 4, 5, dtype=torch.bool), pinhole(5, 4, 2)
    loss = residual_of(residual, warped, depth, valid, camera)
    assert torch.allclose(residual_of(residual, 50 * warped, 50 * depth, valid, camera), loss, 1e-10, 0)


# Flow


def test_the_flow_loss_equals_a_loop_and_is_zero_at_the_truth():
    pixels, size, camera = 5 + 30 * random(2, 6, 2).abs(), (64, 48), pinhole(64, 48, 2)
    depth, sparse, weight = (0.3 * random(2, 6)).exp(), (0.3 * random(2, 6, seed=1)).exp(), random(2, 6, seed=2).abs()
    weight[0, 2] = 0
    moves = stacked(MOVE, MOVE.inverse())
    loss, left_out = sparse_flow_loss(depth, sparse, pixels, weight, moves, camera, size)
    for frame in range(2):
        total = 0.0
        for i in range(6):
            ray = camera[frame].unproject(pixels[frame, i])
            ends = [camera[frame].project(moves[frame].apply(z[frame, i] * ray)) for z in (depth, sparse)]
            x, y = (ends[0] - ends[1]).abs().tolist()
            total += float(weight[frame, i]) * (x / 64 + y / 48)
        assert loss[frame].item() == pytest.approx(total / float(weight[frame].sum()), rel=1e-10)
    assert left_out.tolist() == [0, 0]
    assert (sparse_flow_loss(sparse, sparse, pixels, weight, moves, camera, size)[0] == 0).all()
    loss_of = lambda d: sparse_flow_loss(d, sparse, pixels, weight, moves, camera, size)[0]  # noqa: E731
    assert gradcheck(loss_of, (depth.requires_grad_(),))


def test_predictions_behind_the_target_camera_are_left_out_and_counted():
    pixels, camera = tensor([20, 20], [30, 20], [20, 30], [40, 9])[None], pinhole(64, 48)
    weight, sparse = tensor(1, 1, 1, 0)[None], tensor(2, 2, 2, 1)[None]
    depth = tensor(0.5, 2, 2, 0.5)[None].requires_grad_()
    forward = stacked(motion(shift=(0, 0, -1)))
    loss, left_out = sparse_flow_loss(depth, sparse, pixels, weight, forward, camera, (64, 48))
    loss.sum().backward()
    assert loss.item() == 0
    assert left_out.item() == pytest.approx(1 / 3)
    assert depth.grad.isfinite().all()


# Eq. 5


def pair_batch(scene, width=24, height=18, points=20, k_from_j=MOVE, seed=0) -> tuple[PairBatch, torch.Tensor]:
    """A batch of one true pair, and the depths (2, height, width) of its frames j and k."""
    depths = torch.cat(scene(width, height, k_from_j))
    size = tensor(width, height)
    pixels = 0.5 + (size - 1) * torch.rand(2, points, 2, generator=torch.Generator().manual_seed(seed), dtype=F64)
    sparse = 1 / sample(1 / depths[:, None], pixels)[:, 0]
    batch = PairBatch(
        images=torch.zeros(1, 2, 3, height, width, dtype=F64),
        mask=torch.ones(1, 2, height, width, dtype=torch.bool),
        camera=pinhole(width, height),
        k_from_j=stacked(k_from_j),
        points=SparsePoints(pixels[None], sparse[None], 0.1 + random(1, 2, points, seed=seed).abs()),
        draws=torch.tensor([0]),
    )
    return batch, depths


def joined(*batches: PairBatch) -> PairBatch:
    return PairBatch(
        torch.cat([b.images for b in batches]),
        torch.cat([b.mask for b in batches]),
        replace(
            batches[0].camera,
            focal_px=torch.cat([b.camera.focal_px for b in batches]),
            centre_px=torch.cat([b.camera.centre_px for b in batches]),
        ),
        RigidMotion(
            torch.cat([b.k_from_j.rotation for b in batches]), torch.cat([b.k_from_j.translation for b in batches])
        ),
        SparsePoints(*(torch.cat([getattr(b.points, n) for b in batches]) for n in ("pixels", "depth", "weight"))),
        torch.cat([b.draws for b in batches]),
    )


@pytest.mark.parametrize("residual", RESIDUALS.values(), ids=RESIDUALS.keys())
def test_l1_the_true_depth_of_a_plane_costs_nothing_whatever_its_scale(residual):
    batch, depths = pair_batch(wall_pair)
    siamese = replace(EVERYTHING, agreement_weight=0.0, consistency=residual)
    losses = siamese(DepthPrediction((depths * tensor(3, 0.2)[:, None, None]).log()), batch)
    assert losses["sparse"] < 1e-24  # rounding, squared
    assert losses["consistency"] < 1e-12
    assert losses["flow"] < 1e-12
    assert losses["overlap"] > 0.6
    assert losses["unsupported"] == 0
    flat = siamese(DepthPrediction(torch.zeros_like(depths)), batch)
    assert flat["sparse"] > 1e-4
    assert flat["consistency"] > 1e-3
    assert flat["flow"] > 1e-4


def test_the_prior_costs_its_weight_times_the_change_of_differences():
    batch, depths = pair_batch(wall_pair)
    log_depth = depths.log()
    bumpy = log_depth + 0.1 * random(*log_depth.shape, seed=4)
    without = Siamese()(DepthPrediction(bumpy), batch, log_depth)["loss"]
    losses = Siamese(prior_weight=2.0)(DepthPrediction(bumpy), batch, log_depth)
    assert float(losses["prior"]) > 0.1
    assert float(losses["loss"] - without) == pytest.approx(2 * float(losses["prior"]), rel=1e-6)
    scaled = Siamese(prior_weight=2.0)(DepthPrediction(log_depth + math.log(3)), batch, log_depth)
    assert float(scaled["prior"]) < 1e-9
    assert "prior" not in Siamese(prior_weight=2.0)(DepthPrediction(bumpy), batch)


def test_the_true_depth_of_a_ball_costs_hardly_anything():
    batch, depths = pair_batch(ball_pair, 64, 48)
    true = EVERYTHING(DepthPrediction(depths.log()), batch)
    flat = EVERYTHING(DepthPrediction(torch.zeros_like(depths)), batch)
    for name in ("sparse", "consistency", "flow"):
        assert true[name] < 0.01 * flat[name]  # the warp of a curved surface errs by O(h^2)


def test_each_frame_is_compared_in_its_own_direction():
    """The loss is the sum of its terms, each over both frames, written out here frame by frame."""
    from depthscope.geometry.depth import warped

    batch, depths = pair_batch(ball_pair, points=30)
    log_depth = depths.log() + 0.05 * random(*depths.shape)
    losses = replace(EVERYTHING, scale=LogMean())(DepthPrediction(log_depth), batch)
    k_from_j, camera, points = batch.k_from_j, batch.camera, batch.points
    moves, scaled, factors, sparse, flows = (k_from_j, k_from_j.inverse()), [], [], 0.0, 0.0
    for f in range(2):
        at = -sample((-log_depth[f : f + 1, None]).exp(), points.pixels[:, f])[:, 0].log()
        factors.append(LogMean()(points.depth[:, f].log() - at, points.weight[:, f]).log_factor)
        scaled.append((log_depth[f : f + 1] + factors[-1]).exp())
        sparse = sparse + scale_invariant_loss(at, points.depth[:, f].log(), points.weight[:, f])
        flows = (
            flows
            + sparse_flow_loss(
                (at + factors[-1]).exp(),
                points.depth[:, f],
                points.pixels[:, f],
                points.weight[:, f],
                moves[f],
                camera,
                (24, 18),
            )[0]
        )
    consistency = 0.0
    for f in range(2):
        warp = warped(scaled[f], scaled[1 - f], moves[f], camera, occlusion_tolerance=0.1)
        consistency = consistency + Absolute()(warp.depth, scaled[1 - f], warp.valid)
    expected = {"sparse": sparse, "consistency": consistency, "flow": flows}
    expected["agreement"] = (factors[0] - factors[1]) ** 2
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-10)
    total = sum(getattr(EVERYTHING, f"{name}_weight") * value for name, value in expected.items())
    assert losses["loss"].item() == pytest.approx(total.item(), rel=1e-10)


def test_l2_swapping_the_frames_of_a_pair_changes_nothing():
    batch, depths = pair_batch(ball_pair)
    log_depth = depths.log() + 0.1 * random(*depths.shape)
    swapped = PairBatch(
        batch.images.flip(1),
        batch.mask.flip(1),
        batch.camera,
        batch.k_from_j.inverse(),
        SparsePoints(batch.points.pixels.flip(1), batch.points.depth.flip(1), batch.points.weight.flip(1)),
        batch.draws,
    )
    a, b = EVERYTHING(DepthPrediction(log_depth), batch), EVERYTHING(DepthPrediction(log_depth.flip(0)), swapped)
    assert a["consistency"] > 0.01
    for name in a:
        assert a[name].item() == pytest.approx(b[name].item(), rel=1e-12)


def test_a_batch_is_the_mean_of_its_pairs():
    made = [pair_batch(ball_pair, seed=1), pair_batch(wall_pair, k_from_j=MOVE.inverse(), seed=2)]
    logs = [d.log() + 0.1 * random(*d.shape, seed=s) for s, (_, d) in enumerate(made)]
    made[0][0].mask[:, 1, :, :7] = False
    made[1][0].mask[:, 0, 9:] = False
    alone = [EVERYTHING(DepthPrediction(x), b) for x, (b, _) in zip(logs, made, strict=True)]
    together = torch.stack([logs[0][0], logs[1][0], logs[0][1], logs[1][1]])  # all frames j, then all frames k
    found = EVERYTHING(DepthPrediction(together), joined(*(b for b, _ in made)))
    for name in ("loss", "scale_spread", "trimmed", "unsupported"):  # what is watched of a run, too
        assert found[name].item() == pytest.approx(sum(one[name].item() for one in alone) / 2, rel=1e-12)
    assert found["scale_spread"] > 0


def test_a_pair_without_points_in_a_frame_does_not_thin_out_the_others():
    made = [pair_batch(ball_pair, seed=seed) for seed in (1, 2)]
    logs = [d.log() + 0.1 * random(*d.shape, seed=seed) for seed, (_, d) in enumerate(made)]
    made[1][0].points.weight[:, 1] = 0
    together = torch.stack([logs[0][0], logs[1][0], logs[0][1], logs[1][1]]).requires_grad_()
    losses = EVERYTHING(DepthPrediction(together), joined(*(b for b, _ in made)))
    losses["loss"].backward()
    alone = EVERYTHING(DepthPrediction(logs[0]), made[0][0])
    for name in ("loss", "sparse", "consistency", "flow", "agreement"):
        assert losses[name].item() == pytest.approx(alone[name].item(), rel=1e-12)
    assert losses["unsupported"] == 0.25
    assert (together.grad[[1, 3]] == 0).all()
    assert (together.grad[[0, 2]] != 0).any()


def test_binary_masks_are_weights_of_1():
    batch, depths = pair_batch(ball_pair)
    batch.points.weight[:, :, :4] = 0
    prediction = DepthPrediction(depths.log() + 0.1 * random(*depths.shape))
    ones = replace(batch, points=replace(batch.points, weight=(batch.points.weight > 0).double()))
    a, b = replace(EVERYTHING, soft_mask=False)(prediction, batch), EVERYTHING(prediction, ones)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert a["loss"] != EVERYTHING(prediction, batch)["loss"]


def test_masked_pixels_give_no_consistency():
    batch, depths = pair_batch(ball_pair)
    batch.mask[:, :, :, :6] = False
    log_depth = depths.log().requires_grad_()
    only = replace(EVERYTHING, sparse_weight=0.0, flow_weight=0.0, agreement_weight=0.0, scale=LogMedian())
    only(DepthPrediction(log_depth), batch)["loss"].backward()
    assert (log_depth.grad[:, :, :6] == 0).all()
    assert log_depth.grad.abs().sum() > 0


def test_the_nearest_pixel_is_the_one_that_holds_the_point():
    batch, depths = pair_batch(ball_pair)
    column, row = batch.points.pixels[0].long().unbind(-1)
    exact = torch.stack([depths[f, row[f], column[f]] for f in range(2)])[None]
    nearest = replace(batch, points=replace(batch.points, depth=exact))
    siamese = Siamese(nearest_pixel=True, consistency_weight=0.0)
    assert siamese(DepthPrediction(depths.log()), nearest)["loss"] < 1e-28
    assert siamese(DepthPrediction(depths.log()), batch)["loss"] > 1e-6


def test_early_draws_have_their_own_consistency_weight():
    batch, depths = pair_batch(ball_pair)
    prediction = DepthPrediction(depths.log() + 0.1 * random(*depths.shape))
    siamese = Siamese(consistency_weight=2.0, early_consistency_weight=0.5, early_draws=10)
    for draw, weight in ((0, 0.5), (9, 0.5), (10, 2.0)):
        losses = siamese(prediction, replace(batch, draws=torch.tensor([draw])))
        assert losses["loss"].item() == pytest.approx((losses["sparse"] + weight * losses["consistency"]).item())


def test_the_gradient_of_the_whole_objective_is_that_of_the_formula():
    batch, depths = pair_batch(ball_pair, 6, 5, 8)
    siamese = replace(EVERYTHING, scale=LogMean(), robust_width=0.1)
    log_depth = (depths.log() + 0.02 * random(*depths.shape)).requires_grad_()
    log_std = (0.1 * random(*depths.shape, seed=1)).requires_grad_()
    assert gradcheck(lambda d, s: siamese(DepthPrediction(d, s), batch)["loss"], (log_depth, log_std))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flow_weight": -1.0}, "flow_weight -1.0"),
        ({"sparse_weight": float("nan")}, "sparse_weight nan"),
        ({"robust_width": 0.0}, "robust_width"),
        ({"occlusion_tolerance": 0.0}, "occlusion_tolerance"),
    ],
)
def test_options_without_sense_are_told(changes, words):
    with pytest.raises(BadInputError, match=words):
        Siamese(**changes)


# F1

COUNT = 1000  # pairs of one batch; ten variants make 10^4


def degenerate(seed: int) -> tuple[PairBatch, torch.Tensor]:
    """Pairs in float32 with everything that goes wrong: no mask, no points, one point, all outside, all behind."""
    generator = torch.Generator().manual_seed(seed)

    def pick(*shape):
        return torch.rand(*shape, generator=generator)

    mask = pick(COUNT, 2, 4, 5) < torch.tensor([0.0, 0.5, 1.0])[torch.randint(3, (COUNT, 2, 1, 1), generator=generator)]
    pixels = torch.tensor([5.0, 4.0]) * pick(COUNT, 2, 6, 2)
    pixels[pick(COUNT, 2) < 0.2] = 0.0
    depth = torch.exp(4 * pick(COUNT, 2, 6) - 2)
    depth[pick(COUNT, 2) < 0.2] = 1.0
    weight = pick(COUNT, 2, 6) * (
        pick(COUNT, 2, 6) < torch.tensor([0.0, 0.1, 1.0])[torch.randint(3, (COUNT, 2, 1), generator=generator)]
    )
    quaternion = torch.randn(COUNT, 4, generator=generator)
    quaternion[pick(COUNT) < 0.5] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    size = torch.tensor([0.0, 0.1, 1.0, 1e4])[torch.randint(4, (COUNT, 1), generator=generator)]
    k_from_j = RigidMotion.from_quaternion(quaternion, size * torch.randn(COUNT, 3, generator=generator))
    log_depth = torch.tensor([0.0, 0.1, 5.0])[torch.randint(3, (2 * COUNT, 1, 1), generator=generator)]
    log_depth = log_depth * (2 * pick(2 * COUNT, 4, 5) - 1)
    camera = pinhole(5, 4, COUNT).to(torch.float32)
    images = torch.zeros(COUNT, 2, 3, 4, 5)
    return PairBatch(
        images, mask, camera, k_from_j, SparsePoints(pixels, depth, weight), torch.arange(COUNT)
    ), log_depth


VARIANTS = [
    *(replace(EVERYTHING, consistency=residual) for residual in RESIDUALS.values()),
    *(replace(EVERYTHING, scale=scale) for scale in (TrimmedLogMean(), LogMean(), LogMedian(), RatioMean())),
    replace(EVERYTHING, robust_width=0.02, nearest_pixel=True),
    replace(EVERYTHING, soft_mask=False, detach_position=True, occlusion_tolerance=float("inf")),
]


@pytest.mark.parametrize("number", range(len(VARIANTS)))
def test_f1_degenerate_batches_are_never_nan_and_unsupported_pairs_change_nothing(number):
    batch, log_depth = degenerate(number)
    log_std = (0.1 * random(*log_depth.shape).float()).requires_grad_() if number % 2 else None
    log_depth.requires_grad_()
    losses = VARIANTS[number](DepthPrediction(log_depth, log_std), batch)
    losses["loss"].backward()
    assert all(bool(value.isfinite()) for value in losses.values())
    assert log_depth.grad.isfinite().all()  # one NaN in one pair would show here
    unsupported = (batch.points.weight.sum(-1) == 0).any(-1).repeat(2)  # nothing is known of one of the frames
    assert unsupported.sum() > 50
    assert (log_depth.grad[unsupported] == 0).all()
    if log_std is not None:
        assert log_std.grad.isfinite().all()


def test_f1_a_batch_without_anything_costs_exactly_nothing():
    batch, log_depth = degenerate(0)
    batch = replace(batch, points=replace(batch.points, weight=torch.zeros_like(batch.points.weight)))
    log_depth.requires_grad_()
    losses = EVERYTHING(DepthPrediction(log_depth), batch)
    losses["loss"].backward()
    assert losses["loss"] == 0
    assert losses["unsupported"] == 1
    assert (log_depth.grad == 0).all()


def test_flow_of_the_true_points_is_what_the_batch_says():
    batch, _ = pair_batch(wall_pair)
    moved, front = flow(batch.points.depth[:, 0], batch.points.pixels[:, 0], batch.k_from_j, batch.camera)
    assert front.all()
    assert moved.norm(dim=-1).mean() > 1  # the pair has parallax, so that the laws above say something
