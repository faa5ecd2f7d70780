"""Light measured from outside: a photometric calibration on boards, and the fall of brightness with distance."""

from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from scipy.optimize import least_squares

from depthscope.formats import depth_maps
from depthscope.geometry import RigidMotion
from depthscope.geometry.depth import pixel_grid
from depthscope.simulation.clip_files import BOARD, board_frame, board_views
from depthscope.simulation.light import Lighting, irradiance
from depthscope.simulation.presets import Scope, subject
from depthscope.simulation.sensor import ScopeDisc, vignette
from depthscope.video import read_image

REACH = 0.1, 1.6
"""Nearest and farthest picture of the board, over the distance that it is filmed from for geometry: from there three
lamps around a lens are one."""


@dataclass(frozen=True, eq=False)
class PhotometricCalibration:
    """What a photometric calibration found: lamps of one kind, facing one way, at one height beside the lens.

    Attributes:
        places_mm: Of the lamps, in camera axes, shape (lamps, 3).
        axis: Unit direction that they face.
        spread: mu.
        gamma: Of the display.
        rms: Of the residuals, in picture values of 0..1.
    """

    places_mm: np.ndarray
    axis: np.ndarray
    spread: float
    gamma: float
    rms: float

    @classmethod
    def of(cls, x: np.ndarray, rms: float = 0.0) -> "PhotometricCalibration":
        """From the numbers that are fitted: mu, gamma, the axis's x and y, height, and x and y of each lamp."""
        axis = np.array([x[2], x[3], 1.0])
        across = x[5:].reshape(-1, 2)
        places = np.concatenate([across, np.full((len(across), 1), x[4])], 1)
        return cls(places, axis / np.linalg.norm(axis), float(x[0]), float(x[1]), rms)

    def light(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """What arrives at points of a surface, up to a gain."""
        total = np.zeros(len(points))
        for place in self.places_mm:
            way = points - place
            distance = np.linalg.norm(way, axis=1)
            cosine = np.clip(-(normals * way).sum(1) / distance, 1e-3, None)
            total += np.exp(-self.spread * (1 - way @ self.axis / distance)) * cosine / distance**2
        return total


def photometric_calibration(
    points: list[np.ndarray], normals: list[np.ndarray], values: list[np.ndarray], lamps: int
) -> PhotometricCalibration:
    """Least squares of lamps and gamma on the brightness of white paper, up to a gain for each picture.

    Args:
        points: Of each picture, points of the paper in camera axes in mm, each of shape (n, 3).
        normals: The paper's unit normal towards the camera in each picture, shape (3,).
        values: Picture values of the points, 0..1, each of shape (n,).
        lamps: How many the scope has.
    """
    number = np.concatenate([np.full(len(v), i) for i, v in enumerate(values)])
    p, n, v = np.concatenate(points), np.stack(normals)[number], np.concatenate(values)

    def residuals(x: np.ndarray) -> np.ndarray:
        error = np.log(v) - np.log(PhotometricCalibration.of(x).light(p, n)) / x[1]
        # The gain of each picture is what is left over in the mean; a share of v is what v is off by.
        error -= (np.bincount(number, v * v * error) / np.bincount(number, v * v))[number]
        return v * error

    # Place along the axis and spread are told apart by little: several starts, and the best end.
    ends = []
    for height, spread in ((0.0, 1.0), (-4.0, 3.0)):
        angles = 2 * np.pi * np.arange(lamps) / lamps + 0.3
        ring = (0.0 if lamps == 1 else 2.0) * np.stack([np.cos(angles), np.sin(angles)], 1)
        start = np.array([spread, 2.0, 0.0, 0.0, height, *ring.ravel()])
        ends.append(least_squares(residuals, start, loss="huber", f_scale=0.01, max_nfev=200))
    x = min(ends, key=lambda end: end.cost).x
    return PhotometricCalibration.of(x, float(np.sqrt(np.mean(residuals(x) ** 2))))


def white_paper(
    picture: np.ndarray, scope: Scope, camera_from_board: RigidMotion, draw: np.random.Generator, count: int = 3000
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points on the middles of white squares and of the border, the normal, and the mean brightness around them."""
    (x0, y0), (x1, y1) = BOARD.extent_mm
    places = np.stack([draw.uniform(x0 + 1, x1 - 1, 40 * count), draw.uniform(y0 + 1, y1 - 1, 40 * count)], 1)
    square = BOARD.square_mm
    cell, within = np.floor(places / square), (places / square) % 1
    columns, rows = BOARD.corners
    outside = (cell < -1).any(1) | (cell[:, 0] >= columns) | (cell[:, 1] >= rows)
    middle = (np.abs(within - 0.5) < 0.15).all(1)
    margin = ((places > np.array([x0, y0]) + 1) & (places < np.array([x1, y1]) - 1)).all(1)
    deep = (places < -square - 1.2).any(1) | (places > np.array([columns, rows]) * square + 1.2).any(1)
    white = (middle & ((cell.sum(1) % 2) != 0) & ~outside) | (outside & margin & deep)
    board = torch.from_numpy(np.concatenate([places[white], np.zeros((int(white.sum()), 1))], 1))
    seen = camera_from_board.apply(board)
    pixels = scope.camera.project(seen).numpy()
    inside = np.linalg.norm(pixels - np.array(scope.disc.centre_px), axis=1) < scope.disc.radius_px - 6
    grey = cv2.GaussianBlur(picture[..., 1].astype(np.float32) / 255, (0, 0), 0.7)
    x, y = np.where(inside[:, None], pixels - 0.5, 0).astype(np.float32).T
    values = cv2.remap(grey, x[:, None], y[:, None], cv2.INTER_LINEAR)[:, 0]
    normal = camera_from_board.rotation.numpy() @ np.array([0, 0, -1.0])
    kept = np.flatnonzero(inside & (values > 0.08) & (values < 0.97))
    kept = draw.permutation(kept)[:count]
    return seen.numpy()[kept], normal, values[kept]


def recovered(lighting: Lighting, noise: bool, size_px: tuple[int, int], views: int = 24, seed: int = 5) -> dict:
    """Renders boards under a light and calibrates it from the pictures."""
    scope = subject(seed, "nasal", "typical", 0.5, size_px).scope
    sensor = replace(
        scope.sensor, knee=0.0, sharpening=0.0, vignetting=0.0, bloom=0.0, veil=0.0, balance=(1.0, 1.0, 1.0)
    )
    if not noise:
        sensor = replace(sensor, shot=0.0, read=0.0, pattern=0.0, defocus_px=0.0, soft_px=0.0)
    disc = ScopeDisc(size_px, scope.camera.centre_px, 0.48 * min(size_px))
    scope = replace(scope, lighting=lighting, sensor=sensor, disc=disc)
    draw = np.random.default_rng(0)
    boards = board_views(scope, views, (seed,))
    # The same tilts, from near to far: distance tells the lamp's place from its spread, and nearness the lamps apart.
    factors = torch.from_numpy(np.geomspace(*REACH, views))[:, None]
    boards = RigidMotion(boards.rotation, boards.translation * factors)
    samples = []
    for i in range(views):
        shown, _ = board_frame(scope, boards[i], (seed, 0, i))
        found = white_paper(shown.numpy(), scope, boards[i], draw)
        if len(found[2]) > 50:
            samples.append(found)
    points, normals, values = (list(column) for column in zip(*samples, strict=True))
    lamps = lighting.lamps
    found = photometric_calibration(points, normals, values, len(lamps))
    places = np.array([lamp.position_mm for lamp in lamps])
    orders = [list(order) for order in permutations(range(len(lamps)))]
    off = min(float(np.linalg.norm(found.places_mm[order] - places, axis=1).mean()) for order in orders)
    beside = float(np.linalg.norm(places, axis=1).mean())
    spread = lamps[0].spread
    return {
        "pictures": len(samples),
        "true": {"places_mm": places.tolist(), "spread": spread, "gamma": lighting.gamma},
        "found": {"places_mm": found.places_mm.tolist(), "spread": found.spread, "gamma": found.gamma},
        "place_error_mm": off,
        # A lamp in the lens has no offset to take a share of, nor a spread of its own: errors then are of 1 mm and 1.
        "place_error_share": off / (beside or 1.0),
        # Lamps closer together than their distance to the paper by far are one to it: their middle is what is seen.
        "middle_error_share": float(np.linalg.norm(found.places_mm.mean(0) - places.mean(0))) / (beside or 1.0),
        "spread_error_share": abs(found.spread - spread) / (spread or 1.0),
        "gamma_error_share": abs(found.gamma / lighting.gamma - 1),
        "rms": found.rms,
    }


@dataclass(frozen=True)
class Falloff:
    """How brightness falls with distance in one clip.

    Attributes:
        slope: Of log linear brightness on log distance to the lamps, cosine and lamp direction divided out.
        slope_error: Its standard error from frame to frame.
        distances_mm: Quantiles 0.05 and 0.95 of the distance.
        share: Of the tissue that was looked at.
    """

    slope: float
    slope_error: float
    distances_mm: tuple[float, float]
    share: float


def falloff(clip: Path, every: int = 4) -> Falloff:
    """Fall of light over a clip's matte tissue, from its finished pictures and its truth.

    Each frame has a gain of its own, so the slope is taken within frames. Tone curve and vignetting are undone. Pixels
    are chosen by the brightness that geometry predicts, never by their own: leaving out what is dark would leave the
    brighter half of what is far, and flatten the slope. It is red light that is looked at: blood takes of the green, so
    its slope tells of the blood on the way into the lumen (-1.4 to -2.8 on the same clips) as much as of the lamp.
    """
    told = yaml.safe_load((clip.parent / "patient.yaml").read_text("utf-8"))
    pictures = sorted((clip / "images").glob("*.png"))[::every]
    height, width, _ = read_image(pictures[0]).shape
    scope = subject(told["seed"], told["anatomy"], told["preset"], told["variety"], (width, height)).scope
    moments, slopes, spans, shares = [], [], [], []
    for path in pictures:
        distance, matte, seen = matte_light(clip, path, scope)
        shares.append(len(distance) / seen)
        if len(distance) < 500:
            continue
        x, y = np.log(distance), np.log(matte)
        x, y = x - x.mean(), y - y.mean()
        moments.append((float((x * x).sum()), float((x * y).sum())))
        slopes.append(moments[-1][1] / moments[-1][0])
        spans.append(np.quantile(distance, [0.05, 0.95]))
    if not moments:
        return Falloff(float("nan"), float("nan"), (0.0, 0.0), 0.0)
    squares, products = np.array(moments).T
    error = float(np.std(slopes) / np.sqrt(len(slopes)))
    near, far = np.mean(spans, 0)
    return Falloff(float(products.sum() / squares.sum()), error, (float(near), float(far)), float(np.mean(shares)))


def matte_light(clip: Path, path: Path, scope: Scope) -> tuple[np.ndarray, np.ndarray, int]:
    """Distances to the lamps, light freed from cosine and lamp direction, and how many pixels show tissue."""
    value = read_image(path).double().numpy() / 255
    depth = depth_maps.read(clip / "depth" / f"{path.stem}.tiff").double()
    packed = cv2.imread(str(clip / "normals" / path.name), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(np.float64)
    normals = torch.nn.functional.normalize(torch.from_numpy(packed / 65535 * 2 - 1), dim=-1)
    known = (depth > 0).numpy()
    rays = scope.camera.unproject(pixel_grid(*depth.shape, torch.zeros((), dtype=torch.float64)))
    points = (depth[..., None] * rays).nan_to_num()
    lamps = scope.lighting.lamps
    arrives = sum(irradiance(lamp, points, normals) for lamp in lamps).numpy()
    middle = np.average([lamp.position_mm for lamp in lamps], axis=0, weights=[lamp.strength for lamp in lamps])
    distance = (points - torch.from_numpy(middle)).norm(dim=-1).numpy()
    cosine = -(normals * (points - torch.from_numpy(middle))).sum(-1).numpy() / np.maximum(distance, 1e-6)

    linear = undone(value[..., 0], scope) / vignette(scope.camera, scope.sensor.vignetting, scope.disc)
    spoilt = np.zeros(known.shape, np.uint8)
    for name in ("highlight", "shadow"):
        spoilt |= cv2.imread(str(clip / "masks" / name / path.name), cv2.IMREAD_GRAYSCALE) > 0
    spoilt |= value.max(-1) > 0.97
    good = cv2.dilate(spoilt, np.ones((7, 7), np.uint8)) == 0
    good &= (cv2.erode(known.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0) & (cosine > 0.3)
    if good.sum() < 100:
        return np.zeros(0), np.zeros(0), int(known.sum())
    gain = np.median(linear[good] / arrives[good])
    foretold = gain * arrives
    good &= (foretold < undone(np.array(0.85), scope)) & (foretold > undone(np.array(0.12), scope))
    return distance[good], np.maximum(linear[good], 1e-5) / (arrives[good] * distance[good] ** 2), int(known.sum())


def undone(value: np.ndarray, scope: Scope) -> np.ndarray:
    """Linear light of a picture value: gamma and the tone curve's shoulder taken back."""
    linear, knee = value**scope.lighting.gamma, scope.sensor.knee
    return -np.log1p(np.clip(linear, 0, 0.9999) * np.expm1(-knee * 1.6)) / knee if knee else linear
