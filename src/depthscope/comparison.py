"""Several recipes on the same clips, trained and measured alike."""

import dataclasses
import statistics
from collections.abc import Callable, Sequence as Rows
from pathlib import Path

import torch
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.evaluation import DENSE, DepthEvaluation, evaluated
from depthscope.evaluation.depth_folders import (
    POINTS,
    ComparedFrames,
    flat_frames,
    frames_at_points,
    pairs_of_maps,
)
from depthscope.evaluation.frame_names import same_frames
from depthscope.formats import depth_maps
from depthscope.geometry.map_grid import MapGrid
from depthscope.prediction import Recording, load_model, predict
from depthscope.recipes import Recipe, read_recipe, recipe_named, with_steps
from depthscope.runs import train_recipe
from depthscope.runs.inputs import unique_names
from depthscope.sequence import Sequence
from depthscope.supervision import Holdout
from depthscope.supervision.clip import held_out
from depthscope.training.devices import resolved_device
from depthscope.workspace import (
    atomic_folder,
    scratch_folder,
)

HELD_POINTS = 0.2
"""Share of the points of every clip that no recipe sees."""


FIGURES = ("abs_rel", "delta1", "sequence_abs_rel", "scale_drift")
"""What a row of the table holds: after one factor per frame, likewise, after one per clip, and the factors' spread."""


FLAT = "flat wall"


@dataclasses.dataclass(frozen=True)
class Judged:
    """A clip to train on and to measure.

    Attributes:
        sequence: Its structure from motion.
        truth: Its true depth maps, where the folder has them; else points kept from training judge.
    """

    sequence: Sequence
    truth: depth_maps.TrueMaps | None


@dataclasses.dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        rows: Of every recipe, seed and clip its errors and what it took.
        table: Of every recipe the means and the spread of its seeds.
        shown: A depth map of each recipe: of the middle frame of the first clip, with the first seed.
    """

    rows: list[dict]
    table: dict[str, dict[str, float]]
    shown: dict[str, Tensor]


def compared(
    recipes: Rows[Recipe], clips: list[Judged], seeds: int, out: Path, progress: Callable[[str, list[dict]], None]
) -> Compared:
    """Trains every recipe with every seed and measures it on every clip; what is there already is not done again.

    Args:
        recipes: Made equal before.
        clips: To train on and to measure.
        seeds: How often every recipe is trained.
        out: Folder that gets ``runs`` and ``store``.
        progress: Is given a run's name and its rows.
    """
    (out / "runs").mkdir(parents=True, exist_ok=True)
    rows: list[dict] = [{"recipe": FLAT, "seed": 0, "clip": one.sequence.name, **flat_figures(one)} for one in clips]
    shown: dict[str, Tensor] = {}
    for seed in range(seeds):
        for recipe in recipes:
            run = out / "runs" / f"{recipe.name}-{seed}"
            seeded = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, seed=seed))
            found = trained(seeded, clips, run, out / "store")
            for one in clips:
                maps = predicted(run, one.sequence)
                row = {"recipe": recipe.name, "seed": seed, "clip": one.sequence.name}
                rows.append({**row, **figures(maps, one, run), **found})
                if seed == 0 and one is clips[0]:
                    shown[recipe.name] = depth_maps.read(middle(maps))
            progress(f"{recipe.name}, seed {seed}", rows[-len(clips) :])
    return Compared(rows, summary(rows), shown)


def named(recipes: str) -> list[Recipe]:
    """Recipes from names or YAML files with commas between them.

    Raises:
        BadInputError: One is not known, or two have one name.
    """
    found = []
    for name in (part.strip() for part in recipes.split(",")):
        file = Path(name)
        found.append(read_recipe(file) if file.suffix in (".yaml", ".yml") else recipe_named(name))
    names = [recipe.name for recipe in found]
    if len(set(names)) < len(names):
        raise BadInputError(f"two recipes called {max(names, key=names.count)}", "different names", "rename one")
    return found


def equal_budget(recipe: Recipe, steps: int, batch: int | None, area_px: int) -> Recipe:
    """The recipe with what a comparison shares: image size, held-out points, steps."""
    holdout = Holdout(points=HELD_POINTS)
    supervision = dataclasses.replace(recipe.supervision, area_px=area_px, size_px=None, holdout=holdout)
    recipe = with_steps(dataclasses.replace(recipe, supervision=supervision), steps)
    training = dataclasses.replace(recipe.training, batch=batch or recipe.training.batch, validate_every=steps)
    return dataclasses.replace(recipe, training=training)


def all_judged(folders: Rows[Path]) -> list[Judged]:
    """Clips with their true depth where they have it, told apart by name.

    Raises:
        BadInputError: One is no sequence.
    """
    clips = [judged(folder) for folder in folders]
    named = unique_names([one.sequence for one in clips], list(folders))
    return [Judged(name, one.truth) for name, one in zip(named, clips, strict=True) if isinstance(name, Sequence)]


def judged(folder: Path) -> Judged:
    """A clip with its true depth, if it has any beside it.

    Raises:
        BadInputError: It is no sequence.
    """
    from depthscope.formats import read_sequence

    sequence = read_sequence(folder)
    truth = None
    if any((folder / "depth").glob("*.tif*")):
        truth = depth_maps.true_maps(folder, MapGrid(sequence.cameras[0].depth_kind))
    return Judged(sequence, truth)


def trained(recipe: Recipe, clips: list[Judged], run: Path, store: Path) -> dict[str, float]:
    """Trains a recipe, or goes on with what is there; returns what it took."""
    from depthscope.training import LAST

    result = train_recipe(
        recipe, [one.sequence for one in clips], run, store=store, resume=(run / LAST).is_file(), quiet=True
    )
    examples = float(result.steps * recipe.training.batch)
    return {"seconds": result.seconds, "examples": examples, "score": result.validation["score"]}


def predicted(run: Path, sequence: Sequence) -> dict[str, Path]:
    """Depth maps of every frame of a clip from the run's last checkpoint, on disk."""
    place = run / "prediction" / sequence.name
    model = load_model(run, last=True)
    device = "cpu" if model.recipe.training.accelerator == "cpu" else resolved_device("auto")
    with atomic_folder(place) as folder:
        for one in predict(model, Recording.of_sequence(sequence), device=device):
            depth_maps.write(folder / f"{one.name}.tiff", one.depth)
    return depth_maps.listed(place)


def figures(maps: dict[str, Path], one: Judged, run: Path) -> dict[str, float]:
    """Errors of depth maps against the truth, or at the points that were kept from training."""
    if one.truth is not None:
        return spread(evaluated(ComparedFrames(pairs_of_maps(maps, one.truth), DENSE), DENSE.name))
    kept = held_out(one.sequence, load_model(run, last=True).recipe.supervision).points
    return spread(evaluated(frames_at_points(maps, one.sequence, kept), POINTS))


def flat_figures(one: Judged) -> dict[str, float]:
    """The same for constant depth."""
    if one.truth is not None:
        truths = ((name, one.truth[name]) for name in one.truth)
        walls = (DENSE.frame(name, torch.ones_like(truth), truth) for name, truth in truths)
        return spread(evaluated(walls, DENSE.name))
    generator = torch.Generator().manual_seed(Holdout().seed)
    kept = torch.rand(len(one.sequence.points), generator=generator) < HELD_POINTS
    width, height = one.sequence.size_px
    with scratch_folder() as folder:
        flat = depth_maps.write(folder / "flat.tiff", torch.ones(height, width))
        maps = dict.fromkeys(one.sequence.frame_names, flat)
        return spread(evaluated(flat_frames(maps, one.sequence, kept), POINTS))


def spread(result: DepthEvaluation) -> dict[str, float]:
    """The figures of a row."""
    return {
        "abs_rel": result.per_frame_median.abs_rel,
        "delta1": result.per_frame_median.delta1,
        "sequence_abs_rel": result.per_sequence.abs_rel,
        "scale_drift": result.scale_drift,
    }


def summary(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Of each recipe the mean over clips and seeds, and the standard deviation of the seeds' means over clips."""
    table: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(row["recipe"] for row in rows):
        own = [row for row in rows if row["recipe"] == name]
        table[name] = {}
        for figure in FIGURES:
            by_seed = [
                statistics.fmean(row[figure] for row in own if row["seed"] == seed)
                for seed in sorted({row["seed"] for row in own})
            ]
            table[name][figure] = statistics.fmean(by_seed)
            table[name][f"{figure}_std"] = statistics.stdev(by_seed) if len(by_seed) > 1 else 0.0
        if "seconds" in own[0]:
            table[name] |= {key: statistics.fmean(row[key] for row in own) for key in ("seconds", "examples")}
    return table


def middle(maps: dict[str, Path]) -> Path:
    """The map of the frame in the middle of the clip."""
    return list(maps.values())[len(maps) // 2]


def true_depth(one: Judged, frame: str) -> Tensor | None:
    """The true depth of a frame, where it is known."""
    if one.truth is None:
        return None
    names = {found: name for name, found in same_frames(one.truth, one.sequence.frame_names).items()}
    return one.truth[names[frame]] if frame in names else None
