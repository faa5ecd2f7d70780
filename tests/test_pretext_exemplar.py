from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from depthscope.corpus import corpus_of
from depthscope.errors import BadInputError, InterruptedRunError
from depthscope.pretext.exemplar import Exemplar, ExemplarDraws, Exemplars, Transformations, transformed
from depthscope.pretext.exemplar.transformations import NUMBERS, ColourChange, hsv_of, principal_colours, rgb_of
from depthscope.pretext.stored import from_yaml, to_yaml
from depthscope.training import LAST, load_checkpoint
from mosaics import ENCODER, flat_corpus, mosaic_corpus, short, stop_after

TINY = Exemplar(patch_px=16, largest=1.5, encoder=ENCODER, training=short())


def neighbourhoods(count: int = 8, side: int = 40) -> torch.Tensor:
    return mosaic_corpus(count, side).images(range(count))


def test_identity_returns_the_patch():
    wide = neighbourhoods()
    drawn = Transformations.none().of(torch.rand(8, NUMBERS))
    found = transformed(wide, 16, drawn, principal_colours(wide))
    assert torch.allclose(found, wide[:, :, 12:28, 12:28], atol=1e-4)


def test_a_scale_of_two_shows_half_of_the_neighbourhood_twice_as_large():
    """Dosovitskiy et al.: a scale above 1 comes nearer. A bar of 4 px is 8 px wide then, and 2 px at a half."""
    wide = torch.zeros(1, 3, 40, 40)
    wide[..., 18:22] = 1.0
    still = Transformations.none().of(torch.full((1, NUMBERS), 0.5))
    for scale, width in ((1.0, 4), (2.0, 8), (0.5, 2)):
        drawn = still._replace(scale=torch.tensor([scale]))
        found = transformed(wide, 16, drawn, ColourChange(torch.zeros(3), torch.eye(3)))
        assert float((found[0, 0, 8] > 0.5).sum()) == width


def test_every_factor_stays_in_its_range_and_reaches_both_ends():
    ranges, drawn = Transformations(), Transformations().of(torch.rand(10_000, NUMBERS))
    limits = {
        "shift": (-0.2, 0.2),
        "scale": ranges.scale,
        "angle_rad": (-np.pi / 9, np.pi / 9),
        "components": ranges.components,
        "power": ranges.power,
        "factor": ranges.factor,
        "added": (-0.1, 0.1),
        "hue": (-0.1, 0.1),
    }
    for name, (low, high) in limits.items():
        values = getattr(drawn, name).flatten()
        assert low - 1e-6 <= values.min() and values.max() <= high + 1e-6
        assert values.min() < low + 0.05 * (high - low) and values.max() > high - 0.05 * (high - low)
    assert abs(float(drawn.scale.log().mean()) - np.log(0.7 * 1.4) / 2) < 0.01  # a factor and its inverse alike


def test_no_transformation_looks_beyond_the_neighbourhood():
    wide = torch.rand(1, 3, TINY.wide_px, TINY.wide_px)
    framed = wide.clone()
    framed[..., 1:-1, 1:-1] = 0.0  # only the outermost pixels are lit
    drawn = TINY.transformations.of(torch.tensor([[1.0, 1.0, 0.0, 1.0] + [0.5] * 10]))
    inner = drawn._replace(added=torch.zeros(1, 2))
    found = transformed(framed, TINY.patch_px, inner, ColourChange(torch.zeros(3), torch.eye(3)))
    assert float(found.max()) < 1e-3


def test_hue_saturation_and_value_are_those_of_opencv_and_go_back():
    image = torch.rand(1, 3, 9, 9)
    found = hsv_of(image)[0].permute(1, 2, 0).numpy()
    expected = cv2.cvtColor(image[0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV) / [360, 1, 1]
    assert np.abs(found - expected).max() < 1e-5
    assert torch.allclose(rgb_of(hsv_of(image)), image, atol=1e-6)
    grey = torch.full((1, 3, 2, 2), 0.4)
    assert torch.equal(hsv_of(grey)[:, :2], torch.zeros(1, 2, 2, 2))


def test_principal_colours_decorrelate_the_pixels():
    wide = neighbourhoods()
    mean, axes = principal_colours(wide)
    along = torch.einsum("kc,bchw->kbhw", axes, wide - mean[:, None, None]).flatten(1)
    off = torch.cov(along) - torch.diag(torch.cov(along).diag())
    assert float(off.abs().max()) < 1e-6


def test_the_same_draw_is_the_same_patch():
    draws = ExemplarDraws(10, Transformations(), seed=3)
    one, other = draws.batch([7, 21]), draws.batch([21])
    assert int(one.seed[1]) == int(other.seed[0])
    assert all(torch.equal(a[1], b[0]) for a, b in zip(one.drawn, other.drawn, strict=True))


def test_seed_patches_come_from_different_frames_and_from_all_videos():
    corpus = mosaic_corpus(24, videos=3, holdout=0.0)
    seeds = TINY.seeds_of(corpus, corpus.trained, 9)
    assert len(seeds.frame.unique()) == 9
    assert corpus.video[seeds.frame].bincount().tolist() == [3, 3, 3]


def test_seed_patches_lie_where_there_is_something_to_see():
    frames = torch.full((12, 96, 96, 3), 90, dtype=torch.uint8)
    generator = np.random.default_rng(0)
    frames[:, 60:84, 60:84] = torch.from_numpy(generator.integers(0, 255, (12, 24, 24, 1), dtype=np.uint8))
    corpus = corpus_of(frames, holdout=0.0)
    seeds = replace(TINY, largest=1.0).seeds_of(corpus, corpus.trained, None)
    edge = (TINY.wide_px - 16) // 2
    inner = seeds.neighbourhoods[:, :, edge : edge + 16, edge : edge + 16].float()
    assert float(inner.flatten(1).std(1).min()) > 5


def test_frames_that_show_the_same_are_no_two_classes():
    corpus = mosaic_corpus(24, videos=1, holdout=0.0)
    twice = corpus_of(corpus.frames[torch.arange(24) % 12], holdout=0.0)
    options = replace(TINY, patch_px=64, largest=1.0)  # the patch is the frame
    assert len(options.seeds_of(twice, twice.trained, None).frame) == 12


def test_what_cannot_be_learned_from_is_told(tmp_path):
    with pytest.raises(BadInputError, match="one colour"):
        TINY.learn(flat_corpus(), tmp_path, quiet=True)
    with pytest.raises(BadInputError, match="frames to take 500 seed patches"):
        replace(TINY, seeds=500).learn(mosaic_corpus(), tmp_path, quiet=True)
    with pytest.raises(BadInputError, match="no patch of 128 px fits"):
        replace(TINY, patch_px=128).learn(mosaic_corpus(), tmp_path, quiet=True)
    with pytest.raises(BadInputError, match="3 frames that differ"):
        TINY.learn(mosaic_corpus(3, holdout=0.0), tmp_path, quiet=True)
    with pytest.raises(BadInputError, match="multiple of 8"):
        replace(TINY, patch_px=20)
    with pytest.raises(BadInputError, match="scale"):
        Transformations(scale=(1.4, 0.7))


def test_options_survive_their_run():
    assert from_yaml(to_yaml(TINY), (Exemplar,)) == TINY


def test_it_learns_its_patches_and_says_what_that_is_worth(tmp_path):
    corpus = mosaic_corpus(40, videos=2, holdout=0.3)
    options = replace(TINY, transformations=Transformations.none(), training=short(steps=40, batch=16))
    learned = options.learn(corpus, tmp_path, quiet=True)
    recognised, found = learned.scores
    assert recognised.value > 0.9 > recognised.beside["by chance"]
    assert set(found.beside) == {"random encoder", "pixels", "by chance"}
    assert learned.result.steps == 40
    stored = load_checkpoint(tmp_path / LAST)["network"]
    assert torch.equal(stored["neighbourhoods"], options.seeds_of(corpus, corpus.trained, None).neighbourhoods)


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, monkeypatch):
    corpus = mosaic_corpus()
    TINY.learn(corpus, tmp_path / "whole", quiet=True)
    stop_after(monkeypatch, Exemplars, 4)
    with pytest.raises(InterruptedRunError):
        TINY.learn(corpus, tmp_path / "cut", quiet=True)
    monkeypatch.undo()
    TINY.learn(corpus, tmp_path / "cut", resume=True, quiet=True)
    whole, cut = (load_checkpoint(tmp_path / name / LAST)["network"] for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
