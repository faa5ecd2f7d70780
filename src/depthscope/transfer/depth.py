"""Depth as a probe of encoders: clips with structure from motion, and clips left for the test."""

import statistics
from collections.abc import Sequence as Rows
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from depthscope.comparison import Judged, all_judged, equal_budget, figures, flat_figures, predicted, trained
from depthscope.errors import BadInputError
from depthscope.networks.encoder import EncoderOptions
from depthscope.recipes import Recipe, recipe_named
from depthscope.recipes.encoders import with_encoder_options
from depthscope.sequence import Sequence
from depthscope.transfer.arms import Arm

FEWEST_FRAMES = 8
"""Of a clip, that a share of it is cut down to at least."""


@dataclass(frozen=True, eq=False)
class DepthProbe:
    """AbsRel per frame on clips that were not trained on.

    Attributes:
        recipe: How depth is learned.
        pretext: The encoder that is tried.
        before: Steps of its pretext run.
        known: Clips to train on.
        unseen: Clips of the test.
        store: Where frames are kept.
    """

    recipe: Recipe
    pretext: EncoderOptions
    before: int
    known: tuple[Judged, ...]
    unseen: tuple[Judged, ...]
    store: Path
    figure: str = "AbsRel"
    larger_is_better: bool = False

    @property
    def head(self) -> dict[str, object]:
        """Clips, and what constant depth has."""
        return {
            "recipe": self.recipe.name,
            "trained_on": [one.sequence.name for one in self.known],
            "tested_on": [one.sequence.name for one in self.unseen],
            "constant depth": statistics.fmean(flat_figures(one)["abs_rel"] for one in self.unseen),
        }

    def recipe_of(self, arm: Arm, rate: float, seed: int) -> Recipe:
        """The recipe of an arm."""
        recipe = with_encoder_options(self.recipe, arm.encoder(self.pretext))
        training = replace(recipe.training, optimiser=replace(recipe.training.optimiser, learning_rate=rate), seed=seed)
        if arm.longer:
            training = replace(training, steps=training.steps + self.before)
        return replace(recipe, training=training)

    def validated(self, arm: Arm, share: float, rate: float, seed: int, run: Path) -> float:
        """The error at points of the clips that were kept from training."""
        some = [Judged(part_of(one.sequence, share), one.truth) for one in self.known]
        return trained(self.recipe_of(arm, rate, seed), some, run, self.store)["score"]

    def tested(self, run: Path) -> float:
        """AbsRel per frame, mean over the clips of the test."""
        found = [figures(predicted(run, one.sequence), one, run)["abs_rel"] for one in self.unseen]
        return statistics.fmean(found)


def part_of(clip: Sequence, share: float) -> Sequence:
    """The first frames of a clip: their share of it, but `FEWEST_FRAMES` at least."""
    frames = len(clip)
    count = max(min(FEWEST_FRAMES, frames), round(share * frames))
    return clip if count >= frames else clip.with_frames(torch.arange(frames) < count)


def split(clips: Rows[Judged], test: int) -> tuple[tuple[Judged, ...], tuple[Judged, ...]]:
    """Clips to train on, and the last ones for the test: so many, or a third if 0."""
    count = test or max(1, len(clips) // 3)
    return tuple(clips[:-count]), tuple(clips[-count:])


def depth_probe(
    inputs: Rows[Path], recipe: str, steps: int, batch: int, area_px: int, test: int, pretext: EncoderOptions,
    before: int, store: Path,
) -> DepthProbe:  # fmt: skip
    """The probe of some sequences by a named recipe.

    Raises:
        BadInputError: There are too few, or the recipe's network has no such encoder.
    """
    if len(inputs) < 2 or not 0 <= test < len(inputs):
        raise BadInputError(
            f"{len(inputs)} sequences, --test {test}", "two or more: the last ones are the test", "give more, or --test"
        )
    base = equal_budget(recipe_named(recipe), steps, batch, area_px)
    with_encoder_options(base, pretext)  # which says where the recipe's network has no such encoder
    known, unseen = split(all_judged(inputs), test)
    return DepthProbe(base, pretext, before, known, unseen, store)
