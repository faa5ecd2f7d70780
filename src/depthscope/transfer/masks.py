"""Segmentation as a probe of encoders: frames with masks drawn by hand, the later ones to choose by and for the test.

Neighbouring masks are nearly equal, so the three parts are stretches of time, or videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from depthscope.corpus import Corpus, CorpusOptions, read_corpus
from depthscope.errors import BadInputError
from depthscope.networks.encoder import EncoderOptions
from depthscope.pretext.error_boosting.automatic import OUTSIDE, TISSUE
from depthscope.pretext.error_boosting.labels import LabelledFrames, open_masks, read_labelled
from depthscope.pretext.error_boosting.learning import usual
from depthscope.pretext.error_boosting.scores import tallied
from depthscope.pretext.error_boosting.segmentation import LabelledDraws, Segmentation, Segmenter, segmented
from depthscope.training import LAST, Adam, Training, load_checkpoint, train
from depthscope.transfer.arms import Arm

BACKGROUND = (OUTSIDE, TISSUE)
"""Classes that no mean Dice counts."""


@dataclass(frozen=True, eq=False)
class MaskProbe:
    """Mean Dice of all classes but tissue and what is outside, on masks that were not trained on.

    Attributes:
        masks: All of them; those that are `kept` choose the rate (the earlier half) and test (the later half).
        classes: How many classes there are.
        pretext: The encoder that is tried.
        before: Steps of its pretext run.
        steps: Of every arm.
        batch: Frames in a step.
    """

    masks: LabelledFrames
    classes: int
    pretext: EncoderOptions
    before: int
    steps: int
    batch: int
    figure: str = "Dice"
    larger_is_better: bool = True

    def __post_init__(self) -> None:
        if len(self.known) < 1 or len(self.judges) < 1 or len(self.test) < 1:
            raise BadInputError(
                f"{len(self.masks)} masks, {int(self.masks.kept.sum())} of them kept from training",
                "one at least to learn from, to choose by, and to test on",
                "draw more",
            )

    @classmethod
    def of(
        cls, labels: Path, corpus: Corpus, pretext: EncoderOptions, before: int, steps: int, batch: int
    ) -> "MaskProbe":
        """The probe of a folder of masks of a corpus.

        Raises:
            BadInputError: The masks are of other frames, sizes or classes, or too few.
        """
        drawn = open_masks(labels, corpus.videos)
        masks = read_labelled(drawn, corpus, validation=0.5)
        return cls(masks, len(drawn.classes), pretext, before, steps, batch)

    @property
    def known(self) -> Tensor:
        """Masks to train on."""
        return (~self.masks.kept).nonzero().flatten()

    @property
    def judges(self) -> Tensor:
        """Masks that the learning rate is chosen by."""
        kept = self.masks.kept.nonzero().flatten()
        return kept[: len(kept) // 2]

    @property
    def test(self) -> Tensor:
        """Masks of the test."""
        kept = self.masks.kept.nonzero().flatten()
        return kept[len(kept) // 2 :]

    @property
    def head(self) -> dict[str, object]:
        """How many masks, and what the usual class of each place has."""
        truth = self.masks.labels[self.test]
        place = usual(self.masks.labels[self.known], self.classes).expand_as(truth)
        trivial = tallied(place, truth, self.classes).mean_dice(BACKGROUND)
        counts = {"trained_on": len(self.known), "chosen_by": len(self.judges), "tested_on": len(self.test)}
        return {**counts, "place alone": trivial}

    def validated(self, arm: Arm, share: float, rate: float, seed: int, run: Path) -> float:
        """One minus the mean Dice of the masks to choose by."""
        chosen = self.known[: max(1, round(share * len(self.known)))]
        steps = self.steps + (self.before if arm.longer else 0)
        training = Training(
            steps=steps,
            batch=min(self.batch, len(chosen)),
            optimiser=Adam(rate),
            clip_norm=1.0,
            seed=seed,
            save_every=steps,
        )
        torch.manual_seed(seed)
        options = arm.encoder(self.pretext)
        network = Segmenter(options, self.classes)
        task = Segmentation(network, torch.ones(self.classes, dtype=torch.float64), seed)
        draws = LabelledDraws(self.masks.frames, self.masks.labels, chosen, seed)
        train(task, draws, training, run, resume=(run / LAST).is_file(), quiet=True)
        return 1 - self.dice(network, self.judges)

    def tested(self, run: Path) -> float:
        """Mean Dice of the test."""
        network = Segmenter(replace(self.pretext, weights="", frozen=False), self.classes)
        network.load_state_dict(load_checkpoint(run / LAST)["network"])
        return self.dice(network, self.test)

    def dice(self, network: Segmenter, chosen: Tensor) -> float:
        """Mean Dice of some masks."""
        found = segmented(network, self.masks.frames[chosen], self.masks.content[chosen], OUTSIDE)
        return tallied(found, self.masks.labels[chosen], self.classes).mean_dice(BACKGROUND)


def mask_probe(
    inputs: Sequence[Path], labels: Path, steps: int, batch: int, area_px: int, pretext: EncoderOptions, before: int,
    store: Path,
) -> MaskProbe:  # fmt: skip
    """The probe of masks of some videos.

    Raises:
        BadInputError: A video cannot be read, or the masks are not of these.
    """
    corpus = read_corpus(inputs, CorpusOptions(area_px=area_px, divisor=pretext.divisor), store)
    return MaskProbe.of(labels, corpus, pretext, before, steps, batch)
