"""``depthscope predict`` of a run that learned jigsaw puzzles: there is nothing to predict."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.errors import BadInputError


def jigsaw(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    input: Annotated[Positional[Path], arg(metavar="INPUT")],  # noqa: A002 - the name on the command line
    /,
    out: Path,
) -> int:
    """A solved puzzle is of no use to anybody: its encoder is.

    Args:
        run: Folder of a run of depthscope pretrain jigsaw.
        input: Video, image folder or sequence folder.
        out: Folder for nothing.
    """
    raise BadInputError(
        f"{run} learned jigsaw puzzles",
        "a run that writes something: jigsaw leaves an encoder to start from",
        f"use it with depthscope train SEQUENCE... --encoder {run} --out DEPTH",
    )
