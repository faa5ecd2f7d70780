"""Exemplar on displaced digits: what a probe reads from its encoder, beside pixels, random encoders and labels.

    python benchmarks/pretext_exemplar.py --out DIR [--seeds 3] [--steps 600] [--arms exemplar]

Writes ``pretext_exemplar.json`` and prints the table; half a minute an arm and seed on one thread.
"""

import argparse
import json
import platform
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from displaced_digits import Digits, displaced_digits, probed_encoder, probed_pixels, probed_random, table
from torch import Tensor, nn
from torch.nn import functional

from depthscope.networks.adapters import AdaptedEncoder, Colour
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.exemplar import Exemplar, ExemplarDraws, Exemplars, Transformations
from depthscope.training import Adam, Cosine, Training, train

ENCODER = ResUNetEncoder(width=32, levels=3)


def main() -> None:
    """Reads the arguments and runs what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--arms", nargs="*", help="only arms whose names contain one of these")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    arms = {
        "exemplar, 600 seeds": lambda digits, seed: learned(digits, options(seed, given.steps)),
        "exemplar, 100 seeds": lambda digits, seed: learned(digits, replace(options(seed, given.steps), seeds=100)),
        "same head, no transformations": lambda digits, seed: learned(
            digits, replace(options(seed, given.steps), transformations=Transformations.none())
        ),
        "from scratch, 10 labels each": lambda digits, seed: supervised(digits, options(seed, given.steps)),
    }
    digits, rows = displaced_digits(), []
    if given.arms:
        arms = {arm: value for arm, value in arms.items() if any(part in arm for part in given.arms)}
    else:
        rows.append({"arm": "pixels", "seed": 0, **probed_pixels(digits)})
        found = probed_random(lambda: AdaptedEncoder(ENCODER.build(), Colour()), digits)
        rows += [{"arm": "random encoder", "seed": seed, **row} for seed, row in enumerate(found)]
    for seed in range(given.seeds):
        for arm, make in arms.items():
            start = time.perf_counter()
            rows.append({"arm": arm, "seed": seed, **make(digits, seed), "seconds": time.perf_counter() - start})
            print(table(rows[-1:]), flush=True)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    record = {"machine": machine, "date": time.strftime("%Y-%m-%d"), "steps": given.steps, "rows": rows}
    (given.out / "pretext_exemplar.json").write_text(json.dumps(record, indent=2))
    print(table(rows))


def options(seed: int, steps: int) -> Exemplar:
    """The system at the size of the toy."""
    return Exemplar(
        seeds=600,
        largest=1.0,
        alike=1.0,
        encoder=ENCODER,
        training=Training(
            steps=steps,
            batch=64,
            optimiser=Adam(3e-3, weight_decay=1e-4),
            schedule=Cosine(),
            clip_norm=1.0,
            seed=seed,
            precision="fp32",
        ),
    )


def learned(digits: Digits, chosen: Exemplar) -> dict[str, float]:
    """What a probe reads from the encoder, and the system's own scores."""
    with tempfile.TemporaryDirectory() as folder:
        found = chosen.learn(digits.corpus, Path(folder) / "run", quiet=True)
    own = {
        score.name.split(" ", 1)[1] if score.name[0].isdigit() else score.name: score.value for score in found.scores
    }
    return {**probed_encoder(found.encoder, digits), **own}


@dataclass(frozen=True, eq=False)
class Labelled(Exemplars):
    """The same patches and transformations, but the classes are those of labels."""

    labels: Tensor

    def loss(self, network: nn.Module, batch) -> dict[str, Tensor]:
        """Cross-entropy over the digits."""
        logits = network(self.patches(self.network.neighbourhoods[batch.seed], batch.drawn))
        return {"loss": functional.cross_entropy(logits, self.labels[batch.seed])}


def supervised(digits: Digits, chosen: Exemplar) -> dict[str, float]:
    """From scratch on the labels of the probe, with the same transformations and steps; its own head answers."""
    labels = digits.labels.numpy()
    order = np.random.default_rng(0).permutation(digits.corpus.trained.numpy())
    few = torch.from_numpy(np.concatenate([order[labels[order] == digit][:10] for digit in range(10)]))
    seeds = chosen.seeds_of(digits.corpus, few, len(few))
    network = chosen.network(seeds.neighbourhoods)
    task = Labelled(network, chosen.patch_px, digits.labels[seeds.frame])
    draws = ExemplarDraws(len(few), chosen.transformations, chosen.training.seed)
    with tempfile.TemporaryDirectory() as folder:
        train(task, draws, chosen.training, Path(folder), quiet=True)
    held = digits.corpus.held
    with torch.no_grad():
        answer = network.eval()(digits.corpus.images(held))[:, :10].argmax(1)
    return {"ten": float((answer == digits.labels[held]).float().mean())}


if __name__ == "__main__":
    main()
