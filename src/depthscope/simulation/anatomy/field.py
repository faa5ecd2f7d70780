"""Signed fields, positive in tissue, and how they are put together.

A field is near to a distance in mm close to its zero. Union of tissue is the maximum, of air the minimum. The smooth
ones round the seam by a parabola: further apart than the blend, they are the plain maximum and minimum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Positions: TypeAlias = Float[Tensor, "*points 3"]
Values: TypeAlias = Float[Tensor, "*points"]
Field: TypeAlias = Callable[[Tensor], Tensor]

TOLERANCE_MM = 1e-6
"""How near to 0 the field is brought."""

POINTS_AT_ONCE = 65536
"""So many keep within the processor's cache."""


def smooth_max(a: Values, b: Values, blend: float) -> Values:
    """The maximum, with the seam rounded where the two differ by less than `blend`."""
    overlap = (blend - (a - b).abs()).clamp_min(0)
    return torch.maximum(a, b) + overlap * overlap / (4 * blend)


def smooth_min(a: Values, b: Values, blend: float) -> Values:
    """The minimum, with the seam rounded where the two differ by less than `blend`."""
    return -smooth_max(-a, -b, blend)


def smooth_step(x: Values) -> Values:
    """From 0 to 1 as x goes from 0 to 1, with two continuous derivatives."""
    x = x.clamp(0, 1)
    return x * x * x * (x * (6 * x - 15) + 10)


def bell(x: Values) -> Values:
    """exp(-x^2)."""
    return torch.exp(-x * x)


def length(*parts: Values) -> Values:
    """Euclidean length of a vector given by its coordinates, with a finite gradient at 0."""
    return (torch.stack([part * part for part in parts]).sum(0) + 1e-12).sqrt()


def ellipsoid(points: Positions, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Values:
    """Positive inside; about the distance near its surface."""
    d = points - points.new_tensor(centre)
    r = points.new_tensor(radii)
    k, g = length(*(d / r).unbind(-1)), length(*(d / (r * r)).unbind(-1))
    return k * (1 - k) / g.clamp_min(1e-6)


def box(
    points: Positions, centre: tuple[float, float, float], half: tuple[float, float, float], rounding: float
) -> Values:
    """Distance to a box with rounded edges, positive inside."""
    q = (points - points.new_tensor(centre)).abs() - (points.new_tensor(half) - rounding)
    outside = length(*q.clamp_min(0).unbind(-1))
    return rounding - outside - q.amax(-1).clamp_max(0)


def capsule(points: Positions, start: tuple[float, ...], end: tuple[float, ...], radius: float) -> Values:
    """Distance to a rod with round ends, positive inside."""
    a = points.new_tensor(start)
    axis = points.new_tensor(end) - a
    d = points - a
    along = ((d @ axis) / (axis @ axis)).clamp(0, 1)
    return radius - length(*(d - along[..., None] * axis).unbind(-1))


def scroll(across: Values, up: Values, radius: Values | float, turn_rad: float, stem: float) -> Values:
    """Distance to a curled sheet in its cross-section: a straight stem that runs into an arc, like the letter J.

    Args:
        across: Coordinate from the arc's centre, growing to the side that the arc curls to.
        up: Coordinate from the arc's centre, growing along the stem.
        radius: Radius of the arc; the stem runs at across = -radius.
        turn_rad: How far the arc turns, 0 to 2 pi.
        stem: Length of the stem.

    Returns:
        The distance, 0 on the sheet's middle.
    """
    to_stem = length(across + radius, up - up.clamp(0, stem))
    # Angle from the stem's foot, turning down and then to the side.
    angle = torch.remainder(torch.atan2(-up, -across), 2 * torch.pi)
    end = torch.tensor(turn_rad, dtype=up.dtype)
    to_end = length(across + radius * torch.cos(end), up + radius * torch.sin(end))
    to_arc = torch.where(angle < turn_rad, (length(across, up) - radius).abs(), to_end)
    return torch.minimum(to_stem, to_arc)


@dataclass(frozen=True, eq=False)
class Ripples:
    """Band-limited noise: plane waves of random direction and phase.

    Attributes:
        waves: Angular wave vectors per mm, shape (3, waves).
        phases: Shape (waves,).
        heights: Amplitude of each wave in mm, shape (waves,).
    """

    waves: Float[Tensor, "3 waves"]
    phases: Float[Tensor, " waves"]
    heights: Float[Tensor, " waves"]

    @classmethod
    def drawn(
        cls, draw: np.random.Generator, wavelengths: tuple[float, ...], spreads: tuple[float, ...], count: int = 9
    ) -> "Ripples":
        """Ripples of these wavelengths and standard deviations, both in mm, of `count` waves each."""
        waves, heights = [], []
        for wavelength, spread in zip(wavelengths, spreads, strict=True):
            waves.append(2 * np.pi / (wavelength * draw.uniform(0.8, 1.25, (count, 1))) * _directions(draw, count))
            heights.append(np.full(count, spread * np.sqrt(2 / count)))
        phases = draw.uniform(0, 2 * np.pi, count * len(wavelengths))
        numbers = (np.concatenate(waves).T.copy(), phases, np.concatenate(heights))
        return cls(*(torch.from_numpy(x) for x in numbers))

    def __call__(self, points: Positions) -> Values:
        """Height in mm at points in mm."""
        return self.shifting(points) @ self.heights.to(points)

    def shifting(self, points: Positions) -> Float[Tensor, "*points waves"]:
        """Each wave at points in mm, from -1 to 1."""
        return torch.sin(points @ self.waves.to(points) + self.phases.to(points))


@dataclass(frozen=True, eq=False)
class Bending:
    """A smooth change of shape: every wave of some ripples shifts points along a way of its own.

    Attributes:
        ripples: The waves; their heights are the length of the shifts.
        ways: Unit vector of each wave's shift, shape (waves, 3).
    """

    ripples: Ripples
    ways: Float[Tensor, "waves 3"]

    @classmethod
    def drawn(
        cls, draw: np.random.Generator, wavelengths: tuple[float, ...], spreads: tuple[float, ...], count: int = 8
    ) -> "Bending":
        """Shifts of these wavelengths and standard deviations along each axis, both in mm, of `count` waves each."""
        ripples = Ripples.drawn(draw, wavelengths, tuple(spread * 3**0.5 for spread in spreads), count)
        return cls(ripples, torch.from_numpy(_directions(draw, count * len(wavelengths))))

    def __call__(self, points: Positions) -> Positions:
        """The shift in mm at points in mm."""
        return self.ripples.shifting(points) @ (self.ripples.heights[:, None] * self.ways).to(points)


def _directions(draw: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors evenly over the sphere, shape (count, 3)."""
    directions = draw.standard_normal((count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def in_blocks(field: Field, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
    """The field at many points, a cacheful at a time, without gradient."""
    with torch.no_grad():
        return torch.cat([field(block) for block in points.split(POINTS_AT_ONCE)]) if len(points) else points[:, 0]


def with_gradient(
    field: Field, points: Float[Tensor, "points 3"]
) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
    """The field and its gradient, which leads into tissue, at many points."""
    values, gradients = [], []
    for block in points.split(POINTS_AT_ONCE):
        block = block.detach().requires_grad_()
        value = field(block)
        (gradient,) = torch.autograd.grad(value.sum(), block)
        values.append(value.detach())
        gradients.append(gradient)
    if not values:
        return points[:, 0], points
    return torch.cat(values), torch.cat(gradients)


def projected(field: Field, points: Float[Tensor, "points 3"], steps: int = 12) -> Float[Tensor, "points 3"]:
    """The points moved along the gradient to the field's zero, by Newton's method with steps of at most half a mm."""
    points, rows = points.clone(), torch.arange(len(points))
    for step_number in range(steps):
        value, gradient = with_gradient(field, points[rows])
        open_ones = value.abs() > TOLERANCE_MM
        rows, value, gradient = rows[open_ones], value[open_ones], gradient[open_ones]
        if not len(rows):
            break
        step = -(value / gradient.square().sum(-1).clamp_min(1e-2))[:, None] * gradient
        step = step * (0.5 / step.norm(dim=-1, keepdim=True).clamp_min(0.5))
        points[rows] += step if step_number < 4 else 0.6 * step  # shorter ones end a to and fro across a crease
    return points
