"""Depth of patients that were never trained on: by structure from motion, by exact points, by true depth.

    depthscope simulate --out TRAIN --patients 6 --clips 2 --split train
    depthscope simulate --out TEST --patients 4 --clips 3 --split test
    python benchmarks/reconstruction.py --on TRAIN --keep --out SFM
    python benchmarks/unseen_patients.py --train TRAIN --sfm SFM --test TEST --out DIR [--steps 1500] [--seeds 1]

Arms with one network, equal steps and equal images: sfm (clips that `reconstruct` accepted), unjudged (also those that
it refused), exact (true motions and true sparse points: what a perfect SfM would give), and supervised (every pixel's
true depth: the ceiling). Judged on every true pixel of the test patients, per frame and per sequence, beside constant
depth and depth from brightness alone. Finished runs are not done again. Writes ``unseen_patients.json``.
"""

import argparse
import dataclasses
import json
import platform
import statistics
import time
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from depthscope.comparison import Judged, figures, flat_figures, judged, predicted, spread
from depthscope.evaluation.depth import ComparedFrame, evaluated
from depthscope.evaluation.depth_folders import resized_to
from depthscope.formats import depth_maps, read_sequence
from depthscope.networks import as_prediction
from depthscope.recipes import FAST, Recipe, to_yaml, with_steps
from depthscope.runs import train_recipe
from depthscope.runs.run import prepared
from depthscope.supervision import Clip
from depthscope.training import LAST, train
from depthscope.training.draws import example_of, generator_of
from depthscope.video import read_image

ARMS = ("sfm", "unjudged", "exact", "supervised")
USUAL_MM = 20.0
"""Depth that a new network predicts everywhere, for the supervised arm."""


def main() -> None:
    """Trains what is missing, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--sfm", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--area-px", type=int, default=40_000)
    parser.add_argument("--arms", nargs="*", default=ARMS, choices=ARMS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    clips = clips_of(given.train)
    places = [given.sfm / "clips" / clip.parent.name / clip.name for clip in clips]
    accepted = [place for place in places if verdict(place)]
    material = {"sfm": accepted, "unjudged": [place for place in places if (place / "colmap").is_dir()]}
    supervision = dataclasses.replace(FAST.supervision, area_px=given.area_px)
    recipe = with_steps(dataclasses.replace(FAST, supervision=supervision), given.steps)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, validate_every=given.steps))
    test = [judged(clip) for clip in clips_of(given.test)]
    rows = [{"arm": "flat", "seed": 0, **flat_figures(one)} for one in test]
    rows += [{"arm": "light", "seed": 0, **light_figures(one)} for one in test]
    for arm in given.arms:
        for seed in range(given.seeds):
            seeded = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, seed=seed))
            run = given.out / f"{arm}-{seed}"
            learn(arm, seeded, material.get(arm, clips), run, given.out / "store")
            for one in test:
                rows.append({"arm": arm, "seed": seed, **figures(predicted(run, one.sequence), one, run)})
            print(arm, seed, table(rows)[arm], flush=True)
    record = {
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "steps": given.steps,
        "trained_on": {"clips": len(clips), "accepted": len(accepted), "patients": len({c.parent for c in clips})},
        "tested_on": {"clips": len(test), "patients": len({c.parent for c in clips_of(given.test)})},
        "arms": table(rows),
        "rows": rows,
    }
    (given.out / "unseen_patients.json").write_text(json.dumps(record, indent=1) + "\n")
    for arm, found in record["arms"].items():
        print(f"| {arm} | " + " | ".join(f"{value:.3f}" for value in found.values()) + " |")


def clips_of(folder: Path) -> list[Path]:
    """The clips of simulated patients."""
    return [clip for clip in sorted(folder.glob("patient_*/clip_*")) if clip.is_dir()]


def verdict(place: Path) -> bool:
    """Whether `reconstruct` accepted a clip."""
    result = place / "result.json"
    return result.is_file() and bool(json.loads(result.read_text("utf-8"))["accepted"])


def learn(arm: str, recipe: Recipe, clips: Rows[Path], run: Path, store: Path) -> None:
    """Trains one arm, or goes on with it."""
    sequences = [named(read_sequence(clip), clip) for clip in clips]
    resume = (run / LAST).is_file()
    if arm != "supervised":
        train_recipe(recipe, sequences, run, store=store / arm, resume=resume, quiet=True)
        return
    torch.manual_seed(recipe.training.seed)
    ready, _ = prepared(sequences, dataclasses.replace(recipe, supervision=every_clip(recipe)), store / arm)
    by_name = {sequence.name: clip for sequence, clip in zip(sequences, clips, strict=True)}
    frames = torch.cat([one.store.frames for one in ready])
    depth = torch.cat([true_depth(one, by_name[one.name]) for one in ready])
    masks = torch.cat([one.store.mask.expand(len(one.store), -1, -1) for one in ready])
    draws = TrueFrames(frames, depth, masks, recipe.training.seed)
    training = dataclasses.replace(recipe.training, batch=2 * recipe.training.batch)  # as many images as pairs hold
    train(Supervised(recipe.network.build()), draws, training, run, record={"recipe": to_yaml(recipe)}, resume=resume)


def every_clip(recipe: Recipe) -> Any:
    """The supervision options with nothing kept from training."""
    return dataclasses.replace(
        recipe.supervision, holdout=dataclasses.replace(recipe.supervision.holdout, sequences=0.0, points=0.0)
    )


def named(sequence, clip: Path):
    """The sequence, called by its patient and clip."""
    return dataclasses.replace(sequence, name=f"{clip.parent.name}-{clip.name}")


def true_depth(one: Clip, clip: Path) -> Tensor:
    """True depth in mm through the network's window, 0 where it is not known, shape (frames, height, width)."""
    maps, sequence = depth_maps.listed(clip), read_sequence(clip)
    rows = []
    for name, camera in zip(sequence.frame_names, sequence.cameras, strict=True):
        depth = depth_maps.read(maps[name]).numpy()
        whole = one.view.image((depth > 0).astype(np.float32), camera) > 0.999
        rows.append(torch.from_numpy(np.where(whole, one.view.image(depth, camera), 0.0).astype(np.float32)))
    return torch.stack(rows)


@dataclass(frozen=True, eq=False)
class TrueFrames:
    """Frames with true depth, by draw number."""

    frames: Tensor
    depth: Tensor
    masks: Tensor
    seed: int

    def batch(self, numbers: Rows[int]) -> tuple[Tensor, Tensor]:
        """Images in 0..1 with the recipe's noise, and depth in units of `USUAL_MM`."""
        rows = [example_of(self.seed, number, len(self.frames)) for number in numbers]
        noise = [torch.randn(self.frames.shape[1:], generator=generator_of(self.seed, n)) for n in numbers]
        images = (self.frames[rows].float() / 255 + 0.01 * torch.stack(noise)).clamp(0, 1).permute(0, 3, 1, 2)
        return images * self.masks[rows][:, None], self.depth[rows] / USUAL_MM * self.masks[rows]


@dataclass(frozen=True, eq=False)
class Supervised:
    """Log depth against the truth, every pixel."""

    network: nn.Module

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Mean absolute error of log depth."""
        images, depth = batch
        known = depth > 0
        error = (as_prediction(network(images)).log_depth - depth.clamp_min(1e-6).log()).abs()
        return {"loss": (error * known).sum() / known.sum().clamp_min(1)}


def light_figures(one: Judged) -> dict[str, float]:
    """Depth from brightness alone: linear light falls as one over depth squared; red is what blood absorbs least."""
    assert one.truth is not None
    frames = []
    for path, name in zip(one.sequence.images, one.sequence.frame_names, strict=True):
        truth = depth_maps.read(one.truth.files[name])
        red = resized_to(read_image(path)[..., 0].float(), truth.shape)
        known = truth > 0
        light = ((red / 255).clamp_min(0.05) ** (-2.2 / 2))[known]
        light = light.clamp_max(4 * float(light.median()))  # what is black is not known to be so far
        frames.append(ComparedFrame(name, light, truth[known]))
    return spread(evaluated(iter(frames), "dense-1"))


def table(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Means over clips and seeds."""
    keys = ("abs_rel", "sequence_abs_rel", "delta1", "scale_drift")
    return {
        arm: {key: statistics.fmean(row[key] for row in rows if row["arm"] == arm) for key in keys}
        for arm in dict.fromkeys(row["arm"] for row in rows)
    }


if __name__ == "__main__":
    main()
