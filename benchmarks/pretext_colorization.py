"""Colorization against no colour and one colour, and what weighing rare colours does.

    python benchmarks/pretext_colorization.py --out DIR [--seeds 3] [--steps 300] [--inputs VIDEO_OR_FOLDER...]

Frames are simulated tubes of 64 px with blood, fibrin and an instrument drawn on the tissue, so that brightness tells
something about colour; 34 tubes of 12 frames, a tenth of the tubes held out. With --inputs they come from there. For
the weighted loss (lambda 0.5) and the unweighted one (lambda 1) there are: the error in a and b beside one mean colour
and gray, at temperatures 1 and 0.38; chroma over the true one; the area under the cumulative error, plain and balanced
over colours. Gates: error at most 0.85 of that of one mean colour; weighing raises chroma, and lowers balanced AuC by
0.003 at most.

Writes ``pretext_colorization.json`` and prints a table.
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from depthscope.corpus import Corpus, CorpusOptions, corpus_of, read_corpus
from depthscope.pretext.colorization import Colorization
from depthscope.pretext.colorization.learning import coloured_cells
from depthscope.pretext.colorization.scores import compared
from depthscope.pretext.colorization.task import colourer_of
from depthscope.pretext.stored import stored_weights
from depthscope.simulation import Tube, simulate
from depthscope.training import Adam, Cosine, Training
from depthscope.video import read_image

TUBES, FRAMES, SIDE_PX = 34, 12, 64


def main() -> None:
    """Reads the arguments, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--inputs", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows = [measured(given, seed) for seed in range(given.seeds)]
    names = list(rows[0])
    record = {
        "seeds": rows,
        "mean": {name: float(np.mean([row[name] for row in rows])) for name in names},
        "machine": f"{platform.machine()}, torch {torch.__version__}, one thread",
        "steps": given.steps,
    }
    (given.out / "pretext_colorization.json").write_text(json.dumps(record, indent=1) + "\n")
    for name in names:
        print(f"{name:50s} {record['mean'][name]:8.3f}   ({', '.join(f'{row[name]:.3f}' for row in rows)})")


def measured(given: argparse.Namespace, seed: int) -> dict[str, float]:
    """Both losses with one seed."""
    corpus = read_corpus(given.inputs, CorpusOptions(), given.out / "store") if given.inputs else tubes(seed)
    training = Training(
        given.steps, 8, Adam(given.rate), Cosine(), seed=seed, save_every=given.steps, validate_every=given.steps
    )
    cells, _ = coloured_cells(corpus)
    found: dict[str, float] = {}
    for name, mixing in (("weighted", 0.5), ("unweighted", 1.0)):
        options = Colorization(mixing=mixing, training=training)
        start, place = time.process_time(), given.out / "runs" / f"{name}_{seed}"
        options.learn(corpus, place, quiet=True)
        found[f"CPU seconds of training, {name}"] = time.process_time() - start
        network = colourer_of(options.encoder, stored_weights(place))
        found["bins"] = float(len(network.bins))
        for temperature in (1.0, 0.38):
            errors = compared(network, corpus, corpus.held, cells.mean(0), temperature)
            found["error in ab, gray"] = errors["gray"].distance
            found["error in ab, one mean colour"] = errors["mean"].distance
            found["chroma over the true one, one mean colour"] = errors["mean"].chroma_ratio
            found["balanced AuC, one mean colour"] = errors["mean"].balanced_auc
            model, which = errors["model"], f"{name}, T {temperature:g}"
            found[f"error in ab, {which}"] = model.distance
            found[f"chroma over the true one, {which}"] = model.chroma_ratio
            found[f"AuC, {which}"] = model.auc
            found[f"balanced AuC, {which}"] = model.balanced_auc
    found["gate: error over that of one mean colour"] = (
        found["error in ab, weighted, T 1"] / found["error in ab, one mean colour"]
    )
    for figure in ("chroma over the true one", "balanced AuC"):
        found[f"gate: weighted - unweighted, {figure}"] = (
            found[f"{figure}, weighted, T 1"] - found[f"{figure}, unweighted, T 1"]
        )
    return found


def tubes(seed: int) -> Corpus:
    """Frames of simulated tubes, with what has other colours: blood that is dark and an instrument that is smooth."""
    frames, content = [], []
    for number in range(TUBES):
        with tempfile.TemporaryDirectory() as folder:
            tube = Tube(FRAMES, (SIDE_PX, SIDE_PX), 1000 * seed + number, points=50)
            simulate(tube, Path(folder))
            pictures = [read_image(path).numpy() for path in sorted((Path(folder) / "images").glob("*.png"))]
        rng = np.random.default_rng((seed, number))
        frames += [drawn_on(picture, rng) for picture in pictures]
        content.append(tube.content > 0.9)
    return corpus_of(
        torch.from_numpy(np.stack(frames)),
        video=torch.arange(TUBES).repeat_interleave(FRAMES),
        content=torch.stack(content),
    )


def drawn_on(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A frame with a pool of blood, a patch of yellow fibrin with fine grain, and a shaft that is gray and even."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] + 0.5
    shown = picture.astype(np.float64)
    light = cv2.GaussianBlur(shown.mean(-1), (0, 0), 4)[..., None]
    at, wide = rng.uniform(15, 49, 2), rng.uniform(6, 11)
    blood = ((x - at[0]) ** 2 + (y - at[1]) ** 2 < wide**2)[..., None]
    shown = np.where(blood, 0.55 * light * np.array([1.7, 0.25, 0.25]), shown)
    at, wide = rng.uniform(15, 49, 2), rng.uniform(6, 11)
    fibrin = ((x - at[0]) ** 2 + (y - at[1]) ** 2 < wide**2)[..., None]
    grain = 1 + 0.25 * rng.normal(0, 1, (SIDE_PX, SIDE_PX, 1))
    shown = np.where(fibrin, 1.15 * light * grain * np.array([1.1, 1.05, 0.5]), shown)
    angle, tip = rng.uniform(0, 2 * np.pi), rng.uniform(-8, 8, 2) + SIDE_PX / 2
    along = (x - tip[0]) * np.cos(angle) + (y - tip[1]) * np.sin(angle)
    across = -(x - tip[0]) * np.sin(angle) + (y - tip[1]) * np.cos(angle)
    shaft = ((along > 0) & (np.abs(across) < 5))[..., None]
    shade = (110 + 60 * np.cos(across / 4))[..., None]
    shown = np.where(shaft, shade * np.array([0.97, 1.0, 1.03]), shown)
    return np.clip(shown, 0, 255).round().astype(np.uint8)


if __name__ == "__main__":
    main()
