"""Toy clips with known motion: photographs as texture, two objects that bend over a background that moves.

Every pixel knows its object and its place on the object, so that masks and tracks are exact. Photographs come with
scikit-image; those of the tests are others than those of training. Nothing is downloaded.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage import data

TRAINING = ("coffee", "rocket", "immunohistochemistry", "stereo_motorcycle")
TESTS = ("astronaut", "chelsea", "retina")


@dataclass(frozen=True)
class Clip:
    """A few frames.

    Attributes:
        frames: sRGB bytes, shape (frames, size, size, 3).
        objects: 0 is background, 1 and 2 are objects, shape (frames, size, size).
        places: Where each pixel is on its own object (x, y), in pixels of the first frame: (frames, size, size, 2).
    """

    frames: np.ndarray
    objects: np.ndarray
    places: np.ndarray


def photographs(names: tuple[str, ...]) -> list[np.ndarray]:
    """The photographs at a third of a megapixel at most."""
    found = []
    for name in names:
        image = getattr(data, name)()
        image = np.ascontiguousarray((image[0] if isinstance(image, tuple) else image)[..., :3])
        factor = min(1.0, 480 / max(image.shape))
        found.append(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
    return found


def clip(images: list[np.ndarray], seed: int, frames: int = 8, size: int = 64, pace: float = 1.0) -> Clip:
    """One clip, a function of the seed.

    Args:
        images: Textures.
        seed: Of everything.
        frames: How many.
        size: Sides in pixels.
        pace: Factor on all motion.
    """
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:size, :size] + 0.5).astype(np.float64)
    layers = [_Layer(rng, images, size, frames, pace, background=number == 0) for number in range(3)]
    shown, objects, places = [], [], []
    gains = np.exp(np.cumsum(rng.normal(0, 0.03, frames)))
    for frame in range(frames):
        picture = np.zeros((size, size, 3))
        label, place = np.zeros((size, size), np.int64), np.zeros((size, size, 2))
        for number, layer in enumerate(layers):
            own = layer.own(x, y, frame)
            inside = layer.holds(own)
            picture[inside] = layer.colours(own)[inside]
            label[inside], place[inside] = number, own[inside]
        shown.append(np.clip(picture * gains[frame] / gains[0] + rng.normal(0, 2, picture.shape), 0, 255))
        objects.append(label)
        places.append(place)
    return Clip(np.stack(shown).round().astype(np.uint8), np.stack(objects), np.stack(places))


class _Layer:
    """A textured sheet that moves and bends; an object has an outline of its own."""

    def __init__(self, rng, images, size, frames, pace, background):
        self.size, self.background = size, background
        self.image = images[rng.integers(len(images))]
        self.zoom = rng.uniform(1.0, 2.0)  # pixels of the photograph in one of the clip
        room = np.array(self.image.shape[1::-1]) - 1.6 * size * self.zoom
        self.corner = rng.uniform(0, 1, 2) * np.maximum(room, 0) + 0.3 * size * self.zoom
        self.centre = size * (rng.uniform(0.25, 0.75, 2) if not background else np.array([0.5, 0.5]))
        step = rng.normal(0, 1, 2)
        step *= pace * (0.6 if background else 2.2) * size / 64 / max(np.linalg.norm(step), 1e-6)
        time = np.arange(frames)
        sway = rng.uniform(0, 2 * np.pi)
        self.shift = step * np.stack([time, time * np.cos(0.15 * time * np.sin(sway))], -1)
        self.turn = np.deg2rad(pace * rng.uniform(-3, 3)) * time
        self.grow = np.exp(pace * rng.uniform(-0.015, 0.015) * time)
        self.waves = rng.normal(0, 1, (3, 2)) * 2 * np.pi / size * 1.5
        self.push = rng.normal(0, 1, (3, 2)) * pace * 0.25 * size / 64
        self.outline = rng.normal(0, 1, (4, 2)) * np.array([0.16, 0.1, 0.06, 0.04])[:, None]
        self.radius = size * rng.uniform(0.16, 0.24)

    def own(self, x, y, frame):
        """Places on the sheet, in pixels of the first frame, of pixels of a frame."""
        away = np.stack([x, y], -1) - self.centre - self.shift[frame]
        c, s = np.cos(-self.turn[frame]), np.sin(-self.turn[frame])
        turned = away @ np.array([[c, s], [-s, c]]) / self.grow[frame]
        bent = np.sin(turned @ self.waves.T + 0.7 * frame) - np.sin(turned @ self.waves.T)
        return turned + bent @ self.push + self.centre

    def holds(self, own):
        """Whether places belong to the object."""
        if self.background:
            return np.ones(own.shape[:-1], bool)
        away = own - self.centre
        angle, distance = np.arctan2(away[..., 1], away[..., 0]), np.linalg.norm(away, axis=-1)
        turns = angle[..., None] * np.arange(1, 5)
        edge = 1 + np.cos(turns) @ self.outline[:, 0] + np.sin(turns) @ self.outline[:, 1]
        return distance < self.radius * np.clip(edge, 0.4, 1.6)

    def colours(self, own):
        """Of places, read from the photograph."""
        at = (self.corner + own * self.zoom).astype(np.float32)
        smooth = cv2.GaussianBlur(self.image, (0, 0), 0.4 * self.zoom)
        return cv2.remap(smooth, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(float)
