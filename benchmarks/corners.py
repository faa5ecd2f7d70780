"""Corners of published board images beside their reference files, and who is right where the two differ by one shift.

    python benchmarks/corners.py --data DIR --board 14x10 --square-mm 3 --out DIR

`DIR` holds images, each with ``<image>.points.txt`` (x y of each corner, first pixel at 0). Two judges know neither
side: the place about which the surroundings are most alike after half a turn, and OpenCV's cornerSubPix, which looks at
gradients. And the edges themselves: where dark turns to bright and bright to dark, half-way up, and how steeply. And
the camera: both sides' corners calibrate it alike, and are judged on views that the fit has not seen. Writes
``corners.json`` and ``corners.md``, and prints the table.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.optimize import minimize

from depthscope.calibration import Board, Sighting, Views, board_of, calibrated, seen_boards
from depthscope.video import read_grey

HALF_PX = 0.5
"""Ours minus the files' pixel coordinates."""

FINER, REACH = 8, 6
EVERY = 3
"""The judges look at each third corner."""

SIMPLEX = [[0.0, 0.0], [0.15, 0.0], [0.0, 0.15]]


def main() -> None:
    """Reads the arguments, finds the corners, judges, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--board", default="14x10")
    parser.add_argument("--square-mm", type=float, default=3.0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    board = board_of(given.board, given.square_mm)
    views = seen_boards(given.data, board)
    files = [as_in_files(sighting, given.data) for sighting in views.sightings]
    gradients = seen_boards(given.data, board, corners="gradients")
    by_gradients = [(one.pixels - as_in_files(one, given.data).pixels).numpy() for one in gradients.sightings]
    every, judged, edges = [], [], {"x rising": [], "x falling": [], "y rising": [], "y falling": []}
    for mine, file in zip(views.sightings, files, strict=True):
        grey = read_grey(given.data / f"{mine.name}.png").numpy().astype(np.float32)
        ours, theirs = mine.pixels.numpy() - HALF_PX, file.pixels.numpy() - HALF_PX
        every.append(ours - theirs)
        judged.append(judges(grey, ours[::EVERY], theirs[::EVERY]))
        for name, rows in edge_places(grey, ours).items():
            edges[name] += rows
    away, (symmetric, gradient, ours, theirs) = np.concatenate(every), np.concatenate(judged, 1)
    middle = np.median(away, 0)
    record = {
        "corners": len(away),
        "ours from files, median px": length(away),
        "shift of all, px": middle.round(3).tolist(),
        "ours from files without that shift, median px": length(away - middle),
        "symmetry from ours, px": np.median(symmetric - ours, 0).round(3).tolist(),
        "symmetry from files, px": np.median(symmetric - theirs, 0).round(3).tolist(),
        "cornerSubPix from ours, px": np.median(gradient - ours, 0).round(3).tolist(),
        "cornerSubPix from files, px": np.median(gradient - theirs, 0).round(3).tolist(),
        **{
            f"{name} edges: px from our corner, steepness": np.median(rows, 0).round(3).tolist()
            for name, rows in edges.items()
        },
        "--corners gradients from files, median px": length(np.concatenate(by_gradients)),
        "held-out RMS of a camera from ours, px": held_out(views, board),
        "held-out RMS of a camera by --corners gradients, px": held_out(gradients, board),
        "held-out RMS of a camera from the files, px": held_out(
            dataclasses.replace(views, sightings=tuple(files)), board
        ),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "corners.json").write_text(json.dumps(record, indent=2) + "\n")
    table = "| corners beside the reference files | |\n|---|---|\n"
    table += "".join(f"| {name} | {value} |\n" for name, value in record.items())
    (given.out / "corners.md").write_text(table)
    print(table)


def as_in_files(sighting: Sighting, data: Path) -> Sighting:
    """The sighting with the file's corners in the place of ours."""
    there = np.loadtxt(data / f"{sighting.name}.png.points.txt") + HALF_PX
    nearest = np.linalg.norm(sighting.pixels.numpy()[:, None] - there[None], axis=-1).argmin(1)
    return dataclasses.replace(sighting, pixels=torch.from_numpy(there[nearest]))


def held_out(views: Views, board: Board) -> dict[str, float]:
    """Error on views that the fit has not seen: with the board as printed, and as chosen (its misprint fitted too)."""
    found = calibrated(views, board)
    printed = min(one.holdout_rms_px for one in found.tried if one.misprint is None)
    return {"as printed": round(printed, 3), "chosen": round(found.chosen.holdout_rms_px, 3)}


def length(away: np.ndarray) -> float:
    """Median length."""
    return round(float(np.median(np.linalg.norm(away, axis=1))), 3)


def judges(grey: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Corners by symmetry, by gradients, ours and theirs, shape (4, corners, 2); both begin in the middle."""
    smooth = cv2.GaussianBlur(grey, (0, 0), 0.8)
    fine = cv2.resize(smooth, None, fx=FINER, fy=FINER, interpolation=cv2.INTER_CUBIC)
    around = np.stack(np.meshgrid(np.arange(-REACH, REACH + 1), np.arange(-REACH, REACH + 1)), -1).reshape(-1, 2)
    around = around[np.hypot(*around.T) <= REACH]

    def at(places: np.ndarray) -> np.ndarray:
        x, y = (places * FINER + (FINER - 1) / 2).astype(np.float32).T
        return cv2.remap(fine, x[None], y[None], cv2.INTER_LINEAR)[0]

    def unlike(away: np.ndarray, corner: np.ndarray) -> float:
        return float(((at(corner + away + around) - at(corner + away - around)) ** 2).sum())

    symmetric, steps = [], np.arange(-1, 1.01, 0.25)
    options = {"xatol": 0.005, "fatol": 1e-3, "maxiter": 80, "initial_simplex": SIMPLEX}
    for start in (ours + theirs) / 2:
        costs = {(x, y): unlike(np.array([x, y]), start) for x in steps for y in steps}
        near = start + min(costs, key=costs.__getitem__)
        symmetric.append(near + minimize(unlike, [0, 0], (near,), method="Nelder-Mead", options=options).x)
    first = ((ours + theirs) / 2).astype(np.float32)[:, None].copy()
    gradient = cv2.cornerSubPix(smooth.astype(np.uint8), first, (REACH, REACH), (-1, -1), (3, 50, 0.001))[:, 0]
    return np.stack([np.array(symmetric), gradient, ours, theirs])


def edge_places(grey: np.ndarray, corners: np.ndarray) -> dict[str, list[tuple[float, float]]]:
    """Where edges nine pixels to both sides of the corners are half-way up, and their slope over their height."""
    found: dict[str, list[tuple[float, float]]] = {}
    along = np.arange(-12, 12.01, 0.25)
    for axis, picture, places in (("x", grey, corners), ("y", grey.T.copy(), corners[:, ::-1])):
        for corner in places:
            for aside in (-9, 9):
                x = (corner[0] + along)[None].astype(np.float32)
                lines = [np.full_like(x, corner[1] + aside + line) for line in (-1, 0, 1)]
                level = np.mean([cv2.remap(picture, x, y, cv2.INTER_LINEAR)[0] for y in lines], 0)
                slope = np.gradient(level, along)
                peak = int(np.abs(slope[16:-16]).argmax()) + 16
                before, after = np.median(level[max(0, peak - 28) : peak - 12]), np.median(level[peak + 12 : peak + 28])
                if abs(after - before) < 40:
                    continue
                near = slice(max(0, peak - 14), peak + 15)
                over = level[near] - (before + after) / 2
                crossings = np.flatnonzero(np.diff(np.sign(over)))
                if len(crossings):
                    k = crossings[np.abs(along[near][crossings] - along[peak]).argmin()]
                    place = along[near][k] - over[k] / (over[k + 1] - over[k]) * 0.25
                    kind = "rising" if after > before else "falling"
                    row = (float(place), float(abs(slope[peak]) / abs(after - before)))
                    found.setdefault(f"{axis} {kind}", []).append(row)
    return found


if __name__ == "__main__":
    main()
