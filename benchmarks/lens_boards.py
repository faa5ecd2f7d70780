"""Calibration from rendered boards through ten lenses: focal length, and where rays at the rim land.

    python benchmarks/lens_boards.py --out DIR [--lenses fisheye_140 capsule] [--views 20]

Chessboards lie at the middle and at the rim of the picture. What is compared are pixels of the same rays in the true
and in the found camera, over the content and over the outermost tenth of its radius, after the one turn of the camera
that brings them closest: a turn of the camera is a turn of all boards, which no calibration can know.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from depthscope.calibration import Chessboard, calibrated, seen_boards
from depthscope.calibration.choice import share_with_rays
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion, RigidMotion
from depthscope.geometry.lens import pixel_grid
from depthscope.geometry.motion import rotate
from depthscope.video import write_image

SIZE = (640, 512)
BOARD = Chessboard((9, 7), 3.0)
FINE = 2
"""Rays along each side of a pixel; edges between them are smooth over what each ray stands for."""

MARGIN_SQUARES = 1.5
LEVELS, NOISE, BLUR_PX = (12.0, 215.0), 1.5, 0.6


@dataclass(frozen=True)
class Scope:
    """A camera and the radius of its disc; infinite where the picture fills the frame."""

    camera: Camera
    radius_px: float = math.inf

    @property
    def content(self) -> Tensor:
        """Pixels of the picture."""
        away = pixel_grid(self.camera.size_px[1], self.camera.size_px[0], torch.zeros(1).double())
        return (away - torch.tensor(self.middle)).norm(dim=-1) <= self.radius_px

    @property
    def middle(self) -> tuple[float, float]:
        """Of the disc."""
        return self.camera.size_px[0] / 2, self.camera.size_px[1] / 2

    def towards(self, around_rad: float, share: float) -> np.ndarray:
        """The unit ray at this share of the way from the middle to the border of the picture, in one direction."""
        ahead = np.array([math.cos(around_rad), math.sin(around_rad)])
        border = min(self.radius_px, *(np.array(self.middle) / np.maximum(np.abs(ahead), 1e-9)))
        pixel = torch.from_numpy(np.array(self.middle) + share * border * ahead)
        return self.camera.directions(pixel[None])[0].numpy()


def equidistant_like(field_deg: float, k: tuple[float, float, float, float], radius: float = 250.0) -> Scope:
    """A fisheye whose disc spans a field."""
    lens, half = KannalaBrandt(k), math.radians(field_deg / 2)
    focal = radius / float(lens.radius(torch.tensor(half, dtype=torch.float64)))
    return Scope(Camera(SIZE, (focal, 1.002 * focal), (322.3, 254.6), lens), radius)


def full(focal: float, lens: NoDistortion | Brown) -> Scope:
    """A picture that fills the frame."""
    return Scope(Camera(SIZE, (focal, 1.002 * focal), (322.3, 254.6), lens))


LENSES = {
    "pinhole": full(480.0, NoDistortion()),
    "brown_4": full(430.0, Brown((-0.28, 0.07, 0.001, -0.002))),
    "brown_5": full(400.0, Brown((-0.3, 0.11, -0.0015, 0.001, -0.02))),
    "brown_8": full(400.0, Brown((0.4, 0.1, 0.001, 0.0005, 0.01, 0.65, 0.12, 0.01))),
    "fisheye_100": equidistant_like(100, (-0.01, -0.002, 0.0, 0.0)),
    "fisheye_120": equidistant_like(120, (0.03, -0.012, 0.004, -0.001)),
    "fisheye_140": equidistant_like(140, (-0.03, 0.004, -0.001, 0.0)),
    "fisheye_160": equidistant_like(160, (-0.02, 0.001, 0.0, 0.0)),
    "fisheye_170": equidistant_like(170, (-0.05, 0.01, -0.002, 0.0)),
    "capsule": Scope(
        Camera((320, 320), (104.0, 104.2), (161.5, 157.8), KannalaBrandt((-0.03, 0.006, -0.001, 0.0))), 150.0
    ),
}


def main() -> None:
    """Films the board through each lens, calibrates, compares, and writes ``lens_boards.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lenses", nargs="*", choices=list(LENSES), default=list(LENSES))
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--pictures", type=Path, help="keep the pictures of the boards here")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = {}
    print("| lens | model found | views | focal off, % | held out, px | content, px | rim, px | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name in given.lenses:
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) if given.pictures is None else given.pictures / name
            place.mkdir(parents=True, exist_ok=True)
            rows[name] = row = measured(LENSES[name], given.views, place)
        print(
            f"| {name} | {row['model']} | {row['used']} of {row['found']} | {row['focal_error_percent']:.3f} | "
            f"{row['holdout_rms_px']:.3f} | {row['content_px']:.3f} | {row['rim_px']:.3f} | {row['cpu_seconds']:.0f} |",
            flush=True,
        )
    (given.out / "lens_boards.json").write_text(json.dumps(rows, indent=2) + "\n")


def measured(scope: Scope, count: int, place: Path) -> dict:
    """One lens."""
    for number, picture in enumerate(boards(scope, count)):
        write_image(place / f"v{number:02d}.png", picture)
    began = time.process_time()
    views = seen_boards(place, BOARD)
    found = calibrated(views, BOARD)
    true, camera = scope.camera, found.camera
    focal = 100 * (camera.pinhole.focal_px / true.pinhole.focal_px - 1)
    content, rim = errors(scope, camera)
    corners = torch.cat([sighting.pixels for sighting in found.sightings])
    reach = (corners - torch.tensor(scope.middle)).norm(dim=-1).max()
    return {
        "model": found.chosen.fit.model.name,
        "found": views.found,
        "used": len(found.sightings),
        "focal_error_percent": float(focal.abs().max()),
        "holdout_rms_px": found.chosen.holdout_rms_px,
        "content_px": content,
        "rim_px": rim,
        "farthest_corner": float(reach / min(scope.radius_px, min(true.size_px) / 2)),
        "share_of_pixels_with_rays": share_with_rays(camera),
        "refusal": found.refusal,
        "models": {c.fit.model.name: c.holdout_rms_px for c in found.tried},
        "cpu_seconds": time.process_time() - began,
    }


def errors(scope: Scope, found: Camera) -> tuple[float, float]:
    """Root of the mean squared distance of the pixels of the same rays, over the content and its outermost tenth."""
    pixels = pixel_grid(scope.camera.size_px[1], scope.camera.size_px[0], torch.zeros(1).double())[::4, ::4]
    content = scope.content[::4, ::4]
    pixels = pixels[content]
    rays, seen = scope.camera.directions(pixels), found.directions(pixels)
    both = rays.isfinite().all(-1) & seen.isfinite().all(-1)
    turn = nearest_turn(rays[both], seen[both])
    rays, pixels = rays[rays.isfinite().all(-1)], pixels[rays.isfinite().all(-1)]
    away = (found.project(rays @ turn.mT) - pixels).norm(dim=-1)
    away = away.nan_to_num(max(scope.camera.size_px))  # no pixel for a ray of the content is the largest error
    radius = (pixels - torch.tensor(scope.middle)).norm(dim=-1)
    rim = radius >= 0.9 * min(scope.radius_px, float(radius.max()))
    return float(away.square().mean().sqrt()), float(away[rim].square().mean().sqrt())


def nearest_turn(source: Tensor, target: Tensor) -> Tensor:
    """The rotation that brings unit vectors closest to others (Kabsch)."""
    u, _, vt = torch.linalg.svd(target.mT @ source)
    return u @ torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ vt))]).double()) @ vt


def boards(scope: Scope, count: int) -> Iterator[Tensor]:
    """Grey pictures of the board, turned to all sides, at the middle and toward the rim in turn."""
    draw = np.random.default_rng(5)
    columns, rows = BOARD.corners
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2) * BOARD.square_mm
    corners = torch.from_numpy(np.concatenate([grid, np.zeros((len(grid), 1))], 1))
    fine = fine_rays(scope.camera)
    content = scope.content.numpy()
    for number in range(count):
        share, around = (0.0, 0.35, 0.6, 0.8)[number % 4], 2.4 * number + draw.uniform(-0.3, 0.3)
        motion = posed(scope, corners, scope.towards(around, share), draw)
        yield torch.from_numpy(photographed(fine, motion, content, draw))


def posed(scope: Scope, corners: Tensor, towards: np.ndarray, draw: np.random.Generator) -> RigidMotion:
    """``camera_from_board`` of a board in this direction, as near as all its corners are in the picture."""
    axis = np.array([-towards[1], towards[0], 0.0]) / max(math.hypot(towards[0], towards[1]), 1e-9)
    facing = cv2.Rodrigues(axis * math.atan2(math.hypot(towards[0], towards[1]), towards[2]))[0]
    lean = np.append(draw.normal(0, 1, 2), 0)
    lean = cv2.Rodrigues(lean / np.linalg.norm(lean) * draw.uniform(0.3, 0.6))[0]
    roll = cv2.Rodrigues(np.array([0.0, 0.0, draw.uniform(-0.6, 0.6)]))[0]
    rotation, content = torch.from_numpy(facing @ lean @ roll), scope.content
    middle, limit = rotate(rotation, corners.mean(0)), torch.tensor(scope.camera.size_px)
    for distance in np.geomspace(8, 400, 160):
        motion = RigidMotion(rotation, torch.from_numpy(towards * distance) - middle)
        pixels = scope.camera.project(motion.apply(corners))
        inside = pixels.isfinite().all(-1) & ((pixels > 6) & (pixels < limit - 6)).all(-1)
        if bool(inside.all()):
            at = pixels.long()
            away = (pixels - torch.tensor(scope.middle)).norm(dim=-1)
            if bool(content[at[:, 1], at[:, 0]].all()) and float(away.max()) < scope.radius_px - 6:
                return motion
    raise ValueError("a lens that never shows all of the board")


def fine_rays(camera: Camera) -> np.ndarray:
    """Unit rays of a grid `FINE` times finer than the pixels."""
    size = (camera.size_px[0] * FINE, camera.size_px[1] * FINE)
    return camera.resized(size).rays.numpy()


def photographed(rays: np.ndarray, motion: RigidMotion, content: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A grey picture of the board under even light."""
    normal, at = motion.rotation[:, 2].numpy(), motion.translation.numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = (normal @ at) / (rays @ normal)
        place = ((rays * distance[..., None] - at) @ motion.rotation.numpy())[..., :2] / BOARD.square_mm
    columns, rows = BOARD.corners
    low, high = -1 - MARGIN_SQUARES, np.array([columns, rows]) + MARGIN_SQUARES
    on_paper = (distance > 0) & ((place > low) & (place < high)).all(-1)
    squares = ((place > -1) & (place < np.array([columns, rows]))).all(-1)
    ink = np.where(squares, (1 + wave(place[..., 0]) * wave(place[..., 1])) / 2, 0.0)
    value = np.where(on_paper, LEVELS[1] + (LEVELS[0] - LEVELS[1]) * ink, 45.0)
    height, width = content.shape
    picture = value.reshape(height, FINE, width, FINE).mean((1, 3))
    picture = cv2.GaussianBlur(picture, (0, 0), BLUR_PX)
    picture = np.where(content, picture, 3.0) + draw.normal(0, NOISE, picture.shape)
    return picture.round().clip(0, 255).astype(np.uint8)


def wave(place: np.ndarray) -> np.ndarray:
    """1 on even squares along an axis and -1 on odd ones, mean over the width of a ray at the edges."""
    from_edge = np.abs((place + 0.5) % 2 - 1) - 0.5  # negative on even squares
    down, along = np.gradient(place)
    return np.nan_to_num(np.clip(-2 * from_edge / np.maximum(np.abs(down) + np.abs(along), 1e-9), -1, 1))


if __name__ == "__main__":
    main()
