"""Depth from SfM on one clip: error at points that were removed before training, and what each correction is worth.

    python benchmarks/heart.py SEQUENCE --out DIR               the recipe FAST, a fifth of the points held out
    python benchmarks/heart.py SEQUENCE --out DIR --frames 7    and 7 frames, spread over the clip, held out as well
    python benchmarks/heart.py SEQUENCE --out DIR --ablation    every defect of the public code alone, and all of them

The points are removed from the sequence before the recipe sees it; what the recipe holds out for its own validation
comes on top. Writes ``heart.json`` (or ``ablation.json``) and prints the table.
"""

import argparse
import dataclasses
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from depthscope.evaluation import ComparedFrame, DepthEvaluation, evaluated
from depthscope.evaluation.depth_folders import consistency, flat_frames, frames_at_points
from depthscope.formats import depth_maps, read_sequence
from depthscope.geometry import depth as depth_module
from depthscope.geometry.scale import LogMean, weighted_mean
from depthscope.objectives import Siamese, siamese
from depthscope.objectives.consistency import Absolute
from depthscope.prediction import Recording, load_model, predict
from depthscope.recipes import FAST, Recipe, with_steps
from depthscope.runs import train_recipe
from depthscope.sequence import Sequence

HELD_OUT = 0.2
GAP = 6


def main() -> None:
    """Reads the arguments and runs what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=0, help="frames held out from training")
    parser.add_argument("--steps", type=int, help="steps (default: the recipe's; 400 for the ablation)")
    parser.add_argument("--area-px", type=int, help="pixels of the network's image (default: the recipe's)")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds (of split, weights and draws)")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--arms", nargs="*", help="only arms whose names contain one of these")
    given = parser.parse_args()
    sequence = read_sequence(given.sequence)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.ablation:
        arms = ablation_arms(with_steps(sized(FAST, given.area_px or 20_000), given.steps or 400))
        name = "ablation.json"
    else:
        arms = {"FAST": (with_steps(sized(FAST, given.area_px), given.steps), no_defect)}
        name = "heart.json"
    if given.arms:
        arms = {arm: value for arm, value in arms.items() if any(part in arm for part in given.arms)}
    rows = []
    for seed in range(given.seeds):
        for arm, (recipe, defect) in arms.items():
            row = {
                "arm": arm,
                "seed": seed,
                **measured(sequence, recipe, defect, given.out / f"{arm}-{seed}", seed, given.frames),
            }
            rows.append(row)
            print(line(row), flush=True)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    record = {
        "machine": machine,
        "date": time.strftime("%Y-%m-%d"),
        "steps": next(iter(arms.values()))[0].training.steps,
        "rows": rows,
    }
    (given.out / name).write_text(json.dumps(record, indent=2))


def sized(recipe: Recipe, area_px: int | None) -> Recipe:
    """The recipe on images of about this many pixels."""
    if area_px is None:
        return recipe
    return dataclasses.replace(recipe, supervision=dataclasses.replace(recipe.supervision, area_px=area_px))


def measured(
    sequence: Sequence, recipe: Recipe, defect: Callable, out: Path, seed: int, held_frames: int
) -> dict[str, float]:
    """Trains on what is left of the sequence, predicts every frame, and measures at the removed points."""
    generator = torch.Generator().manual_seed(seed)
    removed = torch.rand(len(sequence.points), generator=generator) < HELD_OUT
    kept_frames = torch.ones(len(sequence), dtype=torch.bool)
    if held_frames:
        kept_frames[torch.linspace(2, len(sequence) - 3, held_frames).round().long()] = False
    training = sequence.with_points(~removed)
    if held_frames:
        training = training.with_frames(kept_frames)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, seed=seed))
    start = time.perf_counter()
    with defect():
        result = train_recipe(recipe, [training], out, quiet=True)
    seconds = time.perf_counter() - start
    maps = predicted_maps(out, sequence)
    chosen = None if not held_frames else ~kept_frames
    evaluation = evaluated(only(frames_at_points(maps, sequence, removed), sequence, chosen), "sfm-points-1")
    floor = evaluated(only(flat_frames(maps, sequence, removed), sequence, chosen), "sfm-points-1")
    return {
        **figures(evaluation),
        "cross_view": consistency(maps, sequence, GAP) or float("nan"),
        "flat_wall": floor.per_frame_median.abs_rel,
        "train_seconds": seconds,
        "pairs_per_second": result.pairs_per_second,
        "data_wait": result.data_wait,
    }


def predicted_maps(run: Path, sequence: Sequence) -> dict[str, Path]:
    """Depth maps of all frames, on disk as a user would have them."""
    folder = run / "depth"
    folder.mkdir(exist_ok=True)
    model = load_model(run)
    for depth_map in predict(model, Recording.of_sequence(sequence)):
        depth_maps.write(folder / f"{depth_map.name}.tiff", depth_map.depth)
    return depth_maps.listed(folder)


def only(frames: Iterator[ComparedFrame], sequence: Sequence, chosen: Tensor | None) -> Iterator[ComparedFrame]:
    """The frames that are chosen, or all."""
    for frame in frames:
        if chosen is None or bool(chosen[sequence.frame_names.index(frame.name)]):
            yield frame


def figures(evaluation: DepthEvaluation) -> dict[str, float]:
    """The figures that are reported."""
    return {
        "abs_rel": evaluation.per_frame_median.abs_rel,
        "median": evaluation.median_abs_rel,
        "abs_rel_per_sequence": evaluation.per_sequence.abs_rel,
        "delta1": evaluation.per_frame_median.delta1,
        "scale_drift": evaluation.scale_drift,
        "frames": evaluation.frames,
    }


def line(row: dict) -> str:
    """A row for the eye."""
    return (
        f"{row['arm']:34s} seed {row['seed']}  AbsRel {row['abs_rel']:.4f} (flat wall {row['flat_wall']:.4f})  "
        f"median {row['median']:.4f}  cross-view {row['cross_view']:.4f}  scale drift {row['scale_drift']:.4f}  "
        f"{row['train_seconds']:.0f} s, {row['frames']} frames"
    )


# The defects of the public code (each as a change of one place of ours)


@contextmanager
def no_defect() -> Iterator[None]:
    """As it should be."""
    yield


@contextmanager
def plus_sign() -> Iterator[None]:
    """Eq. 3 with a sum instead of the difference: no longer blind to scale."""

    def loss(log_depth: Tensor, log_sparse: Tensor, weight: Tensor) -> Tensor:
        difference = torch.where(weight > 0, log_depth - log_sparse, 0.0)
        return weighted_mean(difference**2, weight) + weighted_mean(difference, weight) ** 2

    with patch.object(siamese, "scale_invariant_loss", loss):
        yield


@contextmanager
def integer_flow() -> Iterator[None]:
    """Points and their flow rounded to whole pixels."""
    exact = siamese.sparse_flow_loss

    def loss(depth, sparse_depth, pixels, weight, motion, camera, size_px):
        def rounded(depth, pixels, motion, camera):
            moved, front = depth_module.flow(depth, pixels, motion, camera)
            return (moved.round() if depth is sparse_depth else moved), front

        with patch("depthscope.objectives.flow.flow", rounded):
            return exact(depth, sparse_depth, pixels.floor() + 0.5, weight, motion, camera, size_px)

    with patch.object(siamese, "sparse_flow_loss", loss):
        yield


@contextmanager
def shifted_warp() -> Iterator[None]:
    """Every sample of the warp half a pixel off in x and y."""
    exact, warped = depth_module.sample, depth_module.warped

    def shifted(*arguments, **options):
        with patch.object(depth_module, "sample", lambda maps, pixels: exact(maps, pixels - 0.5)):
            return warped(*arguments, **options)

    with patch.object(siamese, "warped", shifted):
        yield


@contextmanager
def all_defects() -> Iterator[None]:
    """All of them at once."""
    with plus_sign(), integer_flow(), shifted_warp():
        yield


def ablation_arms(fast: Recipe) -> dict[str, tuple[Recipe, Callable]]:
    """Recipes with equal data, split, steps and network; only losses and their defects differ."""
    plain = Siamese(
        sparse_weight=10.0,
        consistency_weight=0.5,
        consistency=Absolute(),
        flow_weight=1.0,
        scale=LogMean(),
        nearest_pixel=True,
    )

    def arm(objective: Siamese, defect: Callable = no_defect) -> tuple[Recipe, Callable]:
        return dataclasses.replace(fast, objective=objective), defect

    binary = dataclasses.replace(plain, soft_mask=False)
    return {
        "all defects": arm(binary, all_defects),
        "plain losses, correct": arm(plain),
        "plain + sum in Eq. 3": arm(plain, plus_sign),
        "plain + binary masks": arm(binary),
        "plain + integer flow": arm(plain, integer_flow),
        "plain + shifted warp": arm(plain, shifted_warp),
        "plain + occlusion test": arm(dataclasses.replace(plain, occlusion_tolerance=0.1)),
        "plain + sub-pixel points": arm(dataclasses.replace(plain, nearest_pixel=False)),
        "plain + one scale for a pair": arm(dataclasses.replace(plain, agreement_weight=1.0)),
        "plain + robust losses": arm(
            dataclasses.replace(
                plain, robust_width=0.03, scale=fast.objective.scale, consistency=fast.objective.consistency
            )
        ),
        "FAST": arm(fast.objective),
    }


if __name__ == "__main__":
    main()
