"""What the uses that look through a video share: its frames, keyframes as a file, and contact sheets."""

import csv
from collections.abc import Iterator, Sequence as Rows
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from depthscope.corpus import Corpus, CorpusOptions, read_corpus
from depthscope.pictures import Picture, contact_sheet
from depthscope.video.cut import WHOLE, Cut
from depthscope.workspace import scratch_folder

HEIGHT_PX = 120
"""Of a frame on a sheet."""


@contextmanager
def frames_of(
    source: Path, options: CorpusOptions, every_s: float | None, store: Path | None, part: Cut = WHOLE
) -> Iterator[Corpus]:
    """The frames of a video, image folder or sequence, all of them to look at.

    Args:
        source: The input.
        options: As the run was trained with.
        every_s: Time from one frame to the next, if another one.
        store: Where decoded frames are kept; a folder that vanishes if None.
        part: Which frames of it.

    Raises:
        BadInputError: It is no input.
    """
    chosen = replace(options, holdout=0.0, every_s=options.every_s if every_s is None else every_s)
    with scratch_folder() as place:
        yield read_corpus([source], chosen, store or place, cut=part)


def shown(corpus: Corpus, number: int) -> Picture:
    """A frame as a picture."""
    return corpus.frames[number].clone()


def title(corpus: Corpus, number: int) -> str:
    """When a frame is shown."""
    seconds = float(corpus.time_s[number])
    return f"{int(seconds) // 60}:{seconds % 60:04.1f}"


def row_sheet(pictures: Rows[Picture], titles: Rows[str], across: int = 6) -> Picture:
    """Pictures one after the other, each with its own title."""
    rows = []
    for first in range(0, len(pictures), across):
        some, names = list(pictures[first : first + across]), list(titles[first : first + across])
        while len(some) < across and first:  # rows of one width
            some.append(torch.full_like(some[0], 255))
            names.append("")
        rows.append(contact_sheet([some], names, height=HEIGHT_PX))
    return torch.cat(rows)


def write_keyframes(folder: Path, corpus: Corpus, order: Int64[Tensor, " keyframes"]) -> None:
    """``keyframes.txt``, a name a line: any number of the first lines is a choice that is as diverse as can be."""
    (folder / "keyframes.txt").write_text("".join(f"{corpus.names[number]}\n" for number in order.tolist()))


def write_rows(path: Path, names: Rows[str], rows: Rows[Rows[object]]) -> None:
    """A CSV file with a line of names."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        writer.writerows(rows)
