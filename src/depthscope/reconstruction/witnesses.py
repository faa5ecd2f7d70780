"""What a reconstruction can say for itself: the matches that were hidden from mapping, beside its sequence."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.inspection import HeldOutMatches, Witnesses
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
        sampson_px: Distance from the epipolar geometry of the poses, pixels of the working images, shape (matches,);
            None where that was not kept.
    """

    frame_a: Int[Tensor, " matches"]
    frame_b: Int[Tensor, " matches"]
    pixels_a: Float[Tensor, "matches 2"]
    pixels_b: Float[Tensor, "matches 2"]
    sampson_px: Float[Tensor, " matches"] | None

    def as_witness(self) -> HeldOutMatches | None:
        """As the verdict takes them; None if there are none."""
        if not len(self.frame_a):
            return None
        return HeldOutMatches(self.frame_a, self.frame_b, self.pixels_a, self.pixels_b)

    def figures(self) -> dict[str, Any]:
        """How many, how far off (median), and what share agrees."""
        count, errors = len(self.frame_a), self.sampson_px
        if errors is None or not count:
            return {"matches": count, "median_px": None, "inlier_share": None}
        return {
            "matches": count,
            "median_px": float(errors[: 2**23].quantile(0.5)),
            "inlier_share": float((errors < INLIER_PX).double().mean()),
        }


def hidden_matches(folder: Path, sequence: Sequence) -> HiddenMatches | None:
    """The hidden matches of a folder (``held_out_matches.npz``) between frames of its sequence; None where none are.

    The file holds `names` of frames, and of each match two numbers into them (`frames`), two `pixels` and `sampson_px`.

    Raises:
        BadInputError: The file cannot be read.
    """
    path = folder / HELD_OUT
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            names = [Path(str(name)).stem for name in stored["names"]]
            frames = torch.from_numpy(stored["frames"].astype(np.int64)).reshape(-1, 2)
            pixels = torch.from_numpy(stored["pixels"].astype(np.float64)).reshape(-1, 2, 2)
            errors = torch.from_numpy(stored["sampson_px"]).double() if "sampson_px" in stored else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BadInputError(
            f"{path} cannot be read ({error})",
            "names, frames and pixels as reconstruct writes them",
            "reconstruct again",
        ) from error
    place = {image.stem: position for position, image in enumerate(sequence.images)}
    position = torch.tensor([place.get(name, -1) for name in names] or [-1])
    inside = (frames >= 0) & (frames < len(position))
    placed = torch.where(inside, position[frames.clamp(0, len(position) - 1)], -1)
    known = (placed >= 0).all(-1) & (torch.isfinite(errors) if errors is not None else True)
    placed, pixels = placed[known], pixels[known]
    errors = errors[known] if errors is not None else None
    return HiddenMatches(placed[:, 0], placed[:, 1], pixels[:, 0], pixels[:, 1], errors)


def witnesses_of(folder: Path, sequence: Sequence) -> Witnesses:
    """What the folder of a reconstruction can say on its sequence, or on what remains of it.

    Raises:
        BadInputError: The file of hidden matches cannot be read.
    """
    hidden = hidden_matches(folder, sequence)
    return Witnesses(None if hidden is None else hidden.as_witness())
