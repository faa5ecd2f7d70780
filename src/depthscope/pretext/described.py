"""Frames of a corpus as vectors that can be compared: what an encoder says of them, quarter by quarter."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.corpus import Corpus
from depthscope.networks.adapters import AdaptedEncoder
from depthscope.networks.descriptors import quadrant_maxima

Images = Float[Tensor, "batch 3 height width"]


def unchanged(images: Images) -> Images:
    """Images as they are."""
    return images


@torch.no_grad()
def described(
    encoder: AdaptedEncoder, corpus: Corpus, prepared: Callable[[Images], Images] = unchanged, batch: int = 16
) -> Float[Tensor, "frames values"]:
    """A descriptor of each frame, from what shows tissue (quadrant maxima, Dosovitskiy et al. 2014).

    Args:
        encoder: In evaluation mode.
        corpus: The frames.
        prepared: What is done to images in 0..1 before the encoder sees them, as in its training.
        batch: Frames in one pass.
    """
    device, found = next(encoder.parameters()).device, []
    for numbers in torch.arange(len(corpus)).split(batch):
        maps = encoder(prepared(corpus.images(numbers).to(device)))
        found.append(quadrant_maxima(maps, encoder.strides, corpus.masks(numbers).to(device)).cpu())
    return torch.cat(found)
