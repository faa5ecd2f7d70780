"""Why structure from motion has far points too near: the same tracks, adjusted in other ways and with true motions.

    python benchmarks/reconstruction.py --on PATIENTS --keep --out SFM
    python benchmarks/point_bias.py --clips PATIENTS/patient_*/clip_* --sfm SFM --out DIR

For every clip the model as `reconstruct` left it; adjusted again with other robust losses; adjusted after observations
that miss by more than so many pixels were left out; and with the true motions, where only the points may move. For
each the depth of its points over the true depth of their pixels, median by true depth after the median of all, and how
far the cameras turn beside the truth over the clip. Writes ``point_bias.json``.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pycolmap
import torch

from depthscope.commands.evaluate.depth import frame_number
from depthscope.formats import depth_maps, read_sequence
from depthscope.geometry import Similarity
from depthscope.geometry.motion import RigidMotion
from depthscope.reconstruction.bundle import FILTER_DEG, adjust
from depthscope.sequence import Sequence

BINS_MM = (0.0, 9.0, 13.0, 18.0, 24.0, 32.0, 60.0)
FEWEST = 50
"""Observations of a bin to have a median."""

JOB: Any = SimpleNamespace(threads=2)


def main() -> None:
    """Reads the arguments, adjusts, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--sfm", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for clip in given.clips:
        folder = given.sfm / "clips" / clip.parent.name / clip.name
        truth = read_sequence(clip)
        same = {frame_number(name): number for number, name in enumerate(truth.frame_names)}
        for label, model in adjusted_in_turn(folder, truth, same):
            rows.append(
                {"clip": f"{clip.parent.name}/{clip.name}", "adjusted": label, **bias(model, clip, truth, same)}
            )
            print(told(rows[-1]), flush=True)
    record = {"machine": platform.machine(), "date": time.strftime("%Y-%m-%d"), "bins_mm": BINS_MM, "rows": rows}
    (given.out / "point_bias.json").write_text(json.dumps(record, indent=1) + "\n")


def adjusted_in_turn(folder: Path, truth: Sequence, same: dict[int | None, int]):
    """The model of a clip by ways of adjusting it."""

    def fresh() -> pycolmap.Reconstruction:
        return pycolmap.Reconstruction(str(folder / "colmap"))

    yield "as it is", fresh()
    for robust_px in (2.0, 0.25, 0.1):
        model = fresh()
        adjust(JOB, model, robust_px=robust_px, free_lens=False)
        yield f"loss {robust_px:g} px", model
    model = fresh()
    for limit_px in (1.5, 1.0, 0.7, 0.5):
        pycolmap.ObservationManager(model).filter_all_points3D(limit_px, FILTER_DEG)
        adjust(JOB, model, robust_px=0.25, free_lens=False)
        if limit_px in (1.0, 0.5):
            yield f"loss 0.25 px, none beyond {limit_px:g} px", pycolmap.Reconstruction(model)
    model = with_true_motions(fresh(), truth, same)
    adjust(JOB, model, robust_px=0.25, free_lens=False, free_poses=False)
    yield "true motions", model


def with_true_motions(
    model: pycolmap.Reconstruction, truth: Sequence, same: dict[int | None, int]
) -> pycolmap.Reconstruction:
    """The model in mm, with every camera where it truly was; points are moved along, and want adjusting."""
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
    return model


def posed(
    model: pycolmap.Reconstruction, truth: Sequence, same: dict[int | None, int]
) -> tuple[list[pycolmap.Image], RigidMotion]:
    """The images that have a pose, and their true motions."""
    images = [model.images[number] for number in sorted(model.reg_image_ids())]
    return images, truth.camera_from_world[
        torch.tensor([same[frame_number(Path(image.name).stem)] for image in images])
    ]


def bias(model: pycolmap.Reconstruction, clip: Path, truth: Sequence, same: dict[int | None, int]) -> dict:
    """Depth over true depth by true depth, and the turn beside the truth in degrees."""
    images, motions = posed(model, truth, same)
    maps, found, true = depth_maps.true_maps(clip, undistorted=False), [], []
    for image in images:
        depth = maps[truth.frame_names[same[frame_number(Path(image.name).stem)]]].numpy()
        motion = image.cam_from_world()
        for keypoint in image.points2D:
            if not keypoint.has_point3D():
                continue
            column, row = keypoint.xy.astype(int)
            away = (motion * model.points3D[keypoint.point3D_id].xyz)[2]
            if 0 <= row < depth.shape[0] and 0 <= column < depth.shape[1] and depth[row, column] > 0 and away > 0:
                found.append(away)
                true.append(depth[row, column])
    ratio, at = np.log(np.array(found) / np.array(true)), np.array(true)
    ratio -= np.median(ratio)
    turned = torch.tensor(np.array([image.cam_from_world().rotation.matrix() for image in images]))
    beside = turned @ (turned[len(turned) // 2].T @ motions.rotation[len(turned) // 2]) @ motions.rotation.mT
    cosine = (torch.diagonal(beside[0] @ beside[-1].mT).sum() - 1) / 2
    bins = zip(BINS_MM[:-1], BINS_MM[1:], strict=True)
    return {
        "points": len(model.points3D),
        "observations": model.compute_num_observations(),
        "turned_deg": float(torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))),
        "depth_over_true": [
            float(np.median(ratio[inside])) if (inside := (at >= low) & (at < high)).sum() >= FEWEST else None
            for low, high in bins
        ],
    }


def told(row: dict) -> str:
    """A model in one line."""
    shown = " ".join("     -" if value is None else f"{100 * value:+6.1f}" for value in row["depth_over_true"])
    return f"{row['clip']} {row['adjusted']:36s} {shown} %, turned {row['turned_deg']:.2f} deg, {row['points']} points"


if __name__ == "__main__":
    main()
