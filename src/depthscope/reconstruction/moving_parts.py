"""Masks of a clip in which something moves by itself: features keep off it, and so do the checks of the verdict."""

import json
import shutil
from pathlib import Path
from statistics import median

import numpy as np
import torch

from depthscope.inspection.evidence import MOVING
from depthscope.video import list_images, read_grey, write_image
from depthscope.video.independent_motion import independent_motion

LEAST_MOVING = 0.01
"""Share of the picture (median over the frames) below which another attempt is not worth its time."""

MASKED = (
    "what does not move with the rest of the picture ({:.0%} of it, median over the frames) was masked, and poses come "
    "from the rest; depth of tissue that moves by itself is not to be trusted"
)


def mask_moving_parts(clip: Path, out: Path) -> float:
    """Writes ``masks`` without what moves by itself, and ``moving`` with it.

    Args:
        clip: With ``images``, ``masks`` and ``mask.png``.
        out: Folder to write; a finished one is not made again.

    Returns:
        Share of the usable picture that moves by itself, median over the frames.
    """
    shares = out / "moving.json"
    if not shares.is_file():
        draft = out.with_suffix(".partial")
        shutil.rmtree(draft, ignore_errors=True)
        images = list_images(clip / "images")
        paths = [clip / "masks" / f"{image.name}.png" for image in images]
        usable = [read_grey(path if path.is_file() else clip / "mask.png").numpy() > 127 for path in paths]
        found = independent_motion([np.ascontiguousarray(read_grey(image).numpy()) for image in images], usable)
        for name in ("masks", MOVING):
            (draft / name).mkdir(parents=True)
        for path, whole, moving in zip(paths, usable, found.masks, strict=True):
            write_image(draft / "masks" / path.name, torch.from_numpy(np.uint8(255) * (whole & ~moving)))
            write_image(draft / MOVING / path.name, torch.from_numpy(np.uint8(255) * moving))
        (draft / shares.name).write_text(json.dumps(found.shares))
        shutil.rmtree(out, ignore_errors=True)
        draft.replace(out)
    return median(json.loads(shares.read_text("utf-8")))
