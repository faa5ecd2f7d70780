"""Depth metrics against golden values and laws of evaluation."""

import math
from dataclasses import astuple, replace

import pytest
import torch
from hypothesis import given, strategies as st

from depthscope.errors import BadInputError
from depthscope.evaluation import ComparedFrame, DepthMetrics, cross_view_difference, evaluated, flat_wall, median
from scenes import F64, WALL, grid, motion, pinhole, plane_depth, stacked, tensor


def frame(depth, truth, name: str = "a", **fields) -> ComparedFrame:
    return ComparedFrame(name, tensor(*depth), tensor(*truth), **fields)


def close(a: DepthMetrics, b: DepthMetrics) -> bool:
    return astuple(a) == pytest.approx(astuple(b), rel=1e-12, abs=1e-12)


def random_frames(count: int = 5, pixels: int = 50) -> list[ComparedFrame]:
    generator = torch.Generator().manual_seed(0)
    frames = []
    for i in range(count):
        truth = 1 + torch.rand(pixels, generator=generator, dtype=F64)
        noise = torch.randn(pixels, generator=generator, dtype=F64)
        frames.append(ComparedFrame(f"{i}", truth * (0.2 * noise).exp(), truth))
    return frames


def test_golden_values_of_every_metric():
    metrics = DepthMetrics.of(tensor(1, 2, 8), tensor(1, 2, 4))
    expected = (1 / 3, 4 / 3, 2.309401, 0.400189, 2 / 3, 2 / 3, 2 / 3)
    assert astuple(metrics) == pytest.approx(expected, abs=1e-6)  # six digits are written down
    assert frame((1, 2, 8), (1, 2, 4)).factor == 1


def test_golden_the_median_of_an_even_count_is_the_mean_of_two():
    result = evaluated([frame((2, 4, 6, 8), (1, 2, 3, 4))], "test")
    assert astuple(result.per_frame_median) == (0, 0, 0, 0, 1, 1, 1)
    assert frame((2, 4, 6, 100), (1, 2, 3, 4)).factor == 0.5  # 2.5 / 5; the lower medians give 2 / 4 as well,
    assert frame((1, 1, 1, 1), (1, 2, 3, 4)).factor == 2.5  # but not here
    assert median(tensor(4, 1, 3, 2)) == 2.5
    assert median(tensor(5, 1, 3)) == 3


def test_golden_two_frames_of_different_scale():
    result = evaluated([frame((1, 1), (1, 1)), frame((1, 1), (2, 2), "b")], "test")
    assert result.per_frame_median.abs_rel == 0
    assert result.per_sequence.abs_rel == pytest.approx((math.sqrt(2) - 1 + 1 - 1 / math.sqrt(2)) / 2, rel=1e-12)
    assert result.per_sequence.abs_rel == pytest.approx(0.353553, abs=1e-6)
    assert result.scale_drift == pytest.approx(1 / 3, rel=1e-12)
    assert (result.frames, result.protocol) == (2, "test")
    assert [(name, factor) for name, factor, _ in result.rows] == [("a", 1.0), ("b", 2.0)]


def test_the_median_error_too_is_the_mean_of_two():
    result = evaluated([frame((1, 1.5, 2, 2.4), (1, 1, 2, 2), scale_from=(tensor(1), tensor(1)))], "test")
    assert result.median_abs_rel == pytest.approx(0.1, rel=1e-12)  # of 0, 0, 0.2, 0.5


@given(st.lists(st.floats(0.01, 100), min_size=5, max_size=5))
def test_per_frame_alignment_does_not_see_the_scale_of_frames_and_per_sequence_does(factors):
    frames = random_frames()
    plain = evaluated(frames, "test")
    moved = evaluated([replace(f, depth=k * f.depth) for f, k in zip(frames, factors, strict=True)], "test")
    assert close(moved.per_frame_median, plain.per_frame_median)
    assert moved.median_abs_rel == pytest.approx(plain.median_abs_rel, rel=1e-12)
    together = evaluated([replace(f, depth=factors[0] * f.depth) for f in frames], "test")
    assert close(together.per_sequence, plain.per_sequence)
    assert together.scale_drift == pytest.approx(plain.scale_drift, rel=1e-10)
    if max(factors) > 2 * min(factors):
        assert not close(moved.per_sequence, plain.per_sequence)


def test_equal_scales_give_equal_alignments_and_no_drift():
    frames = [replace(f, depth=f.depth * 7 * f.factor) for f in random_frames()]
    result = evaluated(frames, "test")
    assert result.scale_drift == pytest.approx(0, abs=1e-12)
    assert close(result.per_frame_median, result.per_sequence)


@given(st.integers(0, 10_000))
def test_order_among_metrics(seed):
    generator = torch.Generator().manual_seed(seed)
    depth, truth = (1e-3 + torch.rand(2, 20, generator=generator, dtype=F64)).unbind()
    metrics = DepthMetrics.of(depth, truth)
    assert metrics.abs_rel > 0
    assert metrics.rmse >= float((depth - truth).abs().mean())
    assert metrics.delta1 <= metrics.delta2 <= metrics.delta3
    assert astuple(DepthMetrics.of(truth, truth)) == (0, 0, 0, 0, 1, 1, 1)


def test_the_unit_scales_lengths_and_leaves_ratios():
    metres = evaluated(random_frames(), "test").per_sequence
    frames = [replace(f, depth=1000 * f.depth, truth=1000 * f.truth) for f in random_frames()]
    millimetres = evaluated(frames, "test").per_sequence
    scaled = replace(metres, rmse=1000 * metres.rmse, sq_rel=1000 * metres.sq_rel)
    assert close(millimetres, scaled)


def test_anchors_decide_the_scale_where_they_are_given():
    anchored = frame((1, 2), (10, 20), scale_from=(tensor(1, 1, 1), tensor(2, 3, 90)))
    assert anchored.factor == 3
    assert evaluated([anchored], "test").per_frame_median.abs_rel == pytest.approx(0.7)


def test_frames_without_anything_to_compare_are_listed_and_not_averaged():
    frames = [*random_frames(2), frame((), (), "empty"), frame((1,), (1,), "loose", scale_from=(tensor(), tensor()))]
    result, alone = evaluated(frames, "test"), evaluated(frames[:2], "test")
    assert result.skipped == ("empty", "loose")
    assert result.frames == 2
    assert result.per_sequence == alone.per_sequence
    with pytest.raises(BadInputError, match="no frame in which prediction and truth overlap"):
        evaluated(frames[2:], "test")


def test_the_floor_is_the_median_of_the_anchors():
    assert flat_wall(tensor(7, 8, 9), tensor(1, 2, 3, 10)).tolist() == [2.5, 2.5, 2.5]


CAMERA_FROM_WORLD = stacked(*(motion((0.02 * i, -0.03 * i, 0.01), (0.05 * i, -0.02 * i, 0.03 * i)) for i in range(4)))


def wall(width: int = 32, height: int = 24) -> torch.Tensor:
    camera = pinhole(width, height)[0]
    return torch.stack([plane_depth(WALL, 1.0, CAMERA_FROM_WORLD[i], camera, grid(width, height)) for i in range(4)])


@pytest.mark.parametrize("gap", [1, 3])
def test_the_true_depth_of_a_plane_agrees_across_views(gap):
    depth, camera = wall(), pinhole(32, 24)[0]
    everywhere = torch.ones_like(depth, dtype=torch.bool)
    assert cross_view_difference(depth, everywhere, CAMERA_FROM_WORLD, camera, gap) < 1e-12
    tilted = depth * torch.linspace(0.9, 1.1, 32, dtype=F64)
    assert cross_view_difference(tilted, everywhere, CAMERA_FROM_WORLD, camera, gap) > 1e-3
    drifting = depth * torch.linspace(0.95, 1.05, 4, dtype=F64)[:, None, None]
    expected = 0.1 / 3 * gap  # the change of scale between the two frames
    found = cross_view_difference(drifting, everywhere, CAMERA_FROM_WORLD, camera, gap, float("inf"))
    assert found == pytest.approx(expected, rel=0.35)  # the moved surface also slides along the pixels


def test_unknown_depth_never_matters():
    depth, camera = wall(), pinhole(32, 24)[0]
    mask = torch.ones_like(depth, dtype=torch.bool)
    mask[:, 5:9, 3:20] = False
    noisy = depth * (1 + 0.1 * torch.rand(depth.shape, generator=torch.Generator().manual_seed(0), dtype=F64))
    found = {
        cross_view_difference(torch.where(mask, noisy, value), mask, CAMERA_FROM_WORLD, camera, 1)
        for value in (0.0, float("nan"), float("inf"), 1e6)
    }
    assert len(found) == 1
    assert found.pop() > 0.01


def test_views_without_overlap_are_told():
    apart = stacked(*(motion(shift=(100.0 * i, 0, 0)) for i in range(4)))
    depth = wall()
    with pytest.raises(BadInputError, match="no two frames 1 apart"):
        cross_view_difference(depth, torch.ones_like(depth, dtype=torch.bool), apart, pinhole(32, 24)[0], 1)
