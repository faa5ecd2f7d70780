"""A straight instrument with a tapered tip and a mark every five millimetres, led into the view from its side.

Its own axes: the tip at the origin, the shaft along -z. It is a small mesh of its own, so that its depth is as exact as
the tissue's and it casts shadows like a wall.
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
from depthscope.geometry import RigidMotion, Surface
from depthscope.geometry.motion import rotate
from depthscope.simulation.render import Placed, Scene

SHAFT_MM = 120.0
"""Length that is rendered."""

MARK_MM = 5.0
"""Between the marks on the shaft."""

SIDES = 128
"""Faces around it: the radius is true to 0.03 %."""

MIRRORS = 2.5
"""How many times more than water the blackened steel mirrors from straight above."""


@dataclass(frozen=True)
class Instrument:
    """A shaft of known diameter.

    Attributes:
        diameter_mm: Of the shaft.
        taper_mm: Length of the tip, over which it narrows to under half.
        reach: Share of the way from the lens to the tissue that the tip comes to.
        period_s: Time of one move in and out.
        seed: Of the side that it enters from, and of its moves.
    """

    diameter_mm: float = 2.4
    taper_mm: float = 5.0
    reach: float = 0.6
    period_s: float = 2.4
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.5 <= self.diameter_mm <= 8 or not 0.5 <= self.taper_mm <= 30:
            raise BadInputError(
                f"an instrument of {self.diameter_mm:g} mm with a tip of {self.taper_mm:g} mm",
                "0.5 to 8 mm and 0.5 to 30 mm",
            )
        if not 0 < self.reach <= 0.9 or self.period_s <= 0:
            raise BadInputError(
                f"an instrument with a reach of {self.reach:g}", "above 0, to 0.9, and a period above 0"
            )

    def camera_from_own(self, seconds: float, room_mm: float) -> RigidMotion:
        """Where it is before a camera at a moment, the tip at most `room_mm` deep and often nearer."""
        draw = np.random.default_rng((self.seed, 65))
        side, phase, sway, wobble = draw.uniform(0, 2 * math.pi, 4)
        turn = 2 * math.pi * seconds / self.period_s
        far = 0.55 + 0.45 * (0.5 - 0.5 * math.cos(turn + phase))
        z = self.reach * room_mm * far
        # From a channel beside the lens; the tip sways about a place off the middle of the picture.
        side = side + 0.12 * math.sin(0.6 * turn + sway)
        towards = torch.tensor([math.cos(side), math.sin(side), 0.0], dtype=torch.float64)
        across = torch.tensor([-math.sin(side), math.cos(side), 0.0], dtype=torch.float64)
        base = (2.5 + 0.5 * self.diameter_mm) * towards
        tip = z * (0.12 * towards + 0.06 * math.sin(1.7 * turn + wobble) * across)
        tip = tip + tip.new_tensor([0.0, 0.0, z])
        axis = functional.normalize(tip - base + tip.new_tensor([0.0, 0.0, 2.0]), dim=-1)
        right = functional.normalize(torch.linalg.cross(across, axis), dim=-1)
        rotation = torch.stack([right, torch.linalg.cross(axis, right), axis], -1)
        return RigidMotion(rotation, tip)


@dataclass(frozen=True)
class Steel:
    """Blackened steel, as it must be so close to the lamps, with darker marks around it."""

    def albedo(self, points: Tensor, normals: Tensor, tones: Tensor, cell_mm: Tensor) -> Tensor:
        """Grey; dark within half a mm of each mark."""
        nearest = (torch.remainder(points[:, 2] + MARK_MM / 2, MARK_MM) - MARK_MM / 2).abs()
        marked = ((0.35 - nearest) / 0.1).clamp(0, 1).float() * (points[:, 2] < -MARK_MM / 2)
        brushed = 0.022 * (1 + 0.12 * torch.sin(41.0 * points[:, 2]).float())
        return ((1 - 0.8 * marked) * brushed)[:, None] * points.new_tensor([1.0, 1.0, 1.03]).float()

    def film(self, points: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
        """Its own normals, and the roughness of a brushed face."""
        return normals, torch.full((len(points),), 0.34)


@lru_cache(maxsize=4)
def solid(diameter_mm: float, taper_mm: float) -> Scene:
    """An instrument's mesh with its texture."""
    radius = diameter_mm / 2
    bend = np.linspace(0, math.pi / 2, 9)
    nose = 0.4 * radius
    z = np.concatenate([nose * (np.cos(bend[::-1]) - 1)[::-1], [-nose - 0.2 * taper_mm, -taper_mm, -SHAFT_MM]])
    r = np.concatenate([nose * np.sin(bend), [nose, radius, radius]])
    r[0] = 1e-6
    angle = 2 * math.pi * np.arange(SIDES) / SIDES
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    slope = np.gradient(r, -z)
    # Each stretch of the profile has its own two rings, so that edges stay sharp where the profile bends.
    points, normals, faces = [], [], []
    for i in range(len(z) - 1):
        smooth = i < len(bend) - 1
        rise = (r[i + 1] - r[i]) / (z[i] - z[i + 1])
        for k in (i, i + 1):
            lean = math.tan(min(math.atan(slope[k]), 1.55)) if smooth and k < len(bend) - 1 else rise
            points.append(np.column_stack([r[k] * ring, np.full(SIDES, z[k])]))
            normals.append(np.column_stack([ring, np.full(SIDES, lean)]))
        a = 2 * i * SIDES + np.arange(SIDES)
        b = 2 * i * SIDES + (np.arange(SIDES) + 1) % SIDES
        faces += [np.column_stack([a, b, a + SIDES]), np.column_stack([b, b + SIDES, a + SIDES])]
    at, out, mesh = (torch.from_numpy(np.concatenate(x)) for x in (points, normals, faces))
    surface = Surface(at, functional.normalize(out, dim=-1), None, mesh, "mm")
    return Scene(surface, Steel(), torch.ones(len(at), 3), gloss=MIRRORS)


def placed(instrument: Instrument, scene: Scene, camera_from_world: RigidMotion, seconds: float) -> Placed:
    """The instrument at a moment, its tip held back by the tissue that it comes to.

    Args:
        instrument: What it is.
        scene: The tissue, at that moment or at rest.
        camera_from_world: Of the camera then.
        seconds: The moment.
    """
    world_from_camera = camera_from_world.inverse()
    aim = functional.normalize(instrument.camera_from_own(seconds, 10.0).translation, dim=-1)
    aims = aim + 0.12 * torch.tensor([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=torch.float64)
    aims = aims / aims[:, 2:]
    hits = scene.cast(world_from_camera.translation[None], rotate(world_from_camera.rotation, aims))
    room = float(torch.where(hits.found, hits.distance, 30.0).min().clamp(3.0, 30.0))
    return Placed(
        solid(instrument.diameter_mm, instrument.taper_mm),
        world_from_camera @ instrument.camera_from_own(seconds, room),
    )


def carried(now: Placed, later: Placed, places: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
    """Where points of the instrument are later."""
    return later.world_from_own.apply(now.world_from_own.inverse().apply(places))
