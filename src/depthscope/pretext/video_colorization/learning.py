"""Options of tracking by colorizing, and how it is learned from a corpus."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from depthscope.corpus import Corpus, CorpusOptions
from depthscope.errors import BadInputError
from depthscope.networks.encoder import EncoderOptions, started
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.learned import Learned, Score
from depthscope.pretext.starting import seeded
from depthscope.pretext.stored import to_yaml
from depthscope.pretext.video_colorization.palette import cell_colours, palette_of
from depthscope.pretext.video_colorization.scores import copying
from depthscope.pretext.video_colorization.snippets import Moving, moving_snippets
from depthscope.pretext.video_colorization.task import ColourSnippetDraws, CopyColours, Embedder
from depthscope.training import Adam, Cosine, Training, train

PALETTE_FRAMES = 200
"""Frames that the palette is drawn from, evenly chosen."""

FEW_BITS = 1.0
"""Below, nearly all cells have one colour and copying it says little about where from."""


@dataclass(frozen=True)
class VideoColorization:
    """Tracking emerges by colorizing videos (Vondrick et al., ECCV 2018): gray frames, colours only copied.

    Attributes:
        references: Frames that colour is copied from, before the one that it is copied to.
        labels: Colours that are told apart.
        channels: Of the vector of a cell.
        stride: Side of a cell in pixels of the corpus, 4 or 8.
        temperature: Of the pointer while learning.
        least_motion_px: Snippets with less motion (median flow, pixels of the corpus) are left out.
        encoder: The encoder.
        frames: How video becomes a corpus; six frames a second.
        training: The loop.
    """

    references: int = 3
    labels: int = 16
    channels: int = 64
    stride: int = 8
    temperature: float = 0.1
    least_motion_px: float = 0.5
    encoder: EncoderOptions = field(default_factory=ResUNetEncoder)
    frames: CorpusOptions = field(default_factory=lambda: CorpusOptions(every_s=1 / 6))
    training: Training = field(
        default_factory=lambda: Training(steps=600, batch=4, optimiser=Adam(1e-3), schedule=Cosine())
    )

    def __post_init__(self) -> None:
        if self.references < 1 or self.labels < 2 or self.channels < 2:
            raise BadInputError(
                f"{self.references} references, {self.labels} labels and {self.channels} channels",
                "1 or more, 2 or more and 2 or more",
            )
        if self.stride not in (4, 8):
            raise BadInputError(f"cells of {self.stride} px", "4 or 8")
        if not 0 < self.temperature < float("inf") or not 0 <= self.least_motion_px < float("inf"):
            raise BadInputError(
                f"a temperature of {self.temperature:g} and a motion of {self.least_motion_px:g} px",
                "more than 0, and 0 or more",
            )

    def learn(self, corpus: Corpus, out: Path, *, resume: bool = False, quiet: bool = False) -> Learned:
        """Trains on a corpus.

        Args:
            corpus: Frames; those of a video are taken as they follow each other.
            out: Folder for checkpoints and logs.
            resume: Go on from the checkpoint in `out`.
            quiet: No progress display.

        Raises:
            BadInputError: Clips are shorter than a snippet, nothing moves, or nothing has colour.
        """
        notes: list[str] = []
        moving = moving_snippets(corpus, self.references + 1, self.least_motion_px, notes.append)
        task = CopyColours(self.network(corpus), self.temperature)
        before = copying(task, corpus, moving.held)
        draws = ColourSnippetDraws(corpus, moving.trained, self.training.seed)
        result = train(task, draws, self.training, out, record={"pretext": to_yaml(self)}, resume=resume, quiet=quiet)
        scores, told = scored(task, corpus, moving, before.accuracy)
        return Learned(task.network.encoder, scores, result, (*notes, *told))

    def network(self, corpus: Corpus) -> Embedder:
        """A new network with the palette of the frames that are trained on."""
        chosen = corpus.trained[
            torch.linspace(0, len(corpus.trained) - 1, min(PALETTE_FRAMES, len(corpus.trained))).round().long()
        ]
        colours, known = cell_colours(corpus.images(chosen), corpus.masks(chosen), self.stride)
        palette = palette_of(colours.permute(0, 2, 3, 1)[known], self.labels, self.training.seed)
        return seeded(lambda: Embedder(started(self.encoder), self.channels, self.stride, palette), self.training.seed)


def scored(
    task: CopyColours, corpus: Corpus, moving: Moving, untrained: float
) -> tuple[tuple[Score, ...], tuple[str, ...]]:
    """Scores on snippets that were held out, and what must be said about them."""
    share = Score("snippets that move", 1 - moving.still / max(1, moving.still + len(moving.trained)))
    if not len(moving.held):
        return (share,), ("no snippet was held out: nothing could be measured on frames that were not trained on",)
    found = copying(task, corpus, moving.held)
    scores = (
        Score(
            "colours copied",
            found.accuracy,
            {"same place": found.identity, "majority": found.majority, "untrained": untrained},
        ),
        Score(
            "palette entropy in bits",
            found.entropy_bits,
            {"most": float(torch.tensor(len(task.network.palette)).log2())},
        ),
        share,
    )
    notes = []
    if found.entropy_bits < FEW_BITS:
        notes.append(f"nearly one colour ({found.entropy_bits:.2f} bits): little can be learned from copying it")
    if found.accuracy <= max(found.identity, found.majority):
        notes.append("colours are copied no better than from the same place, or by the most frequent one")
    return scores, tuple(notes)
