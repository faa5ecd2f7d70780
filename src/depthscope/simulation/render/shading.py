"""The light that comes back along rays: lamps, shadows, film, bounces, and the instrument before the tissue."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.geometry.casting import Hits
from depthscope.geometry.motion import rotate
from depthscope.simulation.light import Lamp, Lighting, arriving, dot, glint, irradiance
from depthscope.simulation.render.scene import OFF_THE_WALL_MM, Placed, Scene

SCOPE_TIP_MM = 1.0
"""What lies closer to a lamp than its distance from the lens and this much more casts no shadow: the tip is there."""

STAYS = 0.7
"""Share of the light that a wall sends back which meets another wall."""


@dataclass(frozen=True)
class Shading:
    """What the picture shows besides matte light.

    Attributes:
        samples: Rays through a pixel, along each side: 2 is 2 x 2.
        shadows: Whether walls cast shadows.
        film: Strength of the wet film's glints; 0 is dry.
        translucency_mm: How far red light spreads within tissue; green and blue less. 0 is opaque.
    """

    samples: int = 2
    shadows: bool = True
    film: float = 1.0
    translucency_mm: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= 8:
            raise BadInputError(f"{self.samples} rays along each side of a pixel", "1 to 8")
        if self.film < 0 or not 0 <= self.translucency_mm <= 5:
            raise BadInputError(
                f"film {self.film:g} and translucency {self.translucency_mm:g} mm", "0 or more, at most 5 mm"
            )


@dataclass(frozen=True, eq=False)
class RaySamples:
    """What rays found, to be averaged.

    Attributes:
        diffuse: Linear RGB light, shape (rays, 3).
        glint: Linear light of the film, white.
        irradiance: Light of the lamps that arrives.
        albedo: Reflectance, shape (rays, 3).
        offered: Light that would arrive without shadows.
        taken: What shadows take of it.
        lit: Share of each lamp's face that is seen, shape (rays, lamps).
    """

    diffuse: Float[Tensor, "rays 3"]
    glint: Float[Tensor, " rays"]
    irradiance: Float[Tensor, " rays"]
    albedo: Float[Tensor, "rays 3"]
    offered: Float[Tensor, " rays"]
    taken: Float[Tensor, " rays"]
    lit: Float[Tensor, "rays lamps"]

    def __add__(self, other: "RaySamples") -> "RaySamples":
        return RaySamples(*(a + b for a, b in zip(self._values, other._values, strict=True)))

    def scaled(self, factor: float) -> "RaySamples":
        """All of it times a factor."""
        return RaySamples(*(factor * value for value in self._values))

    def __getitem__(self, rows: Tensor) -> "RaySamples":
        """Those of some rays."""
        return RaySamples(*(value[rows] for value in self._values))

    def replaced(self, rows: Tensor, other: "RaySamples") -> "RaySamples":
        """With what some rays found instead."""
        merged = [value.clone() for value in self._values]
        for value, found in zip(merged, other._values, strict=True):
            value[rows] = found
        return RaySamples(*merged)

    def with_opaque(self, where: Bool[Tensor, " rays"], other: "RaySamples") -> "RaySamples":
        """With what some rays found instead: something that light does not spread within."""
        opaque = replace(other, irradiance=torch.zeros_like(other.irradiance), albedo=torch.zeros_like(other.albedo))
        return self.replaced(where, opaque)

    @property
    def _values(self) -> tuple[Tensor, ...]:
        return self.diffuse, self.glint, self.irradiance, self.albedo, self.offered, self.taken, self.lit


def total(samples: Sequence[RaySamples]) -> RaySamples:
    """The sum of what the same rays found."""
    return reduce(RaySamples.__add__, samples)


def sampled(
    scene: Scene,
    rays: Float[Tensor, "rays 3"],
    camera_from_world: RigidMotion,
    focal_px: float,
    lighting: Lighting,
    shading: Shading,
    number: int = 0,
    instrument: Placed | None = None,
    foreseen: Float[Tensor, "rays lamps"] | None = None,
    met: Hits | None = None,
) -> RaySamples:
    """What one ray through each pixel finds; rays that meet nothing find darkness.

    Args:
        scene: The tissue.
        rays: With z = 1, in camera axes.
        camera_from_world: Of the camera, or of each ray.
        focal_px: Of the camera, for the size of a pixel on the tissue.
        lighting: The lamps.
        shading: What the picture shows.
        number: Of the sample within the pixel.
        instrument: What may stand before the tissue. It shades the tissue, and itself, but is not shaded by it.
        foreseen: Where a lamp is seen (1) or not (0) without a look; NaN has to be looked at, as has all without it.
        met: Where these rays meet the tissue, if it is known.
    """
    # What the picture needs, single precision gives; depth itself is computed by `truth`.
    rays, camera_from_world = rays.float(), camera_from_world.to(torch.float32)
    tissue, depth = _shaded(
        scene, rays, camera_from_world, focal_px, lighting, shading, number, instrument, foreseen, met
    )
    if instrument is None:
        return tissue
    instrument = Placed(instrument.scene, instrument.world_from_own.to(torch.float32))
    camera_from_own = camera_from_world @ instrument.world_from_own
    before = in_front(instrument, rays, camera_from_world, depth)
    if not bool(before.any()):
        return tissue
    some = camera_from_own[before] if camera_from_own.translation.dim() > 1 else camera_from_own
    metal, _ = _shaded(instrument.scene, rays[before], some, focal_px, lighting, shading, number)
    return tissue.with_opaque(before, metal)


def in_front(
    instrument: Placed, rays: Float[Tensor, "rays 3"], camera_from_world: RigidMotion, depth: Float[Tensor, " rays"]
) -> Bool[Tensor, " rays"]:
    """Which rays meet the instrument before the tissue at this depth (0 is none)."""
    own_from_camera = (camera_from_world @ instrument.world_from_own).inverse()
    starts = own_from_camera.translation.reshape(-1, 3)
    found = instrument.scene.cast(starts, rotate(own_from_camera.rotation, rays))
    return found.found & ((depth == 0) | (found.distance < depth))


def _shaded(
    scene: Scene,
    rays: Float[Tensor, "rays 3"],
    camera_from_world: RigidMotion,
    focal_px: float,
    lighting: Lighting,
    shading: Shading,
    number: int,
    before: Placed | None = None,
    foreseen: Float[Tensor, "rays lamps"] | None = None,
    met: Hits | None = None,
) -> tuple[RaySamples, Float[Tensor, " rays"]]:
    """What rays find of one surface, and how far it is; 0 where they miss it."""
    world_from_camera = camera_from_world.inverse()
    hits = met or scene.cast(world_from_camera.translation.reshape(-1, 3), rotate(world_from_camera.rotation, rays))
    depth = hits.distance.float()
    seen, cell = depth[:, None] * rays, depth / focal_px
    places = world_from_camera.apply(seen)
    outward, tones = scene.at(hits)
    turn = camera_from_world.rotation
    sticking = scene.rest.places(hits) if scene.rest else places
    albedo = scene.texture.albedo(sticking, outward, tones, cell)
    normals = rotate(turn, outward)
    film, roughness = scene.texture.film(sticking, outward) if shading.film else (outward, torch.ones_like(cell))
    film = rotate(turn, film)
    wrap = 0.15 if shading.translucency_mm else 0.0

    arrives, offered, shine, around = (torch.zeros(len(rays)) for _ in range(4))
    shares = torch.ones(len(rays), len(lighting.lamps)) if foreseen is None else foreseen.clone()
    above = places + OFF_THE_WALL_MM * outward
    for column, lamp in enumerate(lighting.lamps):
        arrived = arriving(lamp, seen)
        light = irradiance(lamp, seen, normals, wrap, arrived)
        lit = shares[:, column]
        if shading.shadows:
            open_to = slice(None) if foreseen is None else lit.isnan()
            lit[open_to] = _lit(scene, lamp, above, world_from_camera, number, before, open_to)
        offered, arrives = offered + light, arrives + lit * light
        around = around + arrived[1]
        if shading.film:
            shine = shine + scene.gloss * shading.film * lit * glint(lamp, seen, film, roughness, arrived)
    # Walls light each other: deeper in a cavity more, and each bounce takes the colour of the tissue once more. All
    # bounces are a geometric series, of which so much of the light stays in the cavity.
    series = albedo * albedo / (1 - STAYS * albedo)
    bounced = lighting.ambient * (0.15 + 0.85 * tones[:, 2:3]) * around[:, None] * series
    diffuse = (albedo * arrives[:, None] + bounced) / math.pi
    zero = hits.found.float()
    found = RaySamples(
        diffuse * zero[:, None], shine * zero, arrives * zero, albedo * zero[:, None], offered * zero,
        (offered - arrives) * zero, shares,
    )  # fmt: skip
    return found, depth


def _lit(
    scene: Scene,
    lamp: Lamp,
    above: Float[Tensor, "rays 3"],
    world_from_camera: RigidMotion,
    number: int,
    before: Placed | None,
    rows: Tensor | slice,
) -> Float[Tensor, " some"]:
    """For some rays, 1 where a lamp's light arrives, 0 in its shadow; every sample looks at another place of it."""
    angle = 2.399963 * number  # the golden angle spreads any number of places over the face
    offset = lamp.radius_mm * math.sqrt((number % 4 + 0.5) / 4)
    place = world_from_camera.translation.new_tensor(lamp.position_mm)
    place = place + place.new_tensor([offset * math.cos(angle), offset * math.sin(angle), 0.0])
    lamps = world_from_camera.apply(place)
    above = above[rows]
    ways = (lamps[rows] if lamps.dim() > 1 else lamps) - above
    own = (math.hypot(*lamp.position_mm) + SCOPE_TIP_MM) / dot(ways, ways).sqrt().clamp_min(1e-6)[:, None]
    ends = above + (1 - own.clamp(0, 0.9)) * ways
    dark = scene.blocked(above, ends)
    return (~(dark if before is None else dark | before.blocked(above, ends))).float()
