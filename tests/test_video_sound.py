"""Sound: where it was written it is read, one channel at one rate, and what cannot be heard is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.video import read_video, video_size
from depthscope.video.sound import LEAST_VARIATION_DB, RATE_HZ, heard, loudness, read_sound, variation_db
from sounding_videos import beeps, sound_of, stereo, video_with


def onsets_s(samples: torch.Tensor, rate_hz: int = RATE_HZ) -> list[float]:
    """When a tone begins."""
    level = samples.float().abs().unfold(0, 480, 48).amax(1)
    loud = level > 0.4 * level.max()
    starts = (loud[1:] & ~loud[:-1]).nonzero().flatten() + 1
    return ((starts * 48 + 480) / rate_hz).tolist()


def test_sound_comes_back_in_time_beside_the_same_frames(tmp_path: Path):
    plain = video_with(tmp_path / "plain.mp4", None)
    path = video_with(tmp_path / "a.mp4", beeps(4.0))
    sound = read_sound(path)
    assert sound.rate_hz == RATE_HZ and sound.duration_s == pytest.approx(4.0, abs=0.06)
    found = [time for time in onsets_s(sound.samples) if 0.2 < time < 3.8]
    assert found == pytest.approx([0.5 * n for n in range(1, 8)], abs=0.01)
    assert video_size(path) == (40, (32, 32))
    for one, other in zip(read_video(path), read_video(plain), strict=True):
        assert torch.equal(one, other)


def test_a_shorter_sound_is_followed_by_silence_and_a_longer_one_is_cut(tmp_path: Path):
    short = read_sound(video_with(tmp_path / "short.mp4", beeps(1.0)))
    assert (
        short.duration_s == pytest.approx(4.0, abs=0.06) and int(short.samples[int(1.5 * RATE_HZ) :].abs().max()) < 50
    )
    long = read_sound(video_with(tmp_path / "long.mp4", beeps(9.0)))
    assert long.duration_s == pytest.approx(4.0, abs=0.06)


@pytest.mark.parametrize("side", [0, 1])
def test_both_channels_are_heard_at_any_rate(tmp_path: Path, side: int):
    rate = 44_100
    time = np.arange(2 * rate) / rate
    tone, none = 0.5 * np.sin(2 * np.pi * 1000 * time), np.zeros(2 * rate)
    sound = read_sound(stereo(tmp_path / "a.mkv", *((tone, none) if side == 0 else (none, tone)), rate_hz=rate))
    assert len(sound.samples) == pytest.approx(2 * RATE_HZ, abs=0.03 * RATE_HZ)
    spectrum = torch.fft.rfft(sound.samples[: 2 * RATE_HZ - 2000].float()).abs()
    assert float(spectrum.argmax()) * RATE_HZ / (2 * RATE_HZ - 2000) == pytest.approx(1000, abs=1)
    assert loudness(sound) > 0.1


def test_sound_that_begins_late_is_late(tmp_path: Path):
    rate = 44_100
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    sound = read_sound(stereo(tmp_path / "a.mkv", tone, tone, late_s=0.7))
    first = int((sound.samples.abs() > 1000).nonzero()[0])
    assert first / RATE_HZ == pytest.approx(0.7, abs=0.005)


def test_snippets_are_centred_and_silent_beyond_the_ends():
    sound = sound_of(np.arange(RATE_HZ) / RATE_HZ)
    middle = sound.snippet(0.5, 0.1)
    assert len(middle) == 4800 and float(middle[2400]) == pytest.approx(0.5, abs=1e-3)
    start = sound.snippet(0.0, 0.1)
    assert not start[:2400].any() and float(start[2600]) > 0
    assert not sound.snippet(9.0, 0.1).any()


def test_a_video_without_a_track_is_told(tmp_path: Path):
    with pytest.raises(BadInputError, match="has no sound track"):
        read_sound(video_with(tmp_path / "a.mp4", None))


def test_a_silent_track_is_not_heard(tmp_path: Path):
    sound = read_sound(video_with(tmp_path / "a.mp4", np.zeros(4 * RATE_HZ)))
    assert loudness(sound) < 1e-4
    with pytest.raises(BadInputError, match="silent"):
        heard(sound, tmp_path / "a.mp4", 1.0)
    offset = sound_of(np.full(4 * RATE_HZ, 0.2))  # a constant is silence too
    with pytest.raises(BadInputError, match="silent"):
        heard(offset, tmp_path / "a.mp4", 1.0)


def test_hum_and_noise_never_change_and_beeps_do():
    time = np.arange(10 * RATE_HZ) / RATE_HZ
    noise = np.random.default_rng(0).normal(0, 0.1, len(time)).clip(-1, 1)
    for values in (0.3 * np.sin(2 * np.pi * 50 * time), noise, 0.3 * np.sin(2 * np.pi * 50 * time) + 0.3 * noise):
        with pytest.raises(BadInputError, match="never changes"):
            heard(sound_of(values), Path("hum.mp4"), 1.0)
    assert variation_db(sound_of(beeps(10.0, every_s=1.3, length_s=0.4))) > 2 * LEAST_VARIATION_DB
    sweep = 0.3 * np.sin(2 * np.pi * (200 * time + 150 * time**2))  # of one level, but of another pitch
    assert heard(sound_of(sweep), Path("sweep.mp4"), 1.0) is not None


def test_a_track_that_is_too_short_is_told():
    with pytest.raises(BadInputError, match="0.50 s of sound"):
        heard(sound_of(beeps(0.5)), Path("a.mp4"), 1.0)
