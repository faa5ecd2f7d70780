"""Is the phantom credible? Its light measured from outside, and its clips beside real ones.

    python benchmarks/credibility.py --clips DIR/patient_*/clip_* [--real shared/data] --out DIR

The photometric calibration sees only pictures of a board, where the board was, and its lens: it looks for the lamp's
place and spread, gamma, and a gain for each picture. Writes ``credibility.json`` and prints the tables.
"""

import argparse
import json
import platform
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.optimize import least_squares

from depthscope.formats import depth_maps
from depthscope.geometry import RigidMotion
from depthscope.simulation.clip_files import BOARD, board_frame, board_views
from depthscope.simulation.light import Lamp, Lighting, colonoscope_effective
from depthscope.simulation.presets import Scope, subject
from depthscope.simulation.sensor import Disc
from depthscope.video import read_image, read_video

HEIGHT = 256
"""Real frames are brought to the height of the phantom's before anything is counted on them."""


@dataclass(frozen=True)
class PhotometricCalibration:
    """What a photometric calibration found: one lamp that faces forward.

    Attributes:
        position_mm: Of the lamp, in camera axes.
        spread: mu.
        gamma: Of the display.
        rms: Of the residuals, in picture values of 0..1.
    """

    position_mm: tuple[float, float, float]
    spread: float
    gamma: float
    rms: float


def photometric_calibration(
    points: list[np.ndarray], normals: list[np.ndarray], values: list[np.ndarray]
) -> PhotometricCalibration:
    """Least squares of lamp and gamma on the brightness of white paper, up to a gain for each picture.

    Args:
        points: Of each picture, points of the paper in camera axes in mm, each of shape (n, 3).
        normals: The paper's unit normal towards the camera in each picture, shape (3,).
        values: Picture values of the points, 0..1, each of shape (n,).
    """
    number = np.concatenate([np.full(len(v), i) for i, v in enumerate(values)])
    p, n, v = np.concatenate(points), np.stack(normals)[number], np.concatenate(values)

    def residuals(x: np.ndarray) -> np.ndarray:
        way = p - x[:3]
        distance = np.linalg.norm(way, axis=1)
        cosine = -(n * way).sum(1) / distance
        light = -x[3] * (1 - way[:, 2] / distance) - 2 * np.log(distance) + np.log(np.clip(cosine, 1e-3, None))
        error = np.log(v) - light / x[4]
        # The gain of each picture is what is left over in the mean; a share of v is what v is off by.
        error -= (np.bincount(number, v * v * error) / np.bincount(number, v * v))[number]
        return v * error

    # Place along the axis and spread are told apart by little: several starts, and the best end.
    starts = [np.array([0.0, 0.0, z, spread, 2.0]) for z, spread in ((0.0, 1.0), (-4.0, 3.0), (2.0, 0.5))]
    ends = [least_squares(residuals, start, loss="huber", f_scale=0.01, max_nfev=300) for start in starts]
    found = min(ends, key=lambda end: end.cost)
    x = found.x
    rms = float(np.sqrt(np.mean(residuals(x) ** 2)))
    return PhotometricCalibration((float(x[0]), float(x[1]), float(x[2])), float(x[3]), float(x[4]), rms)


def white_paper(
    picture: np.ndarray, scope: Scope, camera_from_board: RigidMotion, draw: np.random.Generator, count: int = 900
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
    disc = Disc(size_px, scope.camera.centre_px, 0.48 * min(size_px))
    scope = replace(scope, lighting=lighting, sensor=sensor, disc=disc)
    draw = np.random.default_rng(0)
    boards = board_views(scope, views, (seed,))
    # The same tilts, from near to far: distance is what tells the lamp's place from its spread.
    factors = torch.from_numpy(np.geomspace(0.55, 1.6, views))[:, None]
    boards = RigidMotion(boards.rotation, boards.translation * factors)
    samples = []
    for i in range(views):
        picture, _ = board_frame(scope, boards[i], (seed, 0, i))
        found = white_paper(picture.numpy(), scope, boards[i], draw)
        if len(found[2]) > 50:
            samples.append(found)
    points, normals, values = (list(column) for column in zip(*samples, strict=True))
    found = photometric_calibration(points, normals, values)
    lamp = lighting.lamps[0]
    return {
        "pictures": len(samples),
        "true": {"position_mm": lamp.position_mm, "spread": lamp.spread, "gamma": lighting.gamma},
        "found": {"position_mm": found.position_mm, "spread": found.spread, "gamma": found.gamma},
        "position_error_mm": float(np.linalg.norm(np.array(found.position_mm) - np.array(lamp.position_mm))),
        "position_error_share": float(
            np.linalg.norm(np.array(found.position_mm) - np.array(lamp.position_mm)) / np.linalg.norm(lamp.position_mm)
        ),
        "spread_error_share": abs(found.spread / lamp.spread - 1),
        "gamma_error_share": abs(found.gamma / lighting.gamma - 1),
        "rms": found.rms,
    }


def falloff(clip: Path) -> float:
    """Slope of log linear brightness on log depth over tissue that is neither shadow, glint nor saturated.

    Each frame has a gain of its own, so the slope is taken within frames; true normals divide the cosine out.
    """
    import yaml

    told = yaml.safe_load((clip.parent / "patient.yaml").read_text())
    drawn = subject(told["seed"], told["anatomy"], told["preset"], told["variety"], size_of(clip))
    knee, gamma = drawn.scope.sensor.knee, drawn.scope.lighting.gamma
    x_sum = xy_sum = 0.0
    for path in sorted((clip / "images").glob("*.png"))[::4]:
        value = read_image(path).numpy().astype(np.float64) / 255
        depth = depth_maps.read(clip / "depth" / f"{path.stem}.tiff").numpy()
        normals = cv2.imread(str(clip / "normals" / path.name), cv2.IMREAD_UNCHANGED)[..., ::-1] / 65535 * 2 - 1
        masks = [cv2.imread(str(clip / "masks" / m / path.name), 0) > 0 for m in ("highlight", "shadow")]
        linear = value[..., 1] ** gamma
        if knee:
            linear = -np.log1p(np.clip(linear, 0, 0.999) * np.expm1(-knee * 1.6)) / knee
        cosine = -normals[..., 2]
        grown = cv2.dilate((masks[0] | masks[1]).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        good = (depth > 0) & ~grown & (cosine > 0.3) & (value[..., 1] < 0.9) & (value[..., 1] > 0.06)
        good &= cv2.erode((depth > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        if good.sum() < 500:
            continue
        x, y = np.log(depth[good]), np.log(linear[good] / cosine[good])
        x, y = x - x.mean(), y - y.mean()
        x_sum, xy_sum = x_sum + float((x * x).sum()), xy_sum + float((x * y).sum())
    return xy_sum / x_sum


def size_of(clip: Path) -> tuple[int, int]:
    """(width, height) of a clip's frames."""
    height, width, _ = read_image(next((clip / "images").glob("*.png"))).shape
    return width, height


def counted(frames: list[np.ndarray], content: np.ndarray) -> dict[str, float]:
    """What a feature detector and tracker make of some frames, RGB of one size."""
    sift, found, saturated, contrast = cv2.SIFT_create(), [], [], []
    inner = cv2.erode(content.astype(np.uint8), np.ones((9, 9), np.uint8))
    area = inner.sum() / 1e4
    for picture in frames:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        found.append(len(sift.detect(grey, inner)) / area)
        saturated.append(float((picture.min(-1)[content] >= 250).mean()))
        contrast.append(float(cv2.Laplacian(grey, cv2.CV_32F)[inner > 0].std()))
    return {
        "sift_per_10k_px": float(np.mean(found)),
        "saturated_share": float(np.mean(saturated)),
        "laplacian_sd": float(np.mean(contrast)),
        "klt_track_frames": track_length(frames, inner),
    }


def track_length(frames: list[np.ndarray], inner: np.ndarray) -> float:
    """Median number of frames over which KLT follows a corner and finds its way back to within half a pixel."""
    greys = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames]
    corners = cv2.goodFeaturesToTrack(greys[0], 300, 0.01, 5, mask=inner)
    if corners is None:
        return 0.0
    alive, lengths = corners, np.ones(len(corners))
    index = np.arange(len(corners))
    for before, after in zip(greys[:-1], greys[1:], strict=True):
        if not len(index):
            break
        there, ok, _ = cv2.calcOpticalFlowPyrLK(before, after, alive, None, winSize=(15, 15))
        back, ok2, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, winSize=(15, 15))
        good = (ok[:, 0] > 0) & (ok2[:, 0] > 0) & (np.linalg.norm((back - alive)[:, 0], axis=1) < 0.5)
        index, alive = index[good], there[good]
        lengths[index] += 1
    return float(np.median(lengths))


def phantom_frames(clip: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames of a clip, and where they show tissue."""
    frames = [read_image(p).numpy() for p in sorted((clip / "images").glob("*.png"))[:24]]
    return frames, cv2.imread(str(clip / "mask.png"), 0) > 127


def real_clips(data: Path) -> dict[str, tuple[list[np.ndarray], np.ndarray]]:
    """The real clips of the data folder at the phantom's height, and where they show tissue."""
    found = {}
    sinus = sorted(data.glob("sinus/*/*/*.jpg"))[:24]
    if sinus:
        found["sinus"] = [read_image(p).numpy() for p in sinus]
    endo = data / "laparoscopy" / "endo.mp4"
    if endo.is_file():
        found["laparoscopy"] = [f.numpy() for f, _ in zip(read_video(endo), range(24), strict=False)]
    clips = {}
    for name, frames in found.items():
        brightest = np.max([f.max(-1) for f in frames[::4]], 0)
        disc = cv2.morphologyEx((brightest > 30).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
        rows = np.flatnonzero(disc.any(1))
        # The disc is made as high as the phantom's, so that a pixel covers the same share of the view.
        k = 0.96 * HEIGHT / (rows[-1] - rows[0] + 1)
        size = (round(frames[0].shape[1] * k), round(frames[0].shape[0] * k))
        small = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames]
        clips[name] = (small, cv2.resize(disc, size, interpolation=cv2.INTER_NEAREST) > 0)
    return clips


def main() -> None:
    """Reads the arguments, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="*", default=[])
    parser.add_argument("--real", type=Path)
    parser.add_argument("--size", default="480x384", help="size of the calibration pictures")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    width, height = map(int, given.size.split("x"))
    one = Lighting((Lamp((1.3, -0.6, 0.0), spread=1.6),), gamma=2.2)
    record: dict = {
        "machine": f"{platform.machine()}, 1 thread, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "calibration": {},
        "falloff": {},
        "clips": {},
    }
    for name, lighting in {
        "beside the lens": one,
        "colonoscope_effective": replace(colonoscope_effective(), ambient=0.0),
    }.items():
        for noise in (False, True):
            row = recovered(lighting, noise, (width, height))
            record["calibration"][f"{name}, {'typical noise and blur' if noise else 'no noise'}"] = row
            print(
                f"{name:24s} noise {noise!s:5s} mu {row['found']['spread']:.3f} ({row['spread_error_share']:.1%})  at "
                f"{row['position_error_mm']:.3f} mm ({row['position_error_share']:.1%})  gamma "
                f"{row['found']['gamma']:.3f} ({row['gamma_error_share']:.1%})",
                flush=True,
            )
    for clip in given.clips:
        name = f"{clip.parent.parent.name}/{clip.parent.name}/{clip.name}"
        record["falloff"][name] = falloff(clip)
        record["clips"][name] = counted(*phantom_frames(clip))
    if given.real:
        record["clips"].update({f"real {k}": counted(*v) for k, v in real_clips(given.real).items()})
    for name, slope in record["falloff"].items():
        print(f"{name:44s} slope of log light on log depth {slope:.2f}")
    for name, row in record["clips"].items():
        print(f"{name:44s} " + "  ".join(f"{k} {v:.4g}" for k, v in row.items()))
    (given.out / "credibility.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
