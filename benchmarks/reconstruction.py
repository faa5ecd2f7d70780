"""Phantom clips of unseen patients through simulate and reconstruct: frames registered, path error, verdict, seconds.

    python benchmarks/reconstruction.py --out DIR [--clips 60] [--frames 40] [--preset typical]
    python benchmarks/reconstruction.py --out DIR --on PATIENTS... [--keep]

Patients come from the test split, nasal and colon in turn, or are those of folders that ``depthscope simulate`` wrote.
What is reconstructed is the video, as a user has it. Clips that are done already are not done again, so that the
command can be killed and given once more, or given several times at once. Writes ``reconstruction.json`` and prints
the table.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from depthscope.cli import main as depthscope
from depthscope.evaluation.ground_truth import path_of
from depthscope.formats import read_sequence
from depthscope.simulation.anatomy import SPLITS
from depthscope.simulation.patients.folder import simulate_patients
from depthscope.simulation.patients.options import SimulationOptions

ANATOMIES = ("nasal", "colon")

Job = Callable[[], dict[str, Any]]


def main() -> None:
    """Reads the arguments, does what is missing, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--preset", choices=("clean", "typical", "hard"), default="typical")
    parser.add_argument("--no-camera", action="store_true", help="self-calibrate instead of giving the true camera")
    parser.add_argument("--keep", action="store_true", help="keep the simulated clips and the reconstructions")
    parser.add_argument("--on", type=Path, nargs="+", help="folders of simulated patients, instead of new ones")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    jobs = simulated_already(given) if given.on else to_be_simulated(given)
    if not jobs:
        raise SystemExit(f"no clip_* folders below {', '.join(map(str, given.on or ()))}: give what simulate wrote")
    rows = []
    for name, job in jobs.items():
        place = given.out / f"row_{name}{'_free' if given.no_camera else ''}.json"
        begun = place.with_suffix(".begun")
        if not place.is_file() and not begun.is_file():
            begun.touch()  # another call of this command leaves it alone
            try:
                row = job()
                draft = place.with_suffix(".partial")
                draft.write_text(json.dumps(row))
                draft.replace(place)
            finally:
                begun.unlink()
        if place.is_file():
            rows.append(json.loads(place.read_text("utf-8")))
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


def to_be_simulated(given: argparse.Namespace) -> dict[str, Job]:
    """A clip each of as many patients as are asked for, by name."""

    def job(anatomy: str, patient: int) -> dict[str, Any]:
        work = given.out / "work" / f"{anatomy}_{patient:04d}"
        first = SPLITS["test"].start + patient
        options = SimulationOptions(anatomy, given.frames, given.preset, board_frames=1, first=first, split="test")
        simulate_patients(work, options)
        clip = work / f"patient_{first:05d}" / "clip_00"
        row = one_clip(clip, work / "reconstruction", given.no_camera)
        if not given.keep:
            shutil.rmtree(work)
        return row

    turns = [(ANATOMIES[number % 2], number // 2) for number in range(given.clips)]
    return {f"{given.preset}_{anatomy}_{patient:04d}": partial(job, anatomy, patient) for anatomy, patient in turns}


def simulated_already(given: argparse.Namespace) -> dict[str, Job]:
    """The clips below some folders, by patient and clip."""

    def job(clip: Path) -> dict[str, Any]:
        out = given.out / "clips" / clip.parent.name / clip.name
        row = one_clip(clip, out, given.no_camera)
        if not given.keep:
            shutil.rmtree(out)
        return row

    clips = [clip for folder in given.on for clip in sorted(folder.glob("**/clip_*")) if clip.is_dir()]
    return {f"{clip.parent.name}_{clip.name}": partial(job, clip) for clip in clips[: given.clips]}


def one_clip(clip: Path, out: Path, self_calibrated: bool) -> dict[str, Any]:
    """Reconstructs one clip and compares it with the truth."""
    arguments = ["reconstruct", str(clip / "video.mp4"), "--out", str(out)]
    began, used = time.perf_counter(), spent()
    depthscope(arguments if self_calibrated else [*arguments, "--camera", str(clip / "camera.yaml")])
    seconds, busy = time.perf_counter() - began, spent() - used
    result = json.loads((out / "result.json").read_text("utf-8"))
    row = {
        "clip": f"{clip.parent.name}/{clip.name}",
        "frames": result["frames"],
        "seconds": seconds,
        "cpu_seconds": busy,
        "result": result,
    }
    if result["registered"] >= 3:
        found, truth = read_sequence(out), read_sequence(clip)
        error = path_of(found, truth)
        row |= {"ate_mm": error.ate, "of_length": error.ate_of_length, "of_extent": error.ate_of_extent}
    return row


def spent() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


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
        "cpu_seconds_median": median(row["cpu_seconds"] for row in rows),
    }


if __name__ == "__main__":
    main()
