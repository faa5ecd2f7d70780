"""The sound of a video: read as one channel at one rate, refused where there is none, written beside frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int16
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.reading import reader
from depthscope.video.containers import opened_video
from depthscope.workspace import atomic_file

RATE_HZ = 48_000
"""Rate that sound is brought to, before anything is cut from it."""

GAP_S = 0.05
"""Where the next samples come later than this they are not joined: the track had a hole."""

SILENT = 1e-4
"""Root mean square, of full scale (-80 dB), up to which a track is silent; many recorders write one of zeros."""

PIECE_S, BANDS_HZ = 0.1, (500, 1000, 2000, 4000, 8000)
"""Loudness is looked at in pieces so long, and between these frequencies."""

FLOOR = 1e-6
"""Share of a track's energy below which a band is taken as empty."""

LEAST_PIECES = 6
"""In fewer pieces no variation is looked for."""

LEAST_VARIATION_DB = 1.5
"""Standard deviation of loudness that some band must have; steady noise itself has 0.8 in the lowest."""


@dataclass(frozen=True, eq=False)
class Sound:
    """One channel of sound; sample n sounds n / rate_hz after the first frame of its video.

    Attributes:
        samples: Full scale is 32768.
        rate_hz: Samples per second.
    """

    samples: Int16[Tensor, " samples"]
    rate_hz: int = RATE_HZ

    @property
    def duration_s(self) -> float:
        """Length."""
        return len(self.samples) / self.rate_hz

    def since(self, time_s: float) -> "Sound":
        """What sounds from a moment on."""
        return Sound(self.samples[round(time_s * self.rate_hz) :], self.rate_hz)

    def snippet(self, centre_s: float, length_s: float) -> Float[Tensor, " samples"]:
        """The sound around a moment, -1 to 1; 0 beyond the ends of the track."""
        length = round(length_s * self.rate_hz)
        first = round(centre_s * self.rate_hz) - length // 2
        found = torch.zeros(length)
        begin, end = max(first, 0), min(first + length, len(self.samples))
        if begin < end:
            found[begin - first : end - first] = self.samples[begin:end].float() / 32768
        return found


@reader("a video with sound", "convert it")
def read_sound(path: Path, rate_hz: int = RATE_HZ) -> Sound:
    """The first sound track of a video, mixed to one channel.

    Args:
        path: The video.
        rate_hz: Samples per second.

    Raises:
        BadInputError: It cannot be opened, has no sound track, or one that is empty or cannot be decoded.
    """
    with opened_video(path) as movie:
        container = movie.container
        if not container.streams.audio:
            raise BadInputError(f"{path} has no sound track", "a video with sound", "record it with a microphone")
        video = movie.stream
        start_s = float((video.start_time or 0) * (video.time_base or Fraction(1)))
        pieces = list(_pieces(container, container.streams.audio[0], rate_hz))
    if not pieces:
        raise BadInputError(f"{path}: its sound track holds no samples that can be decoded", "sound", "convert it")
    length = max(round((time_s - start_s) * rate_hz) + len(samples) for time_s, samples in pieces)
    track = np.zeros(max(length, 1), np.int16)
    for time_s, samples in pieces:
        first = round((time_s - start_s) * rate_hz)
        part = samples[max(0, -first) :]
        track[max(0, first) : max(0, first) + len(part)] = part
    return Sound(torch.from_numpy(track), rate_hz)


def heard(sound: Sound, path: Path, least_s: float) -> Sound:
    """The sound itself, where there is something to hear.

    Args:
        sound: Of a video.
        path: Of the video, for errors.
        least_s: Shortest length that is of use.

    Raises:
        BadInputError: It is too short, silent, or never changes.
    """
    if sound.duration_s < least_s:
        raise BadInputError(
            f"{path} has {sound.duration_s:.2f} s of sound", f"at least {least_s:g} s", "give a longer video"
        )
    level = loudness(sound)
    if level <= SILENT:
        raise BadInputError(
            f"{path} has a sound track that is silent (root mean square {level:.1e} of full scale)",
            "a track in which something is heard",
            "check the recorder: many write an empty track where no microphone is connected",
        )
    spread = variation_db(sound)
    if spread < LEAST_VARIATION_DB:
        raise BadInputError(
            f"{path} has a sound track that never changes (its loudness varies by {spread:.2f} dB)",
            f"sound that comes and goes ({LEAST_VARIATION_DB:g} dB)",
            "check the recorder: this is hum or noise",
        )
    return sound


def loudness(sound: Sound) -> float:
    """Root mean square about the mean, of full scale; of at most some minutes spread over the track."""
    pieces = _some(sound)
    return float((pieces - pieces.mean()).square().mean().sqrt())


def variation_db(sound: Sound) -> float:
    """Standard deviation over time of the loudness of the band in which it is largest; infinite for short tracks."""
    pieces = _some(sound)
    if len(pieces) < LEAST_PIECES:
        return float("inf")
    spectrum = torch.fft.rfft((pieces - pieces.mean()) * torch.hann_window(pieces.shape[1])).abs().square()
    frequency = torch.fft.rfftfreq(pieces.shape[1], 1 / sound.rate_hz)
    edges = torch.tensor([0.0, *BANDS_HZ, float("inf")])
    bands = [
        spectrum[:, (frequency >= low) & (frequency < high)].sum(1)
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]
    energy = torch.stack(bands)
    floor = FLOOR * energy.sum(0).mean() + 1e-20
    return float((10 * torch.log10(energy + floor)).std(1).max())


def add_sound(path: Path, sound: Sound) -> Path:
    """Gives a video that was written without sound a track (AAC), as long as its frames.

    Args:
        path: An MP4 file as `write_video` writes it; replaced.
        sound: The sound, from the first frame on.
    """
    import av

    path = Path(path)
    with (
        atomic_file(path) as draft,
        av.open(str(path)) as source,
        av.open(str(draft), "w", format="mp4", options={"movflags": "faststart"}) as target,
    ):
        old = source.streams.video[0]
        shown, audible = target.add_stream_from_template(old), target.add_stream("aac", rate=sound.rate_hz)
        audible.layout = "mono"
        packets = [packet for packet in source.demux(old) if packet.dts is not None]
        end, done = max((_sample_at_end(packet, sound) for packet in packets), default=0), 0
        for packet in packets:  # half a second of sound ahead of each frame, or players stall
            done = _encoded(target, audible, sound, done, min(_sample_at_end(packet, sound) + sound.rate_hz // 2, end))
            packet.stream = shown
            target.mux(packet)
        _encoded(target, audible, sound, done, end)
        target.mux(audible.encode(None))
    return path


def _pieces(container: Any, stream: Any, rate_hz: int) -> Iterator[tuple[float, np.ndarray]]:
    """Joined samples with the time at which they begin; damaged packets leave a hole."""
    import av
    from av.error import FFmpegError

    resampler, begin_s, due_s, joined = None, 0.0, 0.0, []

    def finished() -> Iterator[tuple[float, np.ndarray]]:
        nonlocal joined
        if resampler is not None:
            joined += [out.to_ndarray().reshape(-1) for out in resampler.resample(None)]
        if joined:
            yield begin_s, np.concatenate(joined)
        joined = []

    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except FFmpegError:
            continue
        for frame in frames:
            time_s = float(frame.pts * frame.time_base) if frame.pts is not None else due_s
            if resampler is None or abs(time_s - due_s) > GAP_S:
                yield from finished()
                resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
                begin_s = time_s
            joined += [out.to_ndarray().reshape(-1) for out in resampler.resample(frame)]
            due_s = time_s + frame.samples / frame.sample_rate
    yield from finished()


def _some(sound: Sound) -> Float[Tensor, "pieces samples"]:
    """Pieces of the track, at most a few hundred, spread over it."""
    length = min(round(PIECE_S * sound.rate_hz), len(sound.samples))
    count = max(1, len(sound.samples) // max(length, 1))
    rows = sound.samples[: count * length].reshape(count, length)
    return rows[:: max(1, count // 400)].float() / 32768


def _sample_at_end(packet: Any, sound: Sound) -> int:
    """The sample that sounds when a frame ends."""
    return round(float((packet.pts + (packet.duration or 0)) * packet.time_base) * sound.rate_hz)


def _encoded(target: Any, stream: Any, sound: Sound, first: int, until: int) -> int:
    """Encodes the samples from `first` on, silence where there are none, and says how far it came."""
    import av

    if until <= first:
        return first
    samples = np.zeros((1, until - first), np.int16)
    part = sound.samples[first:until].numpy()
    samples[0, : len(part)] = part
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = sound.rate_hz, first, Fraction(1, sound.rate_hz)
    target.mux(stream.encode(frame))
    return until
