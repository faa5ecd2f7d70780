"""How tissue looks: its colour, and the light of an endoscope on it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

BLOOD = (0.30, 0.035, 0.03)
MUCOSA = (0.62, 0.17, 0.12)
PALE = (0.74, 0.33, 0.22)
"""Linear sRGB of a vessel, of the lining, and of its paler patches."""

GAMMA = 2.2


@dataclass(frozen=True, eq=False)
class Tissue:
    """A solid texture, so that it has no seams and looks the same from every side.

    Attributes:
        lattice: Standard normal numbers on a periodic cubic lattice, four fields of them, shape (4, n, n, n).
        unit_mm: Length that the sizes of its features are measured in: the radius of the tube.
    """

    lattice: NDArray[np.float64]
    unit_mm: float

    @classmethod
    def drawn(cls, seed: int, unit_mm: float) -> "Tissue":
        """The tissue of a seed."""
        return cls(np.random.default_rng((seed, 101)).standard_normal((4, 40, 40, 40)), unit_mm)

    def noise(self, points: NDArray[np.float64], wavelength: float, field: int = 0) -> NDArray[np.float64]:
        """Smooth noise of about this wavelength (in units) and of standard deviation near 1 at points (n, 3)."""
        # A quadratic spline over the lattice: smooth, quick, and with 0.41 of the lattice's spread.
        shift = 7.3 * np.arange(1, 4) / wavelength
        position = points.T * (2 / (wavelength * self.unit_mm)) + shift[:, None]
        return ndimage.map_coordinates(self.lattice[field], position, order=2, mode="grid-wrap", prefilter=False) / 0.41

    def albedo(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """Linear RGB reflectance of surface points in mm."""
        p = points.numpy()
        bent = p + 0.05 * self.unit_mm * np.stack([self.noise(p, 0.5, field) for field in (1, 2, 3)], 1)

        pale = _step(0.6 * self.noise(p, 1.3) + 0.45 * self.noise(bent, 0.45, 1) + 0.25 * self.noise(p, 0.17, 2))
        grain = 0.07 * self.noise(p, 0.11, 3) + 0.06 * self.noise(p, 0.06, 2)

        # A vessel runs where a noise crosses zero; thinner ones at shorter wavelengths, each only in some places.
        vessel = np.zeros(len(p))
        for wavelength, width, strength, field in ((1.5, 0.05, 0.9, 1), (0.75, 0.07, 0.7, 2), (0.4, 0.09, 0.5, 3)):
            here = _step(self.noise(p, 1.7 * wavelength, field - 1) - 0.1)
            line = np.exp(-((self.noise(bent, wavelength, field) / width) ** 2))
            vessel = np.maximum(vessel, strength * here * line)

        colour = (1 - pale[:, None]) * np.array(MUCOSA) + pale[:, None] * np.array(PALE)
        colour = colour * np.exp(grain)[:, None]
        colour = (1 - vessel[:, None]) * colour + vessel[:, None] * np.array(BLOOD)
        return torch.from_numpy(colour)

    def film_normals(
        self, points: Float[Tensor, "points 3"], normals: Float[Tensor, "points 3"]
    ) -> Float[Tensor, "points 3"]:
        """Normals of the wet film on the surface, a few degrees off it."""
        p = points.numpy()
        tilt = np.stack([0.1 * self.noise(p, 0.25, field) for field in (1, 2, 3)], 1)
        return functional.normalize(normals + torch.from_numpy(tilt), dim=-1)


def _step(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 to 1 as the values go from about -1 to 1."""
    return 1 / (1 + np.exp(-3 * values))


def radiance(
    albedo: Float[Tensor, "points 3"],
    points: Float[Tensor, "points 3"],
    normals: Float[Tensor, "points 3"],
    film_normals: Float[Tensor, "points 3"],
    unit_mm: float,
) -> Float[Tensor, "points 3"]:
    """Linear RGB light that comes back to a camera at the origin, with the lamp beside it.

    Args:
        albedo: Linear RGB reflectance.
        points: Surface points in camera axes, in mm.
        normals: Their unit normals, towards the camera.
        film_normals: Unit normals of the wet film.
        unit_mm: Distance at which a facing white surface gives 1.
    """
    distance = points.norm(dim=-1, keepdim=True)
    towards_lamp = -points / distance
    cosine = (normals * towards_lamp).sum(-1, keepdim=True).clamp_min(0)
    off_axis = 1 - points[:, 2:] / distance
    falloff = (unit_mm / distance) ** 2 * torch.exp(-1.2 * off_axis)  # inverse square, and a lamp that faces forward

    # Light from all around: in a cavity the walls light each other, and deep red survives the bounces best.
    bounced = 0.10 * albedo * (unit_mm / distance)
    facing = (film_normals * towards_lamp).sum(-1, keepdim=True).clamp_min(0)
    glint = 1.6 * facing**600 + 0.05 * facing**40
    return falloff * (albedo * cosine + glint) + bounced * albedo


def exposed(linear: Float[Tensor, "height width 3"], content: Float[Tensor, "height width"]) -> Tensor:
    """sRGB-like 0..1 of linear light: automatic gain, a soft knee, gamma 2.2."""
    green = linear[..., 1][content > 0.5]
    gain = 0.55 / float(green.quantile(0.85))
    return (1 - torch.exp(-gain * linear * 1.4)) ** (1 / GAMMA)
