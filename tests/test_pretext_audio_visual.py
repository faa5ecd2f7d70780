"""Sound and sight: right and wrong pairs differ in their pairing only, the judges start with the right sign."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest, uniform

from depthscope.corpus import Corpus, CorpusOptions, Window, corpus_of
from depthscope.errors import BadInputError
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.audio_visual import AudioVisual, Spectrogram
from depthscope.pretext.audio_visual.learning import sounds_of
from depthscope.pretext.audio_visual.moments import Moments
from depthscope.pretext.audio_visual.networks import (
    Correspondence,
    FusedCorrespondence,
    Localisation,
    best,
    distance,
    shown_places,
)
from depthscope.pretext.audio_visual.prediction import peak_of, shown_at
from depthscope.pretext.audio_visual.task import LearnCorrespondence, LearnLocalisation, ListeningBatch, PairsOfMoments
from depthscope.training import LAST, Adam, Training, load_checkpoint
from depthscope.video import Frame
from depthscope.video.sound import Sound, read_sound
from sounding_videos import beeps, sound_of, video_with

SMALL = Spectrogram(snippet_s=0.25, rate_hz=8000, bins=128, window=120, hop=50)
ENCODER = ResUNetEncoder(width=8, widest=16)
TINY = AudioVisual(
    spectrogram=SMALL,
    misalignment_s=0.1,
    apart_s=1.0,
    stride=8,
    audio_width=4,
    encoder=ENCODER,
    frames=CorpusOptions(size_px=(32, 32)),
    training=Training(steps=4, batch=4, optimiser=Adam(1e-3), precision="fp32", save_every=2),
    localisation=Training(steps=4, batch=4, optimiser=Adam(2e-4), precision="fp32", save_every=2),
)


def corpus(videos: int = 3, each: int = 12, holdout: float = 0.4) -> Corpus:
    frames = torch.randint(0, 256, (videos * each, 32, 32, 3), generator=torch.Generator().manual_seed(0)).byte()
    return corpus_of(frames, video=torch.arange(videos).repeat_interleave(each), holdout=holdout)


def noises(videos: int = 3, seconds: float = 12.5) -> tuple[Sound, ...]:
    draw = np.random.default_rng(0)
    made = [draw.normal(0, 3000, round(seconds * 8000)).astype(np.int16) for _ in range(videos)]
    return tuple(Sound(torch.from_numpy(values), 8000) for values in made)


def moments_of(videos: int = 2, fps: float = 25.0, seconds: float = 20.0, **changes) -> Moments:
    times = torch.arange(round(seconds * fps), dtype=torch.float64) / fps
    values = {
        "time_s": times.repeat(videos),
        "video": torch.arange(videos).repeat_interleave(len(times)),
        "chosen": torch.arange(videos * len(times)),
        "duration_s": (seconds,) * videos,
        "snippet_s": 1.0,
        "misalignment_s": 0.0,
        "apart_s": 3.0,
        "seed": 0,
    }
    return Moments(**(values | changes))


# --- spectrogram


def test_the_spectrogram_of_a_second_has_the_published_shape():
    assert Spectrogram().shape == (257, 200) and Spectrogram().padding == 136
    for options in (Spectrogram(), SMALL):
        assert options(torch.zeros(2, options.samples)).shape == (2, 1, *options.shape)


def test_a_tone_is_seen_at_its_frequency_and_gain_only_shifts():
    options, time = Spectrogram(), torch.arange(48_000) / 48_000
    tone = 0.1 * torch.sin(2 * torch.pi * 3000 * time)[None]
    seen = options(tone)[0, 0]
    assert abs(int(seen.mean(1).argmax()) - 3000 * 512 / 48_000) <= 1
    loud = seen > seen.max() - 0.5
    shift = (options(4 * tone)[0, 0] - seen)[loud]
    assert torch.allclose(shift, torch.full_like(shift, np.log(4) / 4), atol=2e-3)
    assert options(torch.zeros(1, 48_000)).isfinite().all()


# --- moments


def test_right_and_wrong_sounds_have_one_distribution_in_the_frame_period():
    for misalignment in (0.0, 0.3):
        moments = moments_of(misalignment_s=misalignment)
        drawn = [moments.drawn(number) for number in range(4000)]
        phase = {
            right: np.array(
                [one.centre_s % 0.04 for one in drawn if one.corresponds is right and 1 < one.centre_s < 19]
            )
            for right in (True, False)
        }
        if misalignment == 0:  # both are on the grid of the frames, up to rounding
            for values in phase.values():
                assert np.minimum(values, 0.04 - values).max() < 1e-9
        else:
            assert kstest(phase[True], phase[False]).pvalue > 0.01
        careless = np.random.default_rng(0).uniform(1, 19, 2000) % 0.04  # anywhere in the track: gives itself away
        assert kstest(careless, uniform(0, 0.04).cdf).pvalue > 0.01
        assert misalignment or kstest(phase[True], careless).pvalue < 1e-6


def test_sounds_are_moved_as_far_to_either_side():
    moments = moments_of(misalignment_s=0.4)
    frame = int((moments.time_s - 10.0).abs().argmin())
    time_s = float(moments.time_s[frame])
    moved = [moments.centre_s(frame, draw) - time_s for draw in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert moved == pytest.approx([-0.4, -0.2, 0.0, 0.2, 0.4])
    drawn = [moments.drawn(number) for number in range(2000)]
    off = np.array([one.centre_s - float(moments.time_s[one.sound_of]) for one in drawn if 1 < one.centre_s < 19])
    assert abs(off.mean()) < 0.03 and off.min() < -0.35 and off.max() > 0.35  # 5 standard errors


def test_right_and_wrong_sounds_and_frames_have_one_distribution_in_time():
    moments = moments_of(videos=2, seconds=9.0, misalignment_s=0.5)
    drawn = [moments.drawn(number) for number in range(6000)]
    centres = [[one.centre_s for one in drawn if one.corresponds is right] for right in (True, False)]
    frames = [[one.frame for one in drawn if one.corresponds is right] for right in (True, False)]
    assert kstest(*centres).pvalue > 0.01 and kstest(*frames).pvalue > 0.01
    assert min(map(min, centres)) >= 0.5 and max(map(max, centres)) <= 8.5


def test_half_of_the_wrong_sounds_are_of_the_same_video_and_apart():
    moments = moments_of(videos=3)
    wrong = [one for one in map(moments.drawn, range(3000)) if not one.corresponds]
    same = [one for one in wrong if moments.video[one.frame] == moments.video[one.sound_of]]
    assert 0.46 < len(same) / len(wrong) < 0.54
    assert all(abs(float(moments.time_s[one.frame] - moments.time_s[one.sound_of])) >= 3.0 for one in same)
    assert all(one.frame == one.sound_of for one in map(moments.drawn, range(100)) if one.corresponds)


def test_draws_are_a_pure_function_of_seed_and_number():
    assert moments_of().drawn(17) == moments_of().drawn(17) != moments_of(seed=1).drawn(17)


def test_moments_that_are_not_apart_are_refused():
    assert not moments_of(videos=1, seconds=4.0).drawn(1).corresponds
    with pytest.raises(BadInputError, match="none 3 s from another"):
        moments_of(videos=1, seconds=2.0)


# --- networks


def test_near_corresponds_from_the_start():
    torch.manual_seed(0)
    network = Correspondence(ENCODER, 8, 4)
    logits = network.judge(torch.tensor([[0.0], [0.9], [1.1], [2.0]]))
    assert logits.argmax(1).tolist() == [1, 1, 0, 0]
    gradient = torch.autograd.grad(network.judge(torch.tensor([[1.0]])).softmax(1)[0, 1], network.judge.parameters())
    assert all(part.isfinite().all() for part in gradient)


def test_the_distance_of_equal_vectors_has_a_slope():
    one = torch.ones(2, 4, requires_grad=True)
    distance(one, torch.ones(2, 4)).sum().backward()
    assert one.grad is not None and one.grad.isfinite().all()


def test_fused_wholes_are_decided_by_both_vectors_together():
    torch.manual_seed(0)
    network = FusedCorrespondence(ENCODER, 8, 4).eval()
    images, sound = torch.rand(2, 3, 32, 32), torch.rand(2, 1, *SMALL.shape)
    logits = network(images, sound)
    assert logits.shape == (2, 2) and network.judge[0].in_features == 256
    assert not torch.allclose(logits, network(images.flip(0), sound)) and not torch.allclose(
        logits, network(images, sound.flip(0))
    )
    assert torch.allclose(network.of_images(images).norm(dim=1), torch.ones(2), atol=1e-5)


def test_options_choose_what_decides():
    assert isinstance(TINY.network().correspondence, Correspondence)
    assert isinstance(replace(TINY, fused=True).network().correspondence, FusedCorrespondence)


def test_places_start_from_wholes_and_are_centred():
    torch.manual_seed(0)
    wholes = Correspondence(ENCODER, 8, 4)
    places = Localisation(ENCODER, 8, 4)
    places.start_from(wholes)
    images, sound = torch.rand(2, 3, 32, 32), torch.rand(2, 1, *SMALL.shape)
    products = places.products(images, sound)
    assert products.shape == (2, 4, 4)
    one = (places.sight(wholes.seen(images))[1, :, 2, 3] * wholes.hearing(sound)[1]).sum()
    assert torch.allclose(products[1, 2, 3], one, rtol=1e-4, atol=1e-5)
    places.centre(2.0, 0.5)
    assert torch.allclose(places(images, sound), (products - 2.0) / 0.5, rtol=1e-4, atol=1e-4)


def test_the_best_place_is_one_that_is_shown():
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 0], maps[0, 2, 2] = 9.0, 3.0
    content = torch.ones(1, 32, 32, dtype=torch.bool)
    assert best(maps, shown_places(content, 4, 4)).tolist() == [9.0]
    content[:, :12, :12] = False
    assert best(maps, shown_places(content, 4, 4)).tolist() == [3.0]
    assert shown_places(torch.zeros(1, 32, 32, dtype=torch.bool), 4, 4).all()


def test_losses_are_finite_on_constant_frames_and_silence():
    whole = corpus(2)
    pairs = PairsOfMoments(whole, noises(2), TINY.moments(whole, noises(2), torch.arange(24), 0))
    batch = pairs.batch(range(4))
    empty = batch._replace(images=torch.zeros_like(batch.images), sounds=torch.zeros_like(batch.sounds))
    seen = ListeningBatch(SMALL, 6.0, 0)
    for task in (
        LearnCorrespondence(Correspondence(ENCODER, 8, 4), seen),
        LearnLocalisation(Localisation(ENCODER, 8, 4), seen),
    ):
        loss = task.loss(task.network, empty)["loss"]
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad is None or p.grad.isfinite().all() for p in task.network.parameters())


# --- use


def test_frames_are_those_shown_at_a_time():
    frames = [Frame(n, n / 24, torch.zeros(1, 1, 3, dtype=torch.uint8)) for n in range(48)]
    found = list(shown_at(frames, (0.2 * n for n in range(20))))
    assert [time for time, _ in found] == pytest.approx([0.2 * n for n in range(10)])
    assert all(frame.time_s <= time + 1e-6 < frame.time_s + 1 / 24 for time, frame in found)


def test_the_peak_is_where_it_is_in_the_video():
    heat = torch.zeros(4, 6)
    heat[1, 4] = 1.0
    window = Window(10, 20, (120, 80), (200, 150), (48, 32))
    assert peak_of(heat, window) == pytest.approx((10 + 4.5 / 6 * 120, 20 + 1.5 / 4 * 80))


# --- learning


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path):
    whole, sounds = corpus(), noises()
    learned = TINY.learn_from(whole, sounds, tmp_path / "whole", quiet=True)
    assert learned.result.steps == TINY.training.steps + TINY.localisation.steps
    assert [score.name for score in learned.scores] == ["correspondence", "correspondence by the best place"]
    assert learned.scores[0].beside["chance"] == 0.5 and "another sound" in learned.notes[0]
    short = replace(TINY, localisation=replace(TINY.localisation, steps=2))
    short.learn_from(whole, sounds, tmp_path / "cut", quiet=True)
    TINY.learn_from(whole, sounds, tmp_path / "cut", resume=True, quiet=True)
    one, two = (load_checkpoint(tmp_path / name / LAST)["network"] for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_too_few_kept_moments_are_told(tmp_path: Path):
    learned = TINY.learn_from(corpus(1, 12, 0.1), noises(1), tmp_path, quiet=True)
    assert learned.scores == () and "too few moments" in learned.notes[1]


def test_what_has_no_sound_is_refused(tmp_path: Path):
    (tmp_path / "images").mkdir()
    base = corpus(1)
    for path, words in (
        (tmp_path / "images", "folder of images"),
        (video_with(tmp_path / "mute.mp4", None), "has no sound track"),
        (video_with(tmp_path / "silent.mp4", np.zeros(48_000)), "silent"),
        (video_with(tmp_path / "short.mp4", beeps(0.4), seconds=0.4), "0.4. s of sound"),
    ):
        with pytest.raises(BadInputError, match=words):
            sounds_of(replace(base, sources=(path,)), Spectrogram())
    path = video_with(tmp_path / "a.mp4", beeps(4.0))
    (found,) = sounds_of(replace(base, sources=(path,)), Spectrogram())
    assert torch.equal(found.samples, read_sound(path).samples)


def test_options_out_of_range_are_refused():
    for bad in ({"misalignment_s": 2.0}, {"apart_s": 0.5}, {"gain_db": -1.0}, {"audio_width": 3}):
        with pytest.raises(BadInputError):
            AudioVisual(**bad)
    with pytest.raises(BadInputError):
        Spectrogram(hop=4)
    with pytest.raises(BadInputError, match="stride 5"):
        Correspondence(ENCODER, 5, 4)
    assert sound_of(np.zeros(10)).duration_s > 0
