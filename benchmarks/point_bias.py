"""Why structure from motion has far points too near: by what lies beside them, and with true motions.

    python benchmarks/reconstruction.py --on PATIENTS --keep --out SFM
    python benchmarks/point_bias.py --clips PATIENTS/patient_*/clip_* --sfm SFM --out DIR

For every clip the depth of its points over the true depth of their pixels, after the median of all: by true depth, as
`reconstruct` left them and adjusted again with the true motions, where only the points may move; and that of far points
by how much nearer the nearest thing around them is, in truth. Writes ``point_bias.json``.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pycolmap
import torch

from depthscope.evaluation.frame_names import frame_number
from depthscope.formats import depth_maps, read_sequence
from depthscope.geometry import Similarity
from depthscope.geometry.motion import RigidMotion
from depthscope.reconstruction.bundle import adjust
from depthscope.sequence import Sequence

BINS_MM = (0.0, 9.0, 13.0, 18.0, 24.0, 32.0, 60.0)
FAR_MM = 24.0
BESIDE = (0.0, 0.05, 0.1, 0.2, 0.4, 10.0)
"""How much farther a point is than the nearest thing around it, as a share of the latter."""

AROUND_PX = 8
FEWEST = 50
"""Observations of a bin to have a median."""

WRONG = 0.1
JOB: Any = SimpleNamespace(threads=2)


def main() -> None:
    """Reads the arguments, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--sfm", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows, far = [], []
    for clip in given.clips:
        folder = given.sfm / "clips" / clip.parent.name / clip.name
        truth = read_sequence(clip)
        same = {frame_number(name): number for number, name in enumerate(truth.frame_names)}
        for label, model in (("as it is", fresh(folder)), ("true motions", fresh(folder))):
            if label == "true motions":
                with_true_motions(model, truth, same)
                adjust(JOB, model, robust_px=0.25, free_lens=False, free_poses=False)
            ratio, true, beside = observed(model, clip, truth, same)
            rows.append(
                {"clip": f"{clip.parent.name}/{clip.name}", "model": label, "points": len(model.points3D)}
                | {"turned_deg": turned_deg(model, truth, same), "wrong_share": float((np.abs(ratio) > WRONG).mean())}
                | {"depth_over_true": medians(ratio, true, BINS_MM)}
            )
            print(told(rows[-1]), flush=True)
            if label == "as it is":
                far.append((ratio[true > FAR_MM], beside[true > FAR_MM]))
    ratio, beside = (np.concatenate(part) for part in zip(*far, strict=True))
    bins = zip(BESIDE[:-1], BESIDE[1:], strict=True)
    counts = [int(((beside >= low) & (beside < high)).sum()) for low, high in bins]
    record = {
        "machine": platform.machine(),
        "date": time.strftime("%Y-%m-%d"),
        "bins_mm": BINS_MM,
        "rows": rows,
        "far": {"beside": BESIDE, "observations": counts, "depth_over_true": medians(ratio, beside, BESIDE)},
    }
    (given.out / "point_bias.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"beyond {FAR_MM:g} mm, by how much nearer something within {AROUND_PX} px is ({BESIDE}): ", end="")
    print(percent(record["far"]["depth_over_true"]), counts)


def fresh(folder: Path) -> pycolmap.Reconstruction:
    """The model of a clip."""
    return pycolmap.Reconstruction(str(folder / "colmap"))


def with_true_motions(model: pycolmap.Reconstruction, truth: Sequence, same: dict[int | None, int]) -> None:
    """Brings the model to mm and every camera to where it truly was; points are moved along, and want adjusting."""
    images, motions = posed(model, truth, same)
    here = torch.tensor(np.array([image.projection_center() for image in images]))
    true = Similarity.estimate(here, motions.origin)
    model.transform(pycolmap.Sim3d(float(true.scale), pycolmap.Rotation3d(true.motion.rotation.numpy()),
                                   true.motion.translation.numpy()))  # fmt: skip
    for number, image in enumerate(images):
        turn = pycolmap.Rotation3d(motions.rotation[number].numpy())
        model.frame(image.frame_id).set_cam_from_world(
            image.camera_id, pycolmap.Rigid3d(turn, motions.translation[number].numpy())
        )


def posed(
    model: pycolmap.Reconstruction, truth: Sequence, same: dict[int | None, int]
) -> tuple[list[pycolmap.Image], RigidMotion]:
    """The images that have a pose, and their true motions."""
    images = [model.images[number] for number in sorted(model.reg_image_ids())]
    return images, truth.camera_from_world[
        torch.tensor([same[frame_number(Path(image.name).stem)] for image in images])
    ]


def observed(
    model: pycolmap.Reconstruction, clip: Path, truth: Sequence, same: dict[int | None, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each observation ln(depth / true depth), the true depth in mm, and its share over the nearest around it."""
    images, _ = posed(model, truth, same)
    maps, rows = depth_maps.true_maps(clip), []
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * AROUND_PX + 1, 2 * AROUND_PX + 1))
    for image in images:
        depth = maps[truth.frame_names[same[frame_number(Path(image.name).stem)]]].numpy()
        nearest = cv2.erode(np.where(depth > 0, depth, np.inf).astype(np.float32), disc)
        motion = image.cam_from_world()
        for keypoint in image.points2D:
            if not keypoint.has_point3D():
                continue
            column, row = keypoint.xy.astype(int)
            away = (motion * model.points3D[keypoint.point3D_id].xyz)[2]
            if 0 <= row < depth.shape[0] and 0 <= column < depth.shape[1] and depth[row, column] > 0 and away > 0:
                rows.append((away, depth[row, column], nearest[row, column]))
    away, true, nearest = np.array(rows, float).T
    ratio = np.log(away / true)
    return ratio - np.median(ratio), true, true / nearest - 1


def medians(values: np.ndarray, of: np.ndarray, edges: tuple[float, ...]) -> list[float | None]:
    """Median of what falls into each bin."""
    inside = [(of >= low) & (of < high) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return [float(np.median(values[some])) if some.sum() >= FEWEST else None for some in inside]


def turned_deg(model: pycolmap.Reconstruction, truth: Sequence, same: dict[int | None, int]) -> float:
    """How far the cameras turn beside the truth from the first to the last."""
    images, motions = posed(model, truth, same)
    turned = torch.tensor(np.array([image.cam_from_world().rotation.matrix() for image in images]))
    middle = len(turned) // 2
    beside = turned @ (turned[middle].T @ motions.rotation[middle]) @ motions.rotation.mT
    cosine = (torch.diagonal(beside[0] @ beside[-1].mT).sum() - 1) / 2
    return float(torch.rad2deg(torch.acos(cosine.clamp(-1, 1))))


def percent(values: list[float | None]) -> str:
    """Values in a row."""
    return " ".join("     -" if value is None else f"{100 * value:+6.1f}" for value in values) + " %"


def told(row: dict) -> str:
    """A model in one line."""
    return (
        f"{row['clip']} {row['model']:14s} {percent(row['depth_over_true'])}, more than {WRONG:.0%} off "
        f"{row['wrong_share']:.1%}, turned {row['turned_deg']:.2f} deg, {row['points']} points"
    )


if __name__ == "__main__":
    main()
