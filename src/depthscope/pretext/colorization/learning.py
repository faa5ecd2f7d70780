"""Options of colorization, and how it is learned from a corpus."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.corpus import Corpus, CorpusOptions
from depthscope.errors import BadInputError
from depthscope.networks.encoder import EncoderOptions, started
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.colorization.bins import colourful, corners, occupied, prior, published_bins, rarity
from depthscope.pretext.colorization.scores import compared
from depthscope.pretext.colorization.task import LEAST_CHROMA, Colourer, FrameDraws, GuessColours, targets_of
from depthscope.pretext.learned import Learned, Score
from depthscope.pretext.starting import seeded
from depthscope.pretext.stored import to_yaml
from depthscope.training import Adam, Cosine, Training, train

PRIOR_FRAMES = 500
"""Frames that bins and their frequency come from, evenly chosen from those that are trained on."""


@dataclass(frozen=True)
class Colorization:
    """Colourful image colorization (Zhang, Isola & Efros, ECCV 2016): guess the colours of a gray frame.

    Attributes:
        nearest: Bins that a true colour is shared between.
        mixing: Of the even distribution into the prior (lambda): 0 weighs rare colours most, 1 weighs all alike.
        temperature: Of the colours that are shown: 1 is dull, towards 0 they become vivid and patchy.
        rarest: Share of the cells from which a place on the grid of colours counts as one that occurs.
        published: The 313 bins of all of sRGB, in place of those that occur.
        encoder: The encoder; it sees luma.
        frames: How video becomes a corpus.
        training: The loop.
    """

    nearest: int = 5
    mixing: float = 0.5
    temperature: float = 0.38
    rarest: float = 1e-4
    published: bool = False
    encoder: EncoderOptions = field(default_factory=ResUNetEncoder)
    frames: CorpusOptions = field(default_factory=CorpusOptions)
    training: Training = field(default_factory=lambda: Training(steps=600, optimiser=Adam(1e-3), schedule=Cosine()))

    def __post_init__(self) -> None:
        if self.nearest < 1 or not 0 <= self.mixing <= 1 or not 0 <= self.rarest < 1:
            raise BadInputError(
                f"{self.nearest} nearest bins, mixing {self.mixing:g} and rarest {self.rarest:g}",
                "1 or more, 0 to 1, and 0 to below 1",
            )
        if not 0 < self.temperature < float("inf"):
            raise BadInputError(f"a temperature of {self.temperature:g}", "more than 0")

    def learn(self, corpus: Corpus, out: Path, *, resume: bool = False, quiet: bool = False) -> Learned:
        """Trains on a corpus.

        Args:
            corpus: Frames.
            out: Folder for checkpoints and logs.
            resume: Go on from the checkpoint in `out`.
            quiet: No progress display.

        Raises:
            BadInputError: The frames have no colour.
        """
        cells, gray = coloured_cells(corpus)
        task = GuessColours(self.network(cells), self.nearest)
        draws = FrameDraws(corpus, self.training.seed)
        result = train(task, draws, self.training, out, record={"pretext": to_yaml(self)}, resume=resume, quiet=quiet)
        notes = [f"{gray:.0%} of the frames that were looked at are gray and taught nothing"] if gray >= 0.005 else []
        if not len(corpus.held):
            notes.append("no frame was held out: nothing could be measured on frames that were not trained on")
            return Learned(task.network.encoder, (), result, tuple(notes))
        found = compared(task.network, corpus, corpus.held, cells.mean(0), self.temperature)
        model, mean, none = found["model"], found["mean"], found["gray"]
        scores = (
            Score("error in ab", model.distance, {"one mean colour": mean.distance, "gray": none.distance}),
            Score("AuC", model.auc, {"one mean colour": mean.auc, "gray": none.auc}),
            Score(
                "balanced AuC", model.balanced_auc, {"one mean colour": mean.balanced_auc, "gray": none.balanced_auc}
            ),
            Score("chroma over the true one", model.chroma_ratio, {"one mean colour": mean.chroma_ratio, "gray": 0.0}),
            Score("colour bins", float(len(task.network.bins)), {"all of sRGB": 313.0}),
        )
        if model.distance >= mean.distance:
            notes.append("invented colours are no nearer to the true ones than one mean colour for everything")
        return Learned(task.network.encoder, scores, result, tuple(notes))

    def network(self, cells: Float[Tensor, "cells 2"]) -> Colourer:
        """A new network with the bins and the weights that follow from colours of the frames trained on."""
        bins = published_bins() if self.published else corners(occupied(cells, self.rarest))
        owner = torch.cat([torch.cdist(part, bins).argmin(-1) for part in cells.split(100_000)])
        frequency = prior(torch.bincount(owner, minlength=len(bins)).float(), bins)
        return seeded(lambda: Colourer(started(self.encoder), bins, rarity(frequency, self.mixing)), self.training.seed)


def coloured_cells(corpus: Corpus) -> tuple[Float[Tensor, "cells 2"], float]:
    """A and b of the cells of frames that are trained on and have colour, and the share of frames that have none.

    Raises:
        BadInputError: None has.
    """
    numbers = corpus.trained
    numbers = numbers[torch.linspace(0, len(numbers) - 1, min(PRIOR_FRAMES, len(numbers))).round().long()]
    found, gray = [], 0
    for chosen in numbers.split(16):
        colours, known = targets_of(corpus.images(chosen), corpus.masks(chosen))
        coloured = colourful(colours, known, LEAST_CHROMA)
        gray += int((~coloured).sum())
        found.append(colours.permute(0, 2, 3, 1)[known & coloured[:, None, None]])
    cells = torch.cat(found) if found else torch.zeros(0, 2)
    if not len(cells):
        raise BadInputError(
            f"the frames are gray (no a or b beyond {LEAST_CHROMA:g})",
            "frames in colour: it is their colours that are learned",
            "give colour recordings; a trained run then colours gray ones",
        )
    return cells, gray / max(len(numbers), 1)
