"""Scaramuzza's omnidirectional lens: the height of a ray over the sensor is a polynomial of the radius."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.distortion import Plane, end_of_rise, length, on_plane, with_gradient
from depthscope.geometry.planes import from_planes
from depthscope.geometry.shapes import Points

MOST_RADIUS = 10.0
"""Radius of the sensor, in lengths of a0, beyond which no endoscope has pixels."""


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

    def _height_slope(self, radius: Tensor) -> Tensor:
        """Derivative of `height`."""
        b2, b3, b4 = self.coefficients[:3]
        return radius * (2 * b2 + radius * (3 * b3 + radius * 4 * b4))

    @cached_property
    def last_radius(self) -> float:
        """The radius of the sensor up to which the angle from the axis rises, at most `MOST_RADIUS`."""

        def rises(radius: Tensor) -> Tensor:  # the sign of the derivative of atan2(r, height(r))
            return self.height(radius) - radius * self._height_slope(radius) > 0

        radius = torch.linspace(0, MOST_RADIUS, 20001, dtype=torch.float64)
        return end_of_rise(rises, radius, MOST_RADIUS)

    @cached_property
    def widest_rad(self) -> float:
        """The angle from the axis at the last radius."""
        last = torch.tensor(self.last_radius, dtype=torch.float64)
        return float(torch.atan2(last, self.height(last)))

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """Radii and the angles of their rays, from which Newton's method starts."""
        radius = torch.linspace(0, self.last_radius, 1025, dtype=torch.float64)
        return radius, torch.atan2(radius, self.height(radius))

    def undistort(self, plane: Plane) -> Plane:
        """The point of the plane z = 1 that a sensor position sees; NaN where its ray does not point forward."""
        return on_plane(self.direction(plane))

    def distort(self, plane: Plane) -> Plane:
        """Where an ideal point of the plane z = 1 falls; NaN where the polynomial turns before it gets there."""
        return self.sensor(torch.cat([plane, torch.ones_like(plane[..., :1])], -1))

    def direction(self, sensor: Plane) -> Points:
        """The unit vector of the ray that reaches a point of the sensor; NaN beyond the field."""
        c, d, e = self.coefficients[3:]
        x, y = sensor.unbind(-1)
        across = torch.stack([x - e * y, c * y - d * x], -1) / (c - d * e)
        radius = across.norm(dim=-1, keepdim=True)
        ray = torch.nn.functional.normalize(torch.cat([across, self.height(radius)], -1), dim=-1)
        return torch.where(radius <= self.last_radius * (1 + 1e-9), ray, torch.nan)

    def sees(self, direction: Points) -> Bool[Tensor, "*points"]:
        """Directions within the field."""
        x, y, z = direction.detach().unbind(-1)
        return z >= math.cos(self.widest_rad) * length(x, y, z)

    def _radius(self, angle_rad: Tensor) -> Tensor:
        """The radius of the sensor that a ray at this angle reaches, without gradient."""
        angle = angle_rad.detach().double()
        radii, angles = self._table
        radii, angles = radii.to(angle.device), angles.to(angle.device)
        place = torch.searchsorted(angles, angle.contiguous()).clamp(1, len(angles) - 1)
        share = ((angle - angles[place - 1]) / (angles[place] - angles[place - 1])).clamp(0, 1)
        radius = radii[place - 1] + share * (radii[place] - radii[place - 1])
        sine, cosine = torch.sin(angle), torch.cos(angle)
        for _ in range(5):
            slope = cosine - sine * self._height_slope(radius)
            step = (radius * cosine - self.height(radius) * sine) / torch.where(slope.abs() < 1e-9, 1e-9, slope)
            radius = (radius - step).clamp(0, self.last_radius)
        return radius

    def sensor(self, direction: Points) -> Plane:
        """Where a direction falls on the sensor; NaN where the lens does not see it."""
        c, d, e = self.coefficients[3:]
        x, y, z = direction.unbind(-1)
        across = length(x, y)
        angle = torch.atan2(across, z)
        found = self._radius(angle)
        height = self.height(found)
        slope = (found**2 + height**2) / (height - found * self._height_slope(found)).clamp_min(1e-12)
        radius = with_gradient(found.to(direction), slope.to(direction), angle)
        factor = torch.where(self.sees(direction), radius / across, torch.nan)
        x, y = x * factor, y * factor
        return from_planes(c * x + e * y, d * x + y)
