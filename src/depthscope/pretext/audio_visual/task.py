"""Batches of frames and sounds, and the two losses: of wholes, and of the best place."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from depthscope.corpus import Corpus
from depthscope.pretext.audio_visual.moments import Moments
from depthscope.pretext.audio_visual.networks import Localisation, WholeSenses, best, shown_places
from depthscope.pretext.audio_visual.spectrogram import Spectrogram
from depthscope.training.draws import generator_of
from depthscope.video.sound import Sound

BRIGHTNESS, TINT = 0.3, 0.1
"""Largest changes of brightness and of each colour, as shares."""


class SoundPairs(NamedTuple):
    """Frames and sounds.

    Attributes:
        images: sRGB bytes.
        content: Where they show tissue.
        sounds: Snippets, -1 to 1.
        corresponds: Whether they are of one moment.
        draws: Which draws they are.
    """

    images: UInt8[Tensor, "batch 3 height width"]
    content: Bool[Tensor, "batch height width"]
    sounds: Float[Tensor, "batch samples"]
    corresponds: Bool[Tensor, " batch"]
    draws: Int64[Tensor, " batch"]


@dataclass(frozen=True, eq=False)
class PairsOfMoments:
    """Pairs of frames and sounds to draw from.

    Attributes:
        corpus: The frames.
        sounds: Of each video.
        moments: Which go together.
    """

    corpus: Corpus
    sounds: tuple[Sound, ...]
    moments: Moments

    def batch(self, numbers: Rows[int]) -> SoundPairs:
        """The pairs of these draws."""
        drawn = [self.moments.drawn(number) for number in numbers]
        rows = torch.tensor([one.frame for one in drawn])
        sounds = [
            self.sounds[int(self.corpus.video[one.sound_of])].snippet(one.centre_s, self.moments.snippet_s)
            for one in drawn
        ]
        return SoundPairs(
            self.corpus.frames[rows].permute(0, 3, 1, 2),
            self.corpus.masks(rows),
            torch.stack(sounds),
            torch.tensor([one.corresponds for one in drawn]),
            torch.tensor(list(numbers)),
        )


@dataclass(frozen=True)
class ListeningBatch:
    """What the networks are given of a batch while they learn.

    Attributes:
        spectrogram: How sound is seen.
        gain_db: Loudness is changed by at most so much: it tells which recording it is.
        seed: Of the changes.
    """

    spectrogram: Spectrogram
    gain_db: float
    seed: int

    def __call__(self, batch: SoundPairs) -> tuple[Tensor, Tensor, Tensor]:
        """Images in 0..1, spectrograms, and content, mirrored and changed by the number of each draw."""
        drawn = torch.stack([torch.rand(6, generator=generator_of(self.seed, n)) for n in batch.draws.tolist()])
        change = (2 * drawn - 1).to(batch.images.device)
        colour = (1 + TINT * change[:, 1:4]) * (1 + BRIGHTNESS * change[:, :1])
        images = (batch.images.float() / 255 * colour[..., None, None]).clamp(0, 1)
        turned = change[:, 4] > 0
        images = torch.where(turned[:, None, None, None], images.flip(-1), images)
        content = torch.where(turned[:, None, None], batch.content.flip(-1), batch.content)
        gain = 10 ** (self.gain_db * change[:, 5:] / 20)
        return images, self.spectrogram(batch.sounds * gain), content


@dataclass(frozen=True, eq=False)
class LearnCorrespondence:
    """Whether a frame and a sound are of one moment.

    Attributes:
        network: AVE-Net, or L3-Net.
        seen: What it is given.
    """

    network: WholeSenses
    seen: ListeningBatch

    def loss(self, network: nn.Module, batch: SoundPairs) -> dict[str, Tensor]:
        """Cross-entropy, and the share that was told rightly."""
        images, heard, _ = self.seen(batch)
        logits = network(images, heard).float()
        right = (logits.argmax(1) == batch.corresponds.long()).float().mean()
        return {"loss": functional.cross_entropy(logits, batch.corresponds.long()), "accuracy": right.detach()}


@dataclass(frozen=True, eq=False)
class LearnLocalisation:
    """Which place of a frame a sound comes from, learned from nothing but whether they are of one moment.

    Attributes:
        network: AVOL-Net.
        seen: What it is given.
    """

    network: Localisation
    seen: ListeningBatch

    def loss(self, network: nn.Module, batch: SoundPairs) -> dict[str, Tensor]:
        """Cross-entropy of the best place, and the share that was told rightly."""
        images, heard, content = self.seen(batch)
        maps = network(images, heard).float()
        logit = best(maps, shown_places(content, *maps.shape[-2:]))
        right = ((logit > 0) == batch.corresponds).float().mean()
        loss = functional.binary_cross_entropy_with_logits(logit, batch.corresponds.float())
        return {"loss": loss, "accuracy": right.detach()}
