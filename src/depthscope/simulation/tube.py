"""A bent, folded tube, the camera's path through it, and the exact depth of any ray.

Not flat: folds hide what is behind them, so warping and visibility are put to the test. Lengths are in mm. The world's
z runs along the tube; the camera starts near the origin.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, RigidMotion
from depthscope.geometry.depth import pixel_grid
from depthscope.geometry.motion import rotate

FOLD_SPACING, FOLD_WIDTH = 1.1, 0.2
"""Distance between folds, and the width of one, in radii."""

SMALLEST_STEP = 100
"""Steps per radius at least: a fold cut by less than one step stands out by less than a tenth of a pixel."""

FIELD_TOLERANCE = 1e-7
"""How near to the wall a ray ends, in mm."""

RAYS_AT_ONCE = 16384
"""So many keep within the processor's cache."""

SHORTEST_TRACK = 3
"""A point that fewer frames saw is not kept, as in structure from motion."""


@dataclass(frozen=True)
class Tube:
    """Options of the simulated tube.

    With `bend`, `fold_depth`, `bumps`, `roughness` and `pinch` at 0 it is a straight cylinder with a flat end.

    Attributes:
        frames: Number of frames.
        size_px: (width, height) of the pictures.
        seed: Everything drawn at random is a function of it.
        radius_mm: Radius of the tube.
        length: Distance from the start to the end wall, in radii.
        bend: Slope that the tube bends to.
        fold_depth: How far the folds reach into the lumen, in radii.
        bumps: Number of polyp-like bumps.
        roughness: Standard deviation of the gentle undulation of the wall, in radii.
        pinch: How far the round section is pinched to a triangle, in radii.
        travel: How far the camera moves forward, in radii.
        sway: How far it sways sideways, in radii.
        points: Number of sparse points asked for; those seen too briefly are left out.
        pixel_noise_px: Standard deviation of where a point is measured in each image.
        depth_noise: Standard deviation of a point's depth, as a share of it.
        outliers: Share of the points that lie at a wrong depth in all their frames.
        sensor_noise: Standard deviation of the pictures' noise, full scale 1.
    """

    frames: int = 24
    size_px: tuple[int, int] = (320, 256)
    seed: int = 0
    radius_mm: float = 10.0
    length: float = 4.0
    bend: float = 0.7
    fold_depth: float = 0.34
    bumps: int = 7
    roughness: float = 0.025
    pinch: float = 0.08
    travel: float = 0.65
    sway: float = 0.12
    points: int = 600
    pixel_noise_px: float = 0.3
    depth_noise: float = 0.01
    outliers: float = 0.0
    sensor_noise: float = 0.008

    def __post_init__(self) -> None:
        if self.frames < SHORTEST_TRACK:
            raise BadInputError(f"{self.frames} frames", f"at least {SHORTEST_TRACK} to see a point in")
        if min(self.size_px) < 32:
            raise BadInputError(f"size_px {self.size_px}", "at least 32 pixels")
        if self.radius_mm <= 0 or self.points < 1:
            raise BadInputError(f"radius_mm {self.radius_mm} and {self.points} points", "positive numbers")
        if not 0 <= self.fold_depth <= 0.4:
            raise BadInputError(f"fold_depth {self.fold_depth}", "0 to 0.4, which leaves room for the camera")
        if self.length < self.travel + 2:
            raise BadInputError(f"a tube of {self.length} radii", f"at least {self.travel + 2:g} for this travel")
        if not 0 <= self.outliers < 1:
            raise BadInputError(f"a share of outliers of {self.outliers}", "0 to 1")
        for name in ("bend", "bumps", "roughness", "pinch", "sway", "pixel_noise_px", "depth_noise", "sensor_noise"):
            if getattr(self, name) < 0:
                raise BadInputError(f"{name} {getattr(self, name)}", "0 or more")

    @property
    def camera(self) -> Camera:
        """A pinhole camera that sees 80 degrees across."""
        width, height = self.size_px
        return Camera(self.size_px, (0.6 * width, 0.6 * width), (0.505 * width, 0.49 * height), source="simulated")

    @property
    def content(self) -> Float[Tensor, "height width"]:
        """The round picture of the scope: 1 inside, 0 outside, a rim of two pixels between."""
        width, height = self.size_px
        radius = min(0.5 * width, 0.6 * height) - 2
        centre = torch.tensor([width / 2, height / 2], dtype=torch.float64)
        distance = (pixel_grid(height, width, centre) - centre).norm(dim=-1)
        return ((radius - distance) / 2 + 0.5).clamp(0, 1)

    def wall(self) -> "Wall":
        """The wall of this seed."""
        draw = np.random.default_rng((self.seed, 11))
        folds = int(self.length / FOLD_SPACING) + 3
        return Wall(
            options=self,
            bend_angle=float(draw.uniform(0, 2 * np.pi)),
            fold_z=_tensor(np.arange(folds) - 0.5 + draw.uniform(-0.2, 0.2, folds)) * FOLD_SPACING,
            fold_angle=_tensor(np.cumsum(draw.uniform(1.4, 2.8, folds))),
            fold_height=_tensor(draw.uniform(0.55, 1.0, folds)) * self.fold_depth,
            fold_tilt=_tensor(draw.uniform(-0.25, 0.25, folds)),
            bump_z=_tensor(draw.uniform(1.0, max(self.length - 1, 1.5), self.bumps)),
            bump_angle=_tensor(draw.uniform(0, 2 * np.pi, self.bumps)),
            bump_height=_tensor(draw.uniform(0.1, 0.28, self.bumps)),
            bump_width=_tensor(draw.uniform(0.16, 0.3, self.bumps)),
            wave_z=_tensor(draw.uniform(1.0, 5.0, 6)),
            wave_around=_tensor(draw.uniform(-4.0, 4.0, (6, 2))),
            wave_phase=_tensor(draw.uniform(0, 2 * np.pi, 6)),
        )

    def camera_from_world(self) -> RigidMotion:
        """The motions of all frames: forward, swaying, looking ahead along the tube."""
        wall = self.wall()
        phase = torch.from_numpy(np.random.default_rng((self.seed, 12)).uniform(0, 2 * np.pi, 5))
        time = torch.linspace(0, 1, self.frames, dtype=torch.float64)

        def swing(i: int, cycles: float) -> Tensor:
            return torch.sin(2 * torch.pi * cycles * time + phase[i])

        z = self.radius_mm * self.travel * (time + 0.03 * swing(4, 2.0))
        sway = self.sway * self.radius_mm * torch.stack([swing(0, 0.8), swing(1, 1.1)], -1)
        centre = torch.cat([wall.axis(z) + sway, z[:, None]], -1)

        ahead = z + 3 * self.radius_mm
        glance = 0.07 * self.radius_mm * torch.stack([swing(2, 0.9), swing(3, 0.7)], -1)
        target = torch.cat([0.7 * wall.axis(ahead) + 0.3 * wall.axis(z) + glance, ahead[:, None]], -1)

        forward = functional.normalize(target - centre, dim=-1)
        roll = 0.03 * swing(4, 0.6)
        down = torch.stack([torch.sin(roll), torch.cos(roll), torch.zeros_like(roll)], -1)
        right = functional.normalize(torch.linalg.cross(down, forward), dim=-1)
        rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], 1)
        return RigidMotion(rotation, -rotate(rotation, centre))


def _tensor(values) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Wall:
    """The surface of the tube as a signed field: positive in the lumen, 0 on the wall.

    Attributes:
        options: The tube that it belongs to.
        bend_angle: Direction of the bend about z.
        fold_z: Where each fold sits, in radii.
        fold_angle: Where around the tube it is highest.
        fold_height: How far it reaches in, in radii.
        fold_tilt: How far it leans along the tube, in radii.
        bump_z: Where each bump sits, in radii.
        bump_angle: Where around the tube.
        bump_height: Its height, in radii.
        bump_width: Its width, in radii.
        wave_z: Angular frequency of each undulation along the tube, per radius.
        wave_around: Its angular frequency across the tube, in x and y.
        wave_phase: Its phase.
    """

    options: Tube
    bend_angle: float
    fold_z: Float[Tensor, " folds"]
    fold_angle: Float[Tensor, " folds"]
    fold_height: Float[Tensor, " folds"]
    fold_tilt: Float[Tensor, " folds"]
    bump_z: Float[Tensor, " bumps"]
    bump_angle: Float[Tensor, " bumps"]
    bump_height: Float[Tensor, " bumps"]
    bump_width: Float[Tensor, " bumps"]
    wave_z: Float[Tensor, " waves"]
    wave_around: Float[Tensor, "waves 2"]
    wave_phase: Float[Tensor, " waves"]

    def axis(self, z_mm: Float[Tensor, "*points"]) -> Float[Tensor, "*points 2"]:
        """Middle of the tube in x and y: straight at first, then sloping by `bend`, with a gentle wriggle."""
        z = z_mm / self.options.radius_mm
        along = self.options.bend * ((z * z + 9).sqrt() - 3)
        across = 0.15 * self.options.bend * torch.sin(1.1 * z)
        turn = torch.tensor(self.bend_angle, dtype=z.dtype)
        x = torch.cos(turn) * along - torch.sin(turn) * across
        y = torch.sin(turn) * along + torch.cos(turn) * across
        return self.options.radius_mm * torch.stack([x, y], -1)

    def field(self, points: Float[Tensor, "*points 3"]) -> Float[Tensor, "*points"]:
        """Signed field in mm at world points; near the wall about the distance to it, times up to `steepness`."""
        radius = self.options.radius_mm
        x, y = ((points[..., :2] - self.axis(points[..., 2])) / radius).unbind(-1)
        z = points[..., 2] / radius
        from_axis = torch.hypot(x, y)
        around = from_axis.clamp_min(1e-9)
        side = self._radius(z, x / around, y / around) - from_axis
        end = self.options.length - z
        # A rounded corner between side and end: the exact minimum where they differ by more than the rounding.
        overlap = (0.4 - (side - end).abs()).clamp_min(0)
        return radius * (torch.minimum(side, end) - overlap**2 / 1.6)

    def _radius(self, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Distance of the wall from the axis, in radii, at z and in the direction (u, v) around the axis."""
        options = self.options
        distance = torch.ones_like(z)
        if options.pinch:
            triple = u * (4 * u * u - 3) * math.cos(self.bend_angle) - v * (3 - 4 * v * v) * math.sin(self.bend_angle)
            distance = distance + options.pinch * triple  # cos(3 a + bend_angle)
        if options.fold_depth:
            folds = self._folds
            first = torch.floor(z / FOLD_SPACING + 0.5).long()
            for k in (first, first + 1):  # the only two that reach this far
                at, tilt, height, cosine, sine = folds[k.clamp(0, len(folds) - 1)].unbind(-1)
                about = u * cosine + v * sine
                along = (z - at - tilt * about) / FOLD_WIDTH
                distance = distance - height * torch.exp(1.1 * (about - 1) - along * along)
        place = torch.stack([torch.ones_like(z), u, v, z, z * z], -1)
        if options.bumps:
            distance = distance - torch.exp(place @ self._bumps).sum(-1)
        if options.roughness:
            distance = distance + 0.58 * options.roughness * torch.sin(place[..., :4] @ self._waves).sum(-1)
        return distance

    @cached_property
    def _folds(self) -> Float[Tensor, "folds 5"]:
        """Place, tilt, height and direction of each fold, as rows to pick from."""
        angle = self.fold_angle
        return torch.stack([self.fold_z, self.fold_tilt, self.fold_height, angle.cos(), angle.sin()], -1)

    @cached_property
    def _bumps(self) -> Float[Tensor, "5 bumps"]:
        """Logarithm of each bump, h exp(-((z - z0)^2 + (u - u0)^2 + (v - v0)^2) / w^2), in terms of 1, u, v, z, z^2."""
        at, u, v, sharp = self.bump_z, self.bump_angle.cos(), self.bump_angle.sin(), self.bump_width**-2
        constant = self.bump_height.log() - sharp * (at * at + 2)  # u^2 + v^2 = 1
        return torch.stack([constant, 2 * sharp * u, 2 * sharp * v, 2 * sharp * at, -sharp])

    @cached_property
    def _waves(self) -> Float[Tensor, "4 waves"]:
        """Angle of each undulation's sine in terms of 1, u, v, z."""
        return torch.stack([self.wave_phase, *self.wave_around.unbind(-1), self.wave_z])

    @property
    def steepness(self) -> float:
        """A bound of the slope of the field, so that steps of field / steepness do not jump over the wall."""
        options = self.options
        fold = 0.86 * options.fold_depth / FOLD_WIDTH
        bump = 0.86 * float((self.bump_height / self.bump_width).max()) if options.bumps else 0.0
        along = 1.2 * options.bend + max(fold, bump) + 6 * options.roughness
        around = 3 * options.pinch + 0.6 * options.fold_depth + 6 * options.roughness
        return math.hypot(1, along, around)

    def normals(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """Unit normals into the lumen at points of the wall, by central differences of the field."""
        h = 1e-4 * self.options.radius_mm
        shifts = h * torch.eye(3, dtype=points.dtype)
        gradient = torch.stack([self.field(points + shift) - self.field(points - shift) for shift in shifts], -1)
        return functional.normalize(gradient, dim=-1)


def ray_depth(wall: Wall, camera_from_world: RigidMotion, rays: Float[Tensor, "*rays 3"]) -> Float[Tensor, "*rays"]:
    """Depth along z, in mm, at which each ray (z = 1, in camera axes) first meets the wall; 0 where it never does.

    The camera stands in the lumen. The motions broadcast to the rays: one serves all, or each has its own.
    Steps that the slope of the field allows lead to the wall; false position between the last two places finds it to
    1e-6 mm. A fold that the ray only grazes, for less than a hundredth of the radius, may be missed.
    """
    world_from_camera = camera_from_world.inverse()
    directions = rotate(world_from_camera.rotation, rays)
    starts = world_from_camera.translation.expand_as(directions).reshape(-1, 3).split(RAYS_AT_ONCE)
    parts = zip(starts, directions.reshape(-1, 3).split(RAYS_AT_ONCE), strict=True)
    return torch.cat([_first_hit(wall, *part) for part in parts]).reshape(directions.shape[:-1])


def _first_hit(
    wall: Wall, starts: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]
) -> Float[Tensor, " rays"]:
    """How many times its direction each ray goes from its start to the wall; 0 where it never meets it."""
    radius, furthest = wall.options.radius_mm, 4 * wall.options.length * wall.options.radius_mm
    found = torch.zeros_like(directions[:, 0])
    if not len(directions):
        return found
    # Up to the wall in steps that the slope of the field allows.
    rows = torch.arange(len(directions))
    start, direction, length = starts, directions, directions.norm(dim=-1)
    depth, value = torch.zeros_like(length), wall.field(start)
    brackets = []
    while len(rows):
        new_depth = depth + (value / wall.steepness).clamp_min(radius / SMALLEST_STEP) / length
        new_value = wall.field(start + new_depth[:, None] * direction)
        hit = new_value <= 0
        brackets.append([x[hit] for x in (rows, depth, new_depth, value, new_value)])
        going = ~hit & (new_depth < furthest)
        state = (rows, start, direction, length, new_depth, new_value)
        rows, start, direction, length, depth, value = (x[going] for x in state)

    # False position, halving the value at an end that stays twice (the Illinois rule), so that both ends close in.
    rows, low, high, at_low, at_high = (torch.cat(parts) for parts in zip(*brackets, strict=True))
    start, direction = starts[rows], directions[rows]
    was_outside = was_inside = torch.zeros_like(rows, dtype=torch.bool)
    while len(rows):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        value = wall.field(start + middle[:, None] * direction)
        found[rows] = middle
        outside = value > 0
        at_high = torch.where(outside, torch.where(was_outside, at_high / 2, at_high), value)
        at_low = torch.where(outside, value, torch.where(was_inside, at_low / 2, at_low))
        low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
        unsure = (value.abs() > FIELD_TOLERANCE) & (high - low > FIELD_TOLERANCE)
        state = (rows, start, direction, low, high, at_low, at_high, outside, ~outside)
        rows, start, direction, low, high, at_low, at_high, was_outside, was_inside = (x[unsure] for x in state)
    return found
