"""Boosting: weights have the laws of the paper, unknown pixels leave the loss, and a run resumes exactly."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from depthscope.corpus import CorpusOptions, corpus_of, read_corpus
from depthscope.errors import BadInputError
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.error_boosting import ErrorBoosting
from depthscope.pretext.error_boosting.automatic import (
    AUTOMATIC,
    HIGHLIGHT,
    INSTRUMENT,
    LUMEN,
    OUTSIDE,
    TISSUE,
    automatic_labels,
)
from depthscope.pretext.error_boosting.labels import open_masks, read_labelled
from depthscope.pretext.error_boosting.losses import soft_dice_loss, weighted_cross_entropy
from depthscope.pretext.error_boosting.scores import boundary_f, tallied
from depthscope.pretext.error_boosting.segmentation import LabelledBatch, LabelledDraws, seen
from depthscope.pretext.error_boosting.weights import LEAST, MOST, error_corrective_weights, median_frequency_weights
from depthscope.training import LAST, Adam, Training, load_checkpoint
from depthscope.video.class_masks import UNKNOWN, Classes, MaskClass, write_classes, write_mask
from drawn_scenes import scene_folder, scenes

EVERY = torch.ones(5, dtype=torch.bool)
TINY = ErrorBoosting(
    rounds=2,
    round_steps=2,
    encoder=ResUNetEncoder(width=8, widest=16),
    frames=CorpusOptions(size_px=(64, 64)),
    training=Training(steps=4, batch=4, optimiser=Adam(3e-3), precision="fp32", save_every=2, ema=0.5),
)


def test_equal_accuracies_weigh_one():
    assert torch.equal(
        error_corrective_weights(torch.full((5,), 0.7, dtype=torch.float64), EVERY), torch.ones(5).double()
    )


def test_worse_classes_weigh_more_and_the_median_one():
    recall = torch.tensor([0.95, 0.9, 0.6, 0.3, 0.8], dtype=torch.float64)
    weights = error_corrective_weights(recall, EVERY, q=0.05)
    assert weights[4] == pytest.approx(1.0)  # the median
    assert (weights[recall.argsort()].diff() <= 0).all()
    assert weights[3] == pytest.approx((0.8 - 0.3 + 0.05) / 0.05)


def test_weights_are_clipped_and_absent_classes_weigh_one():
    recall = torch.tensor([1.0, 1.0, 0.99, 0.0, 0.0], dtype=torch.float64)
    present = torch.tensor([True, True, True, True, False])
    weights = error_corrective_weights(recall, present, q=0.01)
    assert weights[3] == MOST and weights[4] == 1
    assert (weights >= LEAST).all()
    assert torch.equal(error_corrective_weights(recall, torch.zeros(5, dtype=torch.bool)), torch.ones(5).double())


def test_rare_classes_weigh_more_than_frequent_ones():
    weights = median_frequency_weights(torch.tensor([900, 100, 300, 0, 1]))
    assert weights.tolist() == pytest.approx([max(LEAST, 200 / 900), 2.0, 200 / 300, 1.0, MOST])


def test_losses_ignore_what_is_unknown():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 6, 6, generator=generator)
    labels = torch.randint(0, 5, (2, 6, 6), generator=generator).byte()
    labels[:, 3:] = UNKNOWN
    changed = logits.clone()
    changed[:, :, 3:] = 50 * torch.randn(2, 5, 3, 6, generator=generator)
    weights = torch.rand(5, generator=generator).double() + 0.5
    assert torch.allclose(
        weighted_cross_entropy(logits, labels, weights), weighted_cross_entropy(changed, labels, weights)
    )
    assert torch.allclose(soft_dice_loss(logits, labels), soft_dice_loss(changed, labels))


def test_losses_agree_with_their_definition():
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(1, 3, 4, 4, generator=generator), torch.randint(0, 2, (1, 4, 4), generator=generator)
    weights = torch.tensor([1.0, 3.0, 9.0])
    expected = torch.nn.functional.cross_entropy(logits, labels, weights)
    assert torch.allclose(weighted_cross_entropy(logits, labels.byte(), weights), expected)
    p = logits.softmax(1)[0]
    dice = [2 * p[c][labels[0] == c].sum() / (p[c].sum() + (labels[0] == c).sum()) for c in (0, 1)]
    assert torch.allclose(soft_dice_loss(logits, labels.byte()), 1 - sum(dice) / 2)  # class 2 is not shown


def test_the_dice_of_an_unsure_network_has_sums_below_not_squares():
    """Half sure of a class on its own pixels and not at all elsewhere: 1 - 2 (n / 2) / (n / 2 + n)."""
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 1] = -100.0  # classes 0 and 2 share all
    assert float(soft_dice_loss(logits, torch.zeros(1, 2, 2).byte())) == pytest.approx(1 / 3)


@pytest.mark.parametrize("labels", [torch.full((1, 4, 4), UNKNOWN), torch.zeros(1, 4, 4)])
def test_losses_are_finite_with_nothing_known_and_on_constant_frames(labels):
    logits = torch.zeros(1, 5, 4, 4, requires_grad=True)
    loss = weighted_cross_entropy(logits, labels.byte(), torch.ones(5)) + soft_dice_loss(logits, labels.byte())
    loss.backward()
    assert loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


def test_automatic_labels_find_the_classes():
    frames, truth = scenes(12, 96)
    found = torch.stack([automatic_labels(f, t != OUTSIDE) for f, t in zip(frames, truth, strict=True)])
    told = torch.where(found == UNKNOWN, UNKNOWN, truth)
    tally = tallied(found, told, len(AUTOMATIC))
    assert tally.dice[OUTSIDE] > 0.99 and tally.dice[TISSUE] > 0.95
    assert tally.dice[INSTRUMENT] > 0.9 and tally.dice[HIGHLIGHT] > 0.4 and tally.dice[LUMEN] > 0.6
    assert float((found == UNKNOWN).float().mean()) < 0.25
    bare = [n for n in range(12) if n % 4 == 3]  # no instrument is found where none is
    assert not (found[bare] == INSTRUMENT).any()


def test_automatic_labels_of_a_frame_of_one_colour_claim_nothing():
    content = torch.ones(64, 64, dtype=torch.bool)
    for level in (0, 90, 255):
        found = automatic_labels(torch.full((64, 64, 3), level, dtype=torch.uint8), content)
        assert not ((found == INSTRUMENT) | (found == LUMEN) | (found == HIGHLIGHT)).any()


def test_tally_and_borders():
    true = torch.zeros(1, 20, 20, dtype=torch.uint8)
    true[0, 5:15, 5:15] = 2
    moved = true.roll(1, -1)
    assert tallied(true, true, 5).mean_dice((0, 1)) == 1 and boundary_f(true, true, 2, 0.5) == 1
    assert tallied(moved, true, 5).dice[2] == pytest.approx(0.9)
    assert boundary_f(moved, true, 2, 1.0) == 1 and boundary_f(true.roll(6, -1), true, 2, 1.0) < 0.4
    assert boundary_f(torch.zeros_like(true), true, 2, 1.0) == 0
    assert torch.isnan(torch.tensor(boundary_f(true, true, 3, 1.0)))


def test_draws_are_a_pure_function_of_seed_and_number():
    frames, truth = scenes(6, 32)
    draws = LabelledDraws(frames, truth, torch.tensor([0, 2, 3, 5]), 7)
    one, again = draws.batch([0, 1, 2, 3]), draws.batch([2, 3])
    assert torch.equal(one.images[2:], again.images)
    assert {int((frames == image.permute(1, 2, 0)).flatten(1).all(1).nonzero()) for image in one.images} == {0, 2, 3, 5}
    for part, other in zip(seen(one, 7), seen(again, 7), strict=True):
        assert torch.equal(part[2:], other)


def test_labels_turn_with_their_images():
    frames, truth = scenes(8, 32)
    marked = torch.where((truth == INSTRUMENT)[..., None], 255, 0).expand(-1, -1, -1, 3).to(torch.uint8)
    images, labels = seen(LabelledBatch(marked.permute(0, 3, 1, 2), truth, torch.arange(8)), 0)
    assert torch.equal(images.amin(1) > 0.3, labels == INSTRUMENT)
    assert not torch.equal(labels, truth)


def test_without_masks_it_learns_the_automatic_labels_and_says_so(tmp_path: Path):
    frames, truth = scenes(16)
    content = (truth != OUTSIDE).all(0)[None]
    learned = TINY.learn(corpus_of(frames, content=content, holdout=0.2), tmp_path, quiet=True)
    assert "only the automatic labels" in learned.notes[0]
    assert learned.scores[0].name == "dice with the automatic labels" and "place alone" in learned.scores[0].beside
    stored = load_checkpoint(tmp_path / LAST)
    assert stored["pretext"].startswith("type: ErrorBoosting") and "lumen" in stored["classes"]
    assert not (tmp_path / "rounds" / "001").exists()


def labelled(folder: Path, count: int = 8, **changes) -> tuple[ErrorBoosting, Path]:
    """Frames in `folder/clip` with masks of some in `folder/masks`."""
    truth = scene_folder(folder / "clip", count)
    (folder / "masks").mkdir()
    for number in range(0, count, 2):
        write_mask(folder / "masks" / f"{number:03d}.png", truth[number])
    return replace(TINY, labels=str(folder / "masks"), **changes), folder / "clip"


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path):
    options, clip = labelled(tmp_path)
    corpus = read_corpus([clip], options.frames, tmp_path / "store")
    whole = options.learn(corpus, tmp_path / "whole", quiet=True)
    assert whole.result.steps == options.training.steps + options.rounds * options.round_steps  # of all rounds
    assert len(list((tmp_path / "whole" / "rounds").iterdir())) == 3
    assert whole.scores[0].name == "dice" and "automatic labels" in whole.scores[0].beside

    # As after a kill in the second round: its weights are written, its training is not begun.
    cut = tmp_path / "cut"
    replace(options, rounds=1).learn(corpus, cut, quiet=True)
    told = json.loads((tmp_path / "whole" / "rounds" / "002" / "weights.json").read_text("utf-8"))
    (cut / "rounds" / "002").mkdir()
    (cut / "rounds" / "002" / "weights.json").write_text(json.dumps(told))
    options.learn(corpus, cut, resume=True, quiet=True)
    one, two = (load_checkpoint(tmp_path / name / LAST)["network"] for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_masks_may_name_further_classes_and_other_ids(tmp_path: Path):
    options, clip = labelled(tmp_path)
    own = Classes(
        (
            MaskClass(9, "instrument", (1, 2, 3)),
            MaskClass(4, "polyp", None, tissue=True),
            MaskClass(0, "tissue", None, tissue=True),
        )
    )
    write_classes(own, tmp_path / "masks")
    for path in (tmp_path / "masks").glob("*.png"):
        path.unlink()
    ids = torch.zeros(96, 96, dtype=torch.uint8)
    ids[20:40, 50:70], ids[60:75, 50:70], ids[80:] = 9, 4, UNKNOWN
    for number in range(4):
        write_mask(tmp_path / "masks" / f"{number:03d}.png", ids)
    corpus = read_corpus([clip], options.frames, tmp_path / "store")
    drawn = open_masks(tmp_path / "masks", corpus.videos)
    assert drawn.classes.names == (*AUTOMATIC.names, "polyp")
    read = read_labelled(drawn, corpus, 0.34)
    assert set(read.labels.unique().tolist()) <= {OUTSIDE, TISSUE, INSTRUMENT, 5, UNKNOWN}
    assert {INSTRUMENT, 5} <= set(read.labels.unique().tolist())
    assert read.kept.tolist() == [False, False, False, True]
    shrunk = read.labels[0] == INSTRUMENT  # where it was drawn, through the window
    middle = shrunk.nonzero().double().mean(0).flip(0) + 0.5
    assert torch.allclose(corpus.windows[0].in_source(middle), torch.tensor([60.0, 30.0]).double(), atol=1.0)


def test_all_masks_of_few_are_learned_from(tmp_path: Path):
    options, clip = labelled(tmp_path, count=2)
    corpus = read_corpus([clip], options.frames, tmp_path / "store")
    learned = options.learn(corpus, tmp_path / "run", quiet=True)
    assert learned.scores == () and "too few masks" in learned.notes[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda masks: write_mask(masks / "000.png", torch.zeros(40, 96, dtype=torch.uint8)), "96 x 40 pixels"),
        (lambda masks: write_mask(masks / "000.png", torch.full((96, 96), 9, dtype=torch.uint8)), "no class"),
        (lambda masks: write_mask(masks / "777.png", torch.zeros(96, 96, dtype=torch.uint8)), "the mask of no frame"),
        (lambda masks: [path.unlink() for path in masks.glob("*.png")], "holds no masks"),
    ],
)
def test_bad_masks_are_refused_before_anything_is_learned(tmp_path: Path, change, words: str):
    options, clip = labelled(tmp_path)
    change(tmp_path / "masks")
    corpus = read_corpus([clip], options.frames, tmp_path / "store")
    with pytest.raises(BadInputError, match=words):
        options.learn(corpus, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_masks_of_several_inputs_lie_in_folders_of_their_names(tmp_path: Path):
    truth = [scene_folder(tmp_path / name, 3) for name in ("one", "two")]
    corpus = read_corpus([tmp_path / "one", tmp_path / "two"], TINY.frames, tmp_path / "store")
    with pytest.raises(BadInputError, match="no folder called as one of the 2 inputs"):
        open_masks(tmp_path / "store", corpus.videos)
    (tmp_path / "masks" / "two").mkdir(parents=True)
    write_mask(tmp_path / "masks" / "two" / "001.png", truth[1][1])
    read = read_labelled(open_masks(tmp_path / "masks", corpus.videos), corpus, 0.0)
    assert len(read) == 1 and torch.equal(read.frames[0], corpus.frames[4])


def test_options_out_of_range_are_refused():
    for bad in ({"rounds": 0}, {"round_steps": 0}, {"validation": 1.0}, {"q": 0.0}):
        with pytest.raises(BadInputError):
            ErrorBoosting(**bad)
