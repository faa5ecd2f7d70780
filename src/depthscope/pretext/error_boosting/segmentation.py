"""A class for every pixel: network, batches, what the network sees of them, and the loss."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from depthscope.networks.adapters import AdaptedEncoder, Colour
from depthscope.networks.dense_decoder import DenseDecoder
from depthscope.networks.encoder import EncoderOptions, started
from depthscope.pretext.error_boosting.losses import soft_dice_loss, weighted_cross_entropy
from depthscope.training.draws import example_of, generator_of

BRIGHTNESS, GAMMA, TINT = 0.3, 0.25, 0.08
"""Largest changes of brightness, of the exponent and of each colour, as shares."""

PER_PASS = 16
"""Frames that are segmented together."""


class Segmenter(nn.Module):
    """Shared encoder, dense decoder to class logits.

    Attributes:
        encoder: What moves on to other tasks.
    """

    def __init__(self, options: EncoderOptions, classes: int, *, start: bool = True) -> None:
        super().__init__()
        self.encoder = AdaptedEncoder(started(options) if start else options.build(), Colour())
        self.decoder = DenseDecoder(self.encoder.channels, classes)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Logits at the size of the images."""
        return self.decoder(self.encoder(images), images)


class LabelledBatch(NamedTuple):
    """Frames with their labels, as bytes.

    Attributes:
        images: sRGB.
        labels: Class of each pixel, or unknown.
        draws: Which draws they are.
    """

    images: UInt8[Tensor, "batch 3 height width"]
    labels: UInt8[Tensor, "batch height width"]
    draws: Int64[Tensor, " batch"]


@dataclass(frozen=True, eq=False)
class LabelledDraws:
    """Frames with labels to draw from; every epoch shows each once.

    Attributes:
        frames: sRGB bytes.
        labels: Of every frame.
        chosen: Which of them may be drawn.
        seed: Of the order.
    """

    frames: UInt8[Tensor, "frames height width 3"]
    labels: UInt8[Tensor, "frames height width"]
    chosen: Int64[Tensor, " chosen"]
    seed: int

    def batch(self, numbers: Rows[int]) -> LabelledBatch:
        """The frames of these draws."""
        rows = self.chosen[[example_of(self.seed, number, len(self.chosen)) for number in numbers]]
        return LabelledBatch(self.frames[rows].permute(0, 3, 1, 2), self.labels[rows], torch.tensor(list(numbers)))


def seen(batch: LabelledBatch, seed: int) -> tuple[Float[Tensor, "batch 3 height width"], Tensor]:
    """Images in 0..1 and labels, mirrored and recoloured by the number of each draw."""
    device = batch.images.device
    drawn = torch.stack(
        [torch.rand(7, generator=generator_of(seed, n), dtype=torch.float32) for n in batch.draws.tolist()]
    )
    change = (drawn * 2 - 1).to(device)[..., None, None]
    images = batch.images.float() / 255
    colour = (1 + TINT * change[:, 2:5]) * (1 + BRIGHTNESS * change[:, 0:1])
    images = (images * colour).clamp(1e-4, 1) ** (1 + GAMMA * change[:, 1:2])
    labels = batch.labels
    for place, side in ((5, -1), (6, -2)):
        turned = change[:, place] > 0
        images = torch.where(turned[:, None], images.flip(side), images)
        labels = torch.where(turned, labels.flip(side), labels)
    return images, labels


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels learned with weights: cross-entropy that weighs classes, and soft Dice.

    Attributes:
        network: From images to logits.
        weights: Of each class in the cross-entropy.
        seed: Of what the network sees.
    """

    network: nn.Module
    weights: Float[Tensor, " classes"]
    seed: int

    def loss(self, network: nn.Module, batch: LabelledBatch) -> dict[str, Tensor]:
        """Both losses, and their sum as "loss"."""
        images, labels = seen(batch, self.seed)
        logits = network(images)
        entropy = weighted_cross_entropy(logits, labels, self.weights)
        dice = soft_dice_loss(logits, labels)
        return {"loss": entropy + dice, "cross_entropy": entropy, "dice_loss": dice}


@torch.no_grad()
def segmented(
    network: nn.Module,
    frames: UInt8[Tensor, "frames height width 3"],
    content: Bool[Tensor, "frames height width"],
    outside: int,
) -> UInt8[Tensor, "frames height width"]:
    """The likeliest class of each pixel, `outside` where the scope shows nothing.

    Args:
        network: From images to logits.
        frames: sRGB bytes.
        content: Where each of them shows tissue.
        outside: The class of the rest.
    """
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for first in range(0, len(frames), PER_PASS):
        images = frames[first : first + PER_PASS].permute(0, 3, 1, 2).to(device).float() / 255
        parts.append(network(images).argmax(1).to(torch.uint8).cpu())
    network.train(training)
    return torch.where(content, torch.cat(parts), outside).to(torch.uint8)
