"""Pictures of flat boards whose corners are known: rays of a camera meet the board, many to a pixel."""

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from depthscope.geometry import Camera, RigidMotion
from depthscope.geometry.motion import rotate

FINE = 3
"""Rays along each side of a pixel."""


@lru_cache(maxsize=4)
def rays(camera: Camera) -> np.ndarray:
    """Rays of a grid `FINE` times finer than the pixels."""
    width, height = camera.size_px
    y, x = torch.meshgrid(
        *((torch.arange(n * FINE, dtype=torch.float64) + 0.5) / FINE for n in (height, width)), indexing="ij"
    )
    return camera.unproject(torch.stack([x, y], -1)).numpy()


def photographed(
    camera: Camera,
    motion: RigidMotion,
    print_of: np.ndarray,
    per_mm: float,
    origin_mm: float,
    falloff: float = 1.0,
    blur: float = 0.7,
    gain: float = 0.85,
    gamma: float = 2.2,
    sharpening: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """A grey picture of a printed board, lit by a lamp beside the lens.

    Args:
        camera: The lens.
        motion: ``camera_from_board``.
        print_of: The board's print, 0 to 1, `per_mm` pixels to a mm; its origin is at `origin_mm` from both edges.
        per_mm: Pixels to a mm.
        origin_mm: Place of the board's origin in the print, from its top-left edge.
        falloff: 1 for a lamp whose light falls off with the square of the distance; 0 for even light.
        blur: Of the lens, in pixels.
        gain: White paper at the nearest point; above 1 it saturates.
        gamma: Of the picture.
        sharpening: Of the processor, with halos.
        noise: In levels of 255.
        seed: Of the noise.
    """
    direction = rays(camera)
    normal, at = motion.rotation[:, 2].numpy(), motion.translation.numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        depth = (normal @ at) / (direction @ normal)
    hit = direction * depth[..., None]
    plane = (hit - at) @ motion.rotation.numpy()
    u, v = (((plane[..., i] + origin_mm) * per_mm - 0.5).astype(np.float32) for i in (0, 1))
    albedo = cv2.remap(
        print_of.astype(np.float32), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0.05
    )
    lamp = hit - np.array([2.0, 0.5, 0.0])
    distance = np.linalg.norm(lamp, axis=-1)
    light = (-(lamp @ normal) / distance).__abs__() / distance**2
    light = light / np.nanmax(np.where(albedo > 0.5, light, 0))
    fine = np.nan_to_num(albedo * light**falloff * gain)
    height, width = fine.shape[0] // FINE, fine.shape[1] // FINE
    picture = fine.reshape(height, FINE, width, FINE).mean((1, 3))
    picture = cv2.GaussianBlur(picture, (0, 0), blur).clip(0, 1) ** (1 / gamma)
    if sharpening:
        picture = picture + sharpening * (picture - cv2.GaussianBlur(picture, (0, 0), 1.2))
    picture = 255 * picture + noise * np.random.default_rng((seed, 8)).normal(0, 1, picture.shape)
    return torch.from_numpy(picture.round().clip(0, 255).astype(np.uint8))


def chessboard_print(corners: tuple[int, int], per_square: int = 40, border: float = 1.5) -> np.ndarray:
    """A chessboard with this many inner corners; its first one lies 1 + `border` squares from both edges."""
    rows, columns = corners[1] + 1, corners[0] + 1
    dark = (np.add.outer(np.arange(rows), np.arange(columns)) % 2) == 0
    inner = np.where(np.kron(dark, np.ones((per_square, per_square))) > 0, 0.04, 0.9)
    return np.pad(inner, round(border * per_square), constant_values=0.9)


def poses(middle: Tensor, count: int, distance: float, tilt: float = 0.5, seed: int = 0) -> list[RigidMotion]:
    """``camera_from_board`` of views tilted to all sides, the board's `middle` near the axis."""
    draw, found = np.random.default_rng((seed, 9)), []
    for n in range(count):
        axis = np.array([np.cos(2.4 * n), np.sin(2.4 * n), 0.3 * draw.normal()])
        turn = torch.from_numpy(cv2.Rodrigues(axis / np.linalg.norm(axis) * tilt)[0])
        centre = (
            torch.tensor([*draw.uniform(-0.12, 0.12, 2), 1.0], dtype=torch.float64) * distance * draw.uniform(1, 1.3)
        )
        found.append(RigidMotion(turn, centre - rotate(turn, middle)))
    return found
