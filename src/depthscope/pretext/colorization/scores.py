"""How good invented colours are, beside gray and beside one colour for everything."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.corpus import Corpus
from depthscope.pretext.colorization.task import Colourer, targets_of

MOST_FRAMES = 200

FARTHEST = 150.0
"""Error in a and b at which the cumulative curve ends (Zhang et al. 2016)."""

Pairs = Float[Tensor, "cells 2"]


@dataclass(frozen=True)
class ColourError:
    """How far colours are from the true ones.

    Attributes:
        distance: Mean Euclidean distance in a and b.
        auc: Area under the cumulative distribution of that distance, from 0 to 150, as a share.
        balanced_auc: The same where each bin of true colours counts alike.
        chroma_ratio: Mean chroma over the true one: below 1 is duller.
    """

    distance: float
    auc: float
    balanced_auc: float
    chroma_ratio: float


def colour_error(found: Pairs, true: Pairs, bins: Float[Tensor, "bins 2"]) -> ColourError:
    """The error of colours; the area under a cumulative curve up to a limit is the mean of 1 - error/limit there."""
    away = (found - true).norm(dim=-1)
    area = (1 - away / FARTHEST).clamp_min(0).double()
    owner = torch.cdist(true, bins).argmin(-1)
    counts = torch.bincount(owner, minlength=len(bins)).double()
    sums = torch.bincount(owner, weights=area, minlength=len(bins))
    chroma = true.norm(dim=-1).mean().clamp_min(1e-6)
    return ColourError(
        float(away.mean()),
        float(area.mean()),
        float((sums / counts.clamp_min(1))[counts > 0].mean()),
        float(found.norm(dim=-1).mean() / chroma),
    )


@torch.no_grad()
def compared(
    network: Colourer, corpus: Corpus, numbers: Tensor, mean: Float[Tensor, "2"], temperature: float
) -> dict[str, ColourError]:
    """Errors of the network ("model"), of one colour ("mean") and of none ("gray") on some frames, evenly chosen.

    Args:
        network: Invents colours.
        corpus: Frames.
        numbers: Which of them.
        mean: a and b of the frames that were trained on.
        temperature: Of the annealed mean.
    """
    found, true = (torch.cat(rows) for rows in zip(*_cells(network.eval(), corpus, numbers, temperature), strict=True))
    bins = network.bins.cpu()
    return {
        "model": colour_error(found, true, bins),
        "mean": colour_error(mean.expand_as(true), true, bins),
        "gray": colour_error(torch.zeros_like(true), true, bins),
    }


def _cells(network: Colourer, corpus: Corpus, numbers: Tensor, temperature: float) -> Iterator[tuple[Pairs, Pairs]]:
    for number in numbers[torch.linspace(0, len(numbers) - 1, min(MOST_FRAMES, len(numbers))).round().long()]:
        images = corpus.images(number[None]).to(network.bins.device)
        colours, known = targets_of(images, corpus.masks(number[None]).to(images.device))
        guessed = network.colours(images, temperature)
        yield tuple(values.permute(0, 2, 3, 1)[known].cpu() for values in (guessed, colours))  # type: ignore[misc]
