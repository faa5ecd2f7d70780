"""Video files: frames in, one at a time with their times, and out."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.reading import reader, reading
from depthscope.video import dicom
from depthscope.video.containers import VIDEO_ENDINGS, Movie, check_file, is_video, no_frames, opened_video
from depthscope.video.fields import Deinterlacer, is_combed
from depthscope.video.orientation import Orientation, of_frame, shown, squared
from depthscope.video.stills import Image

__all__ = ["VIDEO_ENDINGS", "Frame", "is_video", "movie_frames", "read_video", "video_size", "write_video"]

FRAMES_LOOKED_AT = 12
"""So many frames are looked at to tell whether a video is interlaced."""

USUAL_STEP_S = 0.04
"""Time between frames where a file does not say."""

MOST_ERRORS = 200
"""After so many packets in a row that cannot be decoded, the rest of a file is taken as lost."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame; it also unpacks into its three parts.

    Attributes:
        index: Its place in the video or folder.
        time_s: Seconds since the first.
        image: sRGB bytes, shape (height, width, 3).
    """

    index: int
    time_s: float
    image: Image

    def __iter__(self) -> Iterator[Any]:
        """Index, time and image."""
        return iter((self.index, self.time_s, self.image))


@reader("a video that players show", "convert it")
def video_size(path: Path) -> tuple[int, tuple[int, int]]:
    """How many frames a video holds at most, and their (width, height) as shown; only the first is decoded.

    Raises:
        BadInputError: It cannot be opened, or holds no video.
    """
    if (header := _single_images(path)) is not None:
        return header.frames, squared(header.size_px, header.aspect)
    with opened_video(path) as movie:
        size, count = None, 0
        for packet in movie.container.demux(movie.stream):
            count += bool(packet.size) and not packet.is_discard
            if size is None:
                size = next((shown_size(frame, movie.aspect) for frame in _decoded(packet) or ()), None)
    if size is None:
        raise no_frames(path)
    return count, size


def read_video(path: Path) -> Iterator[Image]:
    """The frames of a video as sRGB bytes, one at a time.

    Raises:
        BadInputError: It cannot be opened, or holds no video.
    """
    for frame in movie_frames(path):
        yield frame.image


def movie_frames(
    path: Path,
    *,
    from_s: float = 0.0,
    to_s: float = math.inf,
    wanted: Callable[[int, float], bool] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Iterator[Frame]:
    """The frames of a video with their presentation times, as players show them, one at a time.

    They are upright, mirrored where the file asks for it, of square pixels, and de-interlaced. What cannot be decoded
    (a file cut short, damaged packets) is left out and told; frames are numbered in the order in which they are shown.
    Frames of another size than the first, as where recordings were joined, are left out too.

    Args:
        path: The file; DICOM too.
        from_s: Starts at the last frame from which decoding can begin before this time, where the file can seek.
            The numbers then count from there.
        to_s: Ends before the first frame that is shown at this time or later.
        wanted: Called with the number and time of each frame; where it says no, the frame is not converted or given.
        tell: Called with each sentence about what was lost or mended.

    Yields:
        Frames; `time_s` counts from the start of the video's stream.

    Raises:
        BadInputError: It cannot be opened, or holds no video.
    """
    path = Path(path)
    if (header := _single_images(path)) is not None:
        with reading(path, "a video that players show", "convert it"):
            yield from _image_frames(header, to_s, wanted, tell)
        return
    with reading(path, "a video that players show", "convert it"), opened_video(path) as movie:
        movie.stream.thread_type = "AUTO"
        clock = Clock(movie)
        from_start = from_s <= 0 or not movie.has_times
        if not from_start:
            movie.container.seek(clock.ticks(from_s), stream=movie.stream, backward=True)
        entire = from_start and to_s == math.inf
        losses = Losses(movie.announced if entire else 0, list(movie.notes), movie.announced_end_s if entire else 0.0)
        upright = upright_frames(_whole_frames(movie, losses), losses)
        index, size = 0, None
        for raw in upright:
            time_s = clock.time_s(raw)
            if time_s >= to_s:
                break
            if size is None:
                size = raw.width, raw.height
                losses.notes += _as_shown(raw, movie.aspect)
            if (raw.width, raw.height) != size:
                losses.other_size += 1
                continue
            if wanted is None or wanted(index, time_s):
                pixels = shown(raw.to_ndarray(format="rgb24"), of_frame(raw), movie.aspect)
                yield Frame(index, time_s, torch.from_numpy(pixels))
            index += 1
    if index == 0 and from_start:
        raise no_frames(path)
    if tell is not None:
        losses.end_s = clock.end_s
        for sentence in losses.sentences(path.name, index):
            tell(sentence)


def _single_images(path: Path) -> dicom.Header | None:
    """The header of a DICOM file whose frames are single images; None for everything else.

    Raises:
        BadInputError: It is no file, or a DICOM file of something else than a video.
    """
    check_file(Path(path))
    if not dicom.is_dicom(path):
        return None
    header = dicom.read_header(path)
    return None if header.is_stream else header


def _image_frames(
    header: dicom.Header,
    to_s: float,
    wanted: Callable[[int, float], bool] | None,
    tell: Callable[[str], None] | None,
) -> Iterator[Frame]:
    losses, index = Losses(announced=header.frames if to_s == math.inf else 0), 0
    for number, pixels in enumerate(header.images()):
        if pixels is None:
            losses.packets += 1
            continue
        time_s = number * (header.step_s or USUAL_STEP_S)
        if time_s >= to_s:
            break
        if wanted is None or wanted(index, time_s):
            size = squared((pixels.shape[1], pixels.shape[0]), header.aspect)
            if size != squared(header.size_px, header.aspect):
                losses.other_size += 1
                continue
            yield Frame(index, time_s, torch.from_numpy(shown(pixels, Orientation(), header.aspect)))
        index += 1
    if index == 0:
        raise no_frames(header.path)
    if tell is not None:
        for sentence in losses.sentences(header.path.name, index):
            tell(sentence)


def _as_shown(frame: Any, aspect: Fraction | None) -> Iterator[str]:
    """What is told of how a file asks to be shown; a quarter turn changes nothing that anybody measures."""
    size, orientation = (frame.width, frame.height), of_frame(frame)
    if orientation.mirrored:
        yield "{name} asks for a mirror image; its frames are read mirrored, as players show them"
    if squared(size, aspect) != size:
        across, down = orientation.size(squared(size, aspect))
        yield (
            f"{{name}} has pixels that are not square ({aspect.numerator}:{aspect.denominator}); its frames of "  # type: ignore[union-attr]
            f"{size[0]} x {size[1]} were resampled to {across} x {down} pixels"
        )


LEAST_LOSS_S = 1.0
"""What a video may lack of the length that its header says: the last frame's own time is often left out or rounded."""


class Clock:
    """Turns time stamps into seconds since the start of the stream; frames without one follow at the average rate."""

    def __init__(self, movie: Movie) -> None:
        self.time_base = movie.stream.time_base or Fraction(1, 1000)
        self.start = movie.stream.start_time
        self.step_s = 1 / movie.rate if movie.rate else USUAL_STEP_S
        self.last_s, self.shown_s = -self.step_s, self.step_s

    def time_s(self, frame: Any) -> float:
        """Seconds of one frame; never before the one that was shown before it."""
        own = float((frame.duration or 0) * (frame.time_base or self.time_base))
        self.shown_s = max(own, self.step_s)  # a slide, or a still at the end, is shown longer
        if frame.pts is None:
            self.last_s += self.step_s
            return self.last_s
        if self.start is None:
            self.start = frame.pts * (frame.time_base or self.time_base) / self.time_base
        found = float(frame.pts * (frame.time_base or self.time_base) - self.start * self.time_base)
        self.last_s = max(found, self.last_s)
        return self.last_s

    @property
    def end_s(self) -> float:
        """When the last frame ends, by the file's own count of time."""
        return self.last_s + self.shown_s + float((self.start or 0) * self.time_base)

    def ticks(self, time_s: float) -> int:
        """The time stamp of a time."""
        return int((self.start or 0) + time_s / self.time_base)


class Losses:
    """What was lost or mended while a video was read, counted."""

    def __init__(self, announced: int, notes: list[str] | None = None, announced_end_s: float = 0.0) -> None:
        self.announced, self.packets, self.corrupt, self.other_size, self.interlaced = announced, 0, 0, 0, False
        self.notes, self.announced_end_s, self.end_s = notes or [], announced_end_s, 0.0

    def sentences(self, name: str, given: int) -> Iterator[str]:
        """One sentence for each kind of loss."""
        yield from (note.format(name=name) for note in self.notes)
        if self.packets or self.corrupt:
            yield (
                f"{name} is damaged or cut short: {self.packets} packets could not be decoded and "
                f"{self.corrupt} frames came out damaged; {given} frames could be read"
            )
        elif given + self.other_size < self.announced - 1:
            yield (
                f"{name} is cut short: {given} of the {self.announced} frames that its header announces could be read"
            )
        elif self.end_s < self.announced_end_s - LEAST_LOSS_S:
            yield (
                f"{name} is cut short: {self.end_s:.1f} of the {self.announced_end_s:.1f} s that its header "
                "announces could be read"
            )
        if self.other_size:
            yield f"{name}: {self.other_size} frames of another size than the first were left out"
        if self.interlaced:
            yield f"{name} is interlaced; its frames were de-interlaced (bwdif)"


def upright_frames(frames: Iterator[Any], losses: Losses) -> Iterator[Any]:
    """De-interlaces where the first frames are flagged as interlaced, or look it."""
    looked_at = []
    for frame in frames:
        looked_at.append(frame)
        if len(looked_at) == FRAMES_LOOKED_AT:
            break
    flagged = sum(bool(frame.interlaced_frame) for frame in looked_at)
    combed = sum(is_combed(frame) for frame in looked_at)
    losses.interlaced = 2 * max(flagged, combed) > len(looked_at) > 0
    if not losses.interlaced:
        while looked_at:
            yield looked_at.pop(0)
        yield from frames
        return
    deinterlacer = Deinterlacer(looked_at[0])
    while looked_at:
        yield from deinterlacer.next(looked_at.pop(0))
    for frame in frames:
        yield from deinterlacer.next(frame)
    yield from deinterlacer.rest()


def _whole_frames(movie: Movie, losses: Losses) -> Iterator[Any]:
    """All frames that can be decoded and came out whole."""
    from av.error import FFmpegError

    in_a_row = 0
    packets = movie.container.demux(movie.stream)
    while in_a_row < MOST_ERRORS:
        try:
            packet = next(packets, None)
        except FFmpegError:  # the file ends in the middle of a packet
            losses.packets += 1
            in_a_row += 1
            continue
        if packet is None:
            return
        frames = _decoded(packet)
        in_a_row = in_a_row + 1 if frames is None else 0
        losses.packets += frames is None
        for frame in frames or ():
            if frame.is_corrupt or packet.is_corrupt:
                losses.corrupt += 1
            else:
                yield frame


def _decoded(packet: Any) -> list[Any] | None:
    """The frames that a packet completes, or None if it is damaged."""
    from av.error import EOFError as NoMore, FFmpegError

    try:
        return packet.decode()
    except NoMore:
        return []
    except (FFmpegError, ValueError):
        return None


def shown_size(frame: Any, aspect: Fraction | None) -> tuple[int, int]:
    """(width, height) of a decoded frame as it is shown.

    Args:
        frame: Of PyAV.
        aspect: Width over height of its pixels, or None.
    """
    return of_frame(frame).size(squared((frame.width, frame.height), aspect))


def write_video(
    path: Path, frames: Iterable[Image], fps: float | int, *, crf: int = 18, preset: str = "medium"
) -> Path:
    """Writes frames as H.264 in an MP4 file (yuv420p, which every player shows).

    Odd widths and heights are made even by repeating the last column or row.

    Args:
        path: The file to write.
        frames: sRGB frames of one size, shape (height, width, 3) each; drawn one at a time.
        fps: Frames per second.
        crf: Quality, 0 (lossless) to 51 (worst); 18 looks like the original.
        preset: How long x264 may search, "ultrafast" to "veryslow"; faster presets give larger files of like quality.

    Raises:
        BadInputError: There are no frames, they differ in size, or the quality is out of its range.
    """
    import av  # only here: reading stills should not load a video library

    if not 0 <= crf <= 51:
        raise BadInputError(f"crf {crf} for {path}", "0 (lossless) to 51 (worst)")
    path, shape = Path(path), None
    try:
        with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": str(crf), "preset": preset}
            for number, frame in enumerate(frames):
                pixels = frame.cpu().numpy()
                if shape is None:
                    shape = pixels.shape
                    stream.height, stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
                if pixels.shape != shape:
                    raise BadInputError(f"{path}: frame {number} has shape {pixels.shape}", f"{shape} as the first")
                even = np.pad(pixels, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))
            if shape is None:
                raise BadInputError(f"no frames for {path}", "at least one")
            container.mux(stream.encode())
    except BaseException:
        path.unlink(missing_ok=True)  # half a video plays, and misleads
        raise
    return path
