"""What reconstruction costs as clips get longer: CPU seconds per frame by stage, and memory, from 50 to 1,000 frames.

    python benchmarks/reconstruction_growth.py --out DIR [--counts 50,100,200,400,1000]

One phantom clip of as many frames as the longest count is simulated once; each count takes its first frames, which do
not depend on how many follow, in one piece through the child process, one attempt only. ``depthscope reconstruct`` cuts
videos into clips of 60 keyframes, so that its cost is linear by construction. The camera goes through the nose and
back, so that long clips see the same places again. Counts that are done already are not done again. Writes
``reconstruction_growth.json`` and prints the table; the growth of a stage is the slope of log seconds on log frames,
where 1 is linear and 2 quadratic.
"""

import argparse
import json
import os
import platform
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from depthscope.evaluation.ground_truth import path_of
from depthscope.formats import camera_file, colmap, read_sequence
from depthscope.reconstruction.job import Job, JobFrame
from depthscope.reconstruction.lens import known_lens
from depthscope.reconstruction.process import Limits, run_child
from depthscope.simulation.anatomy import SPLITS
from depthscope.simulation.patients.folder import simulate_patients
from depthscope.simulation.patients.options import SimulationOptions
from depthscope.video import list_images

STAGES = ("frames", "features", "matching", "mapping")


def main() -> None:
    """Reads the arguments, does what is missing, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--counts", default="50,100,200,400,1000")
    parser.add_argument("--patient", type=int, default=0, help="number within the test split")
    parser.add_argument("--workers", type=int, default=0, help="processes that simulate")
    given = parser.parse_args()
    counts = sorted(int(count) for count in given.counts.split(","))
    clip = long_clip(given.out / "walk", counts[-1], given.patient, given.workers)
    rows = []
    for count in counts:
        place = given.out / f"row_{count:05d}.json"
        if not place.is_file():
            row = measured(clip, count, given.out / f"work_{count:05d}")
            draft = place.with_suffix(".partial")
            draft.write_text(json.dumps(row))
            draft.replace(place)
        rows.append(json.loads(place.read_text("utf-8")))
        print(told(rows[-1]), flush=True)
    figures = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "rows": rows,
        "growth": growth(rows) if len(rows) > 1 else {},
    }
    (given.out / "reconstruction_growth.json").write_text(json.dumps(figures, indent=1) + "\n")
    print("slope of log CPU seconds on log frames:", {k: round(v, 2) for k, v in figures["growth"].items()})


def long_clip(folder: Path, frames: int, patient: int, workers: int) -> Path:
    """The simulated clip; made once."""
    first = SPLITS["test"].start + patient
    options = SimulationOptions("nasal", frames, board_frames=1, first=first, split="test", dicom=False)
    simulate_patients(folder, options, workers=workers)
    return folder / f"patient_{first:05d}" / "clip_00"


def measured(clip: Path, count: int, work: Path) -> dict[str, Any]:
    """Reconstructs the clip's first frames in one piece and compares the path with the true one."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    truth = read_sequence(clip)
    camera = camera_file.read(clip / "camera.yaml")
    images = list_images(clip / "images")[:count]
    frames = tuple(JobFrame(image.name, str(image)) for image in images)
    lenses = (known_lens(camera),)
    hours = 6 * 3600.0
    job = Job(str(work), frames, camera.size_px, lenses, str(clip / "mask.png"), threads=os.cpu_count() or 1)
    # Any share is enough, so that there is one attempt.
    ended = run_child(replace(job, least_share=1e-6), Limits(seconds=hours, silent_seconds=hours))
    report = ended.report or {"cpu_seconds": {}, "seconds": {}, "attempts": []}
    attempt = report["attempts"][0] if report["attempts"] else {}
    row = {
        "frames": count,
        "problem": ended.problem,
        "registered": attempt.get("registered", 0),
        "points": attempt.get("points", 0),
        "stage_seconds": report["seconds"],
        "stage_cpu_seconds": report["cpu_seconds"],
        "cpu_seconds": sum(report["cpu_seconds"].values()),
        "peak_memory_mb": ended.peak_bytes / 2**20,
    }
    if (work / "model").is_dir():
        error = path_of(colmap.read(work / "model", clip / "images"), truth)
        row |= {"ate_mm": error.ate, "of_length": error.ate_of_length, "of_extent": error.ate_of_extent}
    shutil.rmtree(work)
    return row


def told(row: dict[str, Any]) -> str:
    """A count in one line."""
    parts = ", ".join(f"{s} {row['stage_cpu_seconds'].get(s, 0.0) / row['frames']:.3f}" for s in STAGES)
    return (
        f"{row['frames']} frames: {row['registered']} registered, {row['points']} points, "
        f"path {row.get('of_extent', float('nan')):.2%} of its extent off; "
        f"CPU seconds per frame: {parts}; "
        f"{row['cpu_seconds']:.0f} CPU s in all, {row['peak_memory_mb']:.0f} MB {row['problem']}"
    )


def growth(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Slope of log CPU seconds on log frames, by stage and of all."""
    frames = np.log([row["frames"] for row in rows])
    found = {}
    for stage in (*STAGES, "all"):
        seconds = [row["cpu_seconds"] if stage == "all" else row["stage_cpu_seconds"].get(stage, 0.0) for row in rows]
        if min(seconds) > 0:
            found[stage] = float(np.polyfit(frames, np.log(seconds), 1)[0])
    return found


if __name__ == "__main__":
    main()
