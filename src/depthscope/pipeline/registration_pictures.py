"""What a registration looks like: slices of the CT with the surface in it, and the distances between them."""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.geometry import Surface
from depthscope.pictures import painted
from depthscope.registration.view import thinned

SHOWN_MM = 2.0
"""Distance that is drawn in the brightest colour."""


def distance_colours(distance_mm: Float[Tensor, " points"]) -> Tensor:
    """Distances from 0 (dark) to `SHOWN_MM` (bright), uint8 RGB."""
    known = torch.ones(1, len(distance_mm), dtype=torch.bool)
    return painted((distance_mm / SHOWN_MM)[None], known, cv2.COLORMAP_VIRIDIS)[0]


def picture(moved: Surface, distance_mm: Float[Tensor, " points"], target: Surface) -> Tensor:
    """Slices of the CT surface (grey) with the registered surface (coloured by distance), and the distances' histogram.

    The slices are axial, coronal and sagittal through the middle of the registered surface.
    """
    rows, _ = thinned(moved.points.double(), 40_000)
    points, colours = moved.points.double()[rows].numpy(), distance_colours(distance_mm)[rows].numpy()
    wall = target.points.numpy()
    middle = np.median(points, 0)
    panels = []
    for axis, name in ((2, "axial"), (1, "coronal"), (0, "sagittal")):
        across = [i for i in range(3) if i != axis]
        size, half = 460, max(20.0, 1.15 * np.abs(points - middle)[:, across].max())
        canvas = np.full((size, size, 3), 255, np.uint8)
        for cloud, paint, radius in ((wall, None, 1), (points, colours, 1)):
            near = np.abs(cloud[:, axis] - middle[axis]) < 0.6
            flat = (cloud[near][:, across] - middle[across]) / half
            flat[:, 1] *= 1 if axis == 2 else -1  # the back is below in an axial slice, the feet in the others
            at = ((flat + 1) / 2 * size).astype(int)
            shades = np.full((len(at), 3), 150, np.uint8) if paint is None else paint[near]
            for (x, y), shade in zip(at, shades, strict=True):
                if 0 <= x < size and 0 <= y < size:
                    cv2.circle(canvas, (int(x), int(y)), radius, tuple(int(c) for c in shade), -1)
        _write(canvas, f"{name}, {2 * half:.0f} mm wide", 8, 18)
        panels.append(canvas)
    return torch.from_numpy(np.concatenate([*panels, histogram(distance_mm, 460)], 1))


def histogram(distance_mm: Float[Tensor, " points"], size: int) -> np.ndarray:
    """The histogram of the distances, in their colours."""
    canvas, bins = np.full((size, size, 3), 255, np.uint8), 40
    count = torch.histc(distance_mm.float().clamp(0, 2 * SHOWN_MM - 1e-4), bins, 0, 2 * SHOWN_MM).numpy()
    centres = (torch.arange(bins) + 0.5) * 2 * SHOWN_MM / bins
    shades = distance_colours(centres.double()).numpy()
    width, base = (size - 40) / bins, size - 40
    for i, (n, shade) in enumerate(zip(count, shades, strict=True)):
        top = int(base - (base - 40) * n / max(count.max(), 1))
        left = int(20 + i * width)
        cv2.rectangle(canvas, (left, top), (int(left + width) - 1, base), tuple(int(c) for c in shade), -1)
    for mm in range(int(2 * SHOWN_MM) + 1):
        _write(canvas, str(mm), int(16 + mm / (2 * SHOWN_MM) * (size - 40)), base + 20)
    _write(canvas, f"distance in mm, mean {float(distance_mm.mean()):.2f}", 8, 18)
    return canvas


def _write(canvas: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
