"""What a step of each pretext system costs: examples per second, the share of time spent waiting for them, an epoch.

    python benchmarks/pretext_throughput.py VIDEO... --out DIR [--steps 40] [--tasks jigsaw ...]

Each system as shipped, through ``depthscope pretrain``, on the same videos; for objects that sound each video is played
to and fro for `SECONDS` and gets a sound that was made for it. The rate is that of the whole loop, from the first batch
on. An epoch is as many examples as there are frames. Writes ``pretext_throughput.json`` and prints a table.
"""

import argparse
import csv
import itertools
import json
import os
import platform
import shutil
import time
from pathlib import Path

import torch
from sounding_instruments import KINDS, RATE_HZ, sound_of_kind

from depthscope.cli import main as depthscope
from depthscope.video import open_frames, write_video
from depthscope.video.sound import Sound, add_sound

TASKS = (
    "jigsaw",
    "exemplar",
    "colorization",
    "video-colorization",
    "audio-visual",
    "deepcluster",
    "error-boosting",
)
FLAGS = {"deepcluster": ["--rounds", "2"], "jigsaw": ["--frames.area-px", "49152"]}
"""As few rounds as there are steps for, and puzzles that show gaps between tiles of 64 px."""

SECONDS, FPS, EVERY_S = 30, 25, 0.04


def main() -> None:
    """Trains each for a few steps, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = {task: measured(task, given.videos, given.out, given.steps) for task in given.tasks}
    figures = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "steps": given.steps,
        "tasks": rows,
    }
    (given.out / "pretext_throughput.json").write_text(json.dumps(figures, indent=1) + "\n")
    print("| system | stage | examples/s | waiting for them | an epoch |\n|---|---|---|---|---|")
    for task, row in rows.items():
        for stage, found in row["stages"].items():
            cells = f"{found['per_second']:.1f} | {found['waiting']:.1%} | {row['frames'] / found['per_second']:.1f} s"
            print(f"| {task} | {stage} | {cells}, {row['frames']} frames |")


def measured(task: str, videos: list[Path], out: Path, steps: int) -> dict:
    """The last line of each stage's log."""
    run = out / "runs" / task
    shutil.rmtree(run, ignore_errors=True)
    inputs = [sounding(video, number, out / "sounding") for number, video in enumerate(videos)]
    call = ["pretrain", task, *map(str, inputs if task == "audio-visual" else videos), "--out", str(run)]
    call += ["--steps", str(steps), "--frames.every-s", str(EVERY_S), *FLAGS.get(task, [])]
    call += ["--localisation.steps", str(steps)] if task == "audio-visual" else []
    code = depthscope(call)
    if code:
        raise SystemExit(code)
    stages = {}
    for log in sorted(run.rglob("speed.csv")):
        with log.open(newline="") as lines:
            last = [row for row in csv.DictReader(lines) if row["pairs_per_second"]][-1]
        stage = str(log.parent.relative_to(run)).replace(".", "") or "all"
        stages[stage] = {"per_second": float(last["pairs_per_second"]), "waiting": float(last["data_wait"])}
    return {"frames": json.loads((run / "result.json").read_text("utf-8"))["frames"], "stages": stages}


def sounding(video: Path, number: int, folder: Path) -> Path:
    """The video played to and fro for `SECONDS`, with every other second silent."""
    path = folder / f"{number}.mp4"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    frames = [frame.image for frame in open_frames(video)]
    played = itertools.islice(itertools.cycle([*frames, *frames[::-1]]), SECONDS * FPS)
    write_video(path, played, FPS, crf=23)
    second = sound_of_kind(number % KINDS, number)
    samples = torch.cat([second.samples[:RATE_HZ], torch.zeros(RATE_HZ, dtype=torch.int16)]).repeat(SECONDS // 2)
    return add_sound(path, Sound(samples, RATE_HZ))


if __name__ == "__main__":
    main()
