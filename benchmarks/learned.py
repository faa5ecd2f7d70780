"""Learned depth of simulated patients, all the way into their CT: depth, its uncertainty, scenes and fused clips.

    python benchmarks/reconstruction.py --on PATIENTS --keep --out SFM
    python benchmarks/learned.py --patients PATIENTS --sfm SFM --out DIR [--run RUN] [--steps 400] [--fit]

Every clip that `reconstruct` accepted is given depth, by a network trained on its own SfM as `depthscope run` does, or
by the network of ``--run`` (patients it never saw make the figures of a shipped network). Then: depth against every
true pixel, beside a flat wall and depth from brightness alone; whether the standard deviation told the truth; scenes of
10 frames (the paper's protocol), 20 frames of the whole clip, and the fused clip registered to the surface of the CT
volume with no start; 20 frames against the CT of another patient, which must be refused. Finished clips are not done
again. ``--fit`` fits the weights of `Support` and the confidence of registration to what is found in DIR. Writes
``learned.json``.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from registration import auc, fitted as fitted_confidence, said, similarity
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from torch import Tensor

from depthscope.evaluation.depth import ComparedFrame, evaluated
from depthscope.evaluation.depth_folders import resized_to
from depthscope.evaluation.frame_names import same_frames
from depthscope.evaluation.ground_truth import true_from_sfm_by_points
from depthscope.evaluation.surface import sampled_faces, surface_error
from depthscope.formats import depth_maps, ply, read_sequence
from depthscope.formats.ct import extracted_surface, read_ct
from depthscope.fusion import Fusion, clip_scales, fuse
from depthscope.fusion.fusion import DepthFrame
from depthscope.geometry import Similarity, Surface
from depthscope.geometry.depth import backprojected
from depthscope.pipeline.demo import demo_recipe
from depthscope.pipeline.fusion import matched, views as depth_frames
from depthscope.pipeline.prediction import predict_folder
from depthscope.pipeline.registration import views_of
from depthscope.prediction import points_of
from depthscope.registration import Registration, RegistrationEvidence, SurfaceView, Target, refusals
from depthscope.registration.calibration import ON_PHANTOMS as CONFIDENCE
from depthscope.registration.frames import frame_views
from depthscope.registration.halves import register_with_split_half_check
from depthscope.runs import train_recipe
from depthscope.sequence import Sequence
from depthscope.support import FEATURES, ON_PHANTOMS as SUPPORT
from depthscope.training import LAST
from depthscope.video import read_image

FRAMES = 10
PIXELS = 2000
"""Of each frame, kept for the fit of the uncertainty."""

WRONG_MM = 2.0
NEAR_MM = 40.0
"""Beyond it depth is not compared between patients."""


def main() -> None:
    """Reads the arguments, does what is missing, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=Path, nargs="+", required=True)
    parser.add_argument("--sfm", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--scenes", type=int, default=2, help="of each clip")
    parser.add_argument("--most", type=int, help="clips")
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    clips = [clip for folder in given.patients for clip in sorted(folder.glob("**/clip_*")) if clip.is_dir()]
    folders = {clip.parent.name: clip.parent for clip in clips}
    targets: dict[Path, Target] = {}
    records = []
    for number, clip in enumerate(clips[: given.most]):
        name = f"{clip.parent.name}_{clip.name}"
        sequence = given.sfm / "clips" / clip.parent.name / clip.name
        if (
            not (sequence / "result.json").is_file()
            or not json.loads((sequence / "result.json").read_text("utf-8"))["accepted"]
        ):
            continue
        place = given.out / f"{name}.json"
        if not place.is_file():
            other = clips[(number + len(clips) // 2) % len(clips)]  # of another patient
            record = measured(clip, other, sequence, given, targets)
            place.with_suffix(".partial").write_text(json.dumps(record, indent=1))
            place.with_suffix(".partial").rename(place)
        record = json.loads(place.read_text("utf-8"))
        if "unlike_mm" not in record["wrong"]:
            record["wrong"]["unlike_mm"] = unlike(clip, folders[record["wrong"]["patient"]], sequence, record)
            place.write_text(json.dumps(record, indent=1))
        records.append(record)
        print(told(name, records[-1]), flush=True)
    table = {
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "network": "its own for each clip" if given.run is None else "one, of other patients",
        **summary(records),
    }
    if given.fit:
        table["fit"] = {"support": fitted_support(given.out), "confidence": confidence_of(records)}
    (given.out / "learned.json").write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps(table, indent=1))


def unlike(clip: Path, other: Path, folder: Path, record: dict) -> float:
    """By how much the other patient's anatomy differs from what the clip saw, in the place that was found for it.

    Median distance in mm of the true surface, brought there by the registration, from that patient's true surface.
    Where it is less than the depth is wrong by, no registration could tell the patients apart.
    """
    true = true_from_sfm_by_points(read_sequence(folder), read_sequence(clip), clip / "depth")
    moved = similarity(record["wrong"]["matrix"]).apply(true.inverse().apply(true_points(clip)))
    return unlike_by(moved, ply.read(other / "anatomy.ply"))


def true_points(clip: Path) -> Tensor:
    """Points of the true surface that a clip saw nearer than `NEAR_MM`, in mm."""
    truth, maps, seen = read_sequence(clip), depth_maps.true_maps(clip), []
    for number, name in list(enumerate(truth.frame_names))[::4]:
        depth, lens = maps[name], truth.cameras[number].lens("z", grid=True).to(torch.float32)[None]
        near = (depth > 0) & (depth < NEAR_MM)
        points = backprojected(depth[None], lens)[0][near][::50].double()
        seen.append(truth.camera_from_world[number].inverse().apply(points))
    return torch.cat(seen)


def unlike_by(points: Tensor, surface: Surface) -> float:
    """Median distance of points from a surface, to about 0.1 mm."""
    drawn, _ = sampled_faces(surface, 400_000, torch.Generator().manual_seed(0))
    return float(np.median(cKDTree(drawn.numpy()).query(points.numpy())[0]))


def measured(clip: Path, other: Path, folder: Path, given: argparse.Namespace, targets: dict[Path, Target]) -> dict:
    """Everything about one clip."""
    work = given.out / "work" / f"{clip.parent.name}_{clip.name}"
    sequence, truth = read_sequence(folder), read_sequence(clip)
    run, seconds = given.run, 0.0
    if run is None:
        run, began = work / "run", time.process_time()
        train_recipe(demo_recipe(given.steps), [sequence], run, resume=(run / LAST).is_file(), quiet=True)
        seconds = time.process_time() - began
    predict_folder(run, folder, work / "prediction", sequence=folder, clouds=0, video=False)
    true_from_sfm = true_from_sfm_by_points(sequence, truth, clip / "depth")
    frames = learned_frames(sequence, work / "prediction")
    depth, samples = depth_errors(clip, sequence, work / "prediction", float(true_from_sfm.scale))
    np.savez(given.out / f"{clip.parent.name}_{clip.name}.npz", **samples)
    scenes, rows = [], np.arange(len(frames))
    for scene in range(given.scenes):
        start = scene * (len(frames) // max(1, given.scenes))
        rows = np.linspace(start, start + len(frames) // max(1, given.scenes) - 1, FRAMES).round().astype(int)
        scenes.append(scene_of([frames[row] for row in rows], target_of(clip, targets), true_from_sfm, "right"))
    fused = fuse(frames, Fusion(unit=sequence.unit))
    seen = views_of(fused.surface, folder)  # and measured over all of it, seen from these cameras or not
    whole = against(seen, fused.surface.points, target_of(clip, targets), true_from_sfm)
    joint = scene_of(thinned(frames), target_of(clip, targets), true_from_sfm, "right")
    wrong = scene_of(thinned(frames), target_of(other, targets), None, "other patient")
    wrong["patient"] = other.parent.name
    free = replace(fused.surface, points=fused.surface.points.double(), normals=None)
    anatomy = replace(ply.read(clip.resolve().parent / "anatomy.ply"), unit="mm")
    error = surface_error(replace(free.moved(true_from_sfm), unit="mm"), anatomy, samples=20_000)
    return {
        "patient": clip.parent.name,
        "depth": depth,
        "training_cpu_seconds": seconds,
        "scenes": scenes,
        "joint": joint,
        "fused": whole,
        "wrong": wrong,
        "used_share": fused.used_share,
        "surface_mm": vars(error.accuracy),
    }


def learned_frames(sequence: Sequence, prediction: Path) -> list[DepthFrame]:
    """The depth maps of a clip at its own scales."""
    maps = matched(depth_maps.listed(prediction), sequence, prediction)
    scales = clip_scales(((n, depth_maps.read(path)) for n, path in maps.items()), sequence)
    return list(depth_frames(maps, sequence, scales.factor, prediction))


def thinned(frames: list[DepthFrame]) -> list[DepthFrame]:
    """Twice `FRAMES` of the whole clip."""
    rows = np.linspace(0, len(frames) - 1, min(2 * FRAMES, len(frames))).round().astype(int)
    return [frames[row] for row in rows]


def scene_of(frames: list[DepthFrame], target: Target, true: Similarity | None, kind: str) -> dict:
    """The registration of a scene: its depth maps together, checked by halves."""
    views = frame_views(frames)
    return against(views, torch.cat([view.surface.points for view in views]), target, true, kind)


def target_of(clip: Path, targets: dict[Path, Target]) -> Target:
    """The surface of the patient's CT volume, made once."""
    place = clip.resolve().parent / "ct.nii.gz"
    if place not in targets:
        targets[place] = Target(extracted_surface(read_ct(place)))
    return targets[place]


def against(
    views: tuple[SurfaceView, ...], points: Tensor, target: Target, true: Similarity | None, kind: str = "right"
) -> dict:
    """A registration of what cameras saw, checked by halves, and its error over some points of the source."""
    watch = time.process_time()
    found = said(register_with_split_half_check(views, target))
    record = {"kind": kind, "views": len(views), **found, "cpu_seconds": time.process_time() - watch}
    return measured_of(record, points, true)


def measured_of(record: dict, points: Tensor, true: Similarity | None) -> dict:
    """The record with its error over some points of the source, where the truth is known."""
    if true is not None:
        found = similarity(record["matrix"])
        points = points.double()[:: max(1, len(points) // 20_000)]
        away = (found.apply(points) - true.apply(points)).norm(dim=-1)
        record |= {
            "tre_surface_mm": float(away.mean()),
            "tre_surface_p95_mm": float(away.quantile(0.95)),
            "scale_error": float(found.scale / true.scale) - 1,
        }
    return record


def depth_errors(clip: Path, sequence: Sequence, prediction: Path, mm_per_unit: float) -> tuple[dict, dict]:
    """Depth against the truth beside two baselines, and samples of features, errors and told deviations."""
    maps = depth_maps.listed(prediction)
    truths = depth_maps.true_maps(clip, depth_maps.grid_of(prediction))
    names = {other: name for name, other in same_frames(truths, maps).items()}
    rows: dict[str, list[ComparedFrame]] = {"learned": [], "flat": [], "light": []}
    columns: dict[str, list[np.ndarray]] = {"features": [], "error": [], "std": []}
    for frame, name in enumerate(sequence.frame_names):
        if name not in names or name not in maps:
            continue
        depth = depth_maps.read(maps[name])
        truth = resized_to(truths[names[name]], depth.shape)
        known = (depth > 0) & (truth > 0)
        # Linear light falls as one over depth squared; red is what blood absorbs least.
        frame_image = read_image(next((clip / "images").glob(f"{names[name]}.*")))
        red = resized_to(frame_image[..., 0].float(), depth.shape)
        light = (red / 255).clamp_min(0.05) ** (-2.2 / 2)
        light = light.clamp_max(4 * float(light[known].median()))  # what is black is not known to be so far
        for kind, map_ in (("learned", depth), ("flat", torch.ones_like(depth)), ("light", light)):
            rows[kind].append(ComparedFrame(name, map_[known], truth[known]))
        size = depth.shape[1], depth.shape[0]
        pixels, sparse = points_of(sequence, frame, size)
        camera = sequence.cameras[frame].resized(size)
        along = depth  # the kind that points have, as in `supported_std`; maps of wide lenses are written as z
        if camera.depth_kind == "distance" and depth_maps.grid_of(prediction).kind == "z":
            along = torch.where(depth > 0, depth / camera.rays[..., 2].to(depth).clamp_min(1e-3), 0.0)
        focal_px = min(camera.focal_px)
        features = replace(SUPPORT, stride=1).features(along, pixels, sparse, focal_px, sequence.median_depth)
        std = depth_maps.read(prediction / "std" / maps[name].name) / depth.clamp_min(1e-9)
        error = (depth * mm_per_unit / truth.clamp_min(1e-9)).log()
        draw = torch.randperm(int(known.sum()), generator=torch.Generator().manual_seed(frame))[:PIXELS]
        for key, values in (("features", features), ("error", error), ("std", std)):
            columns[key].append(values[known][draw].numpy())
    figures = {kind: vars(evaluated(iter(frames), "dense-1").per_frame_median) for kind, frames in rows.items()}
    whole = evaluated(iter(rows["learned"]), "dense-1")
    samples = {key: np.concatenate(values) for key, values in columns.items()}
    error, std = np.abs(samples["error"]), samples["std"]
    figures["per_sequence"] = vars(whole.per_sequence)
    figures["scale_drift"] = whole.scale_drift
    figures["uncertainty"] = {
        "within_1_std": float((error < std).mean()),
        "within_2_std": float((error < 2 * std).mean()),
        "error_of_most_certain": {
            share: float(error[std.argsort()[: int(len(error) * share)]].mean()) for share in (0.5, 0.7, 0.9, 1.0)
        },
        "error_of_best": {
            share: float(np.sort(error)[: int(len(error) * share)].mean()) for share in (0.5, 0.7, 0.9, 1.0)
        },
    }
    return figures, samples


def told(name: str, record: dict) -> str:
    """A clip in one line."""
    parts = [
        f"{r['tre_surface_mm']:.2f} mm ({'refused' if r['reasons'] else 'accepted'}, {r['confidence']:.2f})"
        for r in (*record["scenes"], record["joint"], record["fused"])
    ]
    learned, flat, light = (record["depth"][kind]["abs_rel"] for kind in ("learned", "flat", "light"))
    halves = (*record["scenes"], record["joint"], record["wrong"])
    apart = ", ".join(f"{one['evidence']['halves_apart_mm']:.1f}" for one in halves)
    refused = bool(record["wrong"]["reasons"])
    return (
        f"{name}: AbsRel {learned:.3f} (flat {flat:.3f}, light {light:.3f}), surface "
        f"{record['surface_mm']['median']:.2f} mm, TRE {', '.join(parts)}, "
        f"wrong CT {'refused' if refused else 'ACCEPTED'}, halves apart {apart} mm"
    )


def summary(records: list[dict]) -> dict:
    """The table, with the confidence of today's coefficients."""
    for one in registrations(records):
        evidence = RegistrationEvidence(**one["evidence"])
        one["confidence"] = CONFIDENCE(evidence)
        one["reasons"] = list(refusals(evidence, one["confidence"], Registration()))
    kinds = {
        "scenes": [s for r in records for s in r["scenes"]],
        "joint": [r["joint"] for r in records],
        "fused": [r["fused"] for r in records],
    }
    depth = {
        kind: {m: float(np.mean([r["depth"][kind][m] for r in records])) for m in ("abs_rel", "delta1")}
        for kind in ("learned", "per_sequence", "flat", "light")
    }
    wrong = [r["wrong"] for r in records]
    everything = [one for one in registrations(records) if not one["reasons"]]
    truth = np.array([one.get("tre_surface_mm", math.inf) < WRONG_MM for one in registrations(records)])
    confidence = np.array([one["confidence"] for one in registrations(records)])
    keys = ("within_1_std", "within_2_std")
    return {
        "clips": len(records),
        "patients": len({r["patient"] for r in records}),
        "depth": depth,
        "scale_drift": float(np.mean([r["depth"]["scale_drift"] for r in records])),
        "uncertainty": {key: float(np.mean([r["depth"]["uncertainty"][key] for r in records])) for key in keys},
        "surface_mm": {k: float(np.median([r["surface_mm"][k] for r in records])) for k in ("median", "mean", "p95")},
        **{kind: of_registrations(rows) for kind, rows in kinds.items()},
        "wrong_targets_refused": [sum(bool(w["reasons"]) for w in wrong), len(wrong)],
        "wrong_targets_accepted_unlike_by_mm": [w["unlike_mm"] for w in wrong if not w["reasons"]],
        "wrong_targets_refused_unlike_by_mm": [w["unlike_mm"] for w in wrong if w["reasons"]],
        "wrong_but_accepted": [
            sum(one.get("tre_surface_mm", math.inf) > WRONG_MM for one in everything),
            len(everything),
        ],
        "confidence_auc": auc(confidence, truth),
    }


def of_registrations(rows: list[dict]) -> dict:
    """Residual, error and refusals of registrations to the right CT."""
    accepted = [row for row in rows if not row["reasons"]]
    means = np.array([row["residual_mm"]["mean"] for row in rows])

    def quantiles(some: list[dict], key: str) -> list[float]:
        values = np.abs([row[key] for row in some])
        return [float(np.quantile(values, q)) for q in (0.5, 0.95)] if len(values) else []

    return {
        "count": len(rows),
        "residual_mm": [float(means.mean()), float(means.std())],
        "residual_of_accepted_mm": float(np.mean([r["residual_mm"]["mean"] for r in accepted])) if accepted else None,
        "tre_mm": quantiles(rows, "tre_surface_mm"),
        "tre_of_accepted_mm": quantiles(accepted, "tre_surface_mm"),
        "below_1_mm": float(np.mean([row["tre_surface_mm"] < 1 for row in rows])),
        "below_2_mm": float(np.mean([row["tre_surface_mm"] < 2 for row in rows])),
        "scale_error_of_accepted": quantiles(accepted, "scale_error"),
        "refused": len(rows) - len(accepted),
        "accepted_above_2_mm": sum(row["tre_surface_mm"] > WRONG_MM for row in accepted),
        "cpu_seconds": float(np.mean([row["cpu_seconds"] for row in rows])),
    }


def registrations(records: list[dict]) -> Iterator[dict]:
    """All of them, right and wrong."""
    for record in records:
        yield from (*record["scenes"], record["joint"], record["fused"], record["wrong"])


def fitted_support(folder: Path) -> dict:
    """Weights of `Support` by the Laplace likelihood of the true errors, with a ridge; every clip counts alike."""
    parts = [np.load(path) for path in sorted(folder.glob("*.npz"))]
    features = np.concatenate([part["features"] for part in parts]).astype(float)
    error = np.abs(np.concatenate([part["error"] for part in parts])).astype(float)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        log_error = features @ x
        ratio = error * np.exp(-log_error)
        ridge = 1e-3 * x * (np.arange(len(x)) > 0)
        return float((ratio + log_error).mean() + (ridge * x).sum() / 2), features.T @ (1 - ratio) / len(error) + ridge

    found = minimize(loss, np.zeros(features.shape[1]), jac=True).x
    return dict(zip(FEATURES, found.tolist(), strict=True)) | {"clips": len(parts)}


def confidence_of(records: list[dict]) -> dict:
    """Coefficients of the confidence."""
    weights, offset = fitted_confidence(list(registrations(records)))
    return {"weights": weights.tolist(), "offset": offset}


if __name__ == "__main__":
    main()
