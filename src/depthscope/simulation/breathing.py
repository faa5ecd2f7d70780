"""Tissue that moves with breath and pulse: a smooth field of small displacements, which keeps the mesh's triangles.

A vertex at x moves by u(x, t) = b(t) sum_k d_k sin(w_k . x + phi_k), whose length never exceeds |b|, since the lengths
of the d_k sum to 1. Normals follow the field's gradient: n' is (I + du/dx)^-T n, made unit.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.simulation.render import Scene

WAVES = 4
"""Waves that the field is made of."""

Points = Float[Tensor, "points 3"]


@dataclass(frozen=True)
class Breathing:
    """How tissue moves.

    Attributes:
        breath_mm: How far breath moves it, at most, to either side.
        breath_hz: Breaths in a second.
        pulse_mm: How far the pulse moves it, at most, to either side.
        pulse_hz: Beats in a second.
        wavelength_mm: Distance over which the displacement turns around.
        seed: Of the field and of its phases.
    """

    breath_mm: float = 0.0
    breath_hz: float = 0.3
    pulse_mm: float = 0.0
    pulse_hz: float = 1.2
    wavelength_mm: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.breath_mm <= 3 and 0 <= self.pulse_mm <= 3):
            raise BadInputError(f"tissue that moves by {self.breath_mm:g} and {self.pulse_mm:g} mm", "0 to 3 mm")
        if not (0 < self.breath_hz <= 5 and 0 < self.pulse_hz <= 5):
            raise BadInputError(f"{self.breath_hz:g} breaths and {self.pulse_hz:g} beats a second", "above 0, to 5")
        if self.wavelength_mm < 10 * (self.breath_mm + self.pulse_mm) or self.wavelength_mm <= 0:
            raise BadInputError(
                f"a wavelength of {self.wavelength_mm:g} mm",
                "ten times the displacement and more",
                "shorter ones would fold the tissue over",
            )

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return not self.breath_mm and not self.pulse_mm

    def size_mm(self, seconds: float) -> float:
        """b(t), the field's size at a moment."""
        breath, pulse = np.random.default_rng((self.seed, 63)).uniform(0, 2 * math.pi, 2)
        return float(
            self.breath_mm * math.sin(2 * math.pi * self.breath_hz * seconds + breath)
            + self.pulse_mm * math.sin(2 * math.pi * self.pulse_hz * seconds + pulse)
        )

    def displacement(self, points: Points, seconds: float) -> Points:
        """How far points of the tissue at rest have moved, in mm."""
        numbers, phases, directions = self._waves
        wave = torch.sin(points.double() @ numbers.T + phases)
        return self.size_mm(seconds) * wave @ directions

    def gradient(self, points: Points, seconds: float) -> Float[Tensor, "points 3 3"]:
        """du/dx at points of the tissue at rest: row i holds the derivatives of u's component i."""
        numbers, phases, directions = self._waves
        slope = torch.cos(points.double() @ numbers.T + phases)
        outer = directions[:, :, None] * numbers[:, None, :]
        return self.size_mm(seconds) * (slope @ outer.reshape(WAVES, 9)).reshape(-1, 3, 3)

    @property
    def _waves(self) -> tuple[Tensor, Tensor, Tensor]:
        """Wave vectors, phases and directions."""
        draw = np.random.default_rng((self.seed, 64))
        numbers, directions = draw.normal(0, 1, (2, WAVES, 3))
        numbers *= 2 * math.pi / self.wavelength_mm / np.linalg.norm(numbers, axis=1, keepdims=True)
        directions /= WAVES * np.linalg.norm(directions, axis=1, keepdims=True)
        return tuple(map(torch.from_numpy, (numbers, draw.uniform(0, 2 * math.pi, WAVES), directions)))  # type: ignore


@lru_cache(maxsize=2)
def breathed(scene: Scene, breathing: Breathing, seconds: float) -> Scene:
    """The scene at a moment; kept, since a frame needs the next one's too."""
    points, normals = scene.surface.points.double(), scene.surface.normals
    assert normals is not None
    slope = torch.eye(3, dtype=torch.float64) + breathing.gradient(points, seconds)
    # (I + G)^-T n is the cofactor matrix times n, up to its length.
    a, b, c = slope.unbind(1)
    cofactor = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], 1)
    turned = functional.normalize((cofactor @ normals.double()[..., None])[..., 0], dim=-1)
    moved = points + breathing.displacement(points, seconds)
    return scene.deformed(moved.to(scene.surface.points.dtype), turned.to(normals.dtype))
