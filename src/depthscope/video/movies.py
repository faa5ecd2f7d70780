"""Video files: frames in, one at a time, and out."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.video.stills import Image

VIDEO_ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".mpg", ".mpeg", ".wmv", ".m4v", ".webm")


def is_video(path: Path) -> bool:
    """Whether a file's name says that it is a video."""
    return Path(path).is_file() and Path(path).suffix.lower() in VIDEO_ENDINGS


def video_size(path: Path) -> tuple[int, tuple[int, int]]:
    """How many frames a video holds, and their (width, height); every packet is looked at, none decoded but the first.

    Raises:
        BadInputError: It cannot be opened, or holds no video.
    """
    with _opened_video(path) as container:
        stream = container.streams.video[0]
        count = sum(1 for packet in container.demux(stream) if packet.size)
        size = stream.codec_context.width, stream.codec_context.height
    if not count:
        raise BadInputError(f"{path} holds no frames", "a video with at least one", "record it again")
    return count, size


def read_video(path: Path) -> Iterator[Image]:
    """The frames of a video as sRGB bytes, one at a time.

    Raises:
        BadInputError: It cannot be opened, or holds no video.
    """
    with _opened_video(path) as container:
        for frame in container.decode(video=0):
            yield torch.from_numpy(frame.to_ndarray(format="rgb24"))


def _opened_video(path: Path) -> Any:
    import av

    try:
        container = av.open(str(path))
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"{path} cannot be opened as a video ({str(error).splitlines()[0]})",
            "a video that players show",
            "convert it",
        ) from error
    if not container.streams.video:
        container.close()
        raise BadInputError(f"{path} holds no video stream", "a video", "choose another file")
    return container


def write_video(path: Path, frames: Iterable[Image], fps: float | int) -> Path:
    """Writes frames as H.264 in an MP4 file (yuv420p, which every player shows).

    Odd widths and heights are made even by repeating the last column or row.

    Args:
        path: The file to write.
        frames: sRGB frames of one size, shape (height, width, 3) each; drawn one at a time.
        fps: Frames per second.

    Raises:
        BadInputError: There are no frames, or they differ in size.
    """
    import av  # only here: reading stills should not load a video library

    path, shape = Path(path), None
    try:
        with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": "18", "preset": "medium"}
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
