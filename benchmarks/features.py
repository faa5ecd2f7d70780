"""Real clips by feature: frames placed, points, track length, verdict, processor seconds.

    python benchmarks/features.py --out /tmp/features [--data ../shared/data] [--clips sinus] [--features sift,xfeat]
        [--quick]

One reconstruction at a time, by the command itself; what is in --out is not done again, and ``features.json`` is
written after each. The sinus clip has a published path: the RMS distance of camera centres from it after a similarity,
over the extent of the path. --quick takes a part of each clip: twenty frames of the sinus, seven seconds of a video,
three of the largest.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import torch

from depthscope.formats import read_sequence
from depthscope.geometry import Similarity
from depthscope.sequence import Sequence

SINUS = "sinus/bag_1/_start_004259_end_004629_stride_25_segment_13"

CLIPS = {
    "sinus": f"{SINUS}/images",
    "porcine": "endo3r/porcine.mp4",
    "tools": "endo3r/tools.mp4",
    "laparoscopy": "laparoscopy/endo.mp4",
}


def camera_of_sinus(data: Path, folder: Path) -> Path:
    """The published camera of the sinus clip as a file."""
    from depthscope.formats import camera_file

    camera = read_sequence(data / SINUS).cameras[0]
    folder.mkdir(parents=True, exist_ok=True)
    return camera_file.write(camera, folder / "sinus.yaml")


def images_of_sinus(data: Path, folder: Path) -> Path:
    """Its frames alone."""
    place = folder / "sinus_images"
    place.mkdir(parents=True, exist_ok=True)
    for image in read_sequence(data / SINUS).images:
        link = place / image.name
        if not link.exists():
            link.symlink_to(image.resolve())
    return place


def path_error(found: Sequence, published: Sequence) -> float:
    """RMS distance of camera centres after a similarity, over the extent of the published path."""
    place = {name: number for number, name in enumerate(published.frame_names)}
    rows = [(n, place[name]) for n, name in enumerate(found.frame_names) if name in place]
    mine = found.camera_centres[[row[0] for row in rows]].double()
    true = published.camera_centres[[row[1] for row in rows]].double()
    apart = Similarity.estimate(mine, true).apply(mine) - true
    return float(apart.square().sum(-1).mean().sqrt() / torch.pdist(true).max())


QUICK = {"sinus": ["--end", "20"], "porcine": ["--end", "7"], "tools": ["--end", "7"], "laparoscopy": ["--end", "3"]}
"""Options that cut a clip short."""


def measured(clip: str, features: str, data: Path, out: Path, threads: int, quick: bool = False) -> dict:
    """One row."""
    place = out / f"{clip}_{features}{'_quick' if quick else ''}"
    if not (place / "result.json").is_file():
        source = images_of_sinus(data, out) if clip == "sinus" else data / CLIPS[clip]
        camera = ["--camera", str(camera_of_sinus(data, out))] if clip == "sinus" else []
        options = ["--features", features, "--threads", str(threads), "--workers", "1", "--out", str(place)]
        options += QUICK[clip] if quick else []
        line = [sys.executable, "-m", "depthscope", "reconstruct", str(source), *camera, *options]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(line, check=False, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        (place / "cpu.json").write_text(json.dumps(cpu))
    found = json.loads((place / "result.json").read_text("utf-8"))
    row = {"clip": clip, "features": features, "frames": found["frames"], "registered": found["registered"]}
    row |= {name: found[name] for name in ("points", "mean_track_length", "mean_reprojection_px", "outcome", "reasons")}
    row["cpu_s"] = json.loads((place / "cpu.json").read_text("utf-8"))
    row["path"] = None
    if clip == "sinus" and found["registered"]:
        row["path"] = path_error(read_sequence(place), read_sequence(data / SINUS))
    return row


def table(rows: list[dict]) -> str:
    """As Markdown."""
    lines = [
        "| clip | features | placed | points | track | reprojection px | verdict | path | CPU s |",
        "|---" * 9 + "|",
    ]
    for row in rows:
        track, px = row["mean_track_length"], row["mean_reprojection_px"]
        path = "" if row["path"] is None else f"{row['path']:.2%}"
        lines.append(
            f"| {row['clip']} | {row['features']} | {row['registered']} of {row['frames']} | {row['points']} "
            f"| {'' if track is None else f'{track:.1f}'} | {'' if px is None else f'{px:.2f}'} | {row['outcome']} "
            f"| {path} | {row['cpu_s']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", default=",".join(CLIPS))
    parser.add_argument("--features", default="sift,xfeat")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for clip in given.clips.split(","):
        for features in given.features.split(","):
            rows.append(measured(clip, features, given.data, given.out, given.threads, given.quick))
            (given.out / "features.json").write_text(json.dumps(rows, indent=1))
            reasons = (f"    - {reason}" for reason in rows[-1]["reasons"])
            print(table(rows[-1:]).splitlines()[-1], *reasons, sep="\n", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
