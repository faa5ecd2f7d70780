"""What a video shows again: frames found by a picture, and keyframes that differ, from an encoder's descriptors."""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from depthscope.errors import BadInputError, require_file
from depthscope.training.devices import resolved_device
from depthscope.video.cut import WHOLE, Cut

Describe = Callable[..., Tensor]
"""From a network, the options of its run and a corpus to a descriptor of each frame."""


@dataclass(frozen=True)
class RetrievalOptions:
    """What is looked for.

    Attributes:
        query: An image of the place to find again.
        keyframes: How many frames to choose that differ; 0 for none.
        neighbours: Frames on the contact sheet.
        apart_s: Frames closer in time than this to a better one are left out of the sheet.
        every_s: Time from one frame to the next; None as in training.
        store: Where to keep the decoded frames; None nowhere.
        part: Which frames are looked at.
    """

    query: Path | None = None
    keyframes: int = 0
    neighbours: int = 11
    apart_s: float = 2.0
    every_s: float | None = None
    store: Path | None = None
    part: Cut = WHOLE


def retrieve(run: Path, source: Path, out: Path, asked: RetrievalOptions, described: Describe) -> int:
    """Writes what was found, and how alike it is.

    Args:
        run: Of a pretext task whose options can be ``restored``.
        source: Video, image folder or sequence folder.
        out: Folder for the results.
        asked: What is looked for.
        described: What the network says of frames.

    Raises:
        BadInputError: Nothing is asked for, more keyframes than there are frames, or a file is missing.
    """
    from depthscope.inference.sheets import frames_of, row_sheet, shown, title, write_keyframes
    from depthscope.networks.descriptors import farthest_first, standardised
    from depthscope.pretext import stored_options, stored_weights
    from depthscope.pretext.stored import checkpoint_of
    from depthscope.video import write_image
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    if asked.query is None and asked.keyframes == 0:
        raise BadInputError(
            "neither --query nor --keyframes", "a picture to find, or a number of keyframes", "give one"
        )
    if asked.keyframes < 0 or asked.neighbours < 1 or asked.apart_s < 0:
        raise BadInputError(
            f"--keyframes {asked.keyframes}, --neighbours {asked.neighbours}, --apart-s {asked.apart_s}",
            "0, 1 and 0 or more",
        )
    if asked.query is not None:
        require_file(asked.query, "the picture to find")
    start = time.perf_counter()
    options = stored_options(run)[1]
    network = options.restored(stored_weights(run)).to(resolved_device())
    with (
        frames_of(source, options.frames, asked.every_s, asked.store, asked.part) as corpus,
        writing_folder(out, inputs=(checkpoint_of(run), source)) as folder,
    ):
        if asked.keyframes > len(corpus):
            raise BadInputError(
                f"--keyframes {asked.keyframes} of {len(corpus)} frames",
                "no more than there are",
                "lower it, or --every-s",
            )
        descriptors = described(network, options, corpus)
        figures: dict[str, object] = {"frames": len(corpus), "keyframes": asked.keyframes}
        found = f"{asked.keyframes} keyframes"
        if asked.query is not None:
            picture, of_query = described_query(network, asked.query, options, corpus, described)
            similar = standardised(descriptors) @ standardised(of_query, descriptors)[0]
            order = similar.argsort(descending=True, stable=True)
            best = spread_in_time(corpus, order, asked.apart_s, asked.neighbours)
            write_neighbours(folder, corpus, order, similar)
            titles = [f"{title(corpus, n)}  {float(similar[n]):.2f}" for n in best]
            sheet = row_sheet([picture, *[shown(corpus, n) for n in best]], ["query", *titles])
            write_image(folder / "neighbours.png", sheet)
            nearest, when = corpus.names[best[0]], float(corpus.time_s[best[0]])
            figures |= {"nearest": nearest, "nearest_s": when, "similarity": float(similar[best[0]])}
            found = f"nearest is {nearest} at {when:.1f} s"
        if asked.keyframes:
            chosen = farthest_first(standardised(descriptors), asked.keyframes)
            write_keyframes(folder, corpus, chosen)
            in_order = chosen.sort().values.tolist()
            sheet = row_sheet([shown(corpus, n) for n in in_order], [title(corpus, n) for n in in_order])
            write_image(folder / "keyframes.png", sheet)
        write_result(folder, {**figures, "seconds": time.perf_counter() - start})
        inputs = [checkpoint_of(run), source, *([asked.query] if asked.query else [])]
        write_provenance(
            folder,
            options={name: value for name, value in asdict(asked).items() if name not in ("query", "store", "part")}
            | asked.part.options,
            inputs={str(path): content_hash(path) for path in inputs},
            seconds=time.perf_counter() - start,
        )
    print(f"{figures['frames']} frames, {found}: {out}")
    return 0


def described_query(network, query: Path, options, corpus, described: Describe):
    """A picture as a frame of the corpus, cut to what it shows as videos are, and its descriptor."""
    from depthscope.corpus import read_corpus
    from depthscope.workspace import scratch_folder

    frames = replace(options.frames, size_px=corpus.size_px, holdout=0.0)
    with scratch_folder() as place:
        folder = place / "query"
        folder.mkdir()
        shutil.copy(query, folder)
        asked = read_corpus([folder], frames, place / "store")
        return asked.frames[0].clone(), described(network, options, asked)


def spread_in_time(corpus, order, apart_s: float, count: int) -> list[int]:
    """The first frames in this order without those that are close in time to an earlier one of their video."""
    kept: list[int] = []
    for number in order.tolist():
        near = [
            one
            for one in kept
            if corpus.video[one] == corpus.video[number]
            and abs(float(corpus.time_s[one] - corpus.time_s[number])) < apart_s
        ]
        if not near:
            kept.append(number)
        if len(kept) == count:
            break
    return kept


def write_neighbours(folder: Path, corpus, order, similar) -> None:
    """All frames, the most similar first."""
    from depthscope.inference.sheets import write_rows

    rows = [
        (rank + 1, corpus.names[number], float(corpus.time_s[number]), round(float(similar[number]), 4))
        for rank, number in enumerate(order.tolist())
    ]
    write_rows(folder / "neighbours.csv", ("rank", "frame", "time_s", "similarity"), rows)
