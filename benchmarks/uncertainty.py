"""Whether the standard deviation of learned depth is the error's, on simulated patients and their own SfM.

    python benchmarks/uncertainty.py --patients PATIENTS... --out DIR [--fit] [--report PATIENTS...]

Each clip's video goes through `depthscope run` as a user's does: structure from motion, the shipped weights fitted to
it, one depth map a frame. Every map is compared with the true depth, at the clip's one scale. Finished clips are not
done again; clips whose SfM is refused are counted and left out. ``--fit`` fits the weights of `Support` to the clips of
``--patients``, and says how they do, beside those in use, on the clips of ``--report``, which take no part in the fit.
Writes ``uncertainty.json``.
"""

import argparse
import json
import platform
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
    parser.add_argument("--report", type=Path, nargs="+", default=[])
    given = parser.parse_args()
    fitted, reported = given.out / "clips", given.out / "report"
    clips, others = rows_of(given.patients, fitted), rows_of(given.report, reported)
    table = {
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "clips": clips,
        "report": others,
        "mean": {"clips": mean_of(clips), "report": mean_of(others)},
    }
    if given.fit:
        weights = fitted_support(fitted)
        arms = {"in use": ON_PHANTOMS.weights, "fitted": tuple(weights[key] for key in FEATURES)}
        own = {arm: {path.stem: by_weights(path, w) for path in samples_in(reported)} for arm, w in arms.items()}
        table["fit"] = {"weights": weights, "report": own, "mean": {arm: mean_of(rows) for arm, rows in own.items()}}
    (given.out / "uncertainty.json").write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps({key: table[key] for key in ("mean", "fit") if key in table}, indent=1))


def rows_of(patients: list[Path], out: Path) -> dict[str, dict]:
    """The figures of every clip of some folders of patients; what is missing is done."""
    out.mkdir(parents=True, exist_ok=True)
    rows = {}
    for clip in [clip for folder in patients for clip in sorted(folder.glob("patient_*/clip_*")) if clip.is_dir()]:
        name = f"{clip.parent.parent.name}_{clip.parent.name}_{clip.name}"
        place = out / f"{name}.json"
        if not place.is_file():
            place.write_text(json.dumps(measured(clip, out, name)))
        rows[name] = json.loads(place.read_text("utf-8"))
        print(name, rows[name], flush=True)
    return rows


def mean_of(rows: dict[str, dict]) -> dict[str, float]:
    """The mean of each figure over the clips that have it; clips that were refused have none."""
    found = [row for row in rows.values() if "exit_code" not in row]
    return {key: float(np.mean([row[key] for row in found])) for key in found[0]} if found else {}


def samples_in(folder: Path) -> list[Path]:
    """Files of samples."""
    return sorted(folder.glob("*.npz"))


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


def by_weights(samples: Path, weights: tuple[float, ...]) -> dict[str, float]:
    """Coverage of a clip's samples by `Support` with these weights, alone."""
    part = np.load(samples)
    std = np.sqrt(2) * np.exp(part["features"] @ np.array(weights))
    return coverage(part["error"], std.clip(ON_PHANTOMS.least, ON_PHANTOMS.most))


if __name__ == "__main__":
    main()
