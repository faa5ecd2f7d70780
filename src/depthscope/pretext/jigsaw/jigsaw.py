"""Jigsaw puzzles (Noroozi and Favaro, ECCV 2016): where in a picture does each of nine tiles belong?"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from depthscope.corpus import Corpus, CorpusOptions
from depthscope.errors import BadInputError
from depthscope.networks.adapters import AdaptedEncoder, Colour
from depthscope.networks.encoder import EncoderOptions, started
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.described import described
from depthscope.pretext.jigsaw.network import JigsawNetwork, puzzle_losses, solved
from depthscope.pretext.jigsaw.permutations import Rule, permutations
from depthscope.pretext.jigsaw.puzzles import PuzzleBatch, PuzzleDraws, Tiles, cut, normalised, ordered
from depthscope.pretext.learned import Learned, Score
from depthscope.pretext.starting import UNSEEN, seeded
from depthscope.pretext.stored import to_yaml
from depthscope.training import Adam, Cosine, Training, train

MEASURED = 512
"""Puzzles on which the network is measured."""


@dataclass(frozen=True)
class Jigsaw:
    """Options of the puzzle.

    Attributes:
        permutations: How many orders are told apart: a multiple of 9, in which every tile is as often in every place.
        rule: "balanced", or "published" for the paper's choice of orders.
        tiles: How puzzles are cut; its guards are what makes the encoder worth anything.
        encoder: What is trained.
        frames: How video becomes frames.
        training: The loop.
    """

    permutations: int = 27
    rule: Rule = "balanced"
    tiles: Tiles = field(default_factory=Tiles)
    encoder: EncoderOptions = field(default_factory=ResUNetEncoder)
    frames: CorpusOptions = field(default_factory=CorpusOptions)
    training: Training = field(
        default_factory=lambda: Training(
            steps=1500, batch=32, optimiser=Adam(1e-3, weight_decay=1e-4), schedule=Cosine()
        )
    )

    def __post_init__(self) -> None:
        if self.tiles.tile_px % self.encoder.divisor:
            raise BadInputError(
                f"tiles.tile_px {self.tiles.tile_px}", f"a multiple of {self.encoder.divisor}, as the encoder halves"
            )

    def network(self) -> JigsawNetwork:
        """A new network, its random weights drawn by the seed."""
        orders = permutations(self.permutations, self.rule)
        return seeded(
            lambda: JigsawNetwork(AdaptedEncoder(started(self.encoder), Colour()), orders, self.tiles.tile_px),
            self.training.seed,
        )

    def restored(self, weights: dict[str, Tensor]) -> JigsawNetwork:
        """The network of a run, as it was saved."""
        plain = replace(self, encoder=replace(self.encoder, weights=""))  # a file it started from may be gone
        network = plain.network()
        network.load_state_dict(weights)
        return network.eval()

    def learn(self, corpus: Corpus, out: Path, *, resume: bool = False, quiet: bool = False) -> Learned:
        """Trains on the puzzles of a corpus.

        Raises:
            BadInputError: The frames are too small for nine tiles, or of one colour.
        """
        seed = self.training.seed
        draws = PuzzleDraws(corpus, corpus.trained, self.tiles, self.permutations, seed)
        task = Puzzles(self.network(), self.tiles)
        record = {"pretext": to_yaml(self)}
        result = train(task, draws, self.training, out, record=record, resume=resume, quiet=quiet)
        unseen = len(corpus.held) > 0
        measured = PuzzleDraws(corpus, corpus.held if unseen else corpus.trained, self.tiles, self.permutations, seed)
        share, by_light = task.solved(measured)
        where = "of unseen frames" if unseen else "of the frames it learned from"
        score = Score(
            f"puzzles solved {where}", share, {"by light alone": by_light, "by chance": 1 / self.permutations}
        )
        notes = ()
        if by_light > 0.5 * share:
            notes = ("light alone solves most of the puzzles that were solved: expect little of this encoder",)
        return Learned(task.network.encoder, (score,), result, notes)


def descriptors(network: JigsawNetwork, corpus: Corpus, tiles: Tiles) -> Float[Tensor, "frames values"]:
    """What the encoder says of whole frames, quarter by quarter, in the colours that it learned from."""

    def as_tile(images: Tensor) -> Tensor:
        return normalised(images[:, None])[:, 0] * 0.2 + 0.5 if tiles.normalise else images

    return described(network.encoder, corpus, as_tile)


@dataclass(frozen=True, eq=False)
class Puzzles:
    """The task of the training loop.

    Attributes:
        network: What is trained.
        tiles: How puzzles are cut.
    """

    network: JigsawNetwork
    tiles: Tiles

    def loss(self, network: nn.Module, batch: PuzzleBatch) -> dict[str, Tensor]:
        """The losses of a batch of puzzles, each a mean over them."""
        shown = ordered(cut(batch, self.tiles), batch.order, self.network.permutations)
        logits, light = network(shown)
        return puzzle_losses(logits, light, batch.order)

    @torch.no_grad()
    def solved(self, draws: PuzzleDraws, count: int = MEASURED) -> tuple[float, float]:
        """Share of puzzles that are solved, and that light alone solves; none of them was drawn in training."""
        network = self.network.eval()
        device = network.permutations.device
        found = []
        for first in range(0, count, 64):
            drawn = draws.batch(range(UNSEEN + first, UNSEEN + min(first + 64, count)))
            batch = PuzzleBatch(*(part.to(device) for part in drawn))
            logits, light = network(ordered(cut(batch, self.tiles), batch.order, network.permutations))
            size = len(batch.order)
            found.append([float(solved(one, batch.order)) * size for one in (logits, light)])
        share, by_light = (torch.tensor(found, dtype=torch.float64).sum(0) / count).tolist()
        return share, by_light
