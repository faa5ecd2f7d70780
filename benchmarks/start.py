"""What a start from learned weights is worth on one clip: the same recipe from random weights and from the start.

    depthscope simulate --out PATIENT --frames 40 --seed 1 --split test
    depthscope reconstruct PATIENT/.../video.mp4 --camera PATIENT/.../camera.yaml --out SEQUENCE
    python benchmarks/start.py --sequence SEQUENCE --truth PATIENT/.../depth --out DIR [--start shipped] [--seeds 1]

Arms: `fast` at 130 and 400 steps, `adapt` at 0, 130 and 400, and `adapt` with its depth differences held to the start.
Judged on every true pixel after scaling each frame to its sparse points, by `predict` and `evaluate` as a user calls
them. Arms that are done are not done again. Writes ``start.json`` and prints the table.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from depthscope.formats import read_sequence
from depthscope.pretrained import read_start
from depthscope.recipes import ADAPT, FAST, Recipe, with_steps
from depthscope.runs import train_recipe


def main() -> None:
    """Trains what is missing, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequence", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", default="shipped")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--arms", nargs="*", help="only arms of these names")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows = []
    for name, recipe in arms(given.start).items():
        if given.arms and name not in given.arms:
            continue
        for seed in range(given.seeds):
            seeded = replace(recipe, training=replace(recipe.training, seed=seed))
            run, began = given.out / f"{name}-{seed}".replace(" ", "_"), time.process_time()
            if not (run / "done").is_file():
                train_recipe(seeded, [read_sequence(given.sequence)], run, quiet=True, store=given.out / "store" / name)
                (run / "done").write_text(f"{time.process_time() - began:.1f}")
            rows.append(
                {"arm": name, "seed": seed, "cpu_s": float((run / "done").read_text("utf-8")), **judged(run, given)}
            )
            print(json.dumps(rows[-1]), flush=True)
    record = {"machine": f"{platform.machine()}, torch {torch.__version__}", "date": time.strftime("%Y-%m-%d")}
    (given.out / "start.json").write_text(json.dumps({**record, "rows": rows}, indent=2) + "\n")


def arms(start: str) -> dict[str, Recipe]:
    """The recipes that are compared; images of one size for all."""
    fast = replace(FAST, supervision=ADAPT.supervision)
    adapt = replace(ADAPT, network=read_start(start).network, start=start)
    held = replace(adapt, objective=replace(adapt.objective, prior_weight=0.3))
    still = replace(
        adapt, training=replace(adapt.training, optimiser=replace(adapt.training.optimiser, learning_rate=1e-12))
    )
    return {
        "start untrained": with_steps(still, 1),
        "random 130": with_steps(fast, 130),
        "random 400": with_steps(fast, 400),
        "start 130": with_steps(adapt, 130),
        "start 130 held": with_steps(held, 130),
        "start 400": with_steps(adapt, 400),
    }


def judged(run: Path, given: argparse.Namespace) -> dict[str, float]:
    """AbsRel and delta1 of a run's depth, by the commands."""
    maps, error = run.with_name(run.name + "-depth"), run.with_name(run.name + "-error")
    depthscope = [sys.executable, "-m", "depthscope"]
    if not (error / "result.json").is_file():
        predict = ["predict", str(run), str(given.sequence), "--sequence", str(given.sequence), "--out", str(maps)]
        subprocess.run([*depthscope, *predict, "--clouds", "0", "--no-video"], check=True, capture_output=True)
        evaluate = ["evaluate", str(maps), str(given.truth), "--out", str(error)]
        subprocess.run([*depthscope, *evaluate], check=True, capture_output=True)
    found = json.loads((error / "result.json").read_text("utf-8"))["alignment"]
    frame = found["per_frame_median"]
    return {"abs_rel": frame["abs_rel"], "delta1": frame["delta1"], "one_scale": found["per_sequence"]["abs_rel"]}


if __name__ == "__main__":
    main()
