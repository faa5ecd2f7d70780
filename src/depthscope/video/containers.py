"""Video files opened: which files are videos, which of their streams is shown, how long it is."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from depthscope.errors import BadInputError, require_file
from depthscope.reading import reader
from depthscope.video import dicom

MOST_PIXELS = 1 << 26
"""Of a frame: twice an 8K one. A header of a few bytes may claim any size."""

VIDEO_ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v", ".mxf"),
    *(".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".ogv", ".ogg", ".ogm", ".dv", ".nut"),
    *(".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".ivf", ".obu", ".y4m", ".mjpg", ".mjpeg", ".gif", ".apng"),
)

LISTS = ("hls", "concat", "dash", "tty", "sdp", "webp_pipe")
"""What FFmpeg also opens, but what names other files, or is no picture of a camera."""

PROBED_PACKETS = 400
"""So many packets are looked at to tell a cover picture from a video."""

FEWEST_BYTES = 8
"""Of a frame in a file that announces its frames: a header that promises more was never finished."""


@dataclass(frozen=True, eq=False)
class Movie:
    """An open video file; closed at the end of a with-statement.

    Attributes:
        path: The file.
        container: Of PyAV.
        stream: The one of its streams that is shown.
        stored: What a DICOM header says of the frames, or None where the file is an ordinary one.
        notes: What a user should know about the choice of the stream, in sentences.
    """

    path: Path
    container: Any
    stream: Any
    stored: dicom.Header | None = None
    notes: tuple[str, ...] = ()

    def __enter__(self) -> "Movie":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @cached_property
    def announced(self) -> int:
        """Frames to be shown by the header, without those that an edit list cuts away; 0 if it does not say."""
        frames = self.stream.frames
        if self.container.format.name.startswith("mov") and frames:
            entries = self.stream.index_entries
            return sum(not entry.is_discard for entry in entries) if len(entries) else frames
        return frames if frames * FEWEST_BYTES <= (self.container.size or 0) else 0

    @property
    def announced_end_s(self) -> float:
        """When the stream ends by the header of a Matroska file, which counts no frames; 0 if it does not say."""
        told = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", self.stream.metadata.get("DURATION", "").strip())
        if told is None or not self.container.format.name.startswith("matroska"):
            return 0.0
        return 3600 * int(told[1]) + 60 * int(told[2]) + float(told[3])

    @property
    def aspect(self) -> Fraction | None:
        """Width over height of a stored pixel, or None if the file does not say."""
        told = self.stream.sample_aspect_ratio or None
        return told if told is not None or self.stored is None else self.stored.aspect

    @property
    def rate(self) -> float | None:
        """Frames per second on average, or None if the file does not say."""
        if self.stored is not None and self.stored.step_s:
            return 1 / self.stored.step_s
        return float(self.stream.average_rate) if self.stream.average_rate else None

    @property
    def has_times(self) -> bool:
        """Whether frames carry times by which the file can be entered anywhere; a bare stream of frames has none."""
        return self.stream.start_time is not None

    @property
    def duration_s(self) -> float:
        """Length by the header; 0 if it does not say, or was never finished."""
        if self.stream.frames and not self.announced:
            return 0.0
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        return (self.container.duration or 0) / 1e6


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its name or, for DICOM, by its first bytes."""
    path = Path(path)
    return path.is_file() and (path.suffix.lower() in VIDEO_ENDINGS or dicom.is_dicom(path))


@reader("a video that players show", "convert it")
def opened_video(path: Path) -> Movie:
    """A video file whose moving pictures can be decoded.

    Raises:
        BadInputError: It cannot be opened, or holds no video.
    """
    path = Path(path)
    check_file(path)
    stored = dicom.read_header(path) if dicom.is_dicom(path) else None
    if stored is not None and not stored.is_stream:
        raise BadInputError(f"{path} is a DICOM file of single images", "a video stream", "convert it")
    container = _container(path, stored)
    try:
        stream, notes = _shown_stream(path, container, stored)
    except BaseException:
        container.close()
        raise
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return Movie(path, container, stream, stored, notes)


def check_file(path: Path) -> None:
    """Refuses what is no file that can be read more than once, or is empty.

    Raises:
        BadInputError: It is missing, a folder, a pipe or a device, or empty.
    """
    if require_file(Path(path), "a video file; save a stream to a file first").stat().st_size == 0:
        raise BadInputError(f"{path} is empty (0 bytes)", "a video", "copy it again")


def no_frames(path: Path) -> BadInputError:
    """The error for a video without a frame."""
    return BadInputError(f"{path} holds no frames", "a video with at least one", "record it again")


def _container(path: Path, stored: dicom.Header | None) -> Any:
    import av
    from av.error import FFmpegError

    options = {"protocol_whitelist": "file"}  # a playlist in disguise must not fetch anything
    try:
        source = str(path.absolute()) if stored is None else stored.stream()  # "a:b.mp4" would name a protocol
        container = av.open(source, options=options, metadata_errors="replace")
    except PermissionError:
        raise
    except (FFmpegError, OSError, ValueError) as error:
        raise BadInputError(
            f"{path} cannot be opened as a video ({str(error).splitlines()[0]})",
            "a video that players show",
            "convert it, or copy it again: a recording that was cut off may lack its index",
        ) from error
    if container.format.name in LISTS:
        container.close()
        raise BadInputError(
            f"{path} is no video itself ({container.format.long_name})", "a video file", "give the file it names"
        )
    return container


def _shown_stream(path: Path, container: Any, stored: dicom.Header | None) -> tuple[Any, tuple[str, ...]]:
    """The stream that players show: no cover picture, and the default one of several; and what to say about it."""
    from av.stream import Disposition

    if not container.streams.video:
        raise BadInputError(f"{path} holds no video stream", "a video", "choose another file")
    still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    moving = [stream for stream in container.streams.video if not stream.disposition & still]
    if not moving:
        raise BadInputError(f"{path} holds no video stream, only a cover picture", "a video", "choose another file")
    known = [stream for stream in moving if stream.codec_context is not None]
    if not known:
        raise BadInputError(f"{path} is coded in a way that cannot be read here", "a common codec", "convert it")
    if len(known) > 1:
        lengths = _packets(path, stored)
        known = [s for s in known if lengths.get(s.index, 0) > 1] or known
    if len(known) == 1:
        return known[0], ()
    best = container.streams.best("video")
    chosen = next((stream for stream in known if best is not None and stream.index == best.index), known[0])
    sizes = ", ".join(f"{stream.width} x {stream.height}" for stream in known)
    return chosen, (
        f"{path.name} holds {len(known)} videos ({sizes} pixels); the one that players show first is read, "
        f"stream {chosen.index} of {chosen.width} x {chosen.height}",
    )


def _packets(path: Path, stored: dicom.Header | None) -> dict[int, int]:
    """How many of the first packets belong to each stream; a cover picture has one."""
    from av.error import FFmpegError

    found: dict[int, int] = {}
    container = _container(path, stored)
    try:
        for number, packet in enumerate(container.demux(*container.streams.video)):
            found[packet.stream_index] = found.get(packet.stream_index, 0) + bool(packet.size)
            if number == PROBED_PACKETS:
                break
    except FFmpegError:
        pass
    finally:
        container.close()
    return found
