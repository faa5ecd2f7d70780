"""A textured surface that rays are cast at, and what may stand before it."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, Surface
from depthscope.geometry.casting import Hits, RayCaster
from depthscope.simulation.texture import Texture

OFF_THE_WALL_MM = 0.05
"""Shadow rays start this far above the surface, or its own triangles would shadow it."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A surface with its texture, ready to be looked at.

    Attributes:
        surface: Triangles with normals into the air, in mm.
        texture: What it looks like.
        tones: Blood, vessels and depth in a cavity of each vertex, and its tint where it has one, shape (points, 3) or
            (points, 6); see `texture.Mucosa.albedo`.
        gloss: How many times more than water its film mirrors.
        rest: The same surface before it was deformed, which the texture sticks to; None is this one.
    """

    surface: Surface
    texture: Texture
    tones: Float[Tensor, "points tones"]
    gloss: float = 1.0
    rest: "Scene | None" = None

    def __post_init__(self) -> None:
        if self.surface.faces is None or not len(self.surface.faces) or self.surface.normals is None:
            raise BadInputError("a surface without faces or normals", "a triangle mesh with normals")
        count = len(self.surface.points)
        if self.tones.shape not in ((count, 3), (count, 6)):
            raise BadInputError(f"tones of shape {tuple(self.tones.shape)}", f"({count}, 3) or ({count}, 6)")

    @cached_property
    def caster(self) -> RayCaster:
        """Its triangles in a tree."""
        return RayCaster(self.surface)

    @cached_property
    def _attributes(self) -> Float[Tensor, "points attributes"]:
        """Normal and tones of each vertex."""
        assert self.surface.normals is not None
        return torch.cat([self.surface.normals, self.tones], 1).float()

    def cast(self, starts: Float[Tensor, "#rays 3"], directions: Float[Tensor, "rays 3"]) -> Hits:
        """The first triangle that each ray meets, in the surface's frame."""
        return self.caster.cast(starts, directions)

    def blocked(self, starts: Float[Tensor, "rays 3"], ends: Float[Tensor, "rays 3"]) -> Bool[Tensor, " rays"]:
        """Whether something stands between pairs of points."""
        return self.caster.blocked(starts, ends)

    def at(self, hits: Hits) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays tones"]]:
        """Unit normals and tones where rays met the surface."""
        values = self.caster.interpolated(hits, self._attributes)
        return functional.normalize(values[:, :3], dim=-1), values[:, 3:]

    def places(self, hits: Hits) -> Float[Tensor, "rays 3"]:
        """Where the surface's points lie that rays met, be it on this surface or on one deformed from it."""
        return self.caster.interpolated(hits, self.surface.points.double())

    def with_texture(self, texture: Texture) -> "Scene":
        """The same surface in another look; its tree is shared, for it takes longer to build than a frame to cast."""
        other = replace(self, texture=texture)
        vars(other).update(caster=self.caster, _attributes=self._attributes)
        return other

    def deformed(self, points: Float[Tensor, "points 3"], normals: Float[Tensor, "points 3"]) -> "Scene":
        """The surface with its vertices and normals elsewhere, and the texture sticking to it."""
        surface = replace(self.surface, points=points, normals=normals)
        return replace(self, surface=surface, rest=self.rest or self)


@dataclass(frozen=True, eq=False)
class Placed:
    """A rigid thing that stands in a scene.

    Attributes:
        scene: The thing, in its own axes.
        world_from_own: Where it is.
    """

    scene: Scene
    world_from_own: RigidMotion

    def blocked(self, starts: Float[Tensor, "rays 3"], ends: Float[Tensor, "rays 3"]) -> Bool[Tensor, " rays"]:
        """Whether it stands between pairs of points of the world."""
        own_from_world = self.world_from_own.inverse()
        return self.scene.blocked(own_from_world.apply(starts), own_from_world.apply(ends))


def cavity(scene: Scene, reach_mm: float = 8.0, rays: int = 8) -> Float[Tensor, " points"]:
    """How deep in a cavity each vertex lies: the mean of exp(-distance / reach) over rays into the air, 0 to 1."""
    assert scene.surface.normals is not None
    points, normals = scene.surface.points.float(), scene.surface.normals.float()
    side = functional.normalize(torch.linalg.cross(normals, normals.roll(1, -1)), dim=-1)
    other = torch.linalg.cross(normals, side)
    total = torch.zeros(len(points))
    for i in range(rays):
        up, angle = math.sqrt(1 - (i + 0.5) / rays), 2.399963 * i  # cosine-weighted, on a spiral
        out = math.sqrt(1 - up * up)
        way = up * normals + out * (math.cos(angle) * side + math.sin(angle) * other)
        way = way.nan_to_num()
        distance = scene.caster.distances(points + OFF_THE_WALL_MM * normals, way)
        total += torch.exp(-distance.clamp_max(1e6) / reach_mm)
    return total / rays
