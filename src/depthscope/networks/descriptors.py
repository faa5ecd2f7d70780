"""Descriptors of frames and patches from an encoder's maps: pooled, compared, and spread out."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

LEAST_STRIDE = 8
"""Finer maps hold edges, which are alike everywhere."""

Descriptors = Float[Tensor, "items values"]


def coarse(maps: Sequence[Tensor], strides: Sequence[int]) -> list[Tensor]:
    """The maps at stride 8 and beyond; the last one where none is so coarse."""
    chosen = [one for one, stride in zip(maps, strides, strict=True) if stride >= LEAST_STRIDE]
    return chosen or [maps[-1]]


def pooled_size(channels: Sequence[int], strides: Sequence[int]) -> int:
    """Number of values that `pooled` gives for an encoder."""
    counts = [c for c, stride in zip(channels, strides, strict=True) if stride >= LEAST_STRIDE]
    return 2 * sum(counts or channels[-1:])


def pooled(maps: Sequence[Tensor], strides: Sequence[int]) -> Descriptors:
    """Mean and maximum of every channel of the coarse maps."""
    chosen = coarse(maps, strides)
    return torch.cat([part for one in chosen for part in (one.mean((-1, -2)), one.amax((-1, -2)))], 1)


def quadrant_maxima(
    maps: Sequence[Tensor], strides: Sequence[int], masks: Bool[Tensor, "items height width"]
) -> Descriptors:
    """Maximum of every channel of the coarse maps over each quarter of the image, of what shows tissue.

    Dosovitskiy et al. (2014) describe images so. Channels are positive: a quarter without content gives zeros.
    """
    parts = []
    for one in coarse(maps, strides):
        share = functional.adaptive_avg_pool2d(masks[:, None].float(), (one.shape[-2], one.shape[-1]))
        shown = one * (share > 0.5)
        parts.append(functional.adaptive_max_pool2d(shown, 2).flatten(1))
    return torch.cat(parts, 1)


def standardised(descriptors: Descriptors, like: Float[Tensor, "others values"] | None = None) -> Descriptors:
    """Descriptors of length 1, after every value was brought to mean 0 and spread 1 over `like` (themselves if None).

    What all items share would else make them all alike; a value that never changes tells nothing and becomes 0.
    """
    like = descriptors if like is None else like
    spread = like.std(0, correction=0)
    told = spread > 1e-6 * spread.max().clamp_min(1e-12)
    scaled = torch.where(told, (descriptors - like.mean(0)) / spread.clamp_min(1e-12), 0.0)
    return functional.normalize(scaled, dim=1)


def farthest_first(
    descriptors: Descriptors, count: int, first: int | None = None, chosen: Sequence[int] = ()
) -> Int64[Tensor, " count"]:
    """An order in which each next item is the one farthest from all before it (Gonzalez 1985).

    So the first ten of it are as different as ten can easily be, and so are the first hundred.

    Args:
        descriptors: Of the items; distance is Euclidean.
        count: How many to order; no more than there are.
        first: The item to begin with; the one nearest to the mean if None.
        chosen: Items that stand before all, which are not returned.
    """
    count = min(count, len(descriptors) - len(chosen))
    away = torch.full((len(descriptors),), float("inf"), dtype=descriptors.dtype)
    for one in chosen:
        away = torch.minimum(away, (descriptors - descriptors[one]).square().sum(1))
        away[one] = -1
    order: list[int] = []
    while len(order) < count:
        if order or chosen:
            one = int(away.argmax())
        elif first is not None:
            one = first
        else:
            one = int((descriptors - descriptors.mean(0)).square().sum(1).argmin())
        order.append(one)
        away = torch.minimum(away, (descriptors - descriptors[one]).square().sum(1))
        away[[*order, *chosen]] = -1
    return torch.tensor(order, dtype=torch.int64)
