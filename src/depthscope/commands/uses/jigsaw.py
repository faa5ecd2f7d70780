"""``depthscope predict`` of a run that learned jigsaw puzzles: where a picture was seen before, and keyframes."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.commands.flags import Part
from depthscope.video.cut import WHOLE


def jigsaw(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    input: Annotated[Positional[Path], arg(metavar="INPUT")],  # noqa: A002 - the name on the command line
    /,
    out: Path,
    query: Path | None = None,
    keyframes: int = 0,
    neighbours: int = 11,
    apart_s: float = 2.0,
    every_s: float | None = None,
    store: Path | None = None,
    part: Part = WHOLE,
) -> int:
    """The frames of a video that show the same as a picture, or keyframes that differ.

    Args:
        run: Folder of a run of depthscope pretrain jigsaw.
        input: Video, image folder or sequence folder.
        out: Folder for ``neighbours.csv`` and ``neighbours.png``, ``keyframes.txt`` and ``keyframes.png``.
        query: An image of the place to find again.
        keyframes: How many frames to choose that differ; 0 for none.
        neighbours: Frames on the contact sheet; the table has all.
        apart_s: Frames closer in time than this to a better one are left out of the sheet.
        every_s: Time from one frame to the next (default: as in training).
        store: Where to keep the decoded frames (default: nowhere).
        part: Which frames of it are used.
    """
    from depthscope.inference.retrieval import RetrievalOptions, retrieve
    from depthscope.pretext.jigsaw import Jigsaw, descriptors

    def described(network, options, corpus):
        assert isinstance(options, Jigsaw)
        return descriptors(network, corpus, options.tiles)

    return retrieve(
        run, input, out, RetrievalOptions(query, keyframes, neighbours, apart_s, every_s, store, part), described
    )
