"""Depth maps brought to sparse points by a smooth field of scale."""

import math

import pytest
import torch

from depthscope.alignment import FieldPrior
from depthscope.errors import BadInputError
from depthscope.geometry.depth import pixel_grid, sampled_at

HEIGHT, WIDTH = 60, 80


def fold_and_wall() -> torch.Tensor:
    """A near fold on the left of a far wall that recedes to the right."""
    x = pixel_grid(HEIGHT, WIDTH, torch.zeros(1))[..., 0]
    return torch.where(x < 30, 10.0, 20 + 0.2 * x)


def points_on(depth: torch.Tensor, count: int = 250, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels away from the step, and the true depth there."""
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 2, generator=draw) * torch.tensor([WIDTH - 2.0, HEIGHT - 2.0]) + 1
    pixels = pixels[(pixels[:, 0] - 30).abs() > 1]
    return pixels, sampled_at(depth[None], pixels[None])[0]


def abs_rel(depth: torch.Tensor, truth: torch.Tensor) -> float:
    return float(((depth - truth).abs() / truth).mean())


def test_one_factor_is_found_exactly():
    truth = fold_and_wall()
    field = FieldPrior()(truth / 7, *points_on(truth))
    torch.testing.assert_close(field, torch.full_like(truth, 7.0), rtol=1e-4, atol=0)


def test_what_is_wrong_smoothly_is_put_right():
    truth = fold_and_wall()
    x, y = pixel_grid(HEIGHT, WIDTH, truth).unbind(-1)
    wrong = truth * (0.25 * (x / WIDTH * 4).sin() + 0.15 * (y / HEIGHT * 3).cos()).exp() / 3
    pixels, sparse = points_on(truth)
    before = abs_rel(wrong * FieldPrior(field=0.0, slope=0.0)(wrong, pixels, sparse), truth)
    after = abs_rel(wrong * FieldPrior()(wrong, pixels, sparse), truth)
    assert before > 0.08 and after < 0.02


def test_depth_that_is_too_flat_is_put_right_by_its_power():
    truth = fold_and_wall()
    flat = truth**0.7
    pixels, sparse = points_on(truth)
    few = slice(0, 12)
    assert abs_rel(flat * FieldPrior(slope=0.5)(flat, pixels[few], sparse[few]), truth) < 0.03


def test_what_a_near_fold_needs_does_not_leak_across_its_edge():
    truth = fold_and_wall()
    x = pixel_grid(HEIGHT, WIDTH, truth)[..., 0]
    wrong = torch.where(x < 30, truth * 1.3, truth)
    right = wrong * FieldPrior(slope=0.0)(wrong, *points_on(truth, 400))
    beside = (x > 31) & (x < 36)
    assert abs_rel(right[beside], truth[beside]) < 0.02
    inside = (x > 24) & (x < 29)
    assert abs_rel(right[inside], truth[inside]) < 0.03


def test_gross_errors_of_a_tenth_of_the_points_do_not_matter():
    truth = fold_and_wall()
    pixels, sparse = points_on(truth, 400)
    spoilt = sparse.clone()
    spoilt[::10] *= 3
    assert abs_rel(truth * FieldPrior()(truth, pixels, spoilt), truth) < 0.01


def test_far_from_every_point_the_frames_own_factor_holds():
    truth = torch.full((HEIGHT, WIDTH), 20.0)
    x = pixel_grid(HEIGHT, WIDTH, truth)[..., 0]
    pixels, sparse = points_on(truth, 300)
    left = pixels[:, 0] < 20
    sparse = torch.where(left & (pixels[:, 1] < 20), sparse * 1.2, sparse)
    pixels, sparse = pixels[left], sparse[left]
    field = FieldPrior(slope=0.0)(truth, pixels, sparse)
    assert (field[x > 60] - 1).abs().max() < 0.02 and field[:15, :10].mean() > 1.12


def test_a_unit_changes_nothing_else():
    truth = fold_and_wall()
    wrong = truth * (truth / 20) ** 0.2
    pixels, sparse = points_on(truth)
    one, other = FieldPrior()(wrong, pixels, sparse), FieldPrior()(wrong * 50, pixels, sparse * 0.1)
    torch.testing.assert_close(one, other * 500, rtol=1e-3, atol=0)


def test_unknown_depth_and_no_points():
    truth = fold_and_wall()
    truth[:10] = 0
    pixels, sparse = points_on(fold_and_wall())
    assert FieldPrior()(truth, pixels, sparse).isfinite().all()
    assert torch.equal(FieldPrior()(truth, pixels[:0], sparse[:0]), torch.ones_like(truth))
    one = FieldPrior()(truth * 2, pixels[-1:], sparse[-1:])
    assert float(one[-1, -1]) == pytest.approx(0.5, rel=0.1) and math.isfinite(float(one.sum()))


def test_numbers_without_meaning_are_refused():
    with pytest.raises(BadInputError, match="positive numbers"):
        FieldPrior(reach=0.0)
