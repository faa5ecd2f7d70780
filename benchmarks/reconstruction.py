"""Phantom clips of unseen patients through simulate and reconstruct: frames registered, path error, verdict, seconds.

    python benchmarks/reconstruction.py --out DIR [--clips 60] [--frames 40] [--preset typical]

Patients come from the test split, nasal and colon in turn. Clips that are done already are not done again, so that the
command can be killed and given once more. Writes ``reconstruction.json`` and prints the table.
"""

import argparse
import json
import os
import platform
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

from depthscope.cli import main as depthscope
from depthscope.commands.simulate import simulate
from depthscope.evaluation.path import path_error
from depthscope.formats import read_sequence
from depthscope.simulation.anatomy import SPLITS

ANATOMIES = ("nasal", "colon")


def main() -> None:
    """Reads the arguments, does what is missing, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--preset", choices=("clean", "typical", "hard"), default="typical")
    parser.add_argument("--no-camera", action="store_true", help="self-calibrate instead of giving the true camera")
    parser.add_argument("--keep", action="store_true", help="keep the simulated clips and the reconstructions")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(given.clips):
        place = given.out / f"row_{given.preset}_{number:04d}{'_free' if given.no_camera else ''}.json"
        if not place.is_file():
            row = one_clip(given, ANATOMIES[number % 2], number // 2)
            draft = place.with_suffix(".partial")
            draft.write_text(json.dumps(row))
            draft.replace(place)
        rows.append(json.loads(place.read_text()))
        print(told(rows[-1]), flush=True)
    figures = summary(rows) | {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "preset": given.preset,
        "frames_per_clip": given.frames,
        "camera": "self-calibrated" if given.no_camera else "given",
        "rows": rows,
    }
    (given.out / "reconstruction.json").write_text(json.dumps(figures, indent=1) + "\n")
    for key, value in figures.items():
        if key != "rows":
            print(f"{key}: {value}")


def one_clip(given: argparse.Namespace, anatomy: str, patient: int) -> dict[str, Any]:
    """Simulates and reconstructs one clip, and compares it with the truth."""
    work = given.out / "work" / f"{anatomy}_{patient:04d}"
    simulate(work, anatomy, 1, 1, given.frames, patient, given.preset, split="test", board_frames=1)
    clip = work / f"patient_{SPLITS['test'].start + patient:05d}" / "clip_00"
    out = work / "reconstruction"
    arguments = ["reconstruct", str(clip / "images"), "--out", str(out)]
    began = time.perf_counter()
    depthscope(arguments if given.no_camera else [*arguments, "--camera", str(clip / "camera.yaml")])
    seconds = time.perf_counter() - began
    result = json.loads((out / "result.json").read_text())
    row = {"clip": f"{anatomy}_{patient:04d}", "frames": result["frames"], "seconds": seconds, "result": result}
    if result["registered"] >= 3:
        found, truth = read_sequence(out), read_sequence(clip)
        place = {name: index for index, name in enumerate(truth.frame_names)}
        error = path_error(
            found.camera_from_world, truth.camera_from_world[[place[name] for name in found.frame_names]]
        )
        row |= {"ate_mm": error.ate, "of_length": error.ate_of_length, "of_extent": error.ate_of_extent}
    if not given.keep:
        shutil.rmtree(work)
    return row


def told(row: dict[str, Any]) -> str:
    """A clip in one line."""
    result = row["result"]
    error = (
        f"{row['of_length']:.2%} of the path, {row['of_extent']:.2%} of its extent" if "of_length" in row else "none"
    )
    word = "accepted" if result["accepted"] else "refused"
    return (
        f"{row['clip']}: {result['registered']}/{result['frames']} frames, {result['points']} points, "
        f"path error {error}, {word}, {row['seconds']:.0f} s"
    )


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures over all clips."""
    errors = sorted(row["of_length"] for row in rows if "of_length" in row)
    extents = sorted(row["of_extent"] for row in rows if "of_extent" in row)
    frames = sum(row["frames"] for row in rows)
    return {
        "clips": len(rows),
        "registered_share": sum(row["result"]["registered"] for row in rows) / max(frames, 1),
        "accepted_share": sum(row["result"]["accepted"] for row in rows) / len(rows),
        "path_error_of_length_median": median(errors) if errors else None,
        "path_error_of_length_90": errors[int(0.9 * (len(errors) - 1))] if errors else None,
        "path_error_of_extent_median": median(extents) if extents else None,
        "points_median": median(row["result"]["points"] for row in rows),
        "seconds_median": median(row["seconds"] for row in rows),
    }


if __name__ == "__main__":
    main()
