"""What a reconstruction can say for itself: the matches that were hidden from mapping, beside its sequence."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from depthscope.inspection import HeldOutMatches
from depthscope.sequence import Sequence

HELD_OUT = "held_out_matches.npz"

INLIER_PX = 2.0
"""A hidden match this near to the epipolar line agrees, in pixels of the working images."""


@dataclass(frozen=True, eq=False)
class HiddenMatches:
    """Verified matches that mapping never saw, between registered frames.

    Attributes:
        frame_a: Position of the first frame in the sequence, shape (matches,).
        frame_b: Of the second.
        pixels_a: Where in the first image, shape (matches, 2).
        pixels_b: Where in the second.
        sampson_px: Distance from the epipolar geometry of the poses, pixels of the working images, shape (matches,).
    """

    frame_a: Int[Tensor, " matches"]
    frame_b: Int[Tensor, " matches"]
    pixels_a: Float[Tensor, "matches 2"]
    pixels_b: Float[Tensor, "matches 2"]
    sampson_px: Float[Tensor, " matches"]

    def as_witness(self) -> HeldOutMatches | None:
        """As the verdict takes them; None if there are none."""
        if not len(self.frame_a):
            return None
        return HeldOutMatches(self.frame_a, self.frame_b, self.pixels_a, self.pixels_b)

    def figures(self) -> dict[str, Any]:
        """How many, how far off (median), and what share agrees."""
        count = len(self.sampson_px)
        return {
            "matches": count,
            "median_px": float(self.sampson_px.quantile(0.5)) if 0 < count < 2**24 else None,
            "inlier_share": float((self.sampson_px < INLIER_PX).double().mean()) if count else None,
        }


def hidden_matches(folder: Path, sequence: Sequence) -> HiddenMatches | None:
    """The hidden matches of a clip's folder between frames of its sequence; None where none were hidden."""
    path = folder / HELD_OUT
    if not path.is_file():
        return None
    with np.load(path) as stored:
        names, frames, pixels, errors = (stored[key] for key in ("names", "frames", "pixels", "sampson_px"))
    placed = {image.name: position for position, image in enumerate(sequence.images)}
    position = np.array([placed.get(Path(str(name)).name, -1) for name in names], dtype=np.int64)
    positions = position[frames] if len(frames) else frames.astype(np.int64)
    known = (positions >= 0).all(1) & np.isfinite(errors)
    return HiddenMatches(
        torch.from_numpy(positions[known, 0]),
        torch.from_numpy(positions[known, 1]),
        torch.from_numpy(pixels[known, 0]),
        torch.from_numpy(pixels[known, 1]),
        torch.from_numpy(errors[known]),
    )
