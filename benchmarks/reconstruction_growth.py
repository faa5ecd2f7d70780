"""What reconstruction costs as clips get longer: seconds per frame by stage, and peak memory, from 50 to 1,000 frames.

    python benchmarks/reconstruction_growth.py --out DIR [--counts 50,100,200,400,1000]

A simulated tube is walked on and on; each count goes in one piece through the child process, one attempt only.
Counts that are done already are not done again. Writes ``reconstruction_growth.json`` and prints the table; the growth
of a stage is the slope of log seconds on log frames, where 1 is linear and 2 quadratic.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depthscope.formats import camera_file
from depthscope.reconstruction.job import Frame, Job
from depthscope.reconstruction.lens import known_lens
from depthscope.reconstruction.process import Limits, run_child
from depthscope.simulation.clip import rendered
from depthscope.simulation.tube import Tube
from depthscope.video import list_images, write_image

STAGES = ("frames", "features", "matching", "mapping")


def main() -> None:
    """Reads the arguments, does what is missing, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--counts", default="50,100,200,400,1000")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    counts = [int(count) for count in given.counts.split(",")]
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for count in counts:
        place = given.out / f"row_{count:05d}.json"
        if not place.is_file():
            row = measured(given.out, count, given.threads)
            draft = place.with_suffix(".partial")
            draft.write_text(json.dumps(row))
            draft.replace(place)
        rows.append(json.loads(place.read_text()))
        print(told(rows[-1]), flush=True)
    figures = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "threads": given.threads,
        "rows": rows,
        "growth": growth(rows) if len(rows) > 1 else {},
    }
    (given.out / "reconstruction_growth.json").write_text(json.dumps(figures, indent=1) + "\n")
    print("slope of log CPU seconds on log frames:", {k: round(v, 2) for k, v in figures["growth"].items()})


def measured(out: Path, count: int, threads: int) -> dict[str, Any]:
    """Simulates a clip of so many frames, if it is not there, and reconstructs it in one piece."""
    clip = out / f"tube_{count:05d}"
    if not (clip / "whole").is_file():
        shutil.rmtree(clip, ignore_errors=True)
        travel = Tube().travel * count / Tube().frames  # a longer clip is a longer way, not a slower one
        tube = Tube(frames=count, seed=3, travel=travel, length=4 + travel)
        (clip / "images").mkdir(parents=True)
        for number, (picture, _) in enumerate(rendered(tube.wall(), tube.camera_from_world())):
            write_image(clip / "images" / f"{number:04d}.png", picture)
        write_image(clip / "mask.png", (tube.content > 0.5).to(torch.uint8) * 255)
        camera_file.write(tube.camera, clip / "camera.yaml")
        (clip / "whole").touch()
    work = out / f"work_{count:05d}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    camera = camera_file.read(clip / "camera.yaml")
    frames = tuple(Frame(path.name, str(path)) for path in list_images(clip / "images"))
    job = Job(
        str(work), frames, camera.size_px, (known_lens(camera),), str(clip / "mask.png"), threads=threads, seconds=1.0
    )
    began = time.perf_counter()
    ended = run_child(job, Limits(seconds=6 * 3600.0, silent_seconds=3 * 3600.0))
    seconds = time.perf_counter() - began
    report = ended.report or {"seconds": {}, "cpu_seconds": {}, "attempts": []}
    attempt = report["attempts"][0] if report["attempts"] else {}
    shutil.rmtree(work)
    return {
        "frames": count,
        "problem": ended.problem,
        "registered": attempt.get("registered", 0),
        "points": attempt.get("points", 0),
        "attempts": len(report["attempts"]),
        "seconds": seconds,
        "stage_seconds": report["seconds"],
        "stage_cpu_seconds": report["cpu_seconds"],
        "peak_memory_mb": ended.peak_bytes / 2**20,
        "parent_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def told(row: dict[str, Any]) -> str:
    """A count in one line."""
    parts = ", ".join(f"{s} {row['stage_cpu_seconds'].get(s, 0.0) / row['frames']:.3f}" for s in STAGES)
    return (
        f"{row['frames']} frames: {row['registered']} registered, {row['points']} points; CPU seconds per frame: "
        f"{parts}; {row['seconds']:.0f} s in all, {row['peak_memory_mb']:.0f} MB {row['problem']}"
    )


def growth(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Slope of log CPU seconds on log frames, by stage."""
    frames = np.log([row["frames"] for row in rows])
    found = {}
    for stage in STAGES:
        seconds = [row["stage_cpu_seconds"].get(stage, 0.0) for row in rows]
        if min(seconds) > 0:
            found[stage] = float(np.polyfit(frames, np.log(seconds), 1)[0])
    return found


if __name__ == "__main__":
    main()
