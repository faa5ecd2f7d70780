"""Checkpoints: written whole or not at all, and loadable without running any code they hold."""

import os
from pathlib import Path
from typing import Any

import torch

from depthscope.errors import BadInputError
from depthscope.networks.encoder_file import not_finite_in

LAYOUT = 1
LAST, BEST = "checkpoint.pt", "best.pt"
WEIGHTS = ("network", "training_network")
"""What of a checkpoint is weights: never read where one is not finite, as everything predicted would be NaN."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes to a temporary name, then renames: an interrupted write leaves the older checkpoint.

    Raises:
        BadInputError: The disk is full or not writable.
    """
    draft = path.with_name(f".{path.name}.partial")
    try:
        torch.save({"layout": LAYOUT, **content}, draft)
        os.replace(draft, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        draft.unlink(missing_ok=True)
        raise BadInputError(
            f"cannot write {path} ({error})".split("\n")[0], "a writable disk with space", "free space and --resume"
        ) from error


def load_checkpoint(path: Path, device: str = "cpu") -> dict[str, Any]:
    """The content of a checkpoint.

    Raises:
        BadInputError: It is missing, truncated, not a checkpoint of this package, or its weights are not finite.
    """
    if not path.is_file():
        raise BadInputError(f"{path} is missing", "a checkpoint written by depthscope train", "check the run folder")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # a damaged zip archive fails in many ways
        raise BadInputError(
            f"{path} cannot be read ({type(error).__name__})", "a whole checkpoint", "train again, or use another file"
        ) from error
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
