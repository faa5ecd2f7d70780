"""``depthscope predict`` of a run that learned exemplars: where a picture was seen before, and keyframes."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import Positional, arg

from depthscope.errors import BadInputError, require_file


def exemplar(
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
) -> int:
    """The frames of a video that show the same as a picture, or keyframes that differ.

    Args:
        run: Folder of a run of depthscope pretrain exemplar.
        input: Video, image folder or sequence folder.
        out: Folder for ``neighbours.csv`` and ``neighbours.png``, ``keyframes.txt`` and ``keyframes.png``.
        query: An image of the place to find again.
        keyframes: How many frames to choose that differ; 0 for none.
        neighbours: Frames on the contact sheet; the table has all.
        apart_s: Frames closer in time than this to a better one are left out of the sheet.
        every_s: Time from one frame to the next (default: as in training).
        store: Where to keep the decoded frames (default: nowhere).
    """
    from depthscope.commands.uses.sheets import frames_of, row_sheet, shown, title, write_keyframes
    from depthscope.networks.descriptors import farthest_first, standardised
    from depthscope.pretext import stored_options, stored_weights
    from depthscope.pretext.exemplar import Exemplar, descriptors
    from depthscope.pretext.stored import checkpoint_of
    from depthscope.video import write_image
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    if query is None and keyframes == 0:
        raise BadInputError(
            "neither --query nor --keyframes", "a picture to find, or a number of keyframes", "give one"
        )
    if keyframes < 0 or neighbours < 1 or apart_s < 0:
        raise BadInputError(
            f"--keyframes {keyframes}, --neighbours {neighbours}, --apart-s {apart_s}", "0, 1 and 0 or more"
        )
    if query is not None:
        require_file(query, "the picture to find")
    start = time.perf_counter()
    options = stored_options(run)[1]
    assert isinstance(options, Exemplar)
    network = options.restored(stored_weights(run)).to("cuda" if torch.cuda.is_available() else "cpu")
    with (
        frames_of(input, options.frames, every_s, store) as corpus,
        writing_folder(out, inputs=(checkpoint_of(run), input)) as folder,
    ):
        if keyframes > len(corpus):
            raise BadInputError(
                f"--keyframes {keyframes} of {len(corpus)} frames", "no more than there are", "lower it, or --every-s"
            )
        described = descriptors(network, corpus)
        figures = {"frames": len(corpus), "keyframes": keyframes}
        if query is not None:
            picture, asked = described_query(network, query, options, corpus)
            similar = standardised(described) @ standardised(asked, described)[0]
            order = similar.argsort(descending=True, stable=True)
            best = spread_in_time(corpus, order, apart_s, neighbours)
            write_neighbours(folder, corpus, order, similar)
            titles = [f"{title(corpus, n)}  {float(similar[n]):.2f}" for n in best]
            sheet = row_sheet([picture, *[shown(corpus, n) for n in best]], ["query", *titles])
            write_image(folder / "neighbours.png", sheet)
            figures |= {"nearest": corpus.names[best[0]], "nearest_s": float(corpus.time_s[best[0]])}
            figures |= {"similarity": float(similar[best[0]])}
        if keyframes:
            chosen = farthest_first(standardised(described), keyframes)
            write_keyframes(folder, corpus, chosen)
            inorder = chosen.sort().values.tolist()
            sheet = row_sheet([shown(corpus, n) for n in inorder], [title(corpus, n) for n in inorder])
            write_image(folder / "keyframes.png", sheet)
        write_result(folder, {**figures, "seconds": time.perf_counter() - start})
        hashed = [checkpoint_of(run), input, *([query] if query else [])]
        write_provenance(
            folder,
            options={"neighbours": neighbours, "keyframes": keyframes, "apart_s": apart_s, "every_s": every_s},
            inputs={str(path): content_hash(path) for path in hashed},
            seconds=time.perf_counter() - start,
        )
    told = f"nearest is {figures['nearest']} at {figures['nearest_s']:.1f} s" if query else f"{keyframes} keyframes"
    print(f"{figures['frames']} frames, {told}: {out}")
    return 0


def described_query(network, query: Path, options, corpus):
    """A picture as a frame of the corpus, cut to what it shows as videos are, and its descriptor."""
    from depthscope.corpus import read_corpus
    from depthscope.pretext.exemplar import descriptors
    from depthscope.workspace import scratch_folder

    frames = replace(options.frames, size_px=corpus.size_px, holdout=0.0)
    with scratch_folder() as place:
        folder = place / "query"
        folder.mkdir()
        shutil.copy(query, folder)
        asked = read_corpus([folder], frames, place / "store")
        return asked.frames[0].clone(), descriptors(network, asked)


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
    from depthscope.commands.uses.sheets import write_rows

    rows = [
        (rank + 1, corpus.names[number], float(corpus.time_s[number]), round(float(similar[number]), 4))
        for rank, number in enumerate(order.tolist())
    ]
    write_rows(folder / "neighbours.csv", ("rank", "frame", "time_s", "similarity"), rows)
