"""Is the phantom credible? Its light measured from outside, and its clips beside real ones.

    python benchmarks/credibility.py --clips DIR/patient_*/clip_* [--real shared/data] [--sfm] --out DIR

The photometric calibration sees only pictures of a board, where the board was, and its lens: it looks for the lamps'
places, axis and spread, gamma, and a gain for each picture. The fall of light is taken from finished pictures. With
`--sfm` COLMAP runs on every clip, the real one at the phantoms' resolution. Writes ``credibility.json`` and prints the
tables.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from credibility_features import FRAMES, UnposedClip, measured, phantom, real
from credibility_light import falloff, recovered

from depthscope.geometry import Brown, Camera, KannalaBrandt
from depthscope.simulation.light import LIGHTINGS, lighting
from depthscope.simulation.presets import subject

SINUS_FOCAL_PX, SINUS_CENTRE_PX, SINUS_WIDTH = 677.171, (872.127, 471.918), 1920
"""The published pinhole of the real sinus clip; which corner its centre counts from is half a pixel of doubt."""


def main() -> None:
    """Reads the arguments, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="*", default=[])
    parser.add_argument("--real", type=Path)
    parser.add_argument("--size", default="480x384", help="size of the calibration pictures")
    parser.add_argument("--lights", nargs="*", default=list(LIGHTINGS), help="lights to calibrate")
    parser.add_argument("--sfm", action="store_true", help="run COLMAP on every clip (a minute each)")
    parser.add_argument("--threads", type=int, default=1, help="COLMAP's")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    record: dict = {
        "machine": f"{platform.machine()}, 1 thread, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "calibration": calibrated(given.lights, tuple(map(int, given.size.split("x")))),
        "falloff": {},
        "clips": {},
        "sfm": {},
    }
    for clip in given.clips:
        record["falloff"][name_of(clip)] = row = asdict(falloff(clip))
        print(f"{name_of(clip):44s} slope of log light on log distance {row['slope']:.2f}", flush=True)
    unposed = {name_of(clip): phantom(clip) for clip in given.clips}
    reals = real(given.real) if given.real else {}
    unposed |= {f"real {name}": found for name, found in reals.items()}
    for name, found in unposed.items():
        record["clips"][name] = row = measured(found)
        print(f"{name:44s} " + "  ".join(f"{k} {v:.4g}" for k, v in row.items() if isinstance(v, float)), flush=True)
    if given.sfm:
        jobs = {name_of(clip): phantom_job(clip) for clip in given.clips}
        if "sinus" in reals:
            with tempfile.TemporaryDirectory() as folder:
                record["sfm"]["real sinus"] = mapped(sinus_job(reals["sinus"], Path(folder)), given.threads)
        record["sfm"] |= {name: mapped(job, given.threads) for name, job in jobs.items()}
        for name, row in record["sfm"].items():
            print(f"{name:44s} " + "  ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
    (given.out / "credibility.json").write_text(json.dumps(record, indent=2) + "\n")


def calibrated(names: list[str], size_px: tuple[int, ...]) -> dict[str, dict]:
    """Every light's calibration, without and with noise and blur."""
    rows = {}
    for name in names:
        for noise in (False, True):
            row = recovered(replace(lighting(name), ambient=0.0), noise, (size_px[0], size_px[1]))
            rows[f"{name}, {'typical noise and blur' if noise else 'no noise'}"] = row
            print(
                f"{name:24s} noise {noise!s:5s} mu {row['found']['spread']:.3f} ({row['spread_error_share']:.1%})  at "
                f"{row['place_error_mm']:.3f} mm ({row['place_error_share']:.1%}), their middle "
                f"{row['middle_error_share']:.1%}  gamma "
                f"{row['found']['gamma']:.3f} ({row['gamma_error_share']:.1%})",
                flush=True,
            )
    return rows


def name_of(clip: Path) -> str:
    """A clip's name in the tables."""
    return f"{clip.parent.parent.name}/{clip.parent.name}/{clip.name}"


def phantom_job(clip: Path) -> dict:
    """COLMAP's job for a simulated clip."""
    told = yaml.safe_load((clip.parent / "patient.yaml").read_text("utf-8"))
    pictures = sorted((clip / "images").glob("*.png"))[:FRAMES]
    height, width, _ = cv2.imread(str(pictures[0])).shape
    camera = subject(told["seed"], told["anatomy"], told["preset"], told["variety"], (width, height)).scope.camera
    model, lens = colmap_lens(camera)
    numbers = (*camera.focal_px, *camera.centre_px, *lens)
    return {
        "pictures": list(map(str, pictures)),
        "mask": str(clip / "mask.png"),
        "size": camera.size_px,
        "model": model,
        "params": list(map(float, numbers)),
    }


def colmap_lens(camera: Camera) -> tuple[str, tuple[float, ...]]:
    """COLMAP's name of the lens, and its numbers."""
    match camera.distortion:
        case Brown(coefficients):
            return "OPENCV", coefficients[:4]
        case KannalaBrandt(coefficients):
            return "OPENCV_FISHEYE", coefficients
        case _:
            return "PINHOLE", ()


def sinus_job(unposed: UnposedClip, folder: Path) -> dict:
    """COLMAP's job for the real sinus clip, as small as the phantoms."""
    pictures = []
    for number, picture in enumerate(unposed.frames):
        path = folder / f"{number:04d}.png"
        cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))
        pictures.append(str(path))
    cv2.imwrite(str(folder / "mask.png"), unposed.content.astype(np.uint8) * 255)
    height, width, _ = unposed.frames[0].shape
    k = width / SINUS_WIDTH
    x, y = SINUS_CENTRE_PX
    return {
        "pictures": pictures,
        "mask": str(folder / "mask.png"),
        "size": (width, height),
        "model": "PINHOLE",
        "params": [k * SINUS_FOCAL_PX, k * SINUS_FOCAL_PX, k * (x + 0.5), k * (y + 0.5)],
    }


def mapped(job: dict, threads: int) -> dict:
    """COLMAP's answer, from a process that loads nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        task = Path(folder) / "job.json"
        task.write_text(json.dumps({**job, "scratch": f"{folder}/scratch", "threads": threads}))
        script = Path(__file__).with_name("credibility_sfm.py")
        done = subprocess.run([sys.executable, str(script), str(task)], capture_output=True, text=True, timeout=900)
    if done.returncode:
        sys.exit(f"COLMAP failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
