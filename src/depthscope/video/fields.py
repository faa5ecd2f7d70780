"""Interlaced video: noticed by its flags or by its comb, and made whole frames again."""

from collections.abc import Iterator
from typing import Any

import numpy as np

COMB_RATIO = 1.25
"""Neighbouring lines that differ so much more than lines two apart belong to different moments."""

COMB_LEVEL = 6.0
"""Grey levels that lines must differ by to count: below is noise."""


def is_combed(frame: Any) -> bool:
    """Whether a decoded frame holds two moments in its even and odd lines.

    In a picture of one moment, lines two apart differ more than neighbours; where something moved between two fields it
    is the other way round. Only the columns where neighbouring lines differ clearly are asked. The comb says nothing
    about a still scene, where de-interlacing would change nothing either.

    Args:
        frame: A PyAV video frame.
    """
    if frame.height < 64 or frame.width < 64:
        return False
    width = min(frame.width, 640)  # the lines must stay as they are, the columns need not
    grey = frame.reformat(width=width, height=frame.height, format="gray").to_ndarray().astype(np.int16)
    grey = grey[: grey.shape[0] // 2 * 2]
    between_fields = np.abs(grey[1:-2:2] - (grey[:-3:2] + grey[2:-1:2]) // 2)
    within_field = np.abs(grey[2:-1:2] - grey[:-3:2])
    clear = np.maximum(between_fields, within_field) > COMB_LEVEL
    if clear.mean() < 0.002:
        return False
    return float(between_fields[clear].mean()) > COMB_RATIO * max(float(within_field[clear].mean()), 1.0)


class Deinterlacer:
    """FFmpeg's bwdif as a filter from interlaced frames to as many whole ones, with the times of the first fields."""

    def __init__(self, first: Any) -> None:
        from av.filter import Graph

        self.graph = Graph()
        source = self.graph.add_buffer(
            width=first.width,
            height=first.height,
            format=first.format,
            time_base=first.time_base,
        )
        bwdif = self.graph.add("bwdif", "mode=send_frame:parity=auto:deint=all")
        sink = self.graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        self.graph.configure()
        self.first = (first.width, first.height, first.format.name)

    def next(self, frame: Any) -> Iterator[Any]:
        """The whole frames that one more interlaced frame completes."""
        if (frame.width, frame.height, frame.format.name) != self.first:
            yield frame
            return
        self.graph.push(frame)
        yield from self._ready()

    def rest(self) -> Iterator[Any]:
        """What is still held back when the video ends."""
        self.graph.push(None)
        yield from self._ready()

    def _ready(self) -> Iterator[Any]:
        from av.error import BlockingIOError as NotYet, EOFError as NoMore

        while True:
            try:
                yield self.graph.pull()
            except (NotYet, NoMore):
                return
