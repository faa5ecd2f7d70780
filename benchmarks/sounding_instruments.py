"""Short videos of toy instruments with their sounds, for ``pretext_audio_visual.py``.

Six instruments, each of its own form, colour and sound, over moving texture; in half of the videos a second one is seen
that makes no sound. The recorder ticks on the clock of the frames (25 Hz), as a codec leaves traces on a grid: whoever
centres wrong sounds off the grid teaches a network to hear the tick.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from depthscope.corpus import Corpus, Window
from depthscope.pretext.audio_visual import Spectrogram
from depthscope.video.sound import Sound

RATE_HZ, FPS, SIZE, SECONDS = 8000, 25, 64, 2.0
SPECTROGRAM = Spectrogram(snippet_s=0.25, rate_hz=RATE_HZ, bins=128, window=120, hop=50)
KINDS, RADIUS = 6, 10
COLOURS = ((70, 110, 190), (90, 170, 90), (200, 190, 70), (150, 80, 170), (210, 210, 215), (60, 60, 70))


@dataclass(frozen=True, eq=False)
class Scenes:
    """Videos whose instruments are known.

    Attributes:
        corpus: Frames of all videos, with their times on the clock.
        sounds: Of each video.
        sounding: Kind of the instrument that sounds, of each video.
        silent: Kind of the one that does not, -1 where there is none.
        place_px: Where the sounding one is in each frame, shape (frames, 2).
        other_px: Where the silent one is.
    """

    corpus: Corpus
    sounds: tuple[Sound, ...]
    sounding: Tensor
    silent: Tensor
    place_px: Tensor
    other_px: Tensor


def scenes(videos: int, seed: int, each: int = 6) -> Scenes:
    """So many videos with so many frames of each."""
    draw = np.random.default_rng((seed, 81))
    frames, times, places, others, sounds = [], [], [], [], []
    sounding, silent = draw.integers(0, KINDS, videos), np.full(videos, -1)
    for number in range(videos):
        if number % 2:
            silent[number] = (sounding[number] + draw.integers(1, KINDS)) % KINDS
        ground = _texture(draw)
        where = _places(draw, 1 if silent[number] < 0 else 2)
        shift = draw.uniform(-3, 3, (2, 2))
        chosen = np.sort(draw.choice(np.arange(5, round(SECONDS * FPS) - 5), each, replace=False)) / FPS
        for time_s in chosen:
            move = np.sin(2 * np.pi * (time_s / SECONDS + np.arange(2)[:, None] / 2)) * shift
            spots = where + move
            image = np.roll(ground, round(6 * time_s), 1).copy()
            if silent[number] >= 0:
                _drawn(image, int(silent[number]), spots[1], draw)
            _drawn(image, int(sounding[number]), spots[0], draw)
            noisy = image.astype(np.float32) + draw.normal(0, 6, image.shape)
            frames.append(noisy.clip(0, 255).astype(np.uint8))
            times.append(time_s)
            places.append(spots[0])
            others.append(spots[1])
        sounds.append(Sound(torch.from_numpy(_sound(int(sounding[number]), draw)), RATE_HZ))
    count, names = videos * each, tuple(f"video{n:04d}" for n in range(videos))
    window = Window(0, 0, (SIZE, SIZE), (SIZE, SIZE), (SIZE, SIZE))
    corpus = Corpus(
        torch.from_numpy(np.stack(frames)),
        torch.ones(1, SIZE, SIZE, dtype=torch.bool).expand(videos, -1, -1),
        torch.arange(videos).repeat_interleave(each),
        torch.tensor(times, dtype=torch.float64),
        tuple(f"{n:05d}" for n in range(count)),
        names,
        names,  # type: ignore[arg-type]
        (window,) * videos,
        torch.zeros(count, dtype=torch.bool),
        torch.zeros(count, dtype=torch.bool),
    )
    return Scenes(
        corpus,
        tuple(sounds),
        torch.from_numpy(sounding),
        torch.from_numpy(silent),
        torch.tensor(np.stack(places)),
        torch.tensor(np.stack(others)),
    )


def sound_of_kind(kind: int, seed: int) -> Sound:
    """A recording of an instrument of this kind, of a video of its own."""
    return Sound(torch.from_numpy(_sound(kind, np.random.default_rng((seed, kind, 82)))), RATE_HZ)


def _sound(kind: int, draw: np.random.Generator) -> np.ndarray:
    """Two seconds of one instrument, with a tick on every frame's time."""
    time = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    pitch, phase = draw.uniform(0.85, 1.18), draw.uniform(0, 1)
    noise = draw.normal(0, 1, len(time))
    smooth = np.convolve(noise, np.ones(8) / 8, "same")
    voices = (
        lambda: 2 * ((180 * pitch * time + phase) % 1) - 1,  # drill
        lambda: 1.5 * smooth,  # suction
        lambda: np.sign(np.sin(2 * np.pi * (100 * pitch * time + phase))) * (0.5 + 0.5 * np.abs(noise)),  # cautery
        lambda: np.sin(2 * np.pi * (900 * pitch * time + phase)),  # beeper
        lambda: np.sin(2 * np.pi * 2200 * pitch * time) * np.exp(-30 * ((time + phase) % 0.12)),  # clip applier
        lambda: np.sin(2 * np.pi * 400 * pitch * time + 6 * np.sin(2 * np.pi * 7 * time)),  # shaver
    )
    voice = voices[kind]()
    level = 0.12 * 10 ** (draw.uniform(-6, 6) / 20) / voice.std()
    values = level * voice + 0.02 * draw.normal(0, 1, len(time))
    ticks = np.arange(round(SECONDS * FPS)) * RATE_HZ // FPS
    for offset, height in ((0, 0.5), (1, -0.4), (2, 0.2)):
        values[ticks + offset] += height
    return (values.clip(-1, 1) * 32767).astype(np.int16)


def _texture(draw: np.random.Generator) -> np.ndarray:
    detail = sum(cv2.GaussianBlur(draw.normal(0, 1, (SIZE, SIZE)), (0, 0), s) * s for s in (1.5, 4.0, 9.0))
    grey = np.clip(1 + 0.25 * detail / detail.std(), 0.4, 1.6)
    tint = np.array([150.0, 85.0, 75.0]) * draw.uniform(0.8, 1.2, 3)
    return (grey[..., None] * tint).clip(0, 255).astype(np.uint8)


def _places(draw: np.random.Generator, count: int) -> np.ndarray:
    """Two places; those of two instruments do not overlap."""
    while True:
        where = draw.uniform(RADIUS + 3, SIZE - RADIUS - 3, (2, 2))
        if count == 1 or np.hypot(*(where[0] - where[1])) > 2.1 * RADIUS:
            return where


def _drawn(image: np.ndarray, kind: int, place: np.ndarray, draw: np.random.Generator) -> None:
    """Draws an instrument in its colour, a little varied."""
    colour = tuple(float(v) for v in np.array(COLOURS[kind]) * draw.uniform(0.85, 1.15))
    x, y = (round(float(value)) for value in place)
    r = RADIUS
    match kind:
        case 0:
            cv2.circle(image, (x, y), r - 1, colour, -1)
        case 1:
            cv2.rectangle(image, (x - r + 2, y - r + 2), (x + r - 2, y + r - 2), colour, -1)
        case 2:
            cv2.fillPoly(image, [np.array([[x, y - r], [x + r, y + r - 2], [x - r, y + r - 2]])], colour)
        case 3:
            cv2.circle(image, (x, y), r - 2, colour, 4)
        case 4:
            cv2.line(image, (x - r, y), (x + r, y), colour, 6)
            cv2.line(image, (x, y - r), (x, y + r), colour, 6)
        case _:
            cv2.line(image, (x - r, y - r), (x + r, y + r), colour, 6)
            cv2.line(image, (x - r, y + r), (x + r, y - r), colour, 6)
