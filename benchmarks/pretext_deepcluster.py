"""DeepCluster on displaced digits: what a probe reads, with all guards and without each of them.

    python benchmarks/pretext_deepcluster.py --out DIR [--seeds 3] [--rounds 30] [--arms full]

Writes ``pretext_deepcluster.json`` and prints the table; about a minute an arm and seed on one thread.
"""

import argparse
import json
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from displaced_digits import Digits, displaced_digits, probed_encoder, probed_pixels, probed_random, table

from depthscope.networks.adapters import AdaptedEncoder, Sobel
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.deepcluster import DeepCluster
from depthscope.training import Adam, Training

ENCODER = ResUNetEncoder(width=32, levels=3)

EPOCH = 19
"""Steps in which 64 views a step come to as many as there are frames."""

GUARDS = {
    "full": {},
    "no fresh head": {"fresh_head": False},
    "no whitening": {"whiten": False},
    "no even sampling": {"even": False},
    "10 clusters": {"clusters": 10},
}


def main() -> None:
    """Reads the arguments and runs what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--arms", nargs="*", help="only arms whose names contain one of these")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    digits, rows, arms = displaced_digits(), [], GUARDS
    if given.arms:
        arms = {arm: value for arm, value in GUARDS.items() if any(part in arm for part in given.arms)}
    else:
        rows.append({"arm": "pixels", "seed": 0, **probed_pixels(digits)})
        found = probed_random(lambda: AdaptedEncoder(ENCODER.build(), Sobel()), digits)
        rows += [{"arm": "random encoder", "seed": seed, **row} for seed, row in enumerate(found)]
        print(table(rows), flush=True)
    for seed in range(given.seeds):
        for arm, changed in arms.items():
            start = time.perf_counter()
            figures = learned(digits, replace(options(seed, given.rounds), **changed))
            rows.append({"arm": arm, "seed": seed, **figures, "seconds": time.perf_counter() - start})
            print(table(rows[-1:]), flush=True)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    record = {"machine": machine, "date": time.strftime("%Y-%m-%d"), "rounds": given.rounds, "rows": rows}
    (given.out / "pretext_deepcluster.json").write_text(json.dumps(record, indent=2))
    print(table(rows))


def options(seed: int, rounds: int) -> DeepCluster:
    """The system at the size of the toy: digits must not be mirrored."""
    training = Training(
        steps=EPOCH * rounds, batch=64, optimiser=Adam(3e-3, weight_decay=1e-4), seed=seed, precision="fp32"
    )
    return DeepCluster(
        clusters=60,
        rounds=rounds,
        smallest=0.85,
        flip=False,
        view=1.0,
        encoder=ENCODER,
        training=training,
    )


def learned(digits: Digits, chosen: DeepCluster) -> dict[str, float]:
    """What a probe reads from the encoder, and the system's own scores."""
    with tempfile.TemporaryDirectory() as folder:
        found = chosen.learn(digits.corpus, Path(folder) / "run", quiet=True)
    to_last, _, largest = found.scores
    return {**probed_encoder(found.encoder, digits), "NMI to last": to_last.value, "largest cluster": largest.value}


if __name__ == "__main__":
    main()
