"""What is trained: from the luma of a frame, a distribution over colours for each of its cells."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from depthscope.colour import lab_from_rgb, mirrors_lamp
from depthscope.corpus import Corpus
from depthscope.networks.adapters import AdaptedEncoder, Luma
from depthscope.networks.dense_decoder import DenseDecoder
from depthscope.networks.encoder import Encoder, EncoderOptions
from depthscope.pretext.colorization.bins import annealed_mean, colourful, shares
from depthscope.training.draws import example_of, generator_of

STRIDE = 4
"""Colour is predicted at a quarter of the frames' size: it is smooth."""

LEAST_CHROMA = 5.0
"""A frame without any a or b beyond it is gray and weighs nothing."""


class Colourer(nn.Module):
    """From frames, of which only the luma is seen, to logits of colour bins.

    Args:
        encoder: What sees the frames.
        bins: Centres of the bins.
        weights: What a cell of each bin weighs while learning.
    """

    bins: Tensor
    weights: Tensor

    def __init__(self, encoder: Encoder, bins: Float[Tensor, "bins 2"], weights: Float[Tensor, " bins"]) -> None:
        super().__init__()
        self.encoder = AdaptedEncoder(encoder, Luma())
        self.decoder = DenseDecoder(self.encoder.channels, len(bins), STRIDE)
        self.register_buffer("bins", bins)
        self.register_buffer("weights", weights)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch bins rows columns"]:
        """Logits of images in 0..1."""
        return self.decoder(self.encoder(images), images)

    @torch.no_grad()
    def colours(
        self, images: Float[Tensor, "batch 3 height width"], temperature: float
    ) -> Float[Tensor, "batch 2 rows columns"]:
        """A and b that the network invents for images, at a quarter of their size."""
        return annealed_mean(self(images), self.bins, temperature)


def colourer_of(encoder: EncoderOptions, weights: dict[str, Tensor]) -> Colourer:
    """The network of stored weights, ready to be used."""
    network = Colourer(encoder.build(), torch.zeros_like(weights["bins"]), torch.zeros_like(weights["weights"]))
    network.load_state_dict(weights)
    return network.eval()


class FrameBatch(NamedTuple):
    """Frames and where they show tissue."""

    images: UInt8[Tensor, "batch 3 height width"]
    content: Bool[Tensor, "batch height width"]


@dataclass(frozen=True, eq=False)
class FrameDraws:
    """Frames of a corpus by draw number, mirrored as drawn: a scope has no upright."""

    corpus: Corpus
    seed: int = 0

    def batch(self, numbers: Rows[int]) -> FrameBatch:
        """The frames of these draws."""
        images, content = [], []
        for number in numbers:
            index = int(self.corpus.trained[example_of(self.seed, number, len(self.corpus.trained))])
            generator = generator_of(self.seed, number)
            frame, mask = self.corpus.frames[index].permute(2, 0, 1), self.corpus.content[self.corpus.video[index]]
            for axis in (-1, -2):
                if torch.rand((), generator=generator) < 0.5:
                    frame, mask = frame.flip(axis), mask.flip(axis)
            images.append(frame)
            content.append(mask)
        return FrameBatch(torch.stack(images), torch.stack(content))


class Targets(NamedTuple):
    """a and b of cells, and which cells have a colour that can be learned."""

    colours: Float[Tensor, "batch 2 rows columns"]
    known: Bool[Tensor, "batch rows columns"]


def targets_of(images: Float[Tensor, "batch 3 height width"], content: Bool[Tensor, "batch height width"]) -> Targets:
    """Mean a and b of the cells of frames, without highlights and what shows no tissue."""
    valid = (content & ~mirrors_lamp(images)).to(images)[:, None]
    share = functional.avg_pool2d(valid, STRIDE)
    mean = functional.avg_pool2d(lab_from_rgb(images)[:, 1:] * valid, STRIDE) / share.clamp_min(1e-6)
    return Targets(mean, share[:, 0] >= 0.5)


@dataclass(frozen=True, eq=False)
class GuessColours:
    """The task: cross-entropy of colour bins, weighted by how rare the true colour is.

    Attributes:
        network: From frames to logits.
        nearest: Bins that a true colour is shared between.
    """

    network: Colourer
    nearest: int

    def loss(self, network: nn.Module, batch: FrameBatch) -> dict[str, Float[Tensor, ""]]:
        """Mean over the cells that show coloured tissue, of the frames that have any colour."""
        images = batch.images.float() / 255
        colours, known = targets_of(images, batch.content)
        known = known & colourful(colours, known, LEAST_CHROMA)[:, None, None]
        logits = network(images).float().permute(0, 2, 3, 1)[known]
        index, share = shares(colours.permute(0, 2, 3, 1)[known], self.network.bins, self.nearest)
        # The loss is weighted, not the logits: the network still says what is likely.
        crossed = -(logits.log_softmax(-1).gather(-1, index) * share).sum(-1)
        weight = self.network.weights[index[:, 0]]
        count = known.sum().clamp_min(1)
        return {"loss": (weight * crossed).sum() / count, "unweighted": crossed.detach().sum() / count}
