"""What automatic labels and error-corrective weights are worth, on simulated colons with instruments.

    python benchmarks/pretext_error_boosting.py --out DIR [--seeds 0 1 2] [--rates 1e-3 2e-3] [--small]

400 automatically labelled frames of three patients, 8 masks to learn from and 16 to choose by from these patients, 60
frames of two unseen patients as the test. Every arm has the same network, batches and learning rates; of each the rate
with the best Dice on the 16 is taken, and the test is read once. The score is the mean Dice of instrument, highlight
and lumen. Writes ``pretext_error_boosting.json`` and a table. ``--small`` is a rehearsal of seconds.
"""

import argparse
import json
import platform
import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from phantom_masks import PhantomMasks, phantom_masks
from torch import Tensor

from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.error_boosting.automatic import AUTOMATIC, OUTSIDE, TISSUE, automatic_labels
from depthscope.pretext.error_boosting.learning import pixels_of, usual
from depthscope.pretext.error_boosting.scores import Tally, boundary_f, tallied
from depthscope.pretext.error_boosting.segmentation import LabelledDraws, Segmentation, Segmenter, segmented
from depthscope.pretext.error_boosting.weights import error_corrective_weights, median_frequency_weights
from depthscope.training import Adam, Training, train

CLASSES, BACKGROUND = len(AUTOMATIC), (OUTSIDE, TISSUE)
EQUAL = torch.ones(CLASSES, dtype=torch.float64)
FOREGROUND = [one.name for one in AUTOMATIC.all if one.id not in BACKGROUND]


@dataclass(frozen=True)
class Sizes:
    """How long it takes.

    Attributes:
        patients: To learn from, and to test on.
        clips: Of each patient.
        frames: Of each clip.
        automatic: Steps on automatic labels.
        fine: Steps on masks.
        rounds: That these are divided into by boosting.
        long: Steps from scratch until nothing more is gained.
    """

    patients: tuple[tuple[int, ...], tuple[int, ...]] = ((21, 22, 23), (31, 32))
    clips: tuple[int, int] = (14, 6)
    frames: tuple[int, int] = (10, 5)
    automatic: int = 150
    fine: int = 80
    rounds: int = 4
    long: int = 400


SMALL = Sizes(((21,), (31,)), (3, 2), (10, 3), 6, 4, 2, 8)


@dataclass(frozen=True, eq=False)
class Data:
    """The four parts, and the automatic labels of all frames to learn from."""

    pool: PhantomMasks
    labels: Tensor
    drawn: Tensor
    kept: Tensor
    test: PhantomMasks


def main() -> None:
    """Reads the arguments, measures every arm, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3])
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes, began = SMALL if given.small else Sizes(), time.process_time()
    pool = phantom_masks(sizes.patients[0], sizes.clips[0], sizes.frames[0], given.out / "frames")
    test = phantom_masks(sizes.patients[1], sizes.clips[1], sizes.frames[1], given.out / "frames")
    labels = torch.stack([automatic_labels(f, c) for f, c in zip(pool.frames, pool.content, strict=True)])
    runs = []
    for seed in given.seeds:
        order = torch.randperm(len(pool.frames), generator=torch.Generator().manual_seed(seed))
        data = Data(pool, labels, order[:8], order[8:24], test)
        runs.append({"seed": seed, "arms": arms(data, sizes, seed, given.rates)})
        print(f"seed {seed} after {time.process_time() - began:.0f} CPU s", flush=True)
    table = {
        "machine": f"{platform.machine()}, torch {torch.__version__}, one thread",
        "date": time.strftime("%Y-%m-%d"),
        "cpu_seconds": time.process_time() - began,
        "frames": {"automatic": len(pool.frames), "drawn": 8, "kept": 16, "test": len(test.frames)},
        "steps": {"automatic": sizes.automatic, "fine": sizes.fine, "long": sizes.long},
        "automatic_labels": figures(tallied(labels, pool.truth, CLASSES)),
        "unknown_share": float((labels == 255).float().mean()),
        "runs": runs,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "pretext_error_boosting.json").write_text(json.dumps(table, indent=1) + "\n")
    print(told(table))


def arms(data: Data, sizes: Sizes, seed: int, rates: list[float]) -> dict[str, dict]:
    """Every arm at its best rate."""
    found: dict[str, list[tuple[float, float, dict]]] = {}
    for rate in rates:
        for name, network in trained(data, sizes, seed, rate).items():
            chosen = tally(network, data.pool, data.kept).mean_dice(BACKGROUND)
            found.setdefault(name, []).append((chosen, rate, network))  # type: ignore[arg-type]
    results = {}
    for name, tries in found.items():
        chosen, rate, network = max(tries, key=lambda one: one[0])
        results[name] = {"rate": rate, "validation": chosen, **on_test(network, data.test)}
    place = usual(data.pool.truth[data.drawn], CLASSES).expand_as(data.test.truth)
    results["place alone"] = figures(tallied(place, data.test.truth, CLASSES))
    cues = torch.stack([automatic_labels(f, c) for f, c in zip(data.test.frames, data.test.content, strict=True)])
    results["the cues, no network"] = figures(tallied(cues, data.test.truth, CLASSES))
    return results


def trained(data: Data, sizes: Sizes, seed: int, rate: float) -> dict[str, Segmenter]:
    """The networks of all arms."""
    pool, everything = data.pool, torch.arange(len(data.pool.frames))
    often = median_frequency_weights(pixels_of(data.labels, everything, CLASSES))
    rare = median_frequency_weights(pixels_of(pool.truth, data.drawn, CLASSES))
    both = torch.cat([data.drawn, data.kept])
    rare_both = median_frequency_weights(pixels_of(pool.truth, both, CLASSES))

    def fresh() -> Segmenter:
        torch.manual_seed(seed)
        return Segmenter(ResUNetEncoder(), CLASSES)

    def fit(network, labels, rows, weights, steps, number=0) -> Segmenter:
        network, draw = deepcopy(network), 1000 * seed + number
        training = Training(
            steps=steps, batch=8, optimiser=Adam(rate), clip_norm=1.0, seed=draw, precision="fp32", save_every=10**9
        )
        with tempfile.TemporaryDirectory() as place:
            draws = LabelledDraws(pool.frames, labels, rows, draw)
            train(Segmentation(network, weights, draw), draws, training, Path(place), quiet=True)
        return network

    start = fit(fresh(), data.labels, everything, often, sizes.automatic)
    found = {
        "automatic labels only": start,
        f"8 masks, scratch, {sizes.fine} steps": fit(fresh(), pool.truth, data.drawn, rare, sizes.fine),
        f"8 masks, scratch-long, {sizes.automatic + sizes.fine} steps": fit(
            fresh(), pool.truth, data.drawn, rare, sizes.automatic + sizes.fine
        ),
        f"8 masks, scratch, {sizes.long} steps": fit(fresh(), pool.truth, data.drawn, rare, sizes.long),
        "fine-tuned, uniform": fit(start, pool.truth, data.drawn, EQUAL, sizes.fine, 1),
        "fine-tuned, median frequency": fit(start, pool.truth, data.drawn, rare, sizes.fine, 1),
        "fine-tuned on 24, uniform": fit(start, pool.truth, both, EQUAL, sizes.fine, 1),
        "fine-tuned on 24, median frequency": fit(start, pool.truth, both, rare_both, sizes.fine, 1),
    }
    boosted = start
    for number in range(1, sizes.rounds + 1):
        errors = tally(boosted, pool, data.kept)
        weights = error_corrective_weights(errors.recall, errors.present)
        boosted = fit(boosted, pool.truth, data.drawn, weights, sizes.fine // sizes.rounds, number)
    return found | {"fine-tuned, error-corrective": boosted}


def tally(network: Segmenter, data: PhantomMasks, rows: Tensor) -> Tally:
    """What a network finds in some frames."""
    found = segmented(network, data.frames[rows], data.content[rows], OUTSIDE)
    return tallied(found, data.truth[rows], CLASSES)


def on_test(network: Segmenter, test: PhantomMasks) -> dict:
    """Figures on the patients that nothing was learned from."""
    found = segmented(network, test.frames, test.content, OUTSIDE)
    instrument = AUTOMATIC.names.index("instrument")
    border = boundary_f(found, test.truth, instrument, 2.0)
    return figures(tallied(found, test.truth, CLASSES)) | {"border_f_of_instrument": border}


def figures(found: Tally) -> dict:
    """Mean and single Dice of the foreground."""
    dice = {name: float(found.dice[AUTOMATIC.names.index(name)]) for name in FOREGROUND}
    return {"dice": found.mean_dice(BACKGROUND), "worst": min(dice.values()), "dice_by_class": dice}


def told(table: dict) -> str:
    """All arms as a table in Markdown."""
    runs, cues = table["runs"], table["automatic_labels"]
    head = " | ".join(f"seed {run['seed']}" for run in runs)
    classes = ", ".join(f"{name} {value:.3f}" for name, value in cues["dice_by_class"].items())
    lines = [
        f"automatic labels on their own frames: {classes}; {table['unknown_share']:.0%} of the pixels left out",
        f"| arm | {head} | mean | worst class, mean |",
        "|---|" + "---|" * (len(runs) + 2),
    ]
    for name in runs[0]["arms"]:
        values = [run["arms"][name]["dice"] for run in runs]
        worst = float(np.mean([run["arms"][name]["worst"] for run in runs]))
        cells = " | ".join(f"{value:.3f}" for value in values)
        lines.append(f"| {name} | {cells} | {float(np.mean(values)):.3f} | {worst:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
