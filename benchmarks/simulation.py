"""What a phantom costs: seconds for each finished frame and its parts, against resolution and number of processes.

    python benchmarks/simulation.py --out DIR [--frames 24]

Times are of the processor as well as of the clock, so that a busy machine can be told from a slow program. Writes
``simulation.json`` and prints the table.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import tempfile
import time
from pathlib import Path

import cv2
import torch

from depthscope.commands.simulate import simulate
from depthscope.formats.ct import write_nifti
from depthscope.simulation.anatomy import patient
from depthscope.simulation.clip_files import Take, scene_of, write_frames
from depthscope.simulation.ct import scanned
from depthscope.simulation.path import camera_from_world
from depthscope.simulation.presets import subject

SIZES = ((160, 128), (320, 256), (640, 512), (1280, 1024))


class Stopwatch:
    """Seconds of clock and processor since it was made."""

    def __init__(self) -> None:
        self.clock, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Both."""
        return {
            "seconds": time.perf_counter() - self.clock,
            "cpu_seconds": time.process_time() - self.processor,
        }


def main() -> None:
    """Reads the arguments, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--parts-only", action="store_true", help="leave out the run of the whole command")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    record: dict = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "load_before": os.getloadavg()[0],
        "patient": {},
        "frame": {},
    }
    watch = Stopwatch()
    anatomy = patient(given.seed, "nasal")
    record["patient"]["anatomy"] = watch.read()
    watch = Stopwatch()
    scene = scene_of(anatomy, subject(given.seed, "nasal").look)
    record["patient"]["scene"] = watch.read()
    with tempfile.TemporaryDirectory() as scratch:
        watch = Stopwatch()
        write_nifti(scanned(anatomy), Path(scratch) / "ct.nii.gz")
        record["patient"]["ct"] = watch.read()
        motions = camera_from_world(anatomy, 0, 9)
        for size in SIZES:
            take = Take(scene, subject(given.seed, "nasal", size_px=size).scope, motions, given.seed, 0)
            write_frames(take, range(0, 1), Path(scratch))
            count = 2 if size[0] > 640 else 5
            watch = Stopwatch()
            write_frames(take, range(1, 1 + count), Path(scratch))
            row = {key: value / count for key, value in watch.read().items()}
            record["frame"][f"{size[0]}x{size[1]}"] = row
            print(
                f"frame {size[0]}x{size[1]}: {row['cpu_seconds']:.3f} s of one core, {row['seconds']:.3f} s", flush=True
            )
        for name, row in record["patient"].items():
            print(f"{name}: {row['cpu_seconds']:.1f} s of one core, {row['seconds']:.1f} s")
        record["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory {record['peak_memory_mb']:.0f} MB")
        if not given.parts_only:
            for workers in (1, 2):
                out = Path(scratch) / f"whole{workers}"
                start = time.perf_counter()
                simulate(out, frames=given.frames, seed=given.seed, workers=workers)
                seconds = time.perf_counter() - start
                size_mb = sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) / 1e6
                record[f"whole_{workers}_workers"] = {"seconds": seconds, "frames": given.frames, "megabytes": size_mb}
                print(f"one patient, {given.frames} frames, {workers} workers: {seconds:.0f} s, {size_mb:.0f} MB")
                shutil.rmtree(out)
    (given.out / "simulation.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
