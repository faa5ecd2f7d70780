"""A colon through wide lenses and the whole pipeline, against the truth.

    python benchmarks/wide_colon.py --out DIR [--lenses gastroscope_140 colonoscope_160] [--frames 24] [--seed 0]

For each lens: `simulate` a patient of the test split, `run` on the video with the camera and the CT, and compare.
Depth counts on all recorded pixels of the disc, also those at its rim: AbsRel per frame and at one scale, by zone of
the angle from the axis, and the share of them that has depth. The surface is compared with the anatomy that was seen.
Folders that are there are not made again. Writes ``wide_colon.json``.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from depthscope.evaluation import faces_seen, median, surface_error
from depthscope.evaluation.depth_folders import resized_to
from depthscope.evaluation.frame_names import same_frames
from depthscope.evaluation.ground_truth import path_of, true_from_sfm_by_points
from depthscope.formats import camera_file, depth_maps, ply, read_sequence
from depthscope.geometry import Camera
from depthscope.pipeline.cases import PREDICTION, REGISTRATION, SEQUENCE, SURFACE

ZONES = {"inner half": (0.0, 0.5), "outer half": (0.5, 1.0), "outermost tenth": (0.9, 1.0)}


def main() -> None:
    """Simulates and runs what is missing, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lenses", nargs="*", default=["gastroscope_140", "colonoscope_160"])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0, help="number of the patient in the test split")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found = {lens: measured(*made(given.out, lens, given.frames, given.seed)) for lens in given.lenses}
    (given.out / "wide_colon.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def made(out: Path, lens: str, frames: int, seed: int = 0) -> tuple[Path, Path]:
    """The simulated clip and the case of a lens."""
    name = lens if seed == 0 else f"{lens}_{seed}"
    patients, case = out / name, out / f"case_{name}"
    if not any(patients.glob("patient_*/clip_00/result.json")):
        depthscope(
            "simulate", "--out", patients, "--anatomy", "colon", "--frames", frames, "--lens", lens, "--split", "test",
            "--seed", seed, "--workers", 1, "--no-dicom",
        )  # fmt: skip
    clip = next(patients.glob("patient_*/clip_00"))
    if not (case / REGISTRATION / "result.json").is_file():
        video, camera, ct = clip / "video.mp4", clip / "camera.yaml", clip.parent / "ct.nii.gz"
        depthscope("run", video, "--camera", camera, "--ct", ct, "--out", case)
    return clip, case


def depthscope(*words: object) -> None:
    """A command; one that says the data does not support an answer leaves its figures, too."""
    done = subprocess.run([sys.executable, "-m", "depthscope", *map(str, words)], check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(done.returncode)


def measured(clip: Path, case: Path) -> dict:
    """All figures of a case."""
    sfm, truth = read_sequence(case / SEQUENCE), read_sequence(clip)
    result = json.loads((case / SEQUENCE / "result.json").read_text("utf-8"))
    figures = {
        "sfm": {"accepted": result["accepted"], "registered": len(sfm), "points": len(sfm.points)},
        "depth": depth_figures(clip, case / PREDICTION),
        "path": asdict(path_of(sfm, truth)),
    }
    true_from_sfm = true_from_sfm_by_points(sfm, truth, clip)
    surface = ply.read(case / SURFACE / "surface.ply")
    surface = dataclasses.replace(surface, points=surface.points.double(), normals=None).moved(true_from_sfm)
    anatomy = dataclasses.replace(ply.read(clip.resolve().parent / "anatomy.ply"), unit="mm")
    error = surface_error(dataclasses.replace(surface, unit="mm"), anatomy, faces_seen(anatomy, truth))
    figures["surface_mm"] = asdict(error)
    if (case / REGISTRATION / "result.json").is_file():
        told = json.loads((case / REGISTRATION / "result.json").read_text("utf-8"))
        figures["registration"] = {key: told[key] for key in ("residual_mm", "confidence", "ambiguous")}
    return figures


def depth_figures(clip: Path, prediction: Path) -> dict:
    """AbsRel over all recorded pixels, per frame and at one scale, and by zone."""
    camera = camera_file.read(clip / "camera.yaml")
    maps, truths = depth_maps.listed(prediction), depth_maps.true_maps(clip, depth_maps.grid_of(prediction))
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    share = []
    for name, other in same_frames(truths, maps).items():
        true = truths[name]
        depth = resized_to(depth_maps.read(maps[other]), true.shape)
        both = (depth > 0) & (true > 0)
        share.append(float(both.sum() / (true > 0).sum()))
        place = angles(camera, true)
        rows.append((depth[both], true[both], (place / place[true > 0].max())[both]))
    each = [depth * (median(true) / median(depth)) / true - 1 for depth, true, _ in rows]
    one = torch.cat([true for _, true, _ in rows]) / torch.cat([depth for depth, _, _ in rows])
    at_once = torch.cat([depth / true for depth, true, _ in rows]) * one.median() - 1
    place, error = torch.cat([p for _, _, p in rows]), torch.cat(each).abs()
    return {
        "frames": len(rows),
        "share_of_recorded_pixels": sum(share) / len(share),
        "abs_rel_per_frame": float(torch.stack([e.abs().mean() for e in each]).mean()),
        "abs_rel_one_scale": float(at_once.abs().mean()),
        "median_error": float(error.median()),
        "zones": {zone: float(error[(place >= low) & (place <= high)].mean()) for zone, (low, high) in ZONES.items()},
    }


def angles(camera: Camera, like: Tensor) -> Tensor:
    """Angle of each pixel's ray from the axis, on the grid of a map."""
    rays = camera.resized((like.shape[1], like.shape[0])).rays
    return torch.atan2(rays[..., :2].norm(dim=-1), rays[..., 2]).float()


if __name__ == "__main__":
    main()
