"""PAPER_2018 at its own resolution from a random start: does any loss or gradient stop being a number?

    python benchmarks/paper_2018.py SEQUENCE --out DIR [--steps 12] [--batch 2]

Runs the recipe with and without soft masks, looks at every loss and gradient of every step, and writes
``paper_2018.json``. On a CPU a step at 464 x 512 takes seconds; the batch is a flag, everything else is the recipe.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import torch

from depthscope.formats import read_sequence
from depthscope.recipes import PAPER_2018
from depthscope.runs import HeldOutPoints, prepared
from depthscope.training import PairDraws, SiameseDepth
from depthscope.training.draws import batches


def main() -> None:
    """Runs both arms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=2)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    sequence = read_sequence(given.sequence)
    clips, _ = prepared([sequence], PAPER_2018, given.out / "store")
    rows = [run(clips, soft, given.steps, given.batch) for soft in (True, False)]
    for row in rows:
        print(row)
    record = {"date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, "rows": rows}
    (given.out / "paper_2018.json").write_text(json.dumps(record, indent=2))


def run(clips: tuple, soft_mask: bool, steps: int, batch: int) -> dict:
    """Some steps of the recipe; the smallest and largest loss, the largest gradient, and how many were not finite."""
    torch.manual_seed(0)
    recipe = PAPER_2018
    network = recipe.network.build().to(memory_format=torch.channels_last)
    objective = dataclasses.replace(recipe.objective, soft_mask=soft_mask)
    task = SiameseDepth(network, objective, recipe.augmentation)
    optimiser = recipe.training.optimiser.build(network.parameters())
    losses, norms, start = [], [], time.perf_counter()
    for pairs in batches(PairDraws(clips), 0, steps, batch, 0, 1, 0):
        values = task.loss(network, pairs)
        optimiser.zero_grad(set_to_none=True)
        values["loss"].backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(network.parameters(), float("inf"))))
        optimiser.step()
        losses.append(float(values["loss"].detach()))
    finite = torch.tensor([*losses, *norms]).isfinite()
    network.eval()
    with torch.no_grad():
        score = HeldOutPoints(clips, batch=2)(network)["abs_rel"]
    return {
        "soft_mask": soft_mask,
        "steps": steps,
        "batch": batch,
        "size_px": list(clips[0].view.size_px),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "largest_gradient_norm": max(norms),
        "not_finite": int((~finite).sum()),
        "training_points_abs_rel": score,
        "seconds_per_step": (time.perf_counter() - start) / steps,
    }


if __name__ == "__main__":
    main()
