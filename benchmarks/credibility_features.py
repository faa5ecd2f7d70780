"""What a feature detector, a tracker and a spectrum make of a clip's frames, phantom or real."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depthscope.video import read_image, read_video

HEIGHT = 256
"""Real frames are brought to the height of the phantom's before anything is counted on them."""

FRAMES = 35
"""So many of a clip are looked at: the real sinus clip has no more."""

PEAKS = {"sift_opencv_per_10k_px": 0.04 / 3, "sift_colmap_per_10k_px": 0.02 / 3}
"""SIFT's peak threshold for each scale of an octave: OpenCV's default (0.04 over 3 scales), and COLMAP's."""

BANDS_PX = ((4, 8), (8, 16), (16, 32), (32, 64))
"""Wavelengths that contrast is told apart by."""


@dataclass(frozen=True, eq=False)
class UnposedClip:
    """Frames of a clip at one size.

    Attributes:
        frames: RGB, 8 bits.
        content: Where they show tissue.
    """

    frames: list[np.ndarray]
    content: np.ndarray


def measured(unposed: UnposedClip) -> dict:
    """Features, saturation, contrast by wavelength, gradients, and how long corners are followed."""
    inner = cv2.erode(unposed.content.astype(np.uint8), np.ones((13, 13), np.uint8))
    area, few = inner.sum() / 1e4, unposed.frames[::4]
    greys = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in few]
    row: dict = {}
    for name, peak in PEAKS.items():
        detector = cv2.SIFT_create(contrastThreshold=3 * peak)
        row[name] = float(np.mean([len(detector.detect(grey, inner)) / area for grey in greys]))
    row["white_share"] = float(np.mean([(f.min(-1)[inner > 0] >= 250).mean() for f in few]))
    row["highlight_share"] = float(np.mean([glints(f)[inner > 0].mean() for f in few]))
    row["any_channel_full_share"] = float(np.mean([(f.max(-1)[inner > 0] >= 254).mean() for f in few]))
    row["dark_share"] = float(np.mean([(f.max(-1)[inner > 0] < 24).mean() for f in few]))
    row["contrast_by_wavelength_px"] = {
        f"{low}-{high}": float(np.mean([band(g, inner, low, high) for g in greys])) for low, high in BANDS_PX
    }
    steep = np.concatenate([gradient(g)[inner > 0] for g in greys])
    row["gradient_quantiles"] = {f"{q}": float(np.quantile(steep, q)) for q in (0.5, 0.9, 0.99)}
    return {**row, **tracks(unposed.frames, inner)}


def glints(picture: np.ndarray) -> np.ndarray:
    """Bright and nearly white pixels."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    return (hsv[..., 2] >= 230) & (hsv[..., 1] <= 77)


def band(grey: np.ndarray, inner: np.ndarray, low: float, high: float) -> float:
    """Median local contrast of wavelengths in pixels between two: a band of Gaussians over the local brightness."""
    x = grey.astype(np.float32)
    # A Gaussian of sigma = wavelength / 5 passes half of that wavelength's amplitude or so.
    fine, coarse = (cv2.GaussianBlur(x, (0, 0), w / 5) for w in (low, high))
    return float(np.median((np.abs(fine - coarse) / np.maximum(coarse, 8))[inner > 0]))


def gradient(grey: np.ndarray) -> np.ndarray:
    """Size of the gradient in grey levels per pixel."""
    x = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.7)
    return np.hypot(cv2.Sobel(x, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(x, cv2.CV_32F, 0, 1, scale=1 / 8))


def tracks(frames: list[np.ndarray], inner: np.ndarray) -> dict[str, float]:
    """How many frames KLT follows corners of the first frame, forward and back to within half a pixel.

    A corner is lost too where it leaves the round picture. The mean cuts nothing off, the median may be the clip's
    length; the half-life is of the exponential that loses corners as fast.
    """
    greys = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames]
    found = cv2.goodFeaturesToTrack(greys[0], 400, 0.01, 5, mask=inner)
    if found is None:
        return {"klt_mean_frames": 0.0, "klt_median_frames": 0.0, "klt_lost_per_frame": 1.0, "klt_step_px": 0.0}
    alive, lengths, index, steps = found, np.ones(len(found)), np.arange(len(found)), []
    looks = {"winSize": (21, 21), "maxLevel": 3}
    for before, after in zip(greys[:-1], greys[1:], strict=True):
        there, ok, _ = cv2.calcOpticalFlowPyrLK(before, after, alive, None, **looks)
        back, ok2, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **looks)
        good = (ok[:, 0] > 0) & (ok2[:, 0] > 0) & (np.linalg.norm((back - alive)[:, 0], axis=1) < 0.5)
        column, row = there[:, 0].T.astype(int)
        height, width = inner.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        good &= inside & (inner[row.clip(0, height - 1), column.clip(0, width - 1)] > 0)
        steps.extend(np.linalg.norm((there - alive)[good, 0], axis=1))
        index, alive = index[good], there[good]
        lengths[index] += 1
        if not len(index):
            break
    ended = float((lengths < len(frames)).sum())
    return {
        "klt_mean_frames": float(lengths.mean()),
        "klt_median_frames": float(np.median(lengths)),
        "klt_lost_per_frame": ended / float(lengths.sum()),
        "klt_step_px": float(np.median(steps)) if steps else 0.0,
    }


def phantom(clip: Path) -> UnposedClip:
    """Frames of a simulated clip."""
    frames = [read_image(p).numpy() for p in sorted((clip / "images").glob("*.png"))[:FRAMES]]
    return UnposedClip(frames, cv2.imread(str(clip / "mask.png"), cv2.IMREAD_GRAYSCALE) > 127)


def real(data: Path) -> dict[str, UnposedClip]:
    """The real clips of the data folder, their round picture as high as a phantom's."""
    found = {}
    sinus = sorted(data.glob("sinus/*/*/*.jpg"))[:FRAMES]
    if sinus:
        found["sinus"] = [read_image(p).numpy() for p in sinus]
    endo = data / "laparoscopy" / "endo.mp4"
    if endo.is_file():
        found["laparoscopy"] = [f.numpy() for f, _ in zip(read_video(endo), range(FRAMES), strict=False)]
    return {name: shrunk(frames) for name, frames in found.items()}


def shrunk(frames: list[np.ndarray]) -> UnposedClip:
    """Frames so small that a pixel covers the same share of the view as a phantom's."""
    brightest = np.max([f.max(-1) for f in frames[::4]], 0)
    disc = cv2.morphologyEx((brightest > 30).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    rows = np.flatnonzero(disc.any(1))
    k = 0.96 * HEIGHT / (rows[-1] - rows[0] + 1)
    size = (round(frames[0].shape[1] * k), round(frames[0].shape[0] * k))
    small = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames]
    return UnposedClip(small, cv2.resize(disc, size, interpolation=cv2.INTER_NEAREST) > 0)
