"""What single frames of each anatomy cost and show: CPU seconds, depth against the anatomy's field, a contact sheet.

    python benchmarks/stills.py --out DIR [--frames 12] [--patient 10001] [--size 288x240]

Seconds are the processor's, of one thread. The depth of pixels that show tissue is carried into the patient and
compared with the signed field that the anatomy is made of: what is off is the mesh's coarseness, since rays meet its
flat triangles exactly. Writes ``stills.json`` and ``stills.jpg``.
"""

import argparse
import json
import time
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import torch

from depthscope.geometry.depth import pixel_grid
from depthscope.simulation import stills as module
from depthscope.simulation.anatomy import Kind
from depthscope.simulation.anatomy.abdomen import Abdomen
from depthscope.simulation.anatomy.bronchus import BronchialTree
from depthscope.simulation.anatomy.colon import Colon
from depthscope.simulation.anatomy.field import with_gradient
from depthscope.simulation.anatomy.nasal import NasalCavity
from depthscope.simulation.patients.options import size_px
from depthscope.simulation.stills import Still, stills
from depthscope.simulation.viewpoints import Viewpoints

SHAPES = {"nasal": NasalCavity, "colon": Colon, "bronchus": BronchialTree, "abdomen": Abdomen}
"""The field of each anatomy."""


def measured(kind: Kind, seed: int, frames: int, size: tuple[int, int]) -> tuple[dict[str, float], list[Still]]:
    """Figures of one patient, and the frames."""
    module._prepared.cache_clear()
    poses, drawn = {}, Viewpoints.drawn
    start = time.process_time()
    module._prepared(kind, seed)
    patient_seconds = time.process_time() - start
    shown = []

    def kept(self, draw):
        poses[len(shown)] = drawn(self, draw)
        return poses[len(shown)]

    Viewpoints.drawn = kept
    start = time.process_time()
    for still in stills(kind, seed, 0, frames, size):
        shown.append(still)
    seconds = (time.process_time() - start) / frames
    Viewpoints.drawn = drawn
    shape = SHAPES[kind].drawn(seed, 0.0)
    off, relative = [], []
    for number, still in enumerate(shown):
        height, width = still.depth.shape
        rays = still.camera.unproject(pixel_grid(height, width, torch.empty(0, dtype=torch.float64)))
        seen = torch.from_numpy((still.depth > 0) & ~still.foreign)
        z = torch.from_numpy(still.depth)[seen].double()[::97, None]
        value, gradient = with_gradient(shape, poses[number].inverse().apply(z * rays[seen][::97]))
        off.append((value / gradient.norm(dim=-1).clamp_min(0.1)).abs())
        relative.append(off[-1] / z[:, 0])
    error = torch.cat(off)
    depths = np.concatenate([still.depth[still.depth > 0][::97] for still in shown])
    return {
        "patient_seconds": patient_seconds,
        "seconds_per_frame": seconds,
        "seconds_per_frame_of_48": seconds + patient_seconds / 48,
        "off_the_field_mm_median": float(error.median()),
        "off_the_field_mm_99": float(error.quantile(0.99)),
        "off_over_depth_99": float(torch.cat(relative).quantile(0.99)),
        "depth_mm_5": float(np.quantile(depths, 0.05)),
        "depth_mm_median": float(np.median(depths)),
        "depth_mm_95": float(np.quantile(depths, 0.95)),
        "foreign_share": float(np.mean([still.foreign.any() for still in shown])),
        "frames": float(len(shown)),
    }, shown


def sheet(rows: list[list[Still]], columns: int) -> np.ndarray:
    """Frames over their depth, near red and far blue, a row for each anatomy; tools are white."""
    tiles = []
    for shown in rows:
        pairs = []
        for still in shown[:columns]:
            known = still.depth > 0
            low, high = np.log(np.quantile(still.depth[known], (0.02, 0.98)))
            share = np.clip((np.log(np.maximum(still.depth, 1e-6)) - low) / max(high - low, 1e-6), 0, 1)
            depth = cv2.applyColorMap((255 * (1 - share)).astype(np.uint8), cv2.COLORMAP_TURBO) * known[..., None]
            depth[still.foreign] = 255
            pairs.append(np.concatenate([still.image[..., ::-1], depth]))
        tiles.append(np.concatenate(pairs, 1))
    return np.concatenate(tiles)


def main() -> None:
    """Measures all anatomies and writes figures and sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--patient", type=int, default=10001)
    parser.add_argument("--size", default="288x240")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    figures, rows = {}, []
    print("| anatomy | patient, s | frame, s | of 48, s | off the field, median; 99 % | depth, 5, 50, 95 % |")
    for kind in get_args(Kind):
        found, shown = measured(kind, options.patient, options.frames, size_px(options.size))
        figures[kind] = found
        rows.append(shown)
        print(
            f"| {kind} | {found['patient_seconds']:.1f} | {found['seconds_per_frame']:.2f} "
            f"| {found['seconds_per_frame_of_48']:.2f} "
            f"| {found['off_the_field_mm_median']:.4f}; {found['off_the_field_mm_99']:.3f} mm "
            f"| {found['depth_mm_5']:.0f}, {found['depth_mm_median']:.0f}, {found['depth_mm_95']:.0f} mm |",
            flush=True,
        )
    (options.out / "stills.json").write_text(json.dumps(figures, indent=1) + "\n")
    cv2.imwrite(str(options.out / "stills.jpg"), sheet(rows, 8), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
