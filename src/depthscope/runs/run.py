"""A run: a recipe and clips become a trained network in a folder."""

from collections.abc import Sequence as Rows
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from depthscope.errors import BadInputError
from depthscope.networks.encoder_file import StartsFromFile
from depthscope.objectives import Siamese, ViewSynthesis
from depthscope.pretrained import read_start
from depthscope.recipes import Recipe, to_yaml
from depthscope.runs.held_out import HeldOutPoints, HeldOutSnippets, ValidatedOn
from depthscope.sequence import Sequence
from depthscope.supervision import Clip, Holdout, SnippetClip, clip, common_kind, network_size, snippet_clip
from depthscope.supervision.snippets import in_one_unit
from depthscope.training import (
    PairDraws,
    SiameseDepth,
    SnippetAugmentation,
    SnippetDraws,
    TrainingResult,
    VideoDepth,
    check_resumable,
    snippet_network,
    train,
)
from depthscope.training.devices import Fabric
from depthscope.unposed_clip import UnposedClip

One = TypeVar("One", Clip, SnippetClip)


@dataclass(frozen=True)
class RunResult(TrainingResult):
    """What came of a run, and of which clips.

    Attributes:
        trained_on: Names of the clips that were trained on.
        kept_back: Names of those that were kept from training as a whole.
        validated_on: What `validation` and `best` were measured at.
    """

    trained_on: tuple[str, ...]
    kept_back: tuple[str, ...]
    validated_on: ValidatedOn


def prepared(sequences: Rows[Sequence], recipe: Recipe, store: Path) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """The clips to train on, and those kept from training as a whole; all at one network size.

    Raises:
        BadInputError: No sequences, two of one name, or one that cannot be learned from.
    """
    size, kind = _common_size(sequences, recipe), common_kind(sequences)
    clips = [clip(sequence, recipe.supervision, size, store, kind) for sequence in sequences]
    return _split(clips, recipe.supervision.holdout)


def prepared_snippets(
    clips: Rows[UnposedClip], recipe: Recipe, store: Path
) -> tuple[tuple[SnippetClip, ...], tuple[SnippetClip, ...]]:
    """As `prepared`, for recipes that learn by view synthesis.

    Raises:
        BadInputError: Likewise; or the recipe needs structure from motion, or a second eye, that a clip has not.
    """
    objective = recipe.objective
    assert isinstance(objective, ViewSynthesis)
    without = [one.name for one in clips if one.sequence is None]
    if objective.needs_sfm and without:
        raise BadInputError(
            f"{without[0]} has no structure from motion",
            f"a sequence, as the recipe {recipe.name} takes its motions from there",
            "reconstruct it first, or use a recipe that learns motion too (monodepth2-m)",
        )
    size, kind, rule = _common_size(clips, recipe), common_kind(clips), objective.snippets
    made = in_one_unit(tuple(snippet_clip(one, recipe.supervision, rule, size, store, kind) for one in clips))
    return _split(list(made), recipe.supervision.holdout)


def _common_size(clips: Rows[Sequence] | Rows[UnposedClip], recipe: Recipe) -> tuple[int, int]:
    if not clips:
        raise BadInputError("no sequences", "at least one to train on")
    names = [one.name for one in clips]
    if len(set(names)) < len(names):
        raise BadInputError(f"two sequences called {max(names, key=names.count)}", "different names", "rename a folder")
    sizes = [network_size(one, recipe.supervision, recipe.network.divisor) for one in clips]
    return sorted(sizes)[len(sizes) // 2]


def _split(clips: list[One], holdout: Holdout) -> tuple[tuple[One, ...], tuple[One, ...]]:
    unseen = holdout.kept_back(len(clips))
    return (
        tuple(one for number, one in enumerate(clips) if number not in unseen),
        tuple(one for number, one in enumerate(clips) if number in unseen),
    )


def train_recipe(
    recipe: Recipe,
    sequences: Rows[Sequence | UnposedClip],
    out: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    store: Path | None = None,
    fabric: Fabric | None = None,
) -> RunResult:
    """Trains the recipe's network on the clips and leaves checkpoints and logs in `out`.

    Args:
        recipe: Everything that decides the run beside the data.
        sequences: SfM sequences; a recipe that learns by view synthesis takes clips without SfM as well.
        out: The run's folder.
        resume: Go on from the checkpoint there.
        quiet: No progress display.
        store: Where frames are kept at network size; ``out/store`` if not given.
        fabric: Devices, where they were launched before.

    Raises:
        BadInputError: See `prepared`, `prepared_snippets` and `depthscope.training.train`.
    """
    masked = [one.name for one in sequences if one.foreign is not None]
    record = {"recipe": to_yaml(recipe), "sequences": [one.name for one in sequences], "masked": masked}
    if resume:
        check_resumable(out, record)
    record |= {"depth_kind": common_kind(sequences)}
    store = store or out / "store"
    torch.manual_seed(recipe.training.seed)
    match recipe.objective:
        case Siamese():
            task, draws, validate = _from_points(recipe, _with_sfm(sequences, recipe), store)
        case ViewSynthesis():
            unposed = [one if isinstance(one, UnposedClip) else UnposedClip.of(one) for one in sequences]
            task, draws, validate, unit = _from_video(recipe, unposed, store)
            record |= unit
    result = train(
        task, draws, recipe.training, out, validate=validate, record=record, resume=resume, fabric=fabric, quiet=quiet
    )
    return RunResult(
        **vars(result),
        trained_on=tuple(one.name for one in validate.clips),
        kept_back=tuple(one.name for one in validate.unseen),
        validated_on=validate.looks_at,
    )


def _with_sfm(clips: Rows[Sequence | UnposedClip], recipe: Recipe) -> list[Sequence]:
    sequences = []
    for one in clips:
        sequence = one.sequence if isinstance(one, UnposedClip) else one
        if sequence is None:
            raise BadInputError(
                f"{one.name} has no structure from motion",
                f"a sequence, as the recipe {recipe.name} learns from its points",
                "reconstruct it first, or use a recipe that learns from video alone (monodepth2-m)",
            )
        sequences.append(sequence)
    return sequences


def _from_points(recipe: Recipe, sequences: list[Sequence], store: Path):
    """Task, draws and validation of a recipe that learns from sparse points."""
    assert isinstance(recipe.objective, Siamese) and not isinstance(recipe.augmentation, SnippetAugmentation)
    clips, unseen = prepared(sequences, recipe, store)
    network = recipe.network.build()
    if isinstance(recipe.network, StartsFromFile):
        recipe.network.load_start(network)
    begin(network, recipe)
    keeps = recipe.start and recipe.objective.prior_weight
    prior = deepcopy(network).eval().requires_grad_(False) if keeps else None
    task = SiameseDepth(
        network=network,
        objective=recipe.objective,
        augmentation=recipe.augmentation,
        seed=recipe.training.seed,
        channels_last=recipe.training.channels_last,
        prior=prior,
    )
    return task, PairDraws(clips, recipe.training.seed), HeldOutPoints(clips, unseen)


def begin(network: nn.Module, recipe: Recipe) -> None:
    """Gives a depth network the weights that the recipe starts from, if it names any.

    Raises:
        BadInputError: They are of another network.
    """
    if not recipe.start:
        return
    start = read_start(recipe.start)
    try:
        network.load_state_dict(start.weights)
    except RuntimeError as error:
        raise BadInputError(
            f"{start.source} holds the weights of {start.network}",
            f"{recipe.network}",
            "train with --weights, which takes the network from there",
        ) from error


def _from_video(recipe: Recipe, unposed: list[UnposedClip], store: Path):
    """Task, draws, validation and unit of length of a recipe that learns by view synthesis.

    Where every clip has structure from motion, its points judge the depth, so that recipes can be compared; they take
    no part in training unless the recipe says so.
    """
    assert isinstance(recipe.objective, ViewSynthesis) and isinstance(recipe.augmentation, SnippetAugmentation)
    clips, unseen = prepared_snippets(unposed, recipe, store)
    network = snippet_network(recipe.network, recipe.objective)
    begin(network.depth, recipe)
    task = VideoDepth(
        network=network,
        objective=recipe.objective,
        augmentation=recipe.augmentation,
        seed=recipe.training.seed,
        channels_last=recipe.training.channels_last,
    )
    draws = SnippetDraws(clips, recipe.training.seed, known=recipe.objective.needs_sfm)
    trained = tuple(one.sfm for one in clips if one.sfm is not None)
    kept = tuple(one.sfm for one in unseen if one.sfm is not None)
    judged = len(trained) == len(clips) and len(kept) == len(unseen)
    validate = HeldOutPoints(trained, kept) if judged else HeldOutSnippets(task, clips, unseen)
    measured = clips[0].eye is not None and clips[0].unit_length is not None
    unit = {"unit_length": clips[0].unit_length, "unit": clips[0].unit} if measured else {}
    return task, draws, validate, unit
