"""``depthscope join SEQUENCE... --out DIR``: several reconstructions of one anatomy in one world and one scale."""

import time
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.progress import Progress
from tyro.conf import Positional, arg

from depthscope.errors import BadInputError, NoAnswerError
from depthscope.formats import read_sequence
from depthscope.inspection.stored import checked_verdict
from depthscope.progress import Lines
from depthscope.reconstruction.joining import write_maps
from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder


def join(
    sequences: Annotated[Positional[tuple[Path, ...]], arg(metavar="SEQUENCE...")],
    /,
    out: Path,
    accept_rejected: bool = False,
    seed: int = 0,
) -> int:
    """One map of several clips that see the same places: of one video, or of several of one patient.

    Clips are joined by frames that they share and by matches between frames of both. A joint is believed where half of
    the common points give a similarity that the other half confirms.

    Args:
        sequences: Sequence folders, as reconstruct writes them.
        out: Folder for the maps: a sequence folder map_000 for each group of clips that join.
        accept_rejected: Join also sequences whose stored verdict is not "accepted".
        seed: Of everything random.

    Returns:
        Exit code: 0 if some were joined, 3 if none were.
    """
    began, console = time.monotonic(), Console(soft_wrap=True, highlight=False)
    if len(sequences) < 2:
        raise BadInputError(f"{len(sequences)} sequence to join", "two or more", "name the folders of all clips")
    for folder in sequences:
        if note := checked_verdict(folder, accept_rejected):
            console.print(note, markup=False)
    read = unique_names([read_sequence(folder) for folder in sequences], sequences)
    with writing_folder(out, inputs=sequences) as folder:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("looking for common places", total=None)
            lines = Lines()

            def looked(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)
                lines.update("looking for common places", done, total)

            rows = write_maps(read, folder, seed, looked)
        joined = {name for row in rows for name in row["members"]}
        alone = [sequence.name for sequence in read if sequence.name not in joined]
        write_result(
            folder, {"accepted": bool(rows), "maps": rows, "alone": alone, "seconds": time.monotonic() - began}
        )
        inputs = {str(path): content_hash(path) for path in sequences}
        options = {"seed": seed, "accept_rejected": accept_rejected}
        write_provenance(folder, options=options, inputs=inputs, seconds=time.monotonic() - began)
    show(console, out, rows, alone)
    return 0 if rows else NoAnswerError.exit_code


def unique_names(read: list, folders: tuple[Path, ...]) -> list:
    """The sequences under names that differ."""
    from dataclasses import replace

    names = [sequence.name for sequence in read]
    return [
        replace(sequence, name=f"{folder.absolute().parent.name}-{sequence.name}")
        if names.count(sequence.name) > 1
        else sequence
        for sequence, folder in zip(read, folders, strict=True)
    ]


def show(console: Console, out: Path, rows: list[dict], alone: list[str]) -> None:
    """Prints the maps, and what joined none."""
    for row in rows:
        console.print(
            f"{', '.join(row['members'])}: one map of {row['registered']} frames and {row['points']} points, "
            f"{out / row['name']}",
            markup=False,
        )
        for joint in row["joints"]:
            if not joint["used"] and joint["reason"]:
                console.print(f"  {' and '.join(joint['between'])} were not joined: {joint['reason']}", markup=False)
    if alone:
        console.print(f"not joined: {', '.join(alone)}", markup=False)
    if rows:
        console.print(
            f"next: depthscope train {' '.join(str(out / row['name']) for row in rows)} --out RUN", markup=False
        )
