"""Scaramuzza's omnidirectional lens: the height of a ray over the sensor is a polynomial of the radius."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError

Plane = Float[Tensor, "*points 2"]

STEPS = 60
"""Halvings of the radius when a point is projected: to the last digit of a double."""


@dataclass(frozen=True)
class Scaramuzza:
    """Omnidirectional lens (Scaramuzza et al. 2006), in lengths of a0, so that it fits a camera with focal length a0.

    A pixel at q = (pixel - centre) / a0 has the sensor position w = M^-1 q with M = [[c, e], [d, 1]], the radius
    r = |w|, and the ray (w, 1 + b2 r^2 + b3 r^3 + b4 r^4); b_k = a_k a0^(k-1) of the usual polynomial in pixels.

    Attributes:
        coefficients: b2, b3, b4, c, d, e.
    """

    coefficients: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if len(self.coefficients) != 6:
            raise BadInputError(
                f"{len(self.coefficients)} distortion coefficients for the omnidirectional model", "b2 b3 b4 c d e"
            )
        *_, c, d, e = self.coefficients
        if abs(c - d * e) < 1e-6:
            raise BadInputError(f"an affine part c, d, e of {c}, {d}, {e}", "one that can be inverted")

    @classmethod
    def from_pixels(cls, a0: float, a2: float, a3: float, a4: float, c: float, d: float, e: float) -> "Scaramuzza":
        """From the polynomial a0 + a2 rho^2 + a3 rho^3 + a4 rho^4 in pixels; a1 is 0 in this model."""
        return cls((a2 * a0, a3 * a0**2, a4 * a0**3, c, d, e))

    def height(self, radius: Tensor) -> Tensor:
        """The third coordinate of the ray at this radius of the sensor; 1 on the axis."""
        b2, b3, b4 = self.coefficients[:3]
        return 1 + radius**2 * (b2 + radius * (b3 + radius * b4))

    def undistort(self, plane: Plane) -> Plane:
        """The point of the plane z = 1 that a sensor position sees; NaN where its ray does not point forward."""
        c, d, e = self.coefficients[3:]
        x, y = plane.unbind(-1)
        sensor = torch.stack([x - e * y, c * y - d * x], -1) / (c - d * e)
        height = self.height(sensor.norm(dim=-1, keepdim=True))
        return torch.where(height > 1e-6, sensor / height, torch.full_like(sensor, torch.nan))

    def distort(self, plane: Plane) -> Plane:
        """Where an ideal point of the plane z = 1 falls; NaN where the polynomial turns before it gets there."""
        c, d, e = self.coefficients[3:]
        slope = plane.norm(dim=-1, keepdim=True)
        low, high = torch.zeros_like(slope), self._last_radius(slope)
        end = high
        for _ in range(STEPS):  # r / height(r) rises up to the last radius, so bisection always converges
            middle = (low + high) / 2
            below = middle < slope * self.height(middle)
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        radius = (low + high) / 2
        reached = (slope * self.height(end) <= end) | (slope == 0)
        on_axis = slope < 1e-12
        factor = torch.where(on_axis, torch.ones_like(slope), radius / torch.where(on_axis, 1.0, slope))
        sensor = torch.where(reached, plane * factor, torch.full_like(plane, torch.nan))
        x, y = sensor.unbind(-1)
        return torch.stack([c * x + e * y, d * x + y], -1)

    def _last_radius(self, like: Tensor) -> Tensor:
        """The radius up to which the angle from the axis rises and stays under 90 degrees, at most 10."""
        b2, b3, b4 = self.coefficients[:3]
        radius = torch.linspace(0, 10, 20001, dtype=torch.float64)
        height = self.height(radius)
        slope = radius * (2 * b2 + radius * (3 * b3 + radius * 4 * b4))
        good = (height > 1e-3) & (height - radius * slope > 0)  # the derivative of r / height(r) is positive
        last = int((~good).nonzero()[0]) - 1 if not bool(good.all()) else len(radius) - 1
        return torch.full_like(like, float(radius[last]))
