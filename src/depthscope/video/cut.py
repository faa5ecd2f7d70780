"""A part of a video or of a folder of images: from here to there, and only every n-th frame."""

import re
from bisect import bisect_left
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthscope.errors import BadInputError

EXAMPLES = "seconds (12.5), minutes and seconds (1:02.5), or the name of a frame (frame_000123)"

TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?)")

IMAGE_ENDING = re.compile(r"\.[A-Za-z]\w*$")

FRAME = re.compile(r"frame_(\d+)(?:\.\w+)?")
"""A frame of a video as this package names it."""


@dataclass(frozen=True)
class Cut:
    """Which frames of a video or folder are used; times are those of the video, and the end is left out.

    Attributes:
        start: The first frame, by its time (12.5 or 1:02.5) or its name (frame_000123); from the beginning without it.
        end: The first frame that is no longer used, likewise; to the last without it.
        every: Only every n-th frame of those.
    """

    start: str = ""
    end: str = ""
    every: int = 1

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            text = getattr(self, name)
            if text and text[0] in "-+":
                raise BadInputError(f"--{name} {text}", EXAMPLES)
        if self.every < 1:
            raise BadInputError(f"--every {self.every}", "1 (all frames) or more", "2 takes every second frame")
        first, last = seconds_of(self.start), seconds_of(self.end)
        if first is not None and last is not None and last <= first:
            raise BadInputError(f"--start {self.start} --end {self.end}", "a start before the end")

    @property
    def whole(self) -> bool:
        """Whether it takes every frame."""
        return self == WHOLE

    @property
    def options(self) -> dict[str, Any]:
        """What was asked for, for the record of a result; empty where nothing was."""
        given = {"start": self.start, "end": self.end, "every": self.every}
        return {name: value for name, value in given.items() if value != getattr(WHOLE, name)}

    def __str__(self) -> str:
        return " ".join(f"--{name} {value}" for name, value in self.options.items())

    def span(self, times_s: Rows[float], names: Rows[str] = ()) -> range:
        """Numbers of the frames that it takes.

        Args:
            times_s: When each frame is shown, in order.
            names: What the frames are called without their endings, where they are the images of a folder.

        Raises:
            BadInputError: There is no such frame, or fewer than one is left.
        """
        first = 0 if not self.start else number_of("--start", self.start, times_s, names)
        stop = len(times_s) if not self.end else number_of("--end", self.end, times_s, names)
        taken = range(first, stop, self.every)
        if not taken:
            last = times_s[-1] if len(times_s) else 0.0
            raise BadInputError(
                f"{self} leaves no frame of {len(times_s)}, the last of which is shown at {last:.2f} s",
                "a part of the recording",
                "check the times",
            )
        return taken


def seconds_of(text: str) -> float | None:
    """The seconds of ``12.5``, ``1:02.5`` or ``1:00:02``; None if it is no time."""
    found = TIME.fullmatch(text)
    if found is None:
        return None
    hours, minutes, seconds = found.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds)


def number_of(flag: str, text: str, times_s: Rows[float], names: Rows[str]) -> int:
    """The number of the first frame at or after a time, or of the frame with a name.

    Args:
        flag: The option, for errors.
        text: The time or name.
        times_s: When each frame is shown, in order.
        names: What images of a folder are called; frames of a video are numbered.

    Raises:
        BadInputError: It is neither, or no frame has this name.
    """
    for name in (text, IMAGE_ENDING.sub("", text)):
        if name in names:
            return names.index(name)
    if (found := FRAME.fullmatch(text)) is not None and not names:
        if int(found[1]) >= len(times_s):
            raise BadInputError(f"{flag} {text}", f"frame_000000 to frame_{len(times_s) - 1:06d}")
        return int(found[1])
    seconds = seconds_of(text)
    if seconds is None:
        known = f"; these frames are called {names[0]} to {names[-1]}" if names else ""
        raise BadInputError(f"{flag} {text}", EXAMPLES + known)
    return bisect_left(times_s, seconds - SAME_TIME_S)


SAME_TIME_S = 1e-4
"""Times nearer than this are one: containers round them."""

WHOLE = Cut()
"""All frames."""


def check_no_part(cut: Cut, source: Path) -> None:
    """Refuses a part of what has no times: the frames of a sequence were chosen when it was reconstructed.

    Raises:
        BadInputError: A part was asked for.
    """
    if not cut.whole:
        raise BadInputError(
            f"{cut} for {source}, a sequence folder",
            "a video or a folder of images",
            "cut the video when it is reconstructed: depthscope reconstruct VIDEO --start ... --end ...",
        )
