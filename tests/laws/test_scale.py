"""Laws of the scaling layer (K1-K3) and of the weighted median under it."""

import pytest
import torch
from hypothesis import given, strategies as st
from torch.autograd import gradcheck

from depthscope.errors import BadInputError
from depthscope.geometry.scale import (
    LogMean,
    LogMedian,
    RatioMean,
    TrimmedLogMean,
    spread_about,
    weighted_mean,
    weighted_median,
)
from depthscope.objectives.sparse import scale_invariant_loss
from scenes import F64, tensor

ESTIMATORS = {"trimmed": TrimmedLogMean(), "mean": LogMean(), "median": LogMedian(), "ratio": RatioMean()}
estimators = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS.keys())


def frames(seed: int = 0, count: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log depth, log sparse depth and weights of three frames; a third of the points has no weight."""
    generator = torch.Generator().manual_seed(seed)
    log_depth, log_sparse = torch.randn(2, 3, count, generator=generator, dtype=F64)
    weight = torch.rand(3, count, generator=generator, dtype=F64)
    return log_depth, log_sparse, torch.where(weight < 0.33, 0.0, weight)


def slow_median(values: list[float], weights: list[float]) -> float:
    """The mean of the smallest value with half of the weight at or below it and the largest with half at or above."""
    total = sum(weights)
    pairs = [(v, w) for v, w in zip(values, weights, strict=True) if w > 0]
    low = min(v for v, _ in pairs if 2 * sum(w for u, w in pairs if u <= v) >= total)
    high = max(v for v, _ in pairs if 2 * sum(w for u, w in pairs if u >= v) >= total)
    return (low + high) / 2


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 4)), min_size=1, max_size=9))
def test_weighted_median_equals_brute_force(rows):
    values, weights = zip(*rows, strict=True)
    found = float(weighted_median(tensor(*values), tensor(*weights)))
    assert found == (slow_median(values, weights) if any(weights) else 0)


def test_weighted_median_of_equal_weights_is_that_of_numpy():
    values = torch.randn(5, 8, generator=torch.Generator().manual_seed(0), dtype=F64)
    assert torch.allclose(weighted_median(values, torch.ones_like(values)), values.quantile(0.5, -1), 0, 1e-15)
    assert torch.equal(weighted_median(values[:, :7], torch.ones(5, 7, dtype=F64)), values[:, :7].median(-1).values)


def test_weighted_mean_and_spread_ignore_points_without_weight():
    values, weight = tensor(1, 2, 6, 1e9), tensor(1, 1, 2, 0)
    assert weighted_mean(values, weight) == 3.75
    assert spread_about(tensor(2)[0], values, weight) == 2.5  # deviations 1, 0, 4 with weights 1, 1, 2
    assert weighted_mean(values, torch.zeros(4, dtype=F64)) == 0


@estimators
def test_points_of_little_weight_are_points(estimator):
    found = estimator(tensor(0.2, 0.4)[None], tensor(0.1, 0.1)[None])
    assert bool(found.supported.all()) and 0.19 < float(found.log_factor) < 0.41
    assert not bool(estimator(tensor(0.2, 0.4)[None], tensor(0.0, 0.0)[None]).supported.any())


@estimators
@pytest.mark.parametrize("junk", [float("nan"), float("inf"), -float("inf")])
def test_a_point_without_weight_may_hold_anything(estimator, junk):
    log_depth, log_sparse, weight = frames()
    weight[:, 5] = 0
    expected = estimator(log_sparse - log_depth, weight)
    log_depth[:, 5] = junk
    log_depth.requires_grad_()
    found = estimator(log_sparse - log_depth, weight)
    for name in ("log_factor", "spread", "trimmed", "supported"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    if found.log_factor.requires_grad:
        found.log_factor.sum().backward()
        assert bool(log_depth.grad.isfinite().all()) and not bool(log_depth.grad[:, 5].any())
    assert float(weighted_mean(tensor(1, junk), tensor(2, 0))) == 1


@estimators
def test_k1_scaled_depth_does_not_know_the_scale_of_the_prediction(estimator):
    log_depth, log_sparse, weight = frames()
    scale = estimator(log_sparse - log_depth, weight)
    larger = estimator(log_sparse - (log_depth + 1.3), weight)
    assert torch.allclose(larger.log_factor + 1.3, scale.log_factor, 0, 1e-12)
    assert torch.allclose(larger.spread, scale.spread, 0, 1e-12)
    assert torch.equal(larger.trimmed, scale.trimmed)
    sparse_larger = estimator(log_sparse + 0.7 - log_depth, weight)
    assert torch.allclose(sparse_larger.log_factor, scale.log_factor + 0.7, 0, 1e-12)
    assert torch.equal(scale.factor, scale.log_factor.exp())


@estimators
def test_every_estimator_finds_an_exact_factor(estimator):
    log_depth, _, weight = frames()
    scale = estimator(log_depth + 0.9 - log_depth, weight)
    assert torch.allclose(scale.factor, tensor(0.9).exp().expand(3), 1e-12, 0)
    assert (scale.spread < 1e-12).all()
    assert (scale.trimmed == 0).all() or isinstance(estimator, TrimmedLogMean)
    assert scale.supported.all()


def test_a_spread_of_zero_keeps_every_point():
    ratio = tensor(1, 1, 1, 1, 2)[None]
    scale = TrimmedLogMean()(ratio, torch.ones_like(ratio))
    assert scale.log_factor.item() == pytest.approx(1.2, abs=1e-15)
    assert scale.trimmed.item() == 0


def test_ratio_mean_is_the_mean_of_ratios_whatever_the_weights():
    scale = RatioMean()(tensor(1, 2, 6, 100).log()[None], tensor(0.1, 1, 0.5, 0)[None])
    assert scale.factor.item() == pytest.approx(3, rel=1e-14)


def test_k2_after_the_log_mean_the_residuals_have_mean_0_and_their_mean_square_is_the_sparse_loss():
    log_depth, log_sparse, weight = frames()
    residual = log_depth + LogMean()(log_sparse - log_depth, weight).log_factor[:, None] - log_sparse
    assert weighted_mean(residual, weight).abs().max() < 1e-14
    loss = scale_invariant_loss(log_depth, log_sparse, weight)
    assert torch.allclose(weighted_mean(residual**2, weight), loss, 1e-12, 0)


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_k3_a_fifth_of_wrong_points_does_not_move_the_robust_scales(factor):
    generator = torch.Generator().manual_seed(0)
    ratio = 0.02 * torch.randn(20, 200, generator=generator, dtype=F64)
    ratio[:, :40] += torch.tensor(factor).log()
    weight = torch.ones_like(ratio)
    moved = {name: float((e(ratio, weight).factor - 1).abs().mean()) for name, e in ESTIMATORS.items()}
    assert moved["trimmed"] < 0.01
    assert moved["median"] < 0.01
    assert moved["mean"] > 0.3  # 10^0.2 = 1.58, or its inverse: the laws above do not hold for free
    trimmed = TrimmedLogMean()(ratio, weight).trimmed
    assert ((trimmed > 0.1999) & (trimmed < 0.23)).all()  # all the wrong ones, and 0.3 % of a normal distribution


@estimators
def test_a_frame_without_points_keeps_factor_1_and_gives_no_gradient(estimator):
    log_depth, log_sparse, weight = frames()
    weight[1] = 0
    log_depth.requires_grad_()
    scale = estimator(log_sparse - log_depth, weight)
    assert scale.supported.tolist() == [True, False, True]
    assert scale.factor[1] == 1
    assert scale.spread[1] == 0
    assert scale.trimmed[1] == 0
    if scale.log_factor.requires_grad:
        scale.log_factor.sum().backward()
        assert log_depth.grad.isfinite().all()
        assert (log_depth.grad[1] == 0).all()


@pytest.mark.parametrize("estimator", [LogMean(), TrimmedLogMean(), RatioMean()])
def test_the_gradient_flows_through_the_factor_from_points_that_count(estimator):
    log_depth, log_sparse, weight = frames(count=12)
    log_depth.requires_grad_()
    assert gradcheck(lambda d: estimator(log_sparse - d, weight).log_factor, (log_depth,))
    (gradient,) = torch.autograd.grad(estimator(log_sparse - log_depth, weight).log_factor.sum(), log_depth)
    assert torch.allclose(gradient.sum(-1), -torch.ones(3, dtype=F64), 0, 1e-12)  # the derivative of K1
    assert (gradient[weight == 0] == 0).all()


@estimators
def test_the_order_and_padding_of_points_do_not_matter(estimator):
    log_depth, log_sparse, weight = frames()
    ratio = log_sparse - log_depth
    order = torch.randperm(ratio.shape[1], generator=torch.Generator().manual_seed(1))
    padded = torch.cat([ratio[:, order], torch.full((3, 5), 1e3, dtype=F64)], 1)
    scale = estimator(padded, torch.cat([weight[:, order], torch.zeros(3, 5, dtype=F64)], 1))
    assert torch.allclose(scale.log_factor, estimator(ratio, weight).log_factor, 0, 1e-12)


def test_a_cutoff_of_nothing_is_told():
    with pytest.raises(BadInputError, match="cutoff of 0"):
        TrimmedLogMean(0.0)
