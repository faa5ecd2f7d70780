"""Registration without a start, by the paper's protocol and by what it could not show: the error itself.

    python benchmarks/registration.py --out DIR [--patients 4 --scenes 5 --split test --wrong 1]
    python benchmarks/registration.py --out DIR --split train --fit

A scene is 10 frames of a clip through a phantom's nose. The source is their true depth with the errors of a learned one
(a smooth part of 2 to 4 %, some of it shared by all frames, pixel noise, scale drift), in a frame and unit of its own.
The target is the surface from the phantom's CT volume. With ``--wrong`` scenes are also registered to another patient's
CT, to the mirrored CT, or turned inside out (these must be refused). ICP with scaling and coherent point drift start 10
degrees, 3 mm and 10 % off the truth; ours, once without a start and once from 20 degrees, 5 mm and 10 % off. Finished
scenes are kept and not done again. ``--fit`` fits the confidence to the scenes found in DIR and prints its
coefficients; fit on training patients, report on test patients. Writes ``registration.json``.
"""

import argparse
import json
import math
import os
import platform
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.optimize import minimize

from depthscope.formats.ct import extracted_surface
from depthscope.geometry import Camera, RigidMotion, Similarity, Surface
from depthscope.geometry.casting import RayCaster
from depthscope.geometry.depth import normals, pixel_grid
from depthscope.geometry.motion import rotate
from depthscope.geometry.rotation import rotation_from_vector
from depthscope.registration import (
    Alignment,
    Registration,
    RegistrationEvidence,
    SurfaceView,
    Target,
    coherent_point_drift,
    iterated_closest_points,
    nearest,
    refusals,
    register,
)
from depthscope.registration.calibration import ON_PHANTOMS
from depthscope.simulation.anatomy import SPLITS, Anatomy, patient
from depthscope.simulation.ct import scanned
from depthscope.simulation.path import camera_from_world
from depthscope.simulation.presets import subject

FRAMES, STEP = 10, 3
CAMERA = Camera((80, 64), (40.0, 40.0), (40.0, 32.0))
"""90 degrees wide, as the phantoms' scopes are, with a quarter of their pixels."""

WRONG = ("other patient", "mirrored", "inside out")


def smooth_field(draw: np.random.Generator, sigma_px: float = 14.0) -> np.ndarray:
    """A smooth random field over the image, of mean 0 and variance 1."""
    (width, height), rim = CAMERA.size_px, 48
    field = cv2.GaussianBlur(draw.standard_normal((height + 2 * rim, width + 2 * rim)), (0, 0), sigma_px)
    field = field[rim:-rim, rim:-rim]
    return (field - field.mean()) / field.std()


def scene(anatomy: Anatomy, clip: int) -> tuple[tuple[SurfaceView, ...], Similarity, dict[str, torch.Tensor], float]:
    """Views with realistic depth in a frame of their own, the true similarity, the landmarks seen, and the error."""
    draw = np.random.default_rng((anatomy.seed, clip, 97))
    motions = camera_from_world(anatomy, clip, FRAMES * STEP, subject(anatomy.seed, "nasal").trajectory)[::STEP]
    scale, turn = math.exp(draw.normal(0, 1)), rotation_from_vector(torch.from_numpy(draw.normal(0, 1.2, 3)))
    source_from_ct = Similarity(
        torch.tensor(1 / scale, dtype=torch.float64), RigidMotion(turn, torch.from_numpy(draw.normal(0, 5, 3)))
    )
    share, caster = draw.uniform(0.02, 0.04), RayCaster(anatomy.surface)
    shared, views, seen = smooth_field(draw), [], {}
    rays = CAMERA.unproject(pixel_grid(*CAMERA.size_px[::-1], torch.empty(0, dtype=torch.float64)))
    for frame in range(FRAMES):
        motion = motions[frame]
        depth = caster.view(CAMERA, motion).distance.reshape(*CAMERA.size_px[::-1])
        error = share * (math.sqrt(0.7) * shared + math.sqrt(0.3) * smooth_field(draw))
        error = error + 0.005 * draw.standard_normal(error.shape) + 0.005 * draw.standard_normal()
        told = depth * torch.from_numpy(np.exp(error))
        calm = torch.from_numpy(cv2.GaussianBlur(told.numpy(), (0, 0), 1.0))
        normal = normals(calm[None], CAMERA.pinhole[None])[0]
        known = (depth > 0) & ~edges(told)
        world = motion.inverse()
        points = source_from_ct.apply(world.apply((told[..., None] * rays)[known]))
        directions = rotate(turn, rotate(world.rotation, normal[known]))
        views.append(SurfaceView(Surface(points, directions), source_from_ct.apply(motion.origin)))
        for name, place in anatomy.landmarks.items():
            pixel = CAMERA.project(motion.apply(place[None]))[0]
            inside = bool(((pixel > 0) & (pixel < torch.tensor(CAMERA.size_px))).all())
            towards = motion.origin + 0.99 * (place - motion.origin)
            if inside and not bool(caster.blocked(motion.origin[None], towards[None])[0]):
                seen[name] = place
    return tuple(views), source_from_ct.inverse(), seen, share


def edges(depth: torch.Tensor, share: float = 0.1) -> torch.Tensor:
    """Pixels beside a jump of depth."""
    found = torch.zeros_like(depth, dtype=torch.bool)
    for axis in (0, 1):
        count = depth.shape[axis] - 1
        near, far = depth.narrow(axis, 0, count), depth.narrow(axis, 1, count)
        jump = (near - far).abs() > share * torch.minimum(near, far)
        found.narrow(axis, 0, count).logical_or_(jump)
        found.narrow(axis, 1, count).logical_or_(jump)
    return found


def mirrored(surface: Surface) -> Surface:
    """The surface with left and right exchanged."""
    flip = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert surface.normals is not None and surface.faces is not None
    return Surface(surface.points * flip, surface.normals * flip, None, surface.faces.flip(1), "mm")


def inside_out(surface: Surface) -> Surface:
    """The surface with its normals turned into the tissue."""
    assert surface.normals is not None and surface.faces is not None
    return Surface(surface.points, -surface.normals, None, surface.faces.flip(1), "mm")


def registered(views: tuple[SurfaceView, ...], target: Target) -> dict:
    """What registration finds and says."""
    watch = time.process_time()
    found = register(views, target)
    return {**said(found), "cpu_seconds": time.process_time() - watch}


def said(found: Alignment) -> dict:
    """The figures of a registration."""
    return {
        "matrix": found.target_from_source.matrix.tolist(),
        "residual_mm": found.residuals.figures,
        "evidence": found.evidence.__dict__,
        "confidence": found.confidence,
        "reasons": list(found.reasons),
        "predicted_tre_mm": found.evidence.predicted_tre_mm,
        "scale_sd": float(found.covariance[6, 6].sqrt()),
        "independent": found.independent,
        "modes": len(found.modes),
    }


def similarity(matrix: list[list[float]]) -> Similarity:
    """From a 4x4 matrix."""
    rows = torch.tensor(matrix, dtype=torch.float64)
    scale = torch.linalg.det(rows[:3, :3]) ** (1 / 3)
    return Similarity(scale, RigidMotion(rows[:3, :3] / scale, rows[:3, 3]))


def measured(
    views: tuple[SurfaceView, ...], true: Similarity, landmarks: dict, found: Similarity, anatomy: Anatomy
) -> dict:
    """Errors against the truth."""
    points = torch.cat([view.surface.points for view in views])[::7]
    error = (found.apply(points) - true.apply(points)).norm(dim=-1)
    at = {n: float((found.apply(true.inverse().apply(p)) - p).norm()) for n, p in landmarks.items()}
    return {
        "tre_surface_mm": float(error.mean()),
        "tre_surface_p95_mm": float(error.quantile(0.95)),
        "tre_landmarks_mm": at,
        "scale_error": abs(float(found.scale / true.scale) - 1),
        "true_surface_distance_mm": float(anatomy.distance_mm(found.apply(points)).abs().mean()),
    }


def off_by(true: Similarity, points: torch.Tensor, draw: np.random.Generator, turn_deg: float, away_mm: float):
    """A start that is off: by a turn about the points' middle, a shift, and 10 % of scale."""
    axis, way = (torch.from_numpy(v / np.linalg.norm(v)) for v in draw.normal(size=(2, 3)))
    turn, size = rotation_from_vector(math.radians(turn_deg) * axis), math.exp(0.1 * draw.choice([-1, 1]))
    middle = true.apply(points).mean(0)
    shift = middle + away_mm * way - size * (turn @ middle)
    return Similarity(torch.tensor(size, dtype=torch.float64), RigidMotion(turn, shift)) @ true


def baselines(
    views: tuple[SurfaceView, ...], true: Similarity, target: Target, seed: tuple[int, int]
) -> dict[str, tuple[Similarity, float]]:
    """ICP with scaling and coherent point drift from 10 degrees and 3 mm off, ours from 20 and 5; and their seconds."""
    draw = np.random.default_rng((*seed, 98))
    points = torch.cat([view.surface.points for view in views])
    points = points[:: max(1, len(points) // 4000)]
    near, farther = off_by(true, points, draw, 10, 3), off_by(true, points, draw, 20, 5)
    ways = {
        "icp": lambda: iterated_closest_points(points, target.surface, near),
        "cpd": lambda: coherent_point_drift(points, target.surface, near),
        "ours_from_start": lambda: (
            register(views, target, Registration(search=None), starts=(farther,)).target_from_source
        ),
    }
    found = {}
    for name, way in ways.items():
        began = time.perf_counter()
        found[name] = (way(), time.perf_counter() - began)
    return found


def do_patient(seed: int, scenes: int, wrong: int, folder: Path) -> None:
    """All scenes of a patient that are not there yet."""
    names = [f"{seed}_{clip}.json" for clip in range(scenes)]
    names += [f"{seed}_{clip}_wrong.json" for clip in range(min(wrong, scenes))]
    if all((folder / name).is_file() for name in names):
        return
    anatomy = patient(seed, "nasal", spacing_mm=0.4)
    surface = extracted_surface(scanned(anatomy))
    target = Target(surface)
    for clip in range(scenes):
        views, true, landmarks, share = scene(anatomy, clip)
        path = folder / f"{seed}_{clip}.json"
        if not path.is_file():
            record = {"patient": seed, "clip": clip, "kind": "right", "depth_error": share, **registered(views, target)}
            found = similarity(record["matrix"])
            record |= measured(views, true, landmarks, found, anatomy)
            points = torch.cat([view.surface.points for view in views])[::7]
            for name, (end, seconds) in baselines(views, true, target, (seed, clip)).items():
                record[name] = {**measured(views, true, landmarks, end, anatomy), "seconds": seconds}
                record[name]["residual_mm"] = float(nearest(target, end.apply(points)).mean())
            save(path, record)
        path = folder / f"{seed}_{clip}_wrong.json"
        if clip < wrong and not path.is_file():
            kind = WRONG[(seed + clip) % len(WRONG)]
            match kind:
                case "other patient":
                    other = extracted_surface(scanned(patient(seed + 500, "nasal", spacing_mm=0.6)))
                case "mirrored":
                    other = mirrored(surface)
                case _:
                    other = inside_out(surface)
            save(path, {"patient": seed, "clip": clip, "kind": kind, **registered(views, Target(other))})


def save(path: Path, record: dict) -> None:
    """Writes a scene whole, and says so."""
    draft = path.with_suffix(".partial")
    draft.write_text(json.dumps(record, indent=1) + "\n")
    draft.rename(path)
    right = f"TRE {record['tre_surface_mm']:.2f} mm, " if "tre_surface_mm" in record else ""
    print(
        f"{path.stem} {record['kind']}: {right}residual {record['residual_mm']['mean']:.2f} mm, confidence "
        f"{record['confidence']:.2f}, {'refused' if record['reasons'] else 'accepted'}, {record['cpu_seconds']:.0f} s",
        flush=True,
    )


def is_right(record: dict) -> bool:
    """Whether a registration is within the confidence's limit."""
    return record.get("tre_surface_mm", math.inf) < ON_PHANTOMS.limit_mm


def auc(confidence: np.ndarray, right: np.ndarray) -> float:
    """Probability that a right one is given more confidence than a wrong one."""
    if right.all() or not right.any():
        return math.nan
    pairs = confidence[right][:, None] - confidence[~right][None]
    return float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def summary(records: list[dict]) -> dict:
    """The table."""
    right = [r for r in records if r["kind"] == "right"]
    accepted = [r for r in right if not r["reasons"]]
    everything = [r for r in records if not r["reasons"]]
    wrong = [r for r in everything if r.get("tre_surface_mm", math.inf) > 2]
    means = np.array([r["residual_mm"]["mean"] for r in right])
    tre = np.array([r["tre_surface_mm"] for r in right])
    good = np.array([r["tre_surface_mm"] for r in accepted])
    landmarks = np.array([e for r in accepted for e in r["tre_landmarks_mm"].values()])
    confidence, truth = np.array([r["confidence"] for r in records]), np.array([is_right(r) for r in records])
    bins = [
        (confidence >= low) & (confidence <= high) for low, high in ((0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1))
    ]
    return {
        "scenes": len(right),
        "patients": len({r["patient"] for r in right}),
        "residual_mm": [float(means.mean()), float(means.std())],
        "tre_surface_mm": {
            "median": float(np.median(tre)), "p95": float(np.quantile(tre, 0.95)), "below_1": float((tre < 1).mean())
        },
        "tre_surface_accepted_mm": {"median": float(np.median(good)), "p95": float(np.quantile(good, 0.95))},
        "tre_landmarks_accepted_mm": {
            "count": len(landmarks), "median": float(np.median(landmarks)), "p95": float(np.quantile(landmarks, 0.95))
        },
        "scale_error": {
            "median": float(np.median([r["scale_error"] for r in accepted])),
            "p95": float(np.quantile([r["scale_error"] for r in accepted], 0.95)),
        },
        "tre_over_predicted": float(
            np.sqrt(np.mean([(r["tre_surface_mm"] / r["predicted_tre_mm"]) ** 2 for r in accepted]))
        ),
        "refused_share": 1 - len(accepted) / len(right),
        "accepted": len(everything),
        "wrong_but_accepted": len(wrong) / max(1, len(everything)),
        "wrong_targets": len(records) - len(right),
        "wrong_targets_refused": sum(bool(r["reasons"]) for r in records if r["kind"] != "right"),
        "confidence_auc": auc(confidence, truth),
        "reliability": [
            {"count": int(b.sum()), "confidence": float(confidence[b].mean()), "right": float(truth[b].mean())}
            for b in bins
            if b.any()
        ],
        **{
            name: {
                "residual_mm": float(np.mean([r[name]["residual_mm"] for r in right])),
                "tre_median_mm": float(np.median([r[name]["tre_surface_mm"] for r in right])),
                "tre_p95_mm": float(np.quantile([r[name]["tre_surface_mm"] for r in right], 0.95)),
                "below_1": float(np.mean([r[name]["tre_surface_mm"] < 1 for r in right])),
                "scale_error_median": float(np.median([r[name]["scale_error"] for r in right])),
                "seconds_median": float(np.median([r[name]["seconds"] for r in right])),
            }
            for name in ("icp", "cpd", "ours_from_start")
        },
        "cpu_seconds_per_scene": float(np.mean([r["cpu_seconds"] for r in records])),
    }  # fmt: skip


def fitted(records: list[dict]) -> tuple[np.ndarray, float]:
    """Logistic regression with a ridge towards 0, of right against wrong."""
    features = np.array([RegistrationEvidence(**r["evidence"]).features for r in records])
    truth = np.array([is_right(r) for r in records], float)

    def loss(x: np.ndarray) -> float:
        z = features @ x[:-1] + x[-1]
        return float((np.logaddexp(0, z) - truth * z).sum() + 0.3 * (x[:-1] ** 2).sum())

    found = minimize(loss, np.zeros(features.shape[1] + 1)).x
    return found[:-1], float(found[-1])


def main() -> None:
    """Reads the arguments, registers, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=4)
    parser.add_argument("--scenes", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="number of the first patient within the split")
    parser.add_argument("--split", choices=list(SPLITS), default="test")
    parser.add_argument("--wrong", type=int, default=1, help="scenes of each patient also given a wrong target")
    parser.add_argument("--fit", action="store_true", help="fit the confidence to the scenes of this folder")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = given.out / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    first = SPLITS[given.split].start + given.first
    for seed in range(first, first + given.patients):
        do_patient(seed, given.scenes, given.wrong, folder)
    records = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    for record in records:  # the same evidence under the coefficients of today
        evidence = RegistrationEvidence(**record["evidence"])
        record["confidence"] = ON_PHANTOMS(evidence)
        record["reasons"] = list(refusals(evidence, record["confidence"], Registration()))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    table = {"machine": machine, "split": given.split, "date": time.strftime("%Y-%m-%d"), **summary(records)}
    if given.fit:
        weights, offset = fitted(records)
        table["fit"] = {"weights": weights.tolist(), "offset": offset}
    (given.out / "registration.json").write_text(json.dumps(table, indent=2) + "\n")
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
