"""Whether the standard deviation of learned depth is the error's, on simulated patients and their own SfM.

    python benchmarks/uncertainty.py --patients PATIENTS... --out DIR [--fit]

Each clip's video goes through `depthscope run` as a user's does: structure from motion, the shipped weights fitted to
it, one depth map a frame. Every map is compared with the true depth, at the clip's one scale. Finished clips are not
done again; clips whose SfM is refused are counted and left out. ``--fit`` fits the weights of `Support` to what is
found in DIR, and says how they do on each clip when fitted to the others. Writes ``uncertainty.json``.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from learned import depth_errors, fitted_support

from depthscope.evaluation.ground_truth import true_from_sfm_by_points
from depthscope.formats import read_sequence
from depthscope.support import FEATURES, ON_PHANTOMS


def main() -> None:
    """Reads the arguments, does what is missing, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    clips = [clip for folder in given.patients for clip in sorted(folder.glob("patient_*/clip_*")) if clip.is_dir()]
    rows = {}
    for clip in clips:
        name = f"{clip.parent.parent.name}_{clip.parent.name}_{clip.name}"
        place = given.out / f"{name}.json"
        if not place.is_file():
            place.write_text(json.dumps(measured(clip, given.out, name)))
        rows[name] = json.loads(place.read_text("utf-8"))
        print(name, rows[name], flush=True)
    found = {name: row for name, row in rows.items() if "within_1_std" in row}
    table = {
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "clips": rows,
        "mean": {key: float(np.mean([row[key] for row in found.values()])) for key in next(iter(found.values()))},
    }
    if given.fit:
        table["fit"] = fitted_support(given.out)
        table["left_out"] = {name: left_out(given.out, name) for name in found}
    (given.out / "uncertainty.json").write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps({key: value for key, value in table.items() if key != "clips"}, indent=1))


def measured(clip: Path, out: Path, name: str) -> dict:
    """A clip's figures; its samples are written beside them."""
    case = out / "cases" / name
    video, camera = clip / "video.mp4", clip / "camera.yaml"
    line = [sys.executable, "-m", "depthscope", "run", str(video), "--camera", str(camera), "--out", str(case)]
    case.parent.mkdir(parents=True, exist_ok=True)
    if not (case / "prediction" / "result.json").is_file():
        with case.with_suffix(".log").open("w") as log:
            ended = subprocess.run(line, stdout=log, stderr=subprocess.STDOUT, check=False)
        if ended.returncode:
            return {"exit_code": ended.returncode}
    folders = [place.parent for place in sorted(case.glob("sequence/**/colmap"))]
    sequence, truth = read_sequence(folders[0]), read_sequence(clip)
    true_from_sfm = true_from_sfm_by_points(sequence, truth, clip / "depth")
    figures, samples = depth_errors(clip, sequence, case / "prediction", float(true_from_sfm.scale))
    np.savez(out / f"{name}.npz", **samples)
    shutil.rmtree(case / "surface", ignore_errors=True)
    return {"abs_rel": figures["learned"]["abs_rel"], **coverage(samples["error"], samples["std"])}


def coverage(error: np.ndarray, std: np.ndarray) -> dict[str, float]:
    """Shares of errors within one and two deviations, and how well the deviations rank them (area between curves)."""
    error = np.abs(error)
    by_std, by_error = (
        np.cumsum(error[order]) / np.arange(1, len(error) + 1) for order in (std.argsort(), error.argsort())
    )
    return {
        "within_1_std": float((error < std).mean()),
        "within_2_std": float((error < 2 * std).mean()),
        "mean_error": float(error.mean()),
        "sparsification": float((by_std - by_error).mean() / error.mean()),
        "negative_log_likelihood": float((np.sqrt(2) * error / std + np.log(np.sqrt(2) * std)).mean()),
    }


def left_out(folder: Path, name: str) -> dict[str, dict[str, float]]:
    """Coverage of one clip by weights fitted to all others, and by those in use."""
    part = np.load(folder / f"{name}.npz")
    fitted = fitted_support(folder, without=name)
    arms = {"in use": ON_PHANTOMS.weights, "fitted to the others": tuple(fitted[key] for key in FEATURES)}
    limits = ON_PHANTOMS.least, ON_PHANTOMS.most
    return {
        arm: coverage(part["error"], np.clip(np.sqrt(2) * np.exp(part["features"] @ np.array(weights)), *limits))
        for arm, weights in arms.items()
    }


if __name__ == "__main__":
    main()
