"""Videos with sound whose content is known."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from depthscope.video import write_video
from depthscope.video.sound import RATE_HZ, Sound, add_sound


def beeps(seconds: float, every_s: float = 0.5, length_s: float = 0.1, hz: float = 880.0) -> np.ndarray:
    """Tones that begin every so often, -1 to 1."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return 0.5 * np.sin(2 * np.pi * hz * time) * (time % every_s < length_s)


def sound_of(values: np.ndarray) -> Sound:
    return Sound(torch.from_numpy((values * 32767).astype(np.int16)))


def frames_of(count: int, size: int = 32) -> torch.Tensor:
    """Frames that get brighter."""
    levels = torch.linspace(40, 200, count).byte()
    return levels[:, None, None, None].expand(count, size, size, 3).contiguous()


def moving_frames(count: int, size: int) -> torch.Tensor:
    """Blotches that move to the right, two pixels from frame to frame."""
    coarse = torch.rand(1, 3, size // 8, size // 8, generator=torch.Generator().manual_seed(0))
    blotches = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    picture = (40 + 180 * blotches[0]).byte().permute(1, 2, 0)
    return torch.stack([picture.roll(2 * number, 1) for number in range(count)])


def video_with(
    path: Path,
    values: np.ndarray | None,
    seconds: float = 4.0,
    fps: int = 10,
    size: int = 32,
    frames: Callable[[int, int], torch.Tensor] = frames_of,
) -> Path:
    """A video of so many seconds with this sound, or with none."""
    write_video(path, iter(frames(round(seconds * fps), size)), fps=fps)
    return path if values is None else add_sound(path, sound_of(values))


def stereo(path: Path, left: np.ndarray, right: np.ndarray, rate_hz: int = 44_100, late_s: float = 0.0) -> Path:
    """A video with two channels at another rate, whose sound begins late."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("flac" if path.suffix == ".mkv" else "aac", rate=rate_hz)
        audio.layout = "stereo"
        for number, frame in enumerate(frames_of(round(10 * (late_s + len(left) / rate_hz)))):
            picture = av.VideoFrame.from_ndarray(frame.numpy(), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 10)
            container.mux(video.encode(picture))
        container.mux(video.encode())
        samples = (np.stack([left, right], 1).reshape(1, -1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, round(late_s * rate_hz), Fraction(1, rate_hz)
        container.mux(audio.encode(frame))
        container.mux(audio.encode())
    return path
