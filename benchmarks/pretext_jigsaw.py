"""Jigsaw on displaced digits: puzzles solved, and what a probe reads, with and without the guards.

    python benchmarks/pretext_jigsaw.py --out DIR [--seeds 3] [--steps 600] [--arms guarded]

Writes ``pretext_jigsaw.json`` and prints the table; two minutes an arm and seed on one thread. A guard is worth what
it adds to the probe: the puzzles themselves are solved as well, or better, without.
"""

import argparse
import json
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from displaced_digits import Digits, displaced_digits, features, probed, probed_random, table
from torch import Tensor, nn

from depthscope.networks.adapters import AdaptedEncoder, Colour
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.jigsaw import Jigsaw, Tiles
from depthscope.pretext.jigsaw.puzzles import normalised
from depthscope.training import Adam, Cosine, Training

ENCODER = ResUNetEncoder(width=32, levels=3)

GUARDED = Tiles(tile_px=16, gap_px=5, normalise=True, channel_shift_px=0, gray=0.0, rotation_deg=0.0, smallest=1.0)
"""Grey digits have no colour to give away: gap and normalisation are the guards that are left."""

UNGUARDED = replace(GUARDED, gap_px=0, normalise=False)

ARMS = {
    "guarded, 27": (27, GUARDED),
    "gap only, 27": (27, replace(GUARDED, normalise=False)),
    "normalised only, 27": (27, replace(GUARDED, gap_px=0)),
    "unguarded, 27": (27, UNGUARDED),
    "guarded, 72": (72, GUARDED),
}


def main() -> None:
    """Reads the arguments and runs what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--arms", nargs="*", help="only arms whose names contain one of these")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    digits, rows = displaced_digits(digit_px=51, field_px=63), []
    arms = ARMS
    if given.arms:
        arms = {arm: value for arm, value in ARMS.items() if any(part in arm for part in given.arms)}
    else:
        found = probed_random(lambda: Seeing(AdaptedEncoder(ENCODER.build(), Colour()), True), digits)
        rows += [{"arm": "random encoder", "seed": seed, **row} for seed, row in enumerate(found)]
        print(table(rows), flush=True)
    for seed in range(given.seeds):
        for arm, (orders, tiles) in arms.items():
            start = time.perf_counter()
            figures = learned(digits, orders, tiles, seed, given.steps)
            rows.append({"arm": arm, "seed": seed, **figures, "seconds": time.perf_counter() - start})
            print(table(rows[-1:]), flush=True)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    record = {"machine": machine, "date": time.strftime("%Y-%m-%d"), "steps": given.steps, "rows": rows}
    (given.out / "pretext_jigsaw.json").write_text(json.dumps(record, indent=2))
    print(table(rows))


class Seeing(nn.Module):
    """An encoder that sees pictures as it saw tiles."""

    def __init__(self, encoder: nn.Module, normalise: bool) -> None:
        super().__init__()
        self.encoder, self.normalise = encoder, normalise

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of pictures in 0..1."""
        return self.encoder(normalised(images[:, None])[:, 0] * 0.2 + 0.5 if self.normalise else images)


def learned(digits: Digits, orders: int, tiles: Tiles, seed: int, steps: int) -> dict[str, float]:
    """Share of unseen puzzles that are solved, by light alone too, and what a probe reads from the encoder."""
    training = Training(
        steps=steps, batch=32, optimiser=Adam(1e-3, weight_decay=1e-4), schedule=Cosine(), seed=seed, precision="fp32"
    )
    chosen = Jigsaw(permutations=orders, tiles=tiles, encoder=ENCODER, training=training)
    with tempfile.TemporaryDirectory() as folder:
        found = chosen.learn(digits.corpus, Path(folder) / "run", quiet=True)
    (score,) = found.scores
    images = digits.corpus.images(range(len(digits.corpus)))
    read = probed(features(Seeing(found.encoder, tiles.normalise), images), digits)
    return {"puzzles": score.value, "by light": score.beside["by light alone"], **read}


if __name__ == "__main__":
    main()
