"""Tools in a still: needles, probes and forceps of steel, black or coloured, that come in from anywhere.

They are foreign to the tissue: what a depth network learns of them is masked, but it must learn to see past them.
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
from depthscope.simulation.instrument import solid
from depthscope.simulation.render import HitPoints, Placed, RenderView, Scene


@dataclass(frozen=True)
class Metal:
    """A tool's face, with rings of another brightness around its shaft.

    Attributes:
        colour: Linear RGB reflectance.
        rings_mm: Distance of the rings; 0 is none.
        roughness: Of its mirror.
    """

    colour: tuple[float, float, float] = (0.3, 0.3, 0.31)
    rings_mm: float = 0.0
    roughness: float = 0.3

    def albedo(self, points: Tensor, normals: Tensor, tones: Tensor, cell_mm: Tensor) -> Tensor:
        """Its colour, brushed along the shaft."""
        brushed = 1 + 0.08 * torch.sin(31.0 * points[:, 2]).float()
        if self.rings_mm:
            brushed = brushed * torch.where(
                torch.remainder(points[:, 2], self.rings_mm) < 0.3 * self.rings_mm, 0.35, 1.0
            )
        return brushed[:, None] * points.new_tensor(self.colour).float()

    def film(self, points: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
        """Its own normals and roughness."""
        return normals, torch.full((len(points),), self.roughness)


@dataclass(frozen=True)
class Tool:
    """A straight tool with a tapered tip, or two jaws.

    Attributes:
        diameter_mm: Of the shaft.
        taper_mm: Length over which the tip narrows.
        opening_rad: Angle between its jaws; 0 has none.
        metal: Its face.
        gloss: How many times more than water it mirrors.
        reach: Share of the way to the tissue that its tip comes to.
        at: Where in the picture its tip is, as shares of the content's radius from its middle.
        side_rad: Which side of the picture it comes from.
        aside: How far off the axis its shaft begins, in depths of its tip.
    """

    diameter_mm: float
    taper_mm: float
    opening_rad: float = 0.0
    metal: Metal = Metal()
    gloss: float = 4.0
    reach: float = 0.7
    at: tuple[float, float] = (0.0, 0.0)
    side_rad: float = 0.0
    aside: float = 0.6

    def __post_init__(self) -> None:
        if not 0 < self.reach <= 0.95 or not 0 <= self.opening_rad <= 1.6 or math.hypot(*self.at) > 0.9:
            raise BadInputError(
                f"a tool with a reach of {self.reach:g}, jaws {self.opening_rad:g} apart, at {self.at}",
                "a reach up to 0.95, jaws up to 1.6 rad, a tip within the picture",
            )

    def before(self, view: RenderView, camera_from_world: RigidMotion, seen: HitPoints) -> Placed:
        """The tool before the tissue that a camera sees."""
        pixels = view.pixels
        low, high = pixels.amin(0), pixels.amax(0)
        wanted = (low + high) / 2 + 0.5 * (high - low) * pixels.new_tensor(self.at)
        row = int((pixels - wanted).square().sum(-1).argmin())
        ray, depth = view.rays()[row], float(seen.depth[row])
        depth = depth if depth > 0 else float(seen.depth.median())
        tip = self.reach * depth * ray
        side = tip.new_tensor([math.cos(self.side_rad), math.sin(self.side_rad), 0.0])
        base = self.aside * float(tip.norm()) * side + (2.0 + 0.5 * self.diameter_mm) * side
        axis = functional.normalize(tip - base, dim=-1)
        across = functional.normalize(torch.linalg.cross(axis, side + 0.01 * side.roll(1)), dim=-1)
        rotation = torch.stack([across, torch.linalg.cross(axis, across), axis], -1)
        camera_from_own = RigidMotion(rotation, tip)
        scene = _scene(self.diameter_mm, self.taper_mm, self.opening_rad, self.metal, self.gloss)
        return Placed(scene, camera_from_world.inverse() @ camera_from_own)


@lru_cache(maxsize=2)
def _scene(diameter: float, taper: float, opening: float, metal: Metal, gloss: float) -> Scene:
    """A tool's mesh, its tip at the origin and its shaft along -z."""
    shaft = solid(diameter, taper).surface
    if not opening:
        return Scene(shaft, metal, torch.ones(len(shaft.points), 3), gloss=gloss)
    jaw = solid(0.6 * diameter, taper).surface
    assert jaw.faces is not None and jaw.normals is not None and shaft.faces is not None and shaft.normals is not None
    kept = jaw.points[:, 2] > -2.5 * taper  # the far end is cut off by moving it into the joint
    points = torch.where(kept[:, None], jaw.points, jaw.points.new_tensor([0.0, 0.0, -taper]))
    parts = [(shaft.points - shaft.points.new_tensor([0.0, 0.0, taper]), shaft.normals, shaft.faces)]
    for sign in (-1, 1):
        turn = _turned(sign * opening / 2)
        joint = points.new_tensor([0.0, 0.0, -taper])
        parts.append(((points - joint) @ turn.T + joint, jaw.normals @ turn.T, jaw.faces))
    starts = np.cumsum([0, *(len(p) for p, _, _ in parts)])[:-1].tolist()
    surface = Surface(
        torch.cat([p for p, _, _ in parts]),
        torch.cat([n for _, n, _ in parts]),
        None,
        torch.cat([f + start for (_, _, f), start in zip(parts, starts, strict=True)]),
        "mm",
    )
    return Scene(surface, metal, torch.ones(len(surface.points), 3), gloss=gloss)


def _turned(angle_rad: float) -> Float[Tensor, "3 3"]:
    """A rotation about x."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return torch.tensor([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]], dtype=torch.float64)
