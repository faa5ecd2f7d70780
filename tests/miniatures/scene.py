"""A textured wall, curved like the inside of a ball, seen by a moving camera: exact images, poses and points."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

SIZE = (160, 128)
FOCAL = (130.0, 128.0)
CENTRE = (81.0, 62.5)  # the top-left pixel's centre is (0.5, 0.5)
BALL_CENTRE, RADIUS = np.array([0.1, 0.0, -1.0]), 3.0


@dataclass(frozen=True)
class Scene:
    """Everything about the clip as arrays.

    Attributes:
        images: RGB frames, uint8, (height, width, 3) each.
        rotation: camera_from_world, (frames, 3, 3).
        translation: The same, (frames, 3).
        points: In the world, (points, 3).
        seen: Who saw which point, bool, (frames, points).
        pixels: Where, (frames, points, 2).
        mask: Tissue, bool, (height, width).
    """

    images: list[np.ndarray]
    rotation: np.ndarray
    translation: np.ndarray
    points: np.ndarray
    seen: np.ndarray
    pixels: np.ndarray
    mask: np.ndarray

    @property
    def quaternion_xyzw(self) -> np.ndarray:
        return Rotation.from_matrix(self.rotation).as_quat()


def scene(frames: int = 8, points: int = 90, seed: int = 1, textured: bool = True) -> Scene:
    """Renders the clip by intersecting the ray of each pixel with the ball."""
    random = np.random.default_rng(seed)
    step = np.arange(frames)
    centres = np.stack([0.09 * step - 0.3, 0.03 * np.sin(step), 0.05 * step], 1)  # of the cameras, in the world
    rotation = Rotation.from_rotvec(np.stack([0.01 * step, -0.015 * step, 0.02 * step], 1)).as_matrix()
    translation = -np.einsum("fij,fj->fi", rotation, centres)

    texture = _texture(np.random.default_rng(7)) if textured else lambda places: np.full(places.shape[:-1], 0.5)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    images = []
    for r, c in zip(rotation, centres, strict=True):
        grey = texture(_wall(np.stack([columns, rows], -1), r, c))
        tint = np.stack([0.25 + 0.7 * grey, 0.1 + 0.7 * grey, 0.1 + 0.6 * grey], -1)
        images.append(np.clip(tint * 255, 0, 255).round().astype(np.uint8))

    home = random.integers(0, frames, points)
    start = random.uniform([20, 20], [SIZE[0] - 20, SIZE[1] - 20], (points, 2))
    world = np.stack([_wall(p, rotation[f], centres[f]) for p, f in zip(start, home, strict=True)])
    local = np.einsum("fij,pj->fpi", rotation, world) + translation[:, None]
    pixels = local[..., :2] / local[..., 2:] * FOCAL + CENTRE
    seen = (local[..., 2] > 0) & ((pixels > 14) & (pixels < np.array(SIZE) - 14)).all(-1)
    kept = seen.sum(0) >= 3
    mask = np.hypot(columns - SIZE[0] / 2, rows - SIZE[1] / 2) < 100
    return Scene(images, rotation, translation, world[kept], seen[:, kept], pixels[:, kept], mask)


def _wall(pixels: np.ndarray, rotation: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Where the rays of pixels meet the ball from inside, in the world."""
    rays = np.concatenate([(pixels - CENTRE) / FOCAL, np.ones_like(pixels[..., :1])], -1) @ rotation
    to_centre = centre - BALL_CENTRE
    a, b, c = (rays * rays).sum(-1), rays @ to_centre, to_centre @ to_centre - RADIUS**2
    return centre + rays * ((-b + np.sqrt(b * b - a * c)) / a)[..., None]


def _texture(random: np.random.Generator):
    """Waves of 0.15 to 0.5 units of length in all directions, brightness 0..1 at places in the world."""
    direction = random.normal(size=(40, 3))
    wave = direction / np.linalg.norm(direction, axis=1, keepdims=True) * 2 * np.pi / random.uniform(0.15, 0.5, (40, 1))
    phase = random.uniform(0, 2 * np.pi, 40)
    return lambda places: 0.5 + 0.09 * np.sin(places @ wave.T + phase).sum(-1)


def write_images(scene: Scene, folder: Path, names: list[str]) -> None:
    for name, image in zip(names, scene.images, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
