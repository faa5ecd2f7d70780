"""What sparse points make of depth without training: one factor for a frame, a power besides, a smooth field of scale.

    depthscope simulate --out PATIENTS/nasal --patients 3 --frames 12 --split test
    depthscope simulate --out PATIENTS/colon --anatomy colon --patients 2 --frames 12 --split test
    python benchmarks/alignment.py --patients PATIENTS --out DIR [--run shipped] [--fit]

Every clip's frames are given depth by a network that never saw the patient, brought to the clip's own sparse points
(which carry the errors of structure from motion), and compared with every true pixel. Also: the error at points held
out of the field, a fifth at a time, which needs no truth; and how often the error lies within the deviations that
`Support` tells. ``--fit`` fits the weights of `Support` to these errors, with the shares within one and two deviations
as near as can be to those of a normal error. Writes ``alignment.json`` and prints a table.
"""

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from depthscope.alignment import TO_POINTS, FieldPrior
from depthscope.evaluation.depth_folders import resized_to
from depthscope.evaluation.frame_names import same_frames
from depthscope.formats import depth_maps, read_sequence
from depthscope.geometry.map_grid import MapGrid
from depthscope.prediction import DepthModel, Recording, load_model, points_of, predict, sampled_at
from depthscope.supervised.calibration import EXPECTED, TOLERANCE
from depthscope.support import FEATURES, ON_PHANTOMS

ARMS = {
    "one factor": FieldPrior(field=0.0, slope=0.0),
    "factor and power": replace(TO_POINTS, field=0.0),
    "field": TO_POINTS,
}

PIXELS = 1500
"""Of each frame, for the deviations."""


def main() -> None:
    """Reads the arguments, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", default="shipped")
    parser.add_argument("--fit", action="store_true", help="fit the weights of Support")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(given.run)
    clips = sorted(path.parent for path in given.patients.rglob("clip_*/depth"))
    rows, samples = [], []
    for clip in clips:
        row, some = of_clip(model, clip)
        rows.append({"clip": str(clip.relative_to(given.patients)), **row})
        samples.append(some)
        print(json.dumps(rows[-1]), flush=True)
    features, errors, stds = (np.concatenate([s[n] for s in samples]) for n in range(3))
    record = {
        "machine": f"{platform.machine()}, torch {torch.__version__}, one thread",
        "date": time.strftime("%Y-%m-%d"),
        "run": given.run,
        "alignment": vars(TO_POINTS),
        "mean": {arm: mean_of([row["arms"][arm] for row in rows]) for arm in ARMS},
        "within_1_and_2": [within(errors, stds, n) for n in EXPECTED],
        "clips": rows,
    }
    if given.fit:
        record["support"] = fitted(features.astype(float), np.abs(errors).astype(float))
        print(json.dumps(record["support"], indent=1))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "alignment.json").write_text(json.dumps(record, indent=1) + "\n")
    print(table(record))


def of_clip(model: DepthModel, clip: Path) -> tuple[dict, tuple]:
    """The errors of a clip's arms, and samples of features, errors and deviations after the field."""
    sequence = read_sequence(clip)
    made = list(predict(model, Recording.of_sequence(sequence)))
    maps = {m.name: m.depth for m in made}
    truths = depth_maps.true_maps(clip / "depth", MapGrid(made[0].kind))
    names = {other: name for name, other in same_frames(truths, maps).items()}
    found: dict[str, list[tuple[float, ...]]] = {arm: [] for arm in ARMS}
    columns: tuple[list, list, list] = ([], [], [])
    for frame, name in enumerate(sequence.frame_names):
        if name not in names:
            continue
        depth, truth = maps[name], truths[names[name]]
        truth = resized_to(truth, depth.shape)
        size = depth.shape[1], depth.shape[0]
        pixels, sparse = points_of(sequence, frame, size)
        for arm, alignment in ARMS.items():
            aligned = depth * alignment(depth, pixels, sparse)
            found[arm].append((*errors_of(aligned, truth), held_out(alignment, depth, pixels, sparse)))
        focal_px = min(sequence.cameras[frame].resized(size).focal_px)
        aligned = depth * TO_POINTS(depth, pixels, sparse)
        known = (aligned > 0) & (truth > 0)
        told = replace(ON_PHANTOMS, stride=1)
        features = told.features(aligned, pixels, sparse, focal_px, sequence.median_depth)
        std = told(aligned, pixels, sparse, focal_px, sequence.median_depth)
        draw = torch.randperm(int(known.sum()), generator=torch.Generator().manual_seed(frame))[:PIXELS]
        for column, values in zip(columns, (features, (aligned / truth.clamp_min(1e-9)).log(), std), strict=True):
            column.append(values[known][draw].numpy())
    figures = {"arms": {arm: mean_of([named(values) for values in rows]) for arm, rows in found.items()}}
    return {"frames": len(names), **figures}, tuple(np.concatenate(column) for column in columns)


def errors_of(depth: torch.Tensor, truth: torch.Tensor) -> tuple[float, float, float]:
    """AbsRel and delta1 of a map at its own median scale, and AbsRel in the unit that the points gave it."""
    known = (depth > 0) & (truth > 0)
    ratio = depth[known] / truth[known]
    own = ratio / ratio.median()
    return (
        float((own - 1).abs().mean()),
        float((torch.maximum(own, 1 / own) < 1.25).float().mean()),
        float((ratio - 1).abs().mean()),
    )


def held_out(alignment: FieldPrior, depth: torch.Tensor, pixels: torch.Tensor, sparse: torch.Tensor) -> float:
    """AbsRel at points, a fifth of which at a time were left out."""
    rest = []
    for fold in range(5):
        kept = torch.arange(len(pixels)) % 5 != fold
        aligned = depth * alignment(depth, pixels[kept], sparse[kept])
        here = sampled_at(aligned[None], pixels[~kept][None].float())[0]
        rest.append(((here - sparse[~kept]).abs() / sparse[~kept])[here > 0])
    return float(torch.cat(rest).mean())


def named(values: tuple[float, ...]) -> dict[str, float]:
    """The figures of a frame by their names."""
    return dict(zip(("abs_rel", "delta1", "abs_rel_in_its_unit", "at_held_out_points"), values, strict=True))


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure."""
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def within(errors: np.ndarray, stds: np.ndarray, count: int) -> float:
    """Share of the errors within so many deviations."""
    return float((np.abs(errors) < count * stds).mean())


def fitted(features: np.ndarray, error: np.ndarray) -> dict:
    """Weights of `Support` by the Laplace likelihood of the errors, then shifted until the shares are nearly normal."""

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        log_error = features @ x
        ratio = error * np.exp(-log_error)
        ridge = 1e-3 * x * (np.arange(len(x)) > 0)
        return float((ratio + log_error).mean() + (ridge * x).sum() / 2), features.T @ (1 - ratio) / len(error) + ridge

    weights = minimize(loss, np.zeros(features.shape[1]), jac=True).x
    told = np.sqrt(2) * np.exp(features @ weights)

    def misfit(shift: float) -> float:
        stds = (told * np.exp(shift)).clip(ON_PHANTOMS.least, ON_PHANTOMS.most)
        return sum(((within(error, stds, n) - EXPECTED[n]) / TOLERANCE[n]) ** 2 for n in EXPECTED)

    weights[0] += min(np.arange(-1, 1, 0.01).tolist(), key=misfit)
    stds = np.sqrt(2) * np.exp(features @ weights)
    return {
        "weights": dict(zip(FEATURES, weights.round(3).tolist(), strict=True)),
        "within_1_and_2": [within(error, stds, n) for n in EXPECTED],
    }


def table(record: dict) -> str:
    """The means in Markdown."""
    keys = ("abs_rel", "delta1", "abs_rel_in_its_unit", "at_held_out_points")
    lines = [f"| brought to its points by | {' | '.join(keys)} |", "|---|" + "---|" * len(keys)]
    for arm, figures in record["mean"].items():
        lines.append(f"| {arm} | {' | '.join(f'{figures[key]:.3f}' for key in keys)} |")
    one, two = record["within_1_and_2"]
    return "\n".join([*lines, f"{len(record['clips'])} clips; {one:.0%} and {two:.0%} within one and two deviations"])


if __name__ == "__main__":
    main()
