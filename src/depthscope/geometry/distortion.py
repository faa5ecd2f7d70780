"""Lens distortion: from the direction of a ray to the sensor and back, with gradients.

Every model maps directions, vectors of any length in camera axes, to the normalised sensor: the pixel is
``focal * sensor + centre``. `sensor` and `direction` are inverse over the whole field of the lens and NaN beyond it:
behind a lens that sees nothing there, and where the polynomial of the model folds, which is known for each lens.
`distort` and `undistort` say the same of the plane z = 1, for fields below 180 degrees.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry.planes import from_planes
from depthscope.geometry.shapes import Points

Plane = Float[Tensor, "*points 2"]  # points on the normalised sensor, or on the plane z = 1

QUARTER_RAD = torch.pi / 2 - 1e-4
"""Rays further from the axis do not reach the plane z = 1."""

NEAR_AXIS = 1e-8
"""Distance from the axis below which the ratio of two radii is its limit."""


def check_coefficients(model: str, coefficients: tuple[float, ...], counts: tuple[int, ...]) -> None:
    """Raises BadInputError for a number of coefficients that the model does not have."""
    if len(coefficients) not in counts:
        raise BadInputError(
            f"{len(coefficients)} distortion coefficients for the {model} model",
            " or ".join(map(str, counts)),
            "give them in OpenCV's order",
        )


def length(*parts: Tensor) -> Tensor:
    """The length of a vector from its components: quicker than a norm over a short axis, its gradient finite at 0."""
    square = parts[0] * parts[0]
    for part in parts[1:]:
        square = square + part * part
    return square.clamp_min(1e-24).sqrt()


def end_of_rise(rises: Callable[[Tensor], Tensor], samples: Float[Tensor, " samples"], otherwise: float) -> float:
    """Where a function stops rising, by bisection between the first sample where it does not and the one before.

    Args:
        rises: Whether it does, at each of some arguments.
        samples: Arguments in order, close enough that none of its turns lies between two of them unseen.
        otherwise: What to return where it rises at all of them.
    """
    bad = (~rises(samples)).nonzero()
    if not len(bad):
        return otherwise
    low, high = samples[max(int(bad[0]) - 1, 0)], samples[int(bad[0])]
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if bool(rises(middle)) else (low, middle)
    return float(low)


def with_gradient(value: Tensor, slope: Tensor, argument: Tensor) -> Tensor:
    """A root that was found without gradient, with the gradient of the implicit function: slope times d(argument)."""
    return value + slope * (argument - argument.detach()) if argument.requires_grad else value


def on_plane(direction: Points) -> Plane:
    """Where a direction meets the plane z = 1; NaN where it does not."""
    forward = direction[..., 2:] > 1e-4 * direction.norm(dim=-1, keepdim=True)
    return torch.where(forward, direction[..., :2] / torch.where(forward, direction[..., 2:], 1.0), torch.nan)


def from_plane(plane: Plane) -> Points:
    """The unit vector towards a point of the plane z = 1."""
    return functional.normalize(torch.cat([plane, torch.ones_like(plane[..., :1])], -1), dim=-1)


@dataclass(frozen=True)
class NoDistortion:
    """A lens that keeps straight lines straight."""

    @property
    def coefficients(self) -> tuple[float, ...]:
        """None."""
        return ()

    def distort(self, plane: Plane) -> Plane:
        """The plane as it is."""
        return plane

    def undistort(self, plane: Plane) -> Plane:
        """The plane as it is."""
        return plane

    def sees(self, direction: Points) -> Bool[Tensor, "*points"]:
        """All that lies in front."""
        return direction[..., 2] > 0

    def sensor(self, direction: Points) -> Plane:
        """Where a direction falls on the sensor; NaN behind the camera."""
        depth = direction[..., 2:]
        return torch.where(depth > 0, direction[..., :2] / torch.where(depth > 0, depth, 1.0), torch.nan)

    def direction(self, sensor: Plane) -> Points:
        """The unit vector of the ray that reaches a point of the sensor."""
        return from_plane(sensor)


@dataclass(frozen=True)
class Brown:
    """Radial and tangential distortion, coefficients in OpenCV's order k1 k2 p1 p2 k3 k4 k5 k6 (Brown 1971).

    The factor of the radius is (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6).
    """

    coefficients: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        check_coefficients("brown", self.coefficients, (4, 5, 8))

    @property
    def _all(self) -> tuple[float, ...]:
        return (*self.coefficients, 0.0, 0.0, 0.0, 0.0)[:8]

    def _radial(self, r2: Tensor) -> tuple[Tensor, Tensor]:
        """The factor of the radius, and its derivative by the squared radius."""
        k1, k2, _, _, k3, k4, k5, k6 = self._all
        above, below = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        slope_above, slope_below = k1 + r2 * (2 * k2 + r2 * 3 * k3), k4 + r2 * (2 * k5 + r2 * 3 * k6)
        return above / below, (slope_above * below - above * slope_below) / (below * below)

    @cached_property
    def last_radius(self) -> float:
        """The radius on the plane z = 1 where the distorted radius stops rising; infinite where it never does."""

        def rises(r: Tensor) -> Tensor:
            k4, k5, k6 = self._all[5:]
            factor, slope = self._radial(r * r)
            return (factor + 2 * r * r * slope > 0) & (1 + r * r * (k4 + r * r * (k5 + r * r * k6)) > 0)

        radius = torch.tan(torch.linspace(0, torch.pi / 2 - 1e-3, 4001, dtype=torch.float64))
        return end_of_rise(rises, radius, torch.inf)

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """Radii and distorted radii up to the fold, from which Newton's method starts."""
        angle = torch.linspace(0, min(torch.pi / 2 - 1e-3, math.atan(self.last_radius)), 1025, dtype=torch.float64)
        radius = torch.tan(angle)
        return radius, radius * self._radial(radius * radius)[0]

    def _undistorted_radius(self, distorted: Tensor) -> Tensor:
        """About the radius that the radial part alone sends there."""
        radii, found = (values.to(distorted.device) for values in self._table)
        place = torch.searchsorted(found, distorted.contiguous()).clamp(1, len(found) - 1)
        share = ((distorted - found[place - 1]) / (found[place] - found[place - 1])).clamp(0, 1)
        return radii[place - 1] + share * (radii[place] - radii[place - 1])

    def distort(self, plane: Plane) -> Plane:
        """Where an ideal point of the plane z = 1 appears through the lens, also where the model folds."""
        p1, p2 = self._all[2:4]
        x, y = plane.unbind(-1)
        r2 = x * x + y * y
        radial, _ = self._radial(r2)
        if not (p1 or p2):
            return from_planes(x * radial, y * radial)
        return from_planes(
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )

    def _inverse_slope(self, plane: Plane) -> Float[Tensor, "*points 2 2"]:
        """The inverse of the derivative of `distort`."""
        p1, p2 = self._all[2:4]
        x, y = plane.unbind(-1)
        radial, slope = self._radial(x * x + y * y)
        xx = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
        yy = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
        xy = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        determinant = xx * yy - xy * xy
        rows = torch.stack([torch.stack([yy, -xy], -1), torch.stack([-xy, xx], -1)], -2)
        return rows / determinant[..., None, None]

    def undistort(self, plane: Plane) -> Plane:
        """The inverse of `distort`, by Newton's method; NaN where the lens folds and no inverse exists."""
        with torch.no_grad():
            target = plane.double()
            away, last = target.norm(dim=-1, keepdim=True), self.last_radius
            guess = target * torch.where(
                away > NEAR_AXIS, self._undistorted_radius(away) / away.clamp_min(NEAR_AXIS), 1.0
            )
            for _ in range(30):
                step = torch.einsum("...ij,...j->...i", self._inverse_slope(guess), self.distort(guess) - target)
                guess = guess - step
                if last < torch.inf:  # beyond it Newton's method would run to another branch
                    guess = guess * (last / guess.norm(dim=-1, keepdim=True).clamp_min(last))
                if not bool((step.abs() > 1e-14 * (1 + guess.abs())).any()):
                    break
            miss, size = ((vector.norm(dim=-1, keepdim=True)) for vector in (self.distort(guess) - target, guess))
            failed = ~(miss <= 1e-9 * (1 + size))  # also where it is not finite
            found = torch.where(failed, torch.nan, guess).to(plane)
        if not plane.requires_grad:
            return found
        slope = self._inverse_slope(torch.where(failed, 0.0, guess)).to(plane)
        return found + torch.einsum("...ij,...j->...i", slope, plane - plane.detach())

    def sees(self, direction: Points) -> Bool[Tensor, "*points"]:
        """Directions in front that the model does not fold."""
        x, y, z = direction.detach().unbind(-1)
        return (z > 0) & (x * x + y * y <= (self.last_radius * z) ** 2)

    def sensor(self, direction: Points) -> Plane:
        """Where a direction falls on the sensor; NaN where the lens does not see it."""
        seen = self.sees(direction)
        x, y, z = direction.unbind(-1)
        nearness = torch.where(seen, 1 / torch.where(seen, z, 1.0), torch.nan)
        return self.distort(from_planes(x * nearness, y * nearness))

    def direction(self, sensor: Plane) -> Points:
        """The unit vector of the ray that reaches a point of the sensor; NaN where there is none."""
        return from_plane(self.undistort(sensor))


@dataclass(frozen=True)
class KannalaBrandt:
    """Fisheye: the distorted radius is a (1 + k1 a^2 + k2 a^4 + k3 a^6 + k4 a^8), a the angle (Kannala-Brandt 2006).

    Its field may exceed 180 degrees: it ends where the radius stops rising.
    """

    coefficients: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        check_coefficients("fisheye", self.coefficients, (4,))

    def radius(self, angle_rad: Tensor) -> Tensor:
        """Distorted radius on the plane z = 1 of a ray at this angle from the axis."""
        k1, k2, k3, k4 = self.coefficients
        a2 = angle_rad * angle_rad
        return angle_rad * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))

    def _slope(self, angle_rad: Tensor) -> Tensor:
        """Derivative of `radius`."""
        k1, k2, k3, k4 = self.coefficients
        a2 = angle_rad * angle_rad
        return 1 + a2 * (3 * k1 + a2 * (5 * k2 + a2 * (7 * k3 + a2 * 9 * k4)))

    @cached_property
    def widest_rad(self) -> float:
        """The angle from the axis where the radius stops rising, at most 180 degrees."""
        angle = torch.linspace(0, torch.pi - 1e-3, 4001, dtype=torch.float64)
        return end_of_rise(lambda a: self._slope(a) > 0, angle, float(angle[-1]))

    def distort(self, plane: Plane) -> Plane:
        """Where an ideal point of the plane z = 1 appears through the lens."""
        r = plane.norm(dim=-1, keepdim=True)
        near_axis = r < NEAR_AXIS
        safe = torch.where(near_axis, torch.ones_like(r), r)
        factor = torch.where(near_axis, torch.ones_like(r), self.radius(torch.atan(safe)) / safe)
        return plane * factor

    def undistort(self, plane: Plane) -> Plane:
        """The inverse of `distort`; NaN where no ray in front of the camera reaches the point."""
        return on_plane(self.direction(plane))

    def sees(self, direction: Points) -> Bool[Tensor, "*points"]:
        """Directions within the field."""
        x, y, z = direction.detach().unbind(-1)
        return z >= math.cos(self.widest_rad) * length(x, y, z)

    def sensor(self, direction: Points) -> Plane:
        """Where a direction falls on the sensor; NaN where the lens does not see it."""
        return from_planes(*_FisheyeSensor.apply(*direction.unbind(-1), self))

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """Angles and their radii, from which Newton's method starts."""
        angle = torch.linspace(0, self.widest_rad, 1025, dtype=torch.float64)
        return angle, self.radius(angle)

    def angle(self, radius: Tensor) -> Tensor:
        """The inverse of `radius`, without gradient; NaN beyond the field."""
        r = radius.detach().double()
        angles, radii = (values.to(r.device) for values in self._table)
        place = torch.searchsorted(radii, r.contiguous()).clamp(1, len(radii) - 1)
        low, high = angles[place - 1], angles[place]
        share = (r - radii[place - 1]) / (radii[place] - radii[place - 1])
        angle = low + share.clamp(0, 1) * (high - low)
        for _ in range(4):
            step = (self.radius(angle) - r) / self._slope(angle).clamp_min(1e-3)
            angle = torch.minimum(torch.maximum(angle - step, low), high)
        return torch.where((self.radius(angle) - r).abs() < 1e-6, angle, torch.nan)

    def direction(self, sensor: Plane) -> Points:
        """The unit vector of the ray that reaches a point of the sensor; NaN where there is none."""
        r = sensor.norm(dim=-1, keepdim=True)
        found = self.angle(r)
        slope = 1 / self._slope(found)
        angle = with_gradient(found.to(sensor), slope.to(sensor), r)
        near_axis = r < NEAR_AXIS
        factor = torch.where(near_axis, torch.ones_like(r), torch.sin(angle) / torch.where(near_axis, 1.0, r))
        return torch.cat([sensor * factor, torch.cos(angle)], -1)


class _FisheyeSensor(torch.autograd.Function):
    """`KannalaBrandt.sensor` by coordinates, its derivative written out: a third of the time that autograd takes."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, z: Tensor, lens: KannalaBrandt) -> tuple[Tensor, Tensor]:
        """Both coordinates on the sensor; NaN where the lens does not see the direction."""
        across = length(x, y)
        angle = torch.atan2(across, z)
        factor = torch.where(angle <= lens.widest_rad + 1e-9, lens.radius(angle) / across, torch.nan)
        ctx.save_for_backward(x, y, z, angle)  # the rest is made anew on the way back: it takes more memory than time
        ctx.lens = lens
        return x * factor, y * factor

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """With the radius R and f = R / across: df = (R' z / |X|^2 - f) / across d(across) - R' / |X|^2 dz."""
        (grad_u, grad_v), (x, y, z, angle), lens = grad_outputs, ctx.saved_tensors, ctx.lens
        square = (x * x + y * y).clamp_min(1e-24)
        factor = torch.where(angle <= lens.widest_rad + 1e-9, lens.radius(angle) * square.rsqrt(), torch.nan)
        pull = grad_u * x + grad_v * y
        slope = lens._slope(angle) / (square + z * z)
        outward = pull * (slope * z - factor) / square
        return grad_u * factor + outward * x, grad_v * factor + outward * y, -pull * slope, None
