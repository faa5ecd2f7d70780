"""One walk through a video or folder: what each frame is worth, where the cuts are, which clips to reconstruct."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch

from depthscope.errors import BadInputError, NoAnswerError
from depthscope.video.content_area import ContentArea, circle_of_frame, content_area
from depthscope.video.cut import WHOLE, Cut
from depthscope.video.frames import FolderFrames, FrameSource, open_frames
from depthscope.video.movies import Frame
from depthscope.video.selection import BLACK, REPEATED, STILL, SelectionOptions, judged
from depthscope.video.sharpness import FrameQuality, SharpnessWindow, look_at, window_of
from depthscope.video.shots import Shot, Shots

Progress = Callable[[int, int | None], None]
"""Called with the number of frames done, and of how many, if that is known."""

FOLDER_WINDOW_S = 30.0
"""Length of the running median of the sharpness in a folder, whose images count as one second apart."""

AREA_FRAMES = 20
AREA_EVERY_S, CLEAR_CIRCLE = 1.0, 0.6
AREA_CHANGES = 3
"""So many looks in a row must agree on another circle before the content area is taken to have changed."""


@dataclass(frozen=True)
class SurveyOptions:
    """How a video is cut into clips.

    Attributes:
        most_keyframes: Keyframes of a clip at most; a folder of no more images is taken as it is.
        shared_keyframes: Keyframes that consecutive clips of one shot share.
        least_keyframes: Where motion gives a shot fewer, frames between them are added, as far as there are any: a
            camera that moves little still needs many looks to tell near from far.
        shortest_shot: Shots with fewer keyframes after that are left out where there are longer ones.
        selection: What makes a frame usable, and when a keyframe is due.
    """

    most_keyframes: int = 60
    shared_keyframes: int = 6
    least_keyframes: int = 40
    shortest_shot: int = 8
    selection: SelectionOptions = field(default_factory=SelectionOptions)

    def __post_init__(self) -> None:
        if self.most_keyframes < 4:
            raise BadInputError(f"most_keyframes = {self.most_keyframes}", "at least 4")
        if not 0 <= self.shared_keyframes <= self.most_keyframes // 2:
            raise BadInputError(f"shared_keyframes = {self.shared_keyframes}", "0 to half of most_keyframes")
        for name in ("least_keyframes", "shortest_shot"):
            if getattr(self, name) < 2:
                raise BadInputError(f"{name} = {getattr(self, name)}", "at least 2")


@dataclass(frozen=True)
class FrameRecord:
    """What the survey found out about one frame.

    Attributes:
        index: Its number in the video or folder.
        time_s: Seconds since the first.
        sharpness: Variance of the Laplacian inside the content area, at no more than 640 pixels.
        under_share: Share of the content area that is black.
        over_share: Share that is saturated.
        motion_px: Median motion since the last frame that was kept, in pixels of the frame; NaN where not followed.
        dropped: What it was dropped for, or "".
    """

    index: int
    time_s: float
    sharpness: float
    under_share: float
    over_share: float
    motion_px: float
    dropped: str = ""


@dataclass(frozen=True)
class ClipPlan:
    """A run of frames for one reconstruction.

    Attributes:
        name: ``clip_000``, and so on.
        frames: Numbers of all usable frames, in order.
        keyframes: Numbers of those that structure from motion gets.
        area: The content area of this clip, where it is not that of the whole survey.
    """

    name: str
    frames: tuple[int, ...]
    keyframes: tuple[int, ...]
    area: ContentArea | None = None

    def __post_init__(self) -> None:
        if not set(self.keyframes) <= set(self.frames):
            raise BadInputError(f"{self.name}: keyframes that are not among its frames", "a subset of them")
        if list(self.keyframes) != sorted(set(self.keyframes)) or list(self.frames) != sorted(set(self.frames)):
            raise BadInputError(f"{self.name}: frames out of order", "increasing numbers")


@dataclass(frozen=True)
class Survey:
    """What one walk through a video or folder found.

    Attributes:
        size_px: (width, height) of the frames, as shown.
        frames: One record for each frame that could be read; its place here is its number.
        area: Where the scope shows tissue.
        clips: What to reconstruct.
        notes: What a user should know, in sentences.
        stored_px: (width, height) before their pixels were made square; None if they were square.
        cut: Which frames of the video or folder were looked at; numbers of frames count within it.
    """

    size_px: tuple[int, int]
    frames: tuple[FrameRecord, ...]
    area: ContentArea
    clips: tuple[ClipPlan, ...]
    notes: tuple[str, ...]
    stored_px: tuple[int, int] | None = None
    cut: Cut = WHOLE


def survey(
    path: Path,
    options: SurveyOptions = SurveyOptions(),  # noqa: B008
    progress: Progress | None = None,
    cut: Cut = WHOLE,
) -> Survey:
    """Looks at every frame of a video or folder once and plans the clips; memory does not grow with its pictures.

    Args:
        path: Video file, or folder of images.
        options: How it is cut into clips.
        progress: Told after each frame.
        cut: Which of its frames.

    Raises:
        BadInputError: It is neither, holds a single frame, or shows nothing but black.
        NoAnswerError: Nothing moves, or no frame is usable.
    """
    source = open_frames(path, cut)
    notes: list[str] = []
    area, usual_redness = area_of(source)
    chosen_by_user = isinstance(source, FolderFrames) and source.count <= options.most_keyframes
    selection = (
        replace(options.selection, window_s=FOLDER_WINDOW_S) if isinstance(source, FolderFrames) else options.selection
    )
    shots = Shots(area, selection, every_frame=chosen_by_user)
    watch = AreaWatch(area)
    records: list[FrameRecord] = []
    looks = _looks(source, window_of(area), watch, notes, progress)
    for look, flaw in judged(looks, selection, usual_redness):
        if (changed := watch.changed_before(look.index)) is not None:
            shots.change_area(changed)
            notes.append(f"the content area changes at {look.time_s:.1f} s")
        spared = chosen_by_user and flaw not in ("", BLACK)
        motion_px, dropped = (float("nan"), flaw) if flaw and not spared else shots.add(look)
        records.append(_record(look, motion_px, dropped))
        if spared:
            notes.append(f"{source.image_name(look.index)} looks {flaw}; it is kept, as the folder was chosen by hand")
    clips, said = planned_clips(shots.shots, options, [record.sharpness for record in records])
    _check(path, source, records, clips)
    notes += [*area_notes(area), *_drop_notes(records), *said]
    return Survey(source.size_px, tuple(records), area, clips, tuple(notes), source.stored_px, cut)


def area_of(source: FrameSource) -> tuple[ContentArea, float]:
    """The content area, and the median redness inside, of about 20 frames spread over a video or folder.

    Args:
        source: Where the frames come from.
    """
    greys, reds = [], []
    for frame in source.spread(AREA_FRAMES):
        greys.append(_grey(frame))
        small = cv2.resize(frame.image.numpy(), (64, 48), interpolation=cv2.INTER_AREA).astype(float)
        lit = small[small.max(2) > 30]
        reds.append(float(np.median((lit[:, 0] - lit[:, 1]) / lit.sum(1))) if len(lit) else 0.0)
    if not greys:
        raise NoAnswerError(f"{source.path}: no frame could be decoded when looking ahead", "", "convert it")
    return content_area(greys), float(np.median(reds))


def planned_clips(
    shots: list[Shot], options: SurveyOptions, sharpness: list[float]
) -> tuple[tuple[ClipPlan, ...], list[str]]:
    """Clips of at most so many keyframes from shots of any length, and what to say about it.

    Args:
        shots: The shots.
        options: Limits.
        sharpness: Of each frame, by its number.
    """
    wanted = min(options.least_keyframes, options.most_keyframes)
    shots = [replace(shot, keyframes=filled(shot.frames, shot.keyframes, wanted, sharpness)) for shot in shots]
    long_enough = [shot for shot in shots if len(shot.keyframes) >= options.shortest_shot]
    if not long_enough:
        longest = max(shots, key=lambda shot: len(shot.keyframes), default=None)
        long_enough = [longest] if longest is not None and len(longest.keyframes) > 1 else []
    left_out = len(shots) - len(long_enough)
    notes = [f"{shot.why} at {shot.began_s:.1f} s" for shot in shots if shot.why]
    if left_out and long_enough:
        notes.append(f"{left_out} of {len(shots)} shots have too few keyframes and are left out")
    clips: list[ClipPlan] = []
    for shot in long_enough:
        for first, last in windows(len(shot.keyframes), options.most_keyframes, options.shared_keyframes):
            keyframes = tuple(shot.keyframes[first:last])
            ends = shot.frames[-1] if last == len(shot.keyframes) else keyframes[-1]
            frames = tuple(index for index in shot.frames if keyframes[0] <= index <= ends)
            clips.append(ClipPlan(f"clip_{len(clips):03d}", frames, keyframes, shot.area))
    return tuple(clips), notes


def filled(frames: list[int], keyframes: list[int], wanted: int, sharpness: list[float]) -> list[int]:
    """Keyframes with others added between them until there are enough: each halves the widest gap that is left.

    Args:
        frames: Numbers of all usable frames, in order.
        keyframes: Those chosen already; the first frame is one of them.
        wanted: How many there are to be, as far as there are frames.
        sharpness: Of each frame, by its number; the sharpest of the middle third of a gap is taken.
    """
    if not keyframes or len(keyframes) >= wanted or len(frames) <= wanted:
        return frames if keyframes and len(keyframes) < wanted else keyframes
    place = {index: position for position, index in enumerate(frames)}
    chosen = sorted(place[index] for index in keyframes)
    gaps = [(one - other, one, other) for one, other in pairwise([*chosen, len(frames)])]
    heapq.heapify(gaps)
    while len(chosen) < wanted:
        _, first, last = heapq.heappop(gaps)
        third = (last - first - 1) // 3
        middle = range(first + 1 + third, last - third)
        best = max(middle, key=lambda position: sharpness[frames[position]])
        chosen.append(best)
        for part in ((first, best), (best, last)):
            heapq.heappush(gaps, (part[0] - part[1], *part))
    return [frames[position] for position in sorted(chosen)]


def windows(count: int, most: int, shared: int) -> list[tuple[int, int]]:
    """Runs of nearly equal length that cover `count` things, with `shared` things in common between neighbours.

    Args:
        count: How many things.
        most: Things in a run at most.
        shared: Things in common.

    Example:
        >>> windows(100, 60, 6)
        [(0, 53), (47, 100)]
    """
    if count <= most:
        return [(0, count)]
    runs = -(-(count - shared) // (most - shared))
    length = (count - shared) / runs
    return [(round(i * length), round((i + 1) * length) + shared) for i in range(runs)]


class AreaWatch:
    """Looks at the rim every second, and notices when the circle becomes another one for good.

    Args:
        area: The content area to begin with.
    """

    def __init__(self, area: ContentArea) -> None:
        self.area, self.next_s = area, 0.0
        self.differing: list[tuple[int, ContentArea]] = []
        self.changes: list[tuple[int, ContentArea]] = []

    def look(self, frame: Frame) -> bool:
        """Looks at one frame, if it is time; whether the area has changed."""
        if self.area.radius_px is None or frame.time_s < self.next_s:
            return False
        self.next_s = frame.time_s + AREA_EVERY_S
        found = circle_of_frame(_grey(frame), self.area)
        if found is None or found.confidence < CLEAR_CIRCLE:
            return False
        if self._alike(found, self.area, self.area.spread_px):
            self.differing.clear()
            return False
        if self.differing and not self._alike(found, self.differing[-1][1], 0.0):
            self.differing.clear()
        self.differing.append((frame.index, found))
        if len(self.differing) < AREA_CHANGES:
            return False
        self.area = found
        self.changes.append((self.differing[0][0], found))
        self.differing.clear()
        return True

    def changed_before(self, index: int) -> ContentArea | None:
        """The area that holds from this frame on, if it has changed since the last time this was asked."""
        if self.changes and index >= self.changes[0][0]:
            return self.changes.pop(0)[1]
        return None

    @staticmethod
    def _alike(one: ContentArea, other: ContentArea, slack_px: float) -> bool:
        assert one.radius_px is not None and other.radius_px is not None
        away = float(np.hypot(*np.subtract(one.centre_px, other.centre_px)))
        limit = 0.05 * other.radius_px
        return away <= limit + slack_px and abs(one.radius_px - other.radius_px) <= limit


def _looks(
    source: FrameSource, window: SharpnessWindow, watch: AreaWatch, notes: list[str], progress: Progress | None
) -> Iterator[FrameQuality]:
    for done, frame in enumerate(source.walk(notes.append), 1):
        if watch.look(frame):
            window = window_of(watch.area)
        yield look_at(frame, window)
        if progress is not None:
            progress(done, source.count)


def _grey(frame: Frame) -> torch.Tensor:
    return torch.from_numpy(cv2.cvtColor(frame.image.numpy(), cv2.COLOR_RGB2GRAY))


def _record(look: FrameQuality, motion_px: float, dropped: str) -> FrameRecord:
    return FrameRecord(look.index, look.time_s, look.sharpness, look.under_share, look.over_share, motion_px, dropped)


def _check(path: Path, source: FrameSource, records: list[FrameRecord], clips: tuple[ClipPlan, ...]) -> None:
    """Refuses what no structure from motion can be made of."""
    if len(records) < 2:
        raise BadInputError(
            f"{path} holds {len(records)} frame", "at least two that show the same place", "record a video"
        )
    reasons = Counter(record.dropped for record in records)
    if reasons[BLACK] == len(records):
        raise BadInputError(
            f"{path} is black from start to end", "a recording with the light on", "choose another file"
        )
    if clips:
        return
    if reasons[STILL] + reasons[REPEATED] >= 0.5 * (len(records) - reasons[BLACK]) - 1:
        raise NoAnswerError(
            f"nothing moves in {path}: {reasons[STILL] + reasons[REPEATED]} of {len(records)} frames show the same as "
            "the one before",
            "a camera that moves, since depth comes from parallax",
            "choose a part of the video in which the scope moves (--start, --end)",
        )
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common() if reason)
    raise NoAnswerError(
        f"no run of usable frames in {path} ({told or 'every frame shows another scene'})",
        "a stretch of sharp, lit frames of one scene",
        "choose a better part of the video (--start, --end)",
    )


def area_notes(area: ContentArea) -> Iterable[str]:
    """What a user should know of the content area, in sentences."""
    if area.packing:
        used, left_out = ("left", "right") if area.packing == "side by side" else ("upper", "lower")
        yield (
            f"each frame holds two pictures of one scene, {area.packing}, as a stereo scope gives them: the {used} one "
            f"is used, the {left_out} one left out; give the video of one eye for the whole of its pixels"
        )
    for left, top, width, height in area.insets_px:
        yield (
            f"a second picture of {width} x {height} pixels lies in each frame at ({left}, {top}), beside the scope's: "
            "it is left out"
        )
    if area.shape == "none":
        if area.confidence < 1:
            yield (
                "the frames have dark parts at their sides, but no border that is certain "
                f"(confidence {1 - area.confidence:.2f}): the whole frame is taken as content"
            )
        return
    if area.spread_px > 0.004 * max(area.size_px):
        yield f"the scope's disc moves by up to {area.spread_px:.0f} pixels within the frame"


def _drop_notes(records: list[FrameRecord]) -> Iterable[str]:
    reasons = Counter(record.dropped for record in records if record.dropped)
    for reason, count in reasons.most_common():
        yield f"{count} of {len(records)} frames dropped: {reason}"
