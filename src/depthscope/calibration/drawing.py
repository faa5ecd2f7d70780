"""Pictures of a calibration: the views with what the lens gets wrong, and where corners lay."""

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from depthscope.calibration.calibration import Calibration

Picture = UInt8[Tensor, "height width 3"]
ARROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Residuals are drawn one of these times longer than they are."""

LONG_ARROW = 12.0
"""Most arrows are at most this long, in pixels of a thumbnail."""

COLUMNS = 4
RED, GREEN, GREY, BLUE = (220, 40, 40), (40, 190, 60), (90, 90, 90), (30, 80, 200)


def views_picture(calibration: Calibration) -> Picture:
    """All views with their corners (green) and residuals (red, many times longer, as written)."""
    tiles = []
    long = float(calibration.chosen.fit.residuals.norm(dim=-1).quantile(0.9)) * calibration.sightings[0].scale
    arrow = max([a for a in ARROWS if a * long <= LONG_ARROW], default=1)
    for view, sighting in enumerate(calibration.sightings):
        if sighting.thumbnail is None:
            continue
        tile = cv2.cvtColor(sighting.thumbnail.numpy(), cv2.COLOR_GRAY2RGB)
        residuals = calibration.chosen.fit.residuals[calibration.measured.view == view]
        for (x, y), (dx, dy) in zip(sighting.pixels.tolist(), residuals.tolist(), strict=True):
            here = _place(x * sighting.scale, y * sighting.scale)
            there = _place((x + arrow * dx) * sighting.scale, (y + arrow * dy) * sighting.scale)
            cv2.circle(tile, here, 1, GREEN, -1)
            cv2.line(tile, here, there, RED, 1, cv2.LINE_AA)
        rms = float(residuals.square().sum(-1).mean().sqrt())
        _write(tile, f"{sighting.name}: {rms:.2f} px, arrows x{arrow}", 4, 14, (255, 220, 60))
        tiles.append(tile)
    if not tiles:
        return torch.zeros(16, 16, 3, dtype=torch.uint8)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    return torch.from_numpy(np.vstack(rows))


def coverage_picture(calibration: Calibration) -> Picture:
    """Where corners lay in the image, and beside it the outward residual of each by its distance from the centre."""
    width, height = calibration.camera.size_px
    scale = 480 / height
    left = np.full((520, round(width * scale) + 40, 3), 255, np.uint8)
    cv2.rectangle(left, (20, 30), (20 + round(width * scale), 509), GREY, 1)
    pixels, residuals = calibration.measured.pixels, calibration.chosen.fit.residuals
    for x, y in pixels.tolist():
        cv2.circle(left, _place(20 + x * scale, 30 + y * scale), 1, BLUE, -1, cv2.LINE_AA)
    centre = pixels.new_tensor(calibration.camera.centre_px)
    cv2.drawMarker(
        left, _place(20 + float(centre[0]) * scale, 30 + float(centre[1]) * scale), RED, cv2.MARKER_CROSS, 16
    )
    _write(left, f"{len(pixels)} corners of {len(calibration.sightings)} views; cross: centre", 20, 20)
    away = pixels - centre
    radius = away.norm(dim=-1)
    outward = (residuals * away).sum(-1) / radius.clamp_min(1e-9)
    right = np.full((520, 600, 3), 255, np.uint8)
    most = max(float(outward.abs().quantile(0.995)), 1e-6)
    reach = float(radius.max())
    cv2.line(right, (50, 270), (580, 270), GREY, 1)
    for r, d in zip(radius.tolist(), outward.tolist(), strict=True):
        cv2.circle(
            right, _place(50 + 530 * r / reach, 270 - 220 * max(-1.0, min(1.0, d / most))), 1, BLUE, -1, cv2.LINE_AA
        )
    edges = torch.linspace(0, reach, 13, dtype=torch.float64)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        ring = outward[(radius >= low) & (radius <= high)]
        if len(ring) >= 5:
            level = 270 - 220 * float(ring.mean()) / most
            cv2.line(right, _place(50 + 530 * low / reach, level), _place(50 + 530 * high / reach, level), RED, 2)
    _write(right, f"outward residual, +-{most:.2f} px, by radius 0 to {reach:.0f} px; red: mean of ring", 20, 20)
    return torch.from_numpy(np.hstack([left, right]))


def _place(x: float, y: float) -> tuple[int, int]:
    return round(x - 0.5), round(y - 0.5)


def _write(
    picture: np.ndarray, text: str, x: int, y: int, colour: tuple[int, int, int] = (40, 40, 40), size: float = 0.42
) -> None:
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
