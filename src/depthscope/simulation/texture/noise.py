"""Smooth noise in space without seams, and quick look-ups of points in a picture."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

NOISE_CELLS, NOISE_PERIOD = 64, 8
"""Cells of the noise's periodic lattice along each axis, and how many of them make a wavelength."""

Places = Float[Tensor, "points 3"]


@dataclass(frozen=True, eq=False)
class Noise:
    """Smooth noise in space, periodic, four independent fields of standard deviation 1.

    Attributes:
        slices: Values on the lattice, its slices one under another and each with its first row and column repeated,
            so that a two-dimensional look-up can read them: shape (n (n + 1), n + 1, 4), n = `NOISE_CELLS`.
    """

    slices: NDArray[np.float32]

    @classmethod
    def drawn(cls, draw: np.random.Generator) -> "Noise":
        """White noise, of which only wavelengths around `NOISE_PERIOD` cells are kept."""
        white = draw.standard_normal((4, *(NOISE_CELLS,) * 3), dtype=np.float32)
        axis = np.fft.fftfreq(NOISE_CELLS)
        frequency = np.sqrt(sum(np.square(np.meshgrid(axis, axis, np.fft.rfftfreq(NOISE_CELLS), indexing="ij"))))
        kept = np.exp(-(((frequency * NOISE_PERIOD) - 0.8) ** 2) / (2 * 0.3**2)) * (frequency > 0)
        fields = np.fft.irfftn(np.fft.rfftn(white, axes=(1, 2, 3)) * kept, white.shape[1:], axes=(1, 2, 3))
        fields /= fields.std(axis=(1, 2, 3), keepdims=True)
        wrapped = np.pad(np.moveaxis(fields, 0, -1).astype(np.float32), ((0, 0), (0, 1), (0, 1), (0, 0)), mode="wrap")
        return cls(wrapped.reshape(-1, NOISE_CELLS + 1, 4))

    def __call__(self, points: Places, wavelength_mm: float, shift: float = 0.0) -> Float[Tensor, "points 4"]:
        """The four fields at points in mm, features about `wavelength_mm` apart; `shift` makes scales independent."""
        place = (points.numpy() * (NOISE_PERIOD / wavelength_mm) + 17.3 * shift) % NOISE_CELLS
        x, y, z = place.astype(np.float32).T
        below = np.floor(z)
        share = (z - below)[:, None]
        below %= NOISE_CELLS
        low = looked_up(self.slices, x, y + (NOISE_CELLS + 1) * below)
        high = looked_up(self.slices, x, y + (NOISE_CELLS + 1) * ((below + 1) % NOISE_CELLS))
        return torch.from_numpy(low + share * (high - low))


def looked_up(image: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bilinear samples of an image at (x, y), where (0, 0) is the first cell's middle, shape (points, channels)."""
    count, width = len(x), 512
    if not count:
        return np.zeros((0, image.shape[2]), np.float32)
    rows = -(-count // width)  # a picture of the points: OpenCV's look-up is made for pictures
    grid = np.zeros((2, rows * width), np.float32)
    grid[0, :count], grid[1, :count] = x, y
    x, y = grid.reshape(2, rows, width)
    samples = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return samples.reshape(-1, image.shape[2])[:count].astype(np.float32, copy=False)
