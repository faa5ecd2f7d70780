"""Exemplar networks (Dosovitskiy et al., NIPS 2014): every patch is a class, recognised however it is transformed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from depthscope.corpus import Corpus, CorpusOptions
from depthscope.errors import BadInputError
from depthscope.networks.adapters import AdaptedEncoder, Colour
from depthscope.networks.descriptors import pooled, pooled_size
from depthscope.networks.encoder import EncoderOptions, started
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.described import described
from depthscope.pretext.exemplar.seeds import Seeds, seed_patches
from depthscope.pretext.exemplar.transformations import (
    NUMBERS,
    ColourChange,
    Transformation,
    Transformations,
    principal_colours,
    transformed,
)
from depthscope.pretext.learned import Learned, Score
from depthscope.pretext.starting import UNSEEN, seeded
from depthscope.pretext.stored import to_yaml
from depthscope.training import Adam, Cosine, Training, train
from depthscope.training.draws import example_of, generator_of

MEASURED = 512
"""Patches on which the network is measured."""


class ExemplarBatch(NamedTuple):
    """Transformed patches as they are drawn; they are made on the device.

    Attributes:
        seed: Number of the seed patch, which is the class.
        drawn: How it is transformed.
    """

    seed: Int64[Tensor, " batch"]
    drawn: Transformation


@dataclass(frozen=True)
class Exemplar:
    """Options of the exemplar network.

    Attributes:
        seeds: Number of seed patches; as many as there are different frames, up to 1000, if None.
        patch_px: Side of a patch as the network sees it.
        largest: Side of the largest patch in its frame, as a multiple of `patch_px`; all in between are drawn.
        alike: Patches of a video that correlate more than this show the same, and only one of them is taken.
        transformations: What a patch is recognised through.
        encoder: What is trained.
        frames: How video becomes frames.
        training: The loop.
    """

    seeds: int | None = None
    patch_px: int = 32
    largest: float = 3.0
    alike: float = 0.95
    transformations: Transformations = field(default_factory=Transformations)
    encoder: EncoderOptions = field(default_factory=ResUNetEncoder)
    frames: CorpusOptions = field(default_factory=CorpusOptions)
    training: Training = field(
        default_factory=lambda: Training(
            steps=1500, batch=64, optimiser=Adam(3e-3, weight_decay=1e-4), schedule=Cosine(), clip_norm=1.0
        )
    )

    def __post_init__(self) -> None:
        if self.seeds is not None and self.seeds < 2:
            raise BadInputError(f"{self.seeds} seed patches", "2 or more")
        if self.patch_px < self.encoder.divisor or self.patch_px % self.encoder.divisor:
            raise BadInputError(
                f"patch_px {self.patch_px}", f"a multiple of {self.encoder.divisor}, as the encoder halves"
            )
        if self.training.batch // self.training.devices < 2:
            raise BadInputError(
                f"training.batch {self.training.batch}", "2 or more on each device: it is normalised over"
            )
        if not (1 <= self.largest < 100 and 0 < self.alike <= 1):
            raise BadInputError(f"largest {self.largest}, alike {self.alike}", "1 or more, and a correlation")

    @property
    def wide_px(self) -> int:
        """Side of the neighbourhood that transformations look at."""
        return 2 * ceil(self.transformations.reach() * self.patch_px) + 2

    def seeds_of(self, corpus: Corpus, numbers: Tensor, count: int | None) -> Seeds:
        """Seed patches of some frames."""
        return seed_patches(
            corpus,
            numbers,
            count,
            side_px=self.patch_px,
            wide_px=self.wide_px,
            largest=self.largest,
            alike=self.alike,
            seed=self.training.seed,
        )

    def network(self, neighbourhoods: Tensor) -> "ExemplarNetwork":
        """A new network for these seed patches, its random weights drawn by the seed."""
        return seeded(
            lambda: ExemplarNetwork(AdaptedEncoder(started(self.encoder), Colour()), neighbourhoods),
            self.training.seed,
        )

    def restored(self, weights: dict[str, Tensor]) -> "ExemplarNetwork":
        """The network of a run, as it was saved."""
        plain = replace(self, encoder=replace(self.encoder, weights=""))  # a file it started from may be gone
        network = plain.network(weights["neighbourhoods"])
        network.load_state_dict(weights)
        return network.eval()

    def learn(self, corpus: Corpus, out: Path, *, resume: bool = False, quiet: bool = False) -> Learned:
        """Trains on patches of a corpus.

        Raises:
            BadInputError: There are fewer different frames than seed patches, or they are too small or of one colour.
        """
        network = self.network(self.seeds_of(corpus, corpus.trained, self.seeds).neighbourhoods)
        task = Exemplars(network, self.patch_px)
        draws = ExemplarDraws(network.classes, self.transformations, self.training.seed)
        record = {"pretext": to_yaml(self)}
        result = train(task, draws, self.training, out, record=record, resume=resume, quiet=quiet)
        network.eval()
        scores = [Score("patches recognised", task.recognised(draws), {"by chance": 1 / network.classes})]
        notes: tuple[str, ...] = ()
        try:
            unseen = self.seeds_of(corpus, corpus.held, None).neighbourhoods
        except BadInputError:
            notes = ("too few frames were kept from training to measure on patches it has not seen",)
        else:
            untrained = Exemplars(self.network(network.neighbourhoods.cpu()), self.patch_px)
            found = task.found_again(unseen, draws)
            beside = {
                "random encoder": untrained.found_again(unseen, draws),
                "pixels": task.found_again(unseen, draws, by_pixels=True),
                "by chance": 1 / len(unseen),
            }
            scores.append(Score(f"{len(unseen)} unseen patches found again", found, beside))
        return Learned(network.encoder, tuple(scores), result, notes)


def descriptors(network: "ExemplarNetwork", corpus: Corpus, batch: int = 16) -> Float[Tensor, "frames values"]:
    """What the encoder says of whole frames, quarter by quarter, of what shows tissue."""
    return described(network.encoder, corpus, batch=batch)


class ExemplarNetwork(nn.Module):
    """Which seed patch is it?

    Attributes:
        encoder: Of patches.
        neighbourhoods: The seed patches, sRGB bytes.
        colours: How their colours lie: mean, then principal components.
    """

    neighbourhoods: Tensor
    colours: Tensor

    def __init__(self, encoder: AdaptedEncoder, neighbourhoods: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        values = pooled_size(encoder.channels, encoder.strides)
        # What all patches share would drown what tells them apart: without the norm nothing is learned for long.
        self.head = nn.Sequential(nn.BatchNorm1d(values), nn.Linear(values, len(neighbourhoods)))
        self.register_buffer("neighbourhoods", neighbourhoods)
        mean, axes = principal_colours(neighbourhoods[: 4 * MEASURED].float() / 255)
        self.register_buffer("colours", torch.cat([mean[None], axes]))

    @property
    def classes(self) -> int:
        """Number of seed patches."""
        return len(self.neighbourhoods)

    def described(self, patches: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch values"]:
        """Descriptors of patches."""
        return pooled(self.encoder(patches), self.encoder.strides)

    def forward(self, patches: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch classes"]:
        """Logits of the seed patches."""
        return self.head(self.described(patches))


@dataclass(frozen=True, eq=False)
class ExemplarDraws:
    """Transformed seed patches by draw number; every epoch shows each once.

    Attributes:
        classes: Number of seed patches.
        transformations: What is drawn.
        seed: Of the draws.
    """

    classes: int
    transformations: Transformations
    seed: int = 0

    def batch(self, numbers: Sequence[int]) -> ExemplarBatch:
        """The patches of these draws."""
        rows = torch.stack([torch.rand(NUMBERS, generator=generator_of(self.seed, n)) for n in numbers])
        seeds = torch.tensor([example_of(self.seed, n, self.classes) for n in numbers])
        return ExemplarBatch(seeds, self.transformations.of(rows))


@dataclass(frozen=True, eq=False)
class Exemplars:
    """The task of the training loop.

    Attributes:
        network: What is trained.
        patch_px: Side of a patch.
    """

    network: ExemplarNetwork
    patch_px: int

    def loss(self, network: nn.Module, batch: ExemplarBatch) -> dict[str, Tensor]:
        """Cross-entropy over the seed patches, and the share that is recognised."""
        logits = network(self.patches(self.network.neighbourhoods[batch.seed], batch.drawn))
        right = (logits.detach().argmax(-1) == batch.seed).float().mean()
        return {"loss": functional.cross_entropy(logits, batch.seed), "recognised": right}

    def patches(self, neighbourhoods: Tensor, drawn: Transformation) -> Float[Tensor, "batch 3 side side"]:
        """Transformed patches of 0..1 in the middle of neighbourhoods in bytes."""
        colours = ColourChange(self.network.colours[0], self.network.colours[1:])
        return transformed(neighbourhoods.float() / 255, self.patch_px, drawn, colours)

    @torch.no_grad()
    def recognised(self, draws: ExemplarDraws, count: int = MEASURED) -> float:
        """Share of the seed patches that are recognised through transformations never drawn in training."""
        self.network.eval()
        device, right = self.network.colours.device, 0
        for first in range(0, count, 64):
            batch = _on(draws.batch(range(UNSEEN + first, UNSEEN + min(first + 64, count))), device)
            logits = self.network(self.patches(self.network.neighbourhoods[batch.seed], batch.drawn))
            right += int((logits.argmax(-1) == batch.seed).sum())
        return right / count

    @torch.no_grad()
    def found_again(self, neighbourhoods: Tensor, draws: ExemplarDraws, *, by_pixels: bool = False) -> float:
        """Share of patches whose nearest neighbour among all of them, both transformed, is the patch itself."""
        network, sides = self.network.eval(), []
        device = network.colours.device
        for side in range(2):
            parts = []
            for first in range(0, len(neighbourhoods), 64):
                chosen = neighbourhoods[first : first + 64].to(device)
                start = UNSEEN * 2 + side * len(neighbourhoods) + first
                batch = _on(draws.batch(range(start, start + len(chosen))), device)
                patches = self.patches(chosen, batch.drawn)
                parts.append(patches.flatten(1) if by_pixels else network.described(patches))
            sides.append(torch.cat(parts))
        both = torch.cat(sides)
        scaled = functional.normalize((both - both.mean(0)) / both.std(0).clamp_min(1e-6), dim=1)
        one, other = scaled.chunk(2)
        place = torch.arange(len(one), device=device)
        return float(((one @ other.T).argmax(1) == place).float().mean())


def _on(batch: ExemplarBatch, device: torch.device) -> ExemplarBatch:
    drawn = Transformation(*(part.to(device) for part in batch.drawn))
    return ExemplarBatch(batch.seed.to(device), drawn)
