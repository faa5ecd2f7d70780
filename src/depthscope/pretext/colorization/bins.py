"""The plane of colours cut into bins: which there are, how a colour is shared between them, and how rare each is."""

from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from depthscope.colour import lab_from_rgb

GRID = 10.0
"""Distance of the bins in a and b."""

SPREAD = 5.0
"""Standard deviation, in a and b, of the weights of the bins about a colour, and of the smoothing of the prior."""

PUBLISHED_BESIDE = ((40.0, 90.0), (100.0, -90.0), (100.0, -10.0), (100.0, 0.0))
"""What the 313 released bins of Zhang et al. have beyond the 309 corners of the cells that sRGB reaches."""

Bins = Float[Tensor, "bins 2"]
Colours = Float[Tensor, "colours 2"]


def corners(cells: Int[Tensor, "cells 2"]) -> Bins:
    """Centres of the bins about cells of the grid: the corners of each, every one once, in order."""
    around = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    return GRID * torch.unique((cells[:, None] + around).flatten(0, 1), dim=0).float()


def occupied(colours: Colours, least: float = 0.0) -> Int[Tensor, "cells 2"]:
    """Cells of the grid that hold more than a share `least` of the colours."""
    cells, counts = torch.unique(torch.floor(colours / GRID).long(), dim=0, return_counts=True)
    return cells[counts > least * max(len(colours), 1)]


@lru_cache(maxsize=1)
def published_bins() -> Bins:
    """The 313 bins of Zhang, Isola & Efros (ECCV 2016), found again: no file of theirs is needed.

    The cells that sRGB reaches are those that the faces of its cube reach, since a and b of the inside lie within.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    first, second = torch.meshgrid(levels, levels, indexing="ij")
    faces = []
    for channel in range(3):
        for value in (0.0, 1.0):
            sides = [first, second]
            sides.insert(channel, torch.full_like(first, value))
            faces.append(occupied(lab_from_rgb(torch.stack(sides))[1:].flatten(1).T))
    inside = corners(torch.cat(faces))
    return torch.cat([inside, torch.tensor(PUBLISHED_BESIDE)])


def shares(colours: Colours, bins: Bins, nearest: int) -> tuple[Int[Tensor, "colours k"], Float[Tensor, "colours k"]]:
    """The nearest bins of colours, nearest first, and how a colour is shared between them (sums to 1).

    Args:
        colours: a and b.
        bins: Their centres.
        nearest: So many, or all bins where there are fewer.
    """
    squared = torch.cdist(colours, bins, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    near, index = squared.topk(min(nearest, len(bins)), largest=False)
    weight = torch.exp(-(near - near[:, :1]) / (2 * SPREAD**2))
    return index, weight / weight.sum(-1, keepdim=True)


def prior(counts: Float[Tensor, " bins"], bins: Bins) -> Float[Tensor, " bins"]:
    """How frequent the bins are in the frames that are trained on, smoothed over their neighbours (sums to 1).

    Args:
        counts: Pixels whose nearest bin each is.
        bins: Their centres.
    """
    kernel = torch.exp(-(torch.cdist(bins, bins) ** 2) / (2 * SPREAD**2))
    smooth = (kernel / kernel.sum(0)).to(counts) @ counts
    return smooth / smooth.sum()


def rarity(frequency: Float[Tensor, " bins"], mixing: float) -> Float[Tensor, " bins"]:
    """What a pixel of each bin weighs: more where its colour is rare, 1 on average over the pixels.

    Args:
        frequency: Of the bins; sums to 1.
        mixing: Share of the even distribution that is mixed in (lambda of the paper); 1 weighs all alike.
    """
    weight = 1 / ((1 - mixing) * frequency + mixing / len(frequency))
    return weight / (frequency * weight).sum()


def annealed_mean(
    logits: Float[Tensor, "batch bins height width"], bins: Bins, temperature: float
) -> Float[Tensor, "batch 2 height width"]:
    """A and b that a prediction stands for: the mean of the bins' centres under a sharpened distribution.

    Args:
        logits: Of the bins.
        bins: Their centres.
        temperature: 1 is the mean, which is dull; towards 0 it is the mode, which is vivid and patchy.
    """
    sharpened = (logits.float() / temperature).softmax(1)
    return torch.einsum("bqhw,qc->bchw", sharpened, bins.to(sharpened))


def colourful(
    colours: Float[Tensor, "batch 2 height width"], valid: Bool[Tensor, "batch height width"], least: float
) -> Bool[Tensor, " batch"]:
    """Whether any pixel of an image has an a or b beyond `least`; a gray image teaches nothing about colour."""
    return ((colours.abs().amax(1) > least) & valid).flatten(1).any(1)
