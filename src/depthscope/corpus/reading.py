"""From videos, image folders and sequences to a corpus: each is decoded once into a file of bytes."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence as Rows
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from depthscope.corpus.corpus import Corpus, held_out
from depthscope.corpus.window import Window
from depthscope.errors import BadInputError
from depthscope.formats import is_truth, read_sequence, read_truth, recognised
from depthscope.reading import json_of
from depthscope.video import (
    WHOLE,
    Cut,
    FolderFrames,
    Frame,
    FrameSource,
    MovieFrames,
    content_area,
    image_size,
    open_frames,
)
from depthscope.video.static_marks import static_marks
from depthscope.video.stillness import shows_one_picture
from depthscope.video.windows import Box, content_box, fitting_size, window_around
from depthscope.workspace import atomic_folder, content_hash

LAYOUT = 2
"""Raised whenever the files of a store change their meaning, so that older stores are made again."""

LOOKED_AT = 20
"""Frames of each video that its content area and its marks are found from."""

SAME_TIME = 0.999
"""Share of the spacing from which the next frame is taken: times of frames are rounded."""

Told = Callable[[int], None]


@dataclass(frozen=True)
class CorpusOptions:
    """How video becomes a corpus.

    Attributes:
        size_px: (width, height) of all frames; None takes `area_px` in the shape of the middle one of the videos.
        area_px: About so many pixels.
        divisor: Both sides are divisible by it.
        every_s: Time from one frame to the next; images of a folder count as one second apart.
        most: No more frames than this, over all videos; they are then spaced wider.
        holdout: Share that is kept from training: whole videos where there are three, else the end of each.
    """

    size_px: tuple[int, int] | None = None
    area_px: int = 20_000
    divisor: int = 32
    every_s: float = 1.0
    most: int = 20_000
    holdout: float = 0.1

    def __post_init__(self) -> None:
        if self.size_px is not None and any(side < 1 or side % self.divisor for side in self.size_px):
            raise BadInputError(f"frames.size_px {self.size_px}", f"positive multiples of {self.divisor}")
        if self.area_px < self.divisor**2 or self.divisor < 1:
            raise BadInputError(f"frames.area_px {self.area_px}", f"{self.divisor**2} or more")
        if not 0 <= self.every_s < float("inf") or self.most < 1 or not 0 <= self.holdout < 1:
            raise BadInputError(
                f"frames.every_s {self.every_s}, most {self.most}, holdout {self.holdout}",
                "seconds from 0, 1 frame or more, and a share of 0 to below 1",
            )


def read_corpus(
    inputs: Rows[Path], options: CorpusOptions, store: Path, told: Told | None = None, cut: Cut = WHOLE
) -> Corpus:
    """The frames of videos, image folders and sequences; decoded once and kept in `store`.

    Args:
        inputs: Videos, folders of images, folders of sequences.
        options: See `CorpusOptions`.
        store: Folder for the bytes. Its entries are named by a hash of what is in them, so it may be shared.
        told: Called with the number of frames that each step brought.
        cut: Which frames of every input are looked at.

    Raises:
        BadInputError: An input is no video and no images, shows no tissue, or shows one picture all the time.
    """
    opened = [Input.of(Path(path), cut) for path in inputs]
    names = [one.name for one in opened]
    if not opened:
        raise BadInputError("no inputs", "at least one video or folder of images")
    if len(set(names)) < len(names):
        names = [f"{number:02d}-{name}" for number, name in enumerate(names)]
    boxes = [one.box for one in opened]
    size = _common_size(boxes, options)
    windows = [_window(box, one.frames.size_px, size) for box, one in zip(boxes, opened, strict=True)]
    spacing = max(options.every_s, sum(one.frames.duration_s for one in opened) / options.most)
    parts = []
    for one, window in zip(opened, windows, strict=True):
        part = _stored(one, window, replace(options, every_s=spacing), Path(store), told)
        _check_changes(one, part, window)
        parts.append(part)
    video = torch.cat([torch.full((len(part.names),), n) for n, part in enumerate(parts)])
    times = torch.cat([part.times for part in parts])
    kept, apart = held_out(video, times, options.holdout)
    content = [torch.from_numpy(w.cut(o.content.astype(np.uint8)) > 0) for o, w in zip(opened, windows, strict=True)]
    return Corpus(
        frames=parts[0].frames if len(parts) == 1 else torch.cat([part.frames for part in parts]),
        content=torch.stack(content),
        video=video,
        time_s=times,
        names=tuple(name for part in parts for name in part.names),
        videos=tuple(names),
        sources=tuple(Path(path) for path in inputs),
        windows=tuple(windows),
        kept=kept,
        apart=apart,
        cut=cut,
    )


def open_input(path: Path, cut: Cut = WHOLE) -> tuple[FrameSource, np.ndarray | None]:
    """The frames of a video, a folder of images or of a sequence, and where they show tissue if the sequence says so.

    Raises:
        BadInputError: It is none of these, or a part of a sequence is asked for.
    """
    if not (path.is_dir() and recognised(path)):
        return open_frames(path, cut), None
    if not cut.whole:
        raise BadInputError(f"{cut} for {path}, a sequence folder", "a video or a folder of images", "leave it away")
    clip = read_truth(path) if is_truth(path) else read_sequence(path)
    frames = FolderFrames(path, tuple(clip.images), image_size(clip.images[0]))
    return frames, None if clip.mask is None else clip.mask.numpy()


@dataclass(frozen=True, eq=False)
class Input:
    """An input, opened.

    Attributes:
        name: What it is called.
        path: Where it is.
        frames: Its frames.
        content: Where they show tissue, at full size.
    """

    name: str
    path: Path
    frames: FrameSource
    content: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, path: Path, cut: Cut = WHOLE) -> "Input":
        """Opens a video, a folder of images or of a sequence.

        Args:
            path: Where it is.
            cut: Which of its frames.

        Raises:
            BadInputError: It is none of these, or shows no tissue.
        """
        source, mask = open_input(path, cut)
        if mask is None or mask.shape != source.size_px[::-1]:
            looked = [frame.image for frame in source.spread(LOOKED_AT)]
            greys = [torch.from_numpy(cv2.cvtColor(image.numpy(), cv2.COLOR_RGB2GRAY)) for image in looked]
            mask = content_area(greys).mask().numpy()
            overlay, _ = static_marks((image.numpy() for image in looked), mask).at(source.size_px)
            mask = mask & ~overlay
        if not mask.any():
            raise BadInputError(f"{path} shows no tissue", "a video with a content area", "leave it out")
        return cls(path.resolve().stem, path, source, mask)

    @property
    def box(self) -> Box:
        """Around what shows tissue."""
        return content_box(torch.from_numpy(self.content), self.frames.size_px)

    def window(self, options: CorpusOptions) -> Window:
        """The window through which the frames of this input alone would become a corpus."""
        return _window(self.box, self.frames.size_px, _common_size([self.box], options))


@dataclass(frozen=True, eq=False)
class _Part:
    frames: Tensor
    times: Tensor
    names: tuple[str, ...]


def _common_size(boxes: list[Box], options: CorpusOptions) -> tuple[int, int]:
    """The wanted size, or one in the shape of the middle one of the boxes."""
    by_shape = sorted(boxes, key=lambda box: (box[2] - box[0]) / (box[3] - box[1]))
    return options.size_px or fitting_size(by_shape[len(boxes) // 2], options.area_px, options.divisor)


def _window(box: Box, source_px: tuple[int, int], size_px: tuple[int, int]) -> Window:
    (left, top), window_px = window_around(box, size_px)
    return Window(left, top, window_px, source_px, size_px)


def _stored(one: Input, window: Window, options: CorpusOptions, store: Path, told: Told | None) -> _Part:
    """The frames of one input from the store, which is made first where it is missing."""
    hashed = one.frames.files if isinstance(one.frames, FolderFrames) else (one.path,)
    used = one.frames.part if isinstance(one.frames, MovieFrames) else None  # of a folder: the files that are hashed
    parts = [] if used is None else [asdict(used)]
    options_text = json.dumps([LAYOUT, asdict(window), options.every_s, *parts])
    key = f"{content_hash(*hashed)[:24]}-{hashlib.sha256(options_text.encode()).hexdigest()[:12]}"
    place = store / f"{one.name}-{key}"
    if not (place / "frames.json").is_file():
        _write(one, window, options.every_s, place, told)
    description = json_of(place / "frames.json", "a store of frames", remedy=f"remove {place}: it is made again")
    width, height = window.size_px
    shape = (len(description["names"]), height, width, 3)
    frames = np.memmap(place / "frames.u8", np.uint8, mode="c", shape=shape)
    times = torch.tensor(description["times_s"], dtype=torch.float64)
    return _Part(torch.from_numpy(frames), times, tuple(description["names"]))


def _check_changes(one: Input, part: _Part, window: Window) -> None:
    """Refuses a still: what tells views, patches or moments apart cannot be learned from one picture.

    Raises:
        BadInputError: All frames show the same.
    """
    step = max(1, len(part.names) // LOOKED_AT)
    some = (frame.numpy() for frame in part.frames[::step])
    if shows_one_picture(some, window.cut(one.content.astype(np.uint8)) > 0):
        raise BadInputError(
            f"{one.path} shows one picture in all of its {len(part.names)} frames",
            "a video in which the scope or the scene moves",
            "leave it out, or choose another recording",
        )


def _write(one: Input, window: Window, every_s: float, place: Path, told: Told | None) -> None:
    names, times = [], []
    with atomic_folder(place) as draft:
        with (draft / "frames.u8").open("wb") as stream:
            for frame in thinned(one.frames, every_s):
                stream.write(np.ascontiguousarray(window.cut(frame.image.numpy())).tobytes())
                names.append(one.frames.name_of(frame.index))
                times.append(frame.time_s)
                if told is not None:
                    told(1)
        (draft / "frames.json").write_text(json.dumps({"names": names, "times_s": times}))


def thinned(frames: FrameSource, every_s: float) -> Iterator[Frame]:
    """Frames at least so far apart in time."""
    due = 0.0
    for frame in frames:
        if frame.time_s >= due:
            yield frame
            due = frame.time_s + SAME_TIME * every_s
