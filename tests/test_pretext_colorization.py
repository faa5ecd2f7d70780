"""Colorization: its laws, its bins, one short epoch that resumes bit for bit, and gray frames refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from depthscope.colour import lab_from_rgb
from depthscope.corpus import corpus_of
from depthscope.errors import BadInputError
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.colorization import Colorization
from depthscope.pretext.colorization.bins import (
    annealed_mean,
    colourful,
    corners,
    occupied,
    prior,
    published_bins,
    rarity,
    shares,
)
from depthscope.pretext.colorization.learning import coloured_cells
from depthscope.pretext.colorization.scores import colour_error
from depthscope.pretext.colorization.task import FrameBatch, FrameDraws, GuessColours, colourer_of, targets_of
from depthscope.pretext.stored import stored_weights
from depthscope.training import Adam, Training

TINY = Colorization(
    encoder=ResUNetEncoder(width=16, widest=16),
    training=Training(steps=6, batch=4, optimiser=Adam(2e-3), save_every=3, log_every=1),
)


def two_tissues(count: int = 16, side: int = 32, seed: int = 0) -> torch.Tensor:
    """Bytes (count, side, side, 3): fine stripes are red, coarse ones yellowish; luma alone tells which."""
    rng = np.random.default_rng(seed)
    x = np.arange(side)
    frames = np.zeros((count, side, side, 3))
    for frame in frames:
        cut = rng.integers(8, side - 8)
        fine, coarse = (0.5 + 0.25 * np.sin(2 * np.pi * x / period + rng.uniform(0, 6)) for period in (4, 16))
        frame[:cut] = fine[None, :, None] * np.array([230, 90, 80])
        frame[cut:] = coarse[None, :, None] * np.array([190, 170, 70])
    return torch.from_numpy(frames.round().astype(np.uint8))


def gray(count: int = 6) -> torch.Tensor:
    return two_tissues(count).float().mean(-1, keepdim=True).expand(-1, -1, -1, 3).round().byte()


def drawn(*shape: int, spread: float = 60.0) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1) * spread


# --- bins


def test_the_published_bins_are_found_again():
    bins = published_bins()
    assert len(bins) == 313 and len(torch.unique(bins, dim=0)) == 313
    assert (bins % 10 == 0).all()


def test_colours_of_srgb_lie_between_four_bins():
    rgb = torch.rand(3, 60, 60, generator=torch.Generator().manual_seed(0))
    cells = occupied(lab_from_rgb(rgb)[1:].flatten(1).T)
    known = {tuple(row) for row in published_bins().tolist()}
    assert all(tuple(row) in known for row in corners(cells).tolist())


def test_only_bins_that_occur():
    colours = torch.tensor([[12.0, 5.0], [15.0, 6.0], [-40.0, 33.0]])
    assert len(corners(occupied(colours))) == 8
    assert corners(occupied(colours, least=0.5)).tolist() == [[10, 0], [10, 10], [20, 0], [20, 10]]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(0, 1000))
def test_a_colour_is_shared_between_k_bins_and_sums_to_one(nearest, seed):
    colours = torch.rand(50, 2, generator=torch.Generator().manual_seed(seed)) * 100 - 50
    index, share = shares(colours, published_bins(), nearest)
    assert index.shape == (50, nearest) and (share > 0).all()
    torch.testing.assert_close(share.sum(1), torch.ones(50))
    assert all(len(set(row)) == nearest for row in index.tolist())
    assert (share.diff(dim=1) <= 1e-7).all()  # the nearest has most


def test_a_colour_is_shared_by_a_normal_distribution_of_5():
    """Zhang et al. 2016: Gaussian weights of sigma 5 about the colour; here by hand, 3 and 7 from two bins."""
    bins = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    index, share = shares(torch.tensor([[3.0, 0.0]]), bins, 2)
    near, far = np.exp(-(3**2) / 50), np.exp(-(7**2) / 50)
    assert index.tolist() == [[0, 1]]
    assert share[0].tolist() == pytest.approx([near / (near + far), far / (near + far)], rel=1e-5)


def test_the_prior_is_smoothed_by_a_normal_distribution_of_5():
    beside = np.exp(-(10**2) / 50)
    smooth = prior(torch.tensor([1.0, 0.0]), torch.tensor([[0.0, 0.0], [10.0, 0.0]]))
    assert smooth.tolist() == pytest.approx([1 / (1 + beside), beside / (1 + beside)], rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.integers(0, 1000))
def test_weights_are_one_on_average_and_larger_where_colours_are_rare(mixing, seed):
    bins = published_bins()
    frequency = prior(torch.rand(313, generator=torch.Generator().manual_seed(seed)) ** 8 * 1e4, bins)
    weight = rarity(frequency, mixing)
    assert float(frequency.sum()) == pytest.approx(1, abs=1e-5)
    assert float((frequency * weight).sum()) == pytest.approx(1, abs=1e-4)
    assert (weight[frequency.argsort()].diff() <= 1e-4 * weight.max()).all()


def test_mixing_everything_weighs_all_alike():
    weight = rarity(torch.tensor([0.7, 0.2, 0.1]), 1.0)
    torch.testing.assert_close(weight, torch.ones(3))


def test_smoothing_keeps_the_sum_and_reaches_the_neighbours():
    bins = corners(torch.tensor([[0, 0], [0, 1], [5, 5]]))
    counts = torch.zeros(len(bins))
    counts[0] = 100
    found = prior(counts, bins)
    assert float(found.sum()) == pytest.approx(1)
    assert found[0] > found[1] > 0 and found[-1] < 1e-6


def test_cold_colours_are_the_mode_and_warm_ones_the_mean():
    bins = published_bins()
    logits = drawn(2, 313, 3, 4, spread=2.0)
    cold = annealed_mean(logits, bins, 1e-6)
    torch.testing.assert_close(cold, bins[logits.argmax(1)].permute(0, 3, 1, 2), atol=1e-2, rtol=0)
    warm = torch.einsum("bqhw,qc->bchw", logits.softmax(1), bins)
    torch.testing.assert_close(annealed_mean(logits, bins, 1.0), warm)
    even = annealed_mean(torch.zeros(1, 313, 1, 1), bins, 0.38)
    torch.testing.assert_close(even[0, :, 0, 0], bins.mean(0), atol=1e-4, rtol=0)


# --- targets and loss


def test_gray_frames_weigh_nothing():
    assert not colourful(
        *targets_of(gray().permute(0, 3, 1, 2) / 255, torch.ones(6, 32, 32, dtype=torch.bool)), 5.0
    ).any()
    task = tiny_task()
    both = two_tissues(4).permute(0, 3, 1, 2)
    content = torch.ones(4, 32, 32, dtype=torch.bool)
    alone = task.loss(task.network, FrameBatch(both, content))["loss"]
    mixed = torch.cat([both, gray(4).permute(0, 3, 1, 2)])
    together = task.loss(task.network, FrameBatch(mixed, torch.cat([content, content])))["loss"]
    torch.testing.assert_close(alone, together)


def test_highlights_and_what_shows_no_tissue_leave_the_targets():
    frame = two_tissues(1).permute(0, 3, 1, 2) / 255
    frame[:, :, :8, :8] = 1.0
    content = torch.ones(1, 32, 32, dtype=torch.bool)
    content[:, 16:] = False
    known = targets_of(frame, content).known[0]
    assert not known[:2, :2].any() and not known[4:].any() and known[:4, 3:].all()


def test_the_loss_is_a_number_on_empty_masks_and_even_frames():
    task = tiny_task()
    for frames in (two_tissues(2), torch.full((2, 32, 32, 3), 127, dtype=torch.uint8)):
        batch = FrameBatch(frames.permute(0, 3, 1, 2), torch.zeros(2, 32, 32, dtype=torch.bool))
        loss = task.loss(task.network, batch)["loss"]
        loss.backward()
        assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.network.parameters())


def test_what_the_network_sees_is_luma():
    task = tiny_task()
    frames = two_tissues(2).permute(0, 3, 1, 2) / 255
    luma = (frames * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(task.network(frames), task.network(luma), atol=1e-5, rtol=1e-4)


def tiny_task() -> GuessColours:
    cells, _ = coloured_cells(corpus_of(two_tissues()))
    return GuessColours(TINY.network(cells), TINY.nearest)


# --- scores


def test_the_area_under_the_curve_is_that_of_its_integral():
    true, bins = drawn(500, 2), published_bins()
    found = true + drawn(500, 2, spread=40.0)
    away = (found - true).norm(dim=1).numpy()
    limits = np.linspace(0, 150, 15001)
    curve = np.searchsorted(np.sort(away), limits, side="right") / len(away)
    area = np.trapezoid(curve, limits) / 150
    assert colour_error(found, true, bins).auc == pytest.approx(area, abs=1e-4)


def test_balancing_lets_a_rare_colour_count():
    true = torch.tensor([[0.0, 0.0]] * 99 + [[60.0, 60.0]])
    bins = torch.tensor([[0.0, 0.0], [60.0, 60.0]])
    gray_error = colour_error(torch.zeros_like(true), true, bins)
    assert gray_error.auc > 0.99 and gray_error.balanced_auc < 0.75 and gray_error.chroma_ratio == 0
    exact = colour_error(true, true, bins)
    assert exact.distance == 0 and exact.auc == exact.balanced_auc == exact.chroma_ratio == pytest.approx(1)


# --- learning


def test_an_example_is_a_function_of_seed_and_number():
    draws = FrameDraws(corpus_of(two_tissues()), seed=3)
    some = draws.batch([5, 2, 9])
    assert torch.equal(some.images[1], draws.batch([2]).images[0])
    assert not torch.equal(some.images, replace(draws, seed=4).batch([5, 2, 9]).images)


def test_a_short_run_resumes_bit_for_bit(tmp_path: Path):
    corpus = corpus_of(two_tissues(20), video=torch.arange(20) // 10)
    whole = TINY.learn(corpus, tmp_path / "whole", quiet=True)
    half = replace(TINY, training=replace(TINY.training, steps=3))
    half.learn(corpus, tmp_path / "halved", quiet=True)
    again = TINY.learn(corpus, tmp_path / "halved", resume=True, quiet=True)
    one, other = (stored_weights(tmp_path / name) for name in ("whole", "halved"))
    assert set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)
    assert [str(score) for score in whole.scores] == [str(score) for score in again.scores]
    assert {score.name for score in whole.scores} >= {"error in ab", "balanced AuC", "chroma over the true one"}
    network = colourer_of(TINY.encoder, one)
    assert network.colours(corpus.images([0]), 0.38).shape == (1, 2, 8, 8)
    folded = whole.encoder.folded()
    torch.testing.assert_close(
        folded(corpus.images([0]))[2], network.encoder(corpus.images([0]))[2], atol=1e-4, rtol=1e-3
    )


def test_colours_that_luma_tells_are_learned(tmp_path: Path):
    corpus = corpus_of(two_tissues(60), video=torch.arange(60) // 20)
    training = Training(steps=60, batch=8, optimiser=Adam(4e-3), save_every=60, log_every=20)
    learned = replace(TINY, encoder=ResUNetEncoder(width=16, widest=32), training=training).learn(
        corpus, tmp_path, quiet=True
    )
    error = learned.scores[0]
    assert error.value < 0.85 * error.beside["one mean colour"] < error.beside["gray"]


def test_gray_frames_are_refused(tmp_path: Path):
    with pytest.raises(BadInputError, match="gray"):
        TINY.learn(corpus_of(gray(12)), tmp_path, quiet=True)


def test_some_gray_frames_are_told(tmp_path: Path):
    frames = torch.cat([two_tissues(12), gray(6)])
    order = torch.randperm(18, generator=torch.Generator().manual_seed(0))
    learned = TINY.learn(corpus_of(frames[order], holdout=0.0), tmp_path, quiet=True)
    assert any("33% of the frames" in note for note in learned.notes)
    assert any("held out" in note for note in learned.notes)


@pytest.mark.parametrize(
    "wrong", [{"nearest": 0}, {"mixing": 1.5}, {"temperature": 0.0}, {"rarest": -0.1}, {"temperature": float("inf")}]
)
def test_options_are_checked(wrong):
    with pytest.raises(BadInputError):
        Colorization(**wrong)
