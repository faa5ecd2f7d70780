"""What a phantom costs: seconds for each finished frame and its parts, against resolution and number of processes.

    python benchmarks/simulation.py --out DIR [--frames 160] [--plot docs/images/simulation_cost.svg]

Times are of the processor as well as of the clock, so that a busy machine can be told from a slow program. Writes
``simulation.json`` and ``simulation_cost.svg``, and prints the tables. Memory is the peak of a process that makes
frames of one size after another, with the patient's scene in it: what one worker takes.
"""

import argparse
import json
import math
import os
import platform
import resource
import shutil
import tempfile
import time
from pathlib import Path

import cv2
import torch

from depthscope.formats.ct import write_nifti
from depthscope.simulation.anatomy import patient
from depthscope.simulation.clip_files import Take, flow_after, gains, photographed, scene_of, write_frames
from depthscope.simulation.ct import scanned
from depthscope.simulation.path import camera_from_world
from depthscope.simulation.patients.folder import simulate_patients
from depthscope.simulation.patients.options import SimulationOptions
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


def stages(take: Take, scratch: Path, count: int) -> dict[str, float]:
    """CPU seconds per frame of each stage: the gain, light and picture, flow, and the rest, which is files."""
    spent = dict.fromkeys(("gain", "light and picture", "flow"), 0.0)

    def timed(name: str, call):
        start = time.process_time()
        value = call()
        spent[name] += time.process_time() - start
        return value

    for number in range(1, 1 + count):
        gain = timed("gain", lambda n=number: gains(take, range(n, n + 1))[0])
        rendered = timed("light and picture", lambda n=number, g=gain: photographed(take, n, g)[0])
        timed("flow", lambda n=number, r=rendered: flow_after(take, n, r))
    start = time.process_time()
    write_frames(take, range(1, 1 + count), scratch)
    spent["files"] = max(time.process_time() - start - sum(spent.values()), 0.0)
    return {name: seconds / count for name, seconds in spent.items()}


def cost_plot(record: dict) -> str:
    """CPU seconds per frame against pixels, both logarithmic, and frames per second against processes, as SVG."""
    left = {size: row["cpu_seconds"] for size, row in record["frame"].items()}
    right = {row["workers"]: row["frames"] / row["seconds"] for row in record.get("whole", [])}
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="720" height="300" font-family="sans-serif" font-size="12">',
        '<rect width="720" height="300" fill="white"/>',
    ]

    def drawn(
        points: list[tuple[float, float]], labels: list[tuple[str, str]], title: str, x0: int, floor: float
    ) -> None:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        wide, tall = max(max(xs) - min(xs), 1e-9), max(max(ys) - floor, 1e-9)
        at = [(x0 + 40 + 230 * (x - min(xs)) / wide, 235 - 160 * (y - floor) / tall) for x, y in points]
        parts.append(f'<text x="{x0 + 20}" y="24" font-weight="bold">{title}</text>')
        parts.append(f'<path d="M{x0 + 20} 40V255H{x0 + 310}" fill="none" stroke="#888"/>')
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        parts.append(f'<polyline points="{line}" fill="none" stroke="#a33" stroke-width="2"/>')
        for (x, y), (below, value) in zip(at, labels, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#a33"/>')
            parts.append(f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{value}</text>')
            parts.append(f'<text x="{x:.1f}" y="272" text-anchor="middle">{below}</text>')

    pixels = {size: math.log(math.prod(map(int, size.split("x")))) for size in left}
    labels = [(size, f"{seconds:.2f} s") for size, seconds in left.items()]
    logs = [(pixels[s], math.log(y)) for s, y in left.items()]
    drawn(logs, labels, "CPU seconds per frame (log-log)", 20, min(y for _, y in logs))
    if right:
        labels = [(f"{n}", f"{y:.2f}") for n, y in right.items()]
        drawn([(float(n), y) for n, y in right.items()], labels, "frames per second against processes", 370, 0.0)
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Reads the arguments, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=160, help="of the whole runs, patient and all")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="where the plot goes; beside the figures by default")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of processes of the whole runs")
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
            row["stages"] = stages(take, Path(scratch), count)
            row["worker_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            record["frame"][f"{size[0]}x{size[1]}"] = row
            print(
                f"frame {size[0]}x{size[1]}: {row['cpu_seconds']:.3f} s of one core, {row['seconds']:.3f} s,"
                f" {row['worker_peak_mb']:.0f} MB;"
                + ",".join(f" {name} {seconds:.3f}" for name, seconds in row["stages"].items()),
                flush=True,
            )
        for name, row in record["patient"].items():
            print(f"{name}: {row['cpu_seconds']:.1f} s of one core, {row['seconds']:.1f} s")
        record["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory {record['peak_memory_mb']:.0f} MB")
        if not given.parts_only:
            record["whole"] = []
            for workers in given.workers:
                out = Path(scratch) / f"whole{workers}"
                start = time.perf_counter()
                simulate_patients(out, SimulationOptions(frames=given.frames, first=given.seed), workers=workers)
                seconds = time.perf_counter() - start
                size_mb = sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) / 1e6
                row = {"workers": workers, "seconds": seconds, "frames": given.frames, "megabytes": size_mb}
                record["whole"].append(row)
                print(f"one patient, {given.frames} frames, {workers} workers: {seconds:.0f} s, {size_mb:.0f} MB")
                shutil.rmtree(out)
    plot = given.plot or given.out / "simulation_cost.svg"
    plot.write_text(cost_plot(record))
    (given.out / "simulation.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
