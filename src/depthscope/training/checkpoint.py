"""Checkpoints: written whole or not at all, and loadable without running any code they hold."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depthscope.errors import BadInputError, require_file
from depthscope.networks.encoder_file import not_finite_in
from depthscope.reading import reader
from depthscope.workspace import atomic_file

LAYOUT = 1
LAST, BEST = "checkpoint.pt", "best.pt"
WEIGHTS = ("network", "training_network")
"""What of a checkpoint is weights: never read where one is not finite, as everything predicted would be NaN."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes whole or not at all: an interrupted write leaves the older checkpoint.

    Raises:
        BadInputError: The disk is full or not writable.
    """
    try:
        with atomic_file(path) as draft, draft.open("wb") as stream:
            torch.save({"layout": LAYOUT, **content}, stream)  # given a path, it would write its name into the file
    except (OSError, RuntimeError) as error:
        cause = error.__context__ if isinstance(error.__context__, OSError) else error  # torch tells it as RuntimeError
        told = (cause.strerror if isinstance(cause, OSError) else None) or str(cause).split("\n")[0]
        way = "--resume" if path.is_file() else "give the call again"
        raise BadInputError(
            f"cannot write {path} ({told})", "a writable disk with space", f"free space and {way}"
        ) from error


@reader("a whole checkpoint", "train again, or use another file")
def load_checkpoint(path: Path, device: str = "cpu") -> dict[str, Any]:
    """The content of a checkpoint.

    Raises:
        BadInputError: It is missing, truncated, not a checkpoint of this package, or its weights are not finite.
    """
    require_file(path, "a checkpoint written by depthscope train")
    require_stored(path)
    content = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(content, dict) or content.get("layout") != LAYOUT:
        found = content.get("layout") if isinstance(content, dict) else type(content).__name__
        raise BadInputError(f"{path} has layout {found}", f"a depthscope checkpoint of layout {LAYOUT}", "train again")
    for part in WEIGHTS:
        if (bad := not_finite_in(content.get(part))) is not None:
            raise BadInputError(
                f"{path} holds weights that are not finite ({part}.{bad})",
                "numbers",
                "use an older checkpoint, or train again",
            )
    return content


def require_stored(path: Path) -> None:
    """Refuses an archive whose parts are compressed: torch stores them, and a few bytes may stand for gigabytes.

    Raises:
        BadInputError: They are.
    """
    with zipfile.ZipFile(path) as archive:
        packed = [part.filename for part in archive.infolist() if part.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise BadInputError(f"{path} is a compressed archive", "a checkpoint as torch.save writes it", "unpack it")


def weights_of(content: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """The averaged weights in a checkpoint, by name.

    Raises:
        BadInputError: It holds none, or something else in their place.
    """
    weights = content.get("network")
    if not isinstance(weights, dict) or not weights:
        raise BadInputError(f"{path} holds no weights", "a whole checkpoint", "train again")
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()):
        raise BadInputError(f"{path} holds weights that are no tensors", "a whole checkpoint", "train again")
    return weights
