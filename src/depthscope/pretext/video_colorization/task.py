"""What is trained: embeddings of gray cells, by copying the colours of the frames before."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from depthscope.corpus import Corpus
from depthscope.networks.adapters import AdaptedEncoder, Luma
from depthscope.networks.dense_decoder import DenseDecoder
from depthscope.networks.encoder import Encoder, EncoderOptions
from depthscope.pretext.video_colorization.palette import cell_colours, labels_of
from depthscope.pretext.video_colorization.pointer import pointer_losses, similarities, unit, voted
from depthscope.pretext.video_colorization.snippets import Snippets
from depthscope.training.draws import example_of, generator_of

GAIN, GAMMA = 0.15, 0.15
"""Frames differ in exposure by about so much (log units): the light moves with the camera, and gray must not tell."""


class Embedder(nn.Module):
    """From gray frames to a vector for each cell.

    Args:
        encoder: What sees the frames; their luma only.
        channels: Of the vectors.
        stride: Side of a cell in pixels.
        palette: Colours of the labels.
    """

    palette: Tensor

    def __init__(self, encoder: Encoder, channels: int, stride: int, palette: Float[Tensor, "labels 2"]) -> None:
        super().__init__()
        self.encoder = AdaptedEncoder(encoder, Luma())
        self.decoder = DenseDecoder(self.encoder.channels, channels, stride)
        self.stride = stride
        self.register_buffer("palette", palette)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels rows columns"]:
        """Vectors of the cells of images in 0..1."""
        return self.decoder(self.encoder(images), images)


def embedder_of(encoder: EncoderOptions, channels: int, stride: int, weights: dict[str, Tensor]) -> Embedder:
    """The network of stored weights, ready to be used."""
    network = Embedder(encoder.build(), channels, stride, torch.zeros_like(weights["palette"]))
    network.load_state_dict(weights)
    return network.eval()


class ColourSnippetBatch(NamedTuple):
    """Snippets, the target last.

    Attributes:
        images: sRGB bytes.
        content: Where tissue is shown.
        exposure: Gain and gamma that the network sees each frame with, both as logarithms.
    """

    images: UInt8[Tensor, "batch frames 3 height width"]
    content: Bool[Tensor, "batch height width"]
    exposure: Float[Tensor, "batch frames 2"]


@dataclass(frozen=True, eq=False)
class ColourSnippetDraws:
    """Snippets of a corpus by draw number.

    Attributes:
        corpus: The frames.
        snippets: Which of them go together.
        seed: Of order, mirroring and exposure.
    """

    corpus: Corpus
    snippets: Snippets
    seed: int = 0

    def batch(self, numbers: Rows[int]) -> ColourSnippetBatch:
        """The snippets of these draws, some mirrored, each frame with an exposure of its own."""
        images, content, exposure = [], [], []
        for number in numbers:
            row = self.snippets[example_of(self.seed, number, len(self.snippets))]
            generator = generator_of(self.seed, number)
            frames = self.corpus.frames[row].permute(0, 3, 1, 2)
            mask = self.corpus.content[self.corpus.video[row[0]]]
            for axis in (-1, -2):
                if torch.rand((), generator=generator) < 0.5:
                    frames, mask = frames.flip(axis), mask.flip(axis)
            images.append(frames)
            content.append(mask)
            exposure.append(torch.randn(len(row), 2, generator=generator) * torch.tensor([GAIN, GAMMA]))
        return ColourSnippetBatch(torch.stack(images), torch.stack(content), torch.stack(exposure))


class Colours(NamedTuple):
    """Labels of the cells of a batch, and which cells have one."""

    labels: Int[Tensor, "batch frames cells"]
    known: Bool[Tensor, "batch frames cells"]


@dataclass(frozen=True, eq=False)
class CopyColours:
    """The task: each cell of the target says which cells of the references have its colour.

    Attributes:
        network: Embeds gray frames.
        temperature: Of the pointer.
    """

    network: Embedder
    temperature: float

    def loss(self, network: nn.Module, batch: ColourSnippetBatch) -> dict[str, Float[Tensor, ""]]:
        """Mean over the cells that have a colour which a reference has too; "accuracy" is of the copied labels."""
        images = batch.images.float() / 255
        colours = self.colours(images, batch.content)
        logits = self.logits(network, exposed(images, batch.exposure), colours.known)
        references, target = colours.labels[:, :-1].flatten(1), colours.labels[:, -1]
        losses, possible = pointer_losses(logits, references, target)
        asked = possible & colours.known[:, -1]
        count = asked.sum().clamp_min(1)
        copied = voted(logits.detach(), references, len(self.network.palette))
        right = (copied == target) & colours.known[:, -1]
        return {
            "loss": (losses * asked).sum() / count,
            "accuracy": right.sum() / colours.known[:, -1].sum().clamp_min(1),
        }

    def logits(
        self, network: nn.Module, images: Float[Tensor, "batch frames 3 height width"], known: Tensor
    ) -> Float[Tensor, "batch targets references"]:
        """The pointer of the last frame of each snippet over the cells of the others."""
        features = unit(network(images.flatten(0, 1))).unflatten(0, images.shape[:2])
        references = features[:, :-1].transpose(1, 2).flatten(2)
        return similarities(features[:, -1], references, self.temperature, known[:, :-1].flatten(1))

    def colours(
        self, images: Float[Tensor, "batch frames 3 height width"], content: Bool[Tensor, "batch height width"]
    ) -> Colours:
        """What each cell is labelled with."""
        seen = content[:, None].expand(-1, images.shape[1], -1, -1).flatten(0, 1)
        colour, known = cell_colours(images.flatten(0, 1), seen, self.network.stride)
        labels = labels_of(colour, self.network.palette)
        shape = images.shape[:2]
        return Colours(labels.flatten(1).unflatten(0, shape), known.flatten(1).unflatten(0, shape))


def exposed(
    images: Float[Tensor, "batch frames 3 height width"], exposure: Float[Tensor, "batch frames 2"]
) -> Float[Tensor, "batch frames 3 height width"]:
    """Frames with other gains and gammas; 0 and 0 leave a frame as it is."""
    gain, gamma = exposure.exp()[..., None, None, None, :].unbind(-1)
    return (gain * images.clamp_min(1e-4) ** gamma).clamp(0, 1)
