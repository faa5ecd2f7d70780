"""Tracking by colorizing: laws of the pointer, what is carried through a clip, resuming, clips that cannot teach."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from depthscope.corpus import Corpus, corpus_of
from depthscope.errors import BadInputError
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.stored import stored_weights
from depthscope.pretext.video_colorization import VideoColorization
from depthscope.pretext.video_colorization.palette import cell_colours, entropy_bits, labels_of, palette_of
from depthscope.pretext.video_colorization.pointer import pointer_losses, similarities, unit, voted
from depthscope.pretext.video_colorization.propagation import (
    Propagation,
    Seen,
    copied,
    enlarged,
    hats,
    peaks,
    pointed,
    propagated,
    sampled,
    within,
)
from depthscope.pretext.video_colorization.snippets import moving_snippets, snippets_of
from depthscope.pretext.video_colorization.task import (
    ColourSnippetBatch,
    ColourSnippetDraws,
    CopyColours,
    embedder_of,
    exposed,
)
from depthscope.training import Adam, Training

TINY = VideoColorization(
    labels=6,
    channels=16,
    encoder=ResUNetEncoder(width=16, widest=16),
    training=Training(steps=6, batch=2, optimiser=Adam(2e-3), save_every=3, log_every=1),
)


def panorama(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 1, (1, 3, 12, 40))).float()
    fine = torch.from_numpy(rng.uniform(-0.1, 0.1, (1, 1, 64, 400))).float()
    wide = torch.nn.functional.interpolate(coarse, (64, 400), mode="bilinear") * 0.7 + 0.15 + fine
    return (wide[0].permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()


def pan(count: int, step: int = 4, seed: int = 0) -> torch.Tensor:
    """Frames (count, 64, 64, 3) of a window that moves to the right over a coloured texture."""
    wide = panorama(seed)
    return torch.from_numpy(np.stack([wide[:, n * step : n * step + 64] for n in range(count)]))


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- the pointer


def test_rows_of_the_pointer_sum_to_one_over_all_references_together():
    logits = similarities(unit(features(2, 8, 4, 5)), unit(features(2, 8, 12, 5, seed=1)), 0.1)
    assert logits.shape == (2, 20, 60)
    torch.testing.assert_close(logits.softmax(-1).sum(-1), torch.ones(2, 20))


def test_identical_frames_return_their_labels():
    frame, labels = features(1, 32, 6, 6), torch.randint(0, 9, (1, 36), generator=torch.Generator().manual_seed(0))
    logits = similarities(unit(frame), unit(frame), 0.02)
    assert torch.equal(voted(logits, labels, 9), labels)
    losses, possible = pointer_losses(logits, labels, labels)
    assert possible.all() and float(losses.max()) < 1e-3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_order_of_the_references_does_not_matter(seed):
    target, references = unit(features(1, 8, 4, 4, seed=seed)), unit(features(1, 8, 6, 4, seed=seed + 1))
    generator = torch.Generator().manual_seed(seed)
    labels, own = torch.randint(0, 5, (1, 24), generator=generator), torch.randint(0, 5, (1, 16), generator=generator)
    order = torch.randperm(24, generator=generator)
    one = pointer_losses(similarities(target, references, 0.2), labels, own)
    other = pointer_losses(similarities(target, references[..., order], 0.2), labels[:, order], own)
    torch.testing.assert_close(one[0], other[0])
    assert torch.equal(one[1], other[1])


def test_the_loss_is_that_of_the_copied_probabilities():
    target, references = unit(features(1, 8, 3, 3)), unit(features(1, 8, 4, 3, seed=1))
    labels = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]])
    own = torch.tensor([[0, 1, 2, 3, 3, 2, 1, 0, 2]])
    logits = similarities(target, references, 0.3)
    copied_colours = logits.softmax(-1) @ torch.nn.functional.one_hot(labels, 4).float()
    expected = torch.nn.functional.nll_loss(copied_colours[0].log(), own[0], reduction="none")
    losses, possible = pointer_losses(logits, labels, own)
    torch.testing.assert_close(losses[0], expected)
    assert possible.all()


def test_the_loss_falls_to_nothing_as_matches_sharpen():
    frame, labels = unit(features(1, 64, 5, 5)), torch.arange(25)[None] % 7
    losses = [
        float(pointer_losses(similarities(frame, frame, t), labels, labels)[0].mean()) for t in (1.0, 0.3, 0.1, 0.02)
    ]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 1e-4


def test_a_colour_that_no_reference_has_is_not_asked():
    logits = features(1, 2, 3).requires_grad_()
    losses, possible = pointer_losses(logits, torch.tensor([[0, 0, 1]]), torch.tensor([[5, 1]]))
    assert possible.tolist() == [[False, True]] and losses[0, 0] == 0
    losses.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and (logits.grad[0, 0] == 0).all()


def test_cells_that_must_not_be_pointed_at_get_nothing():
    usable = torch.tensor([[True, False, True, False]])
    logits = similarities(unit(features(1, 8, 2, 2)), unit(features(1, 8, 2, 2, seed=1)), 0.1, usable)
    assert (logits.softmax(-1)[..., ~usable[0]] == 0).all()
    none = similarities(unit(features(1, 8, 2, 2)), unit(features(1, 8, 2, 2)), 0.1, ~torch.ones_like(usable))
    assert (voted(none, torch.zeros(1, 4, dtype=torch.long), 2) == -1).all()
    assert pointer_losses(none, torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long))[0].sum() == 0


# --- colours


def test_a_cell_has_the_mean_colour_of_its_tissue():
    image = torch.full((1, 3, 16, 16), 0.4)
    image[:, 0, :, :8] = 0.8
    content = torch.ones(1, 16, 16, dtype=torch.bool)
    content[:, 8:, :5] = False
    image[:, :, :8, 8:] = 1.0  # a highlight
    colours, known = cell_colours(image, content, 8)
    assert known.tolist() == [[[True, False], [False, True]]]
    assert float(colours[0, 0, 0, 0]) > 20 and float(colours[0, :, 1, 1].abs().max()) < 0.1


def test_labels_are_the_nearest_colours_and_a_permutation_of_cells_changes_no_palette_much():
    centres = torch.tensor([[-30.0, 0], [0, 30], [30, 0]])
    cells = centres.repeat(50, 1) + features(150, 2)
    palette = palette_of(cells, 3, 0)
    torch.testing.assert_close(palette, centres, atol=1.0, rtol=0)
    labels = labels_of(cells.T.reshape(1, 2, 10, 15), palette)
    assert torch.equal(labels.flatten(), torch.arange(3).repeat(50))
    assert entropy_bits(labels.flatten(), 3) == pytest.approx(np.log2(3))
    assert entropy_bits(torch.zeros(9, dtype=torch.long), 3) == 0


def test_frames_without_colour_or_with_too_few_are_refused():
    with pytest.raises(BadInputError, match="no colour"):
        palette_of(torch.rand(100, 2) * 2, 4, 0)
    with pytest.raises(BadInputError, match="different colours"):
        palette_of(torch.tensor([[30.0, 0.0], [0.0, 30.0]]).repeat(20, 1), 4, 0)


# --- carrying labels


def test_a_still_clip_keeps_its_labels():
    frame = features(32, 6, 8)
    first = torch.nn.functional.one_hot(torch.arange(48) % 3, 3).T.reshape(3, 6, 8).float()
    for labels in propagated([frame] * 5, first, Propagation(temperature=0.01, nearest=1)):
        torch.testing.assert_close(labels, first)


def test_labels_follow_what_moves():
    wide = features(32, 6, 20)
    marked = torch.zeros(1, 6, 20)
    marked[:, 2:4, 8:11] = 1
    frames = [wide[..., n : n + 12] for n in range(6)]
    found = list(propagated(frames, marked[..., :12], Propagation(temperature=0.02)))
    for n, labels in enumerate(found):
        assert torch.equal(labels[0] > 0.5, marked[0, :, n : n + 12] > 0.5)


def test_the_first_frame_never_leaves_the_memory():
    known, other = features(16, 4, 4), features(16, 4, 4, seed=5)
    first = torch.zeros(1, 4, 4)
    first[0, 1, 1] = 1
    found = list(propagated([known, *[other] * 6, known], first, Propagation(memory=2, nearest=1, window=4)))
    torch.testing.assert_close(found[-1], first)


def test_nothing_is_copied_from_beyond_the_window():
    near = within(3, 5, 1)
    assert near[0].nonzero().flatten().tolist() == [0, 1, 5, 6]
    frame = features(16, 1, 9)
    moved = frame.roll(5, -1)
    first = torch.eye(9).reshape(9, 1, 9)
    narrow = copied(moved, [Seen(frame, first)], Propagation(nearest=1, window=2, temperature=0.01))
    wide = copied(moved, [Seen(frame, first)], Propagation(nearest=1, window=8, temperature=0.01))
    assert narrow[0, 0, 5] == 0 and wide[0, 0, 5] == 1


def test_labels_are_enlarged_before_the_maximum():
    labels = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    big = enlarged(labels, (8, 4))
    assert big.shape == (2, 4, 8)
    torch.testing.assert_close(big.sum(0), torch.ones(4, 8))
    assert big.argmax(0)[0].tolist() == [0] * 4 + [1] * 4


@settings(max_examples=30, deadline=None)
@given(st.floats(0.6, 8.4), st.floats(0.6, 5.4))
def test_a_hat_is_read_where_it_was_put(x, y):
    place = torch.tensor([[x, y]])
    torch.testing.assert_close(peaks(hats(place, 6, 9)), place, atol=1e-4, rtol=0)


def test_a_point_looks_like_itself():
    frame = features(48, 7, 9)
    places = torch.tensor([[2.5, 3.5], [6.5, 1.5]])
    found = pointed(sampled(frame, places), places + 1, frame, Propagation(temperature=0.02))
    torch.testing.assert_close(found.cells, places, atol=1e-2, rtol=0)
    assert (found.entropy < 0.05).all()
    lost = pointed(torch.zeros(2, 48), places, frame, Propagation())
    torch.testing.assert_close(lost.entropy, torch.ones(2))


# --- snippets


def joined(*clips: torch.Tensor, **more) -> Corpus:
    video = torch.cat([torch.full((len(clip),), n) for n, clip in enumerate(clips)])
    return corpus_of(torch.cat(clips), video=video, **{"every_s": 1 / 6, "holdout": 0.0, **more})


def test_snippets_stay_within_a_video_and_never_jump_in_time():
    corpus = joined(pan(6), pan(4, seed=1))
    assert snippets_of(corpus, torch.arange(10), 4).tolist() == [
        [0, 1, 2, 3],
        [1, 2, 3, 4],
        [2, 3, 4, 5],
        [6, 7, 8, 9],
    ]
    assert len(snippets_of(corpus, torch.tensor([0, 1, 2, 4, 5]), 4)) == 0
    times = corpus.time_s.clone()
    times[3:6] += 5.0
    assert snippets_of(replace(corpus, time_s=times), torch.arange(10), 3).tolist() == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
        [7, 8, 9],
    ]


def test_still_clips_are_left_out_and_told():
    told = []
    found = moving_snippets(joined(pan(8), pan(8, step=0, seed=1)), 4, 0.5, told.append)
    assert found.still == 5 and found.trained[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert len(told) == 1 and "5 of 10 snippets are left out" in told[0]


def test_motion_is_measured_in_pixels_of_the_corpus():
    found = moving_snippets(joined(pan(8, step=2)), 4, 0.5)
    assert found.median_px == pytest.approx(6, abs=1)


def test_only_still_clips_are_refused(tmp_path: Path):
    with pytest.raises(BadInputError, match="nothing moves"):
        TINY.learn(joined(pan(8, step=0), pan(8, step=0, seed=1)), tmp_path, quiet=True)


def test_clips_shorter_than_a_snippet_are_refused(tmp_path: Path):
    with pytest.raises(BadInputError, match="clips of 3 frames at most"):
        TINY.learn(joined(pan(3), pan(2, seed=1)), tmp_path, quiet=True)


def test_gray_video_is_refused(tmp_path: Path):
    gray = pan(8).float().mean(-1, keepdim=True).expand(-1, -1, -1, 3).round().byte()
    with pytest.raises(BadInputError, match="no colour"):
        TINY.learn(joined(gray), tmp_path, quiet=True)


# --- learning


def task_of(corpus: Corpus) -> CopyColours:
    return CopyColours(TINY.network(corpus), TINY.temperature)


def test_an_example_is_a_function_of_seed_and_number():
    corpus = joined(pan(8))
    draws = ColourSnippetDraws(corpus, snippets_of(corpus, torch.arange(8), 4), seed=3)
    some, again = draws.batch([7, 2]), draws.batch([2])
    assert all(torch.equal(one[1], other[0]) for one, other in zip(some, again, strict=True))
    assert some.images.shape == (2, 4, 3, 64, 64) and some.exposure.std() > 0


def test_no_exposure_changes_nothing_and_what_is_seen_is_luma():
    frames = pan(4).permute(0, 3, 1, 2)[None] / 255
    torch.testing.assert_close(exposed(frames, torch.zeros(1, 4, 2)), frames, atol=1e-4, rtol=0)
    assert (exposed(frames, torch.full((1, 4, 2), 0.3)) != frames).any()
    network = task_of(joined(pan(8))).network
    luma = (frames[0] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(network(frames[0]), network(luma), atol=1e-5, rtol=1e-3)


def test_the_loss_is_a_number_on_empty_masks_and_even_frames():
    task = task_of(joined(pan(8)))
    even = torch.full((2, 4, 3, 64, 64), 90, dtype=torch.uint8)
    for images, shown in ((even, True), (even, False), (pan(8).permute(0, 3, 1, 2).unflatten(0, (2, 4)), False)):
        batch = ColourSnippetBatch(images, torch.full((2, 64, 64), shown), torch.zeros(2, 4, 2))
        losses = task.loss(task.network, batch)
        losses["loss"].backward()
        assert losses["loss"].isfinite() and losses["accuracy"].isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.network.parameters())


def test_a_short_run_resumes_bit_for_bit(tmp_path: Path):
    corpus = joined(*(pan(8, seed=n) for n in range(3)), holdout=0.3)
    whole = TINY.learn(corpus, tmp_path / "whole", quiet=True)
    half = replace(TINY, training=replace(TINY.training, steps=3))
    half.learn(corpus, tmp_path / "halved", quiet=True)
    again = TINY.learn(corpus, tmp_path / "halved", resume=True, quiet=True)
    one, other = (stored_weights(tmp_path / name) for name in ("whole", "halved"))
    assert set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)
    assert [str(score) for score in whole.scores] == [str(score) for score in again.scores]
    assert whole.scores[0].name == "colours copied" and set(whole.scores[0].beside) == {
        "same place",
        "majority",
        "untrained",
    }
    network = embedder_of(TINY.encoder, TINY.channels, TINY.stride, one)
    assert network(corpus.images([0])).shape == (1, 16, 8, 8)
    torch.testing.assert_close(
        whole.encoder.folded()(corpus.images([0]))[2], network.encoder(corpus.images([0]))[2], atol=1e-4, rtol=1e-3
    )


def test_nothing_held_out_is_told(tmp_path: Path):
    learned = TINY.learn(joined(pan(10)), tmp_path, quiet=True)
    assert any("held out" in note for note in learned.notes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"references": 0},
        {"labels": 1},
        {"stride": 16},
        {"temperature": 0.0},
        {"least_motion_px": -1.0},
        {"channels": 1},
    ],
)
def test_options_are_checked(wrong):
    with pytest.raises(BadInputError):
        VideoColorization(**wrong)


@pytest.mark.parametrize("wrong", [{"memory": -1}, {"nearest": 0}, {"window": 0}, {"temperature": 0.0}])
def test_options_of_carrying_are_checked(wrong):
    with pytest.raises(BadInputError):
        Propagation(**wrong)
