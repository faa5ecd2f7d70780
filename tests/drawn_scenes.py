"""Drawn endoscopic frames whose classes are known: red walls, a dark lumen, glints, a grey shaft from the border."""

from pathlib import Path

import cv2
import numpy as np
import torch

from depthscope.pretext.error_boosting.automatic import HIGHLIGHT, INSTRUMENT, LUMEN, OUTSIDE, TISSUE
from depthscope.video import write_image


def scene(seed: int, size: int = 64, shaft: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A frame, shape (size, size, 3), and the class of each of its pixels."""
    draw = np.random.default_rng(seed)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    inside = np.hypot(x - 0.5, y - 0.5) < 0.48
    detail = cv2.GaussianBlur(draw.normal(0, 1, (size, size)), (0, 0), 0.04 * size)
    middle = draw.uniform(0.38, 0.62, 2)
    away = np.hypot(x - middle[0], y - middle[1])
    light = np.clip(0.25 + 2.6 * away, 0, 1) * (1 + 0.4 * detail / max(detail.std(), 1e-9) * 0.1)
    image = light[..., None] * np.array([215.0, 120.0, 100.0])
    truth = np.full((size, size), TISSUE, np.uint8)
    truth[away < 0.11] = LUMEN
    if shaft:
        angle, width = draw.uniform(0, 2 * np.pi), draw.uniform(0.05, 0.08)
        along = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
        across = -(x - 0.5) * np.sin(angle) + (y - 0.5) * np.cos(angle)
        tool = (along > 0.16) & (np.abs(across) < width)
        shade = 150 * (1 - 0.4 * (np.abs(across) / width) ** 2)
        image = np.where(tool[..., None], shade[..., None] * np.array([1.0, 1.0, 1.02]), image)
        truth[tool] = INSTRUMENT
    for _ in range(3):
        a, r = draw.uniform(0, 2 * np.pi), draw.uniform(0.25, 0.4)
        spot = np.hypot(x - 0.5 - r * np.cos(a), y - 0.5 - r * np.sin(a)) < 0.022
        spot &= truth == TISSUE
        image[spot], truth[spot] = 252, HIGHLIGHT
    image = np.where(inside[..., None], image + draw.normal(0, 2, image.shape), 2)
    truth[~inside] = OUTSIDE
    return image.clip(0, 255).astype(np.uint8), truth


def scenes(count: int, size: int = 64, first: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames (count, size, size, 3) and their classes; one in four has no shaft."""
    made = [scene(seed, size, shaft=seed % 4 != 3) for seed in range(first, first + count)]
    return torch.from_numpy(np.stack([m[0] for m in made])), torch.from_numpy(np.stack([m[1] for m in made]))


def scene_folder(folder: Path, count: int, size: int = 96) -> torch.Tensor:
    """Writes frames 000.png and so on; gives their classes."""
    folder.mkdir(parents=True, exist_ok=True)
    frames, truth = scenes(count, size)
    for number, frame in enumerate(frames):
        write_image(folder / f"{number:03d}.png", frame)
    return truth
