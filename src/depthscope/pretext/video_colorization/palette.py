"""What is copied while learning: the colour of each cell as one of a few labels, drawn from the video itself."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.nn import functional

from depthscope.colour import lab_from_rgb, mirrors_lamp
from depthscope.errors import BadInputError

LEAST_CHROMA = 5.0
"""Frames without any a or b beyond it are gray."""

MOST_CELLS = 50_000
"""Looked at to choose the labels."""

HALF = 0.5
"""Share of a cell that must show coloured tissue for the cell to have a colour."""

Cells = Float[Tensor, "batch 2 rows columns"]
CellMask = Bool[Tensor, "batch rows columns"]


def cell_colours(
    images: Float[Tensor, "batch 3 height width"], content: Bool[Tensor, "batch height width"], stride: int
) -> tuple[Cells, CellMask]:
    """Mean a and b of each cell over what shows tissue and no highlight, and whether that is half of the cell.

    Args:
        images: sRGB in 0..1, sides divisible by the stride.
        content: Where tissue is shown.
        stride: Side of a cell in pixels.
    """
    valid = (content & ~mirrors_lamp(images)).to(images)[:, None]
    share = functional.avg_pool2d(valid, stride)
    mean = functional.avg_pool2d(lab_from_rgb(images)[:, 1:] * valid, stride) / share.clamp_min(1e-6)
    return mean, share[:, 0] >= HALF


def palette_of(colours: Float[Tensor, "colours 2"], labels: int, seed: int) -> Float[Tensor, "labels 2"]:
    """The labels' colours: k-means over cells of the frames that are trained on, in the order of their a.

    Raises:
        BadInputError: Nothing but gray, or fewer different colours than labels.
    """
    if not len(colours) or float(colours.abs().max()) <= LEAST_CHROMA:
        raise BadInputError(
            "the frames have no colour",
            "video in colour: what is learned is to copy it",
            "give colour recordings, not narrow gray ones",
        )
    chosen = colours.double().numpy()
    chosen = chosen[np.random.default_rng(seed).permutation(len(chosen))[:MOST_CELLS]]
    if len(np.unique(chosen, axis=0)) < labels:
        raise BadInputError(
            f"{len(np.unique(chosen, axis=0))} different colours", f"{labels} or more, as labels", "give more frames"
        )
    centres, _ = kmeans2(chosen, labels, minit="++", iter=20, rng=np.random.default_rng(seed), missing="warn")
    return torch.from_numpy(centres[np.lexsort(centres.T[::-1])]).float()


def labels_of(colours: Cells, palette: Float[Tensor, "labels 2"]) -> Int[Tensor, "batch rows columns"]:
    """The nearest label of each cell."""
    away = (colours[:, :, None] - palette.to(colours).T[None, :, :, None, None]).square().sum(1)
    return away.argmin(1)


def entropy_bits(labels: Int[Tensor, " cells"], count: int) -> float:
    """How evenly labels are used: log2 of their number at most; near 0 all cells look alike and nothing is learned."""
    share = torch.bincount(labels, minlength=count).double()
    return float(torch.special.entr(share / share.sum().clamp_min(1)).sum()) / math.log(2)
