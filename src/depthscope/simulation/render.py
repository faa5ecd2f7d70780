"""Rays through the true lens onto a mesh: exact depth and normals at the pixels' centres, and the light they bring.

Truth is cast through the centre of every pixel, once. The picture is the mean of several rays through each pixel,
spread over its area and over the time that the shutter is open. Embree finds the triangle; where on it the ray meets
its plane is computed again in float64, so that depth is exact for the mesh.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, RigidMotion, Surface
from depthscope.geometry.depth import pixel_grid
from depthscope.geometry.motion import rotate
from depthscope.simulation.light import AutoGain, Lamp, Lighting, arriving, glint, irradiance
from depthscope.simulation.texture import Texture

OFF_THE_WALL_MM = 0.05
"""Shadow rays start this far above the surface, or its own triangles would shadow it."""

SCOPE_TIP_MM = 1.0
"""What lies closer to a lamp than its distance from the lens and this much more casts no shadow: the tip is there."""

LUMA = (0.2126, 0.7152, 0.0722)
"""Brightness of linear sRGB."""

SAMPLES_FOR_GAIN = 24
"""The gain looks at so many columns and rows of the picture."""


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
class Hits:
    """Where rays meet the surface.

    Attributes:
        face: Triangle of each ray, -1 where it meets none.
        depth: How many times its direction each ray goes, which is z-depth for directions with z = 1 in the camera; 0
            where it meets none.
        weights: Of the triangle's three vertices.
    """

    face: Int[Tensor, " rays"]
    depth: Float[Tensor, " rays"]
    weights: Float[Tensor, "rays 3"]


@dataclass(frozen=True, eq=False)
class Scene:
    """A surface with its texture, ready to be looked at.

    Attributes:
        surface: Triangles with normals into the air, in mm.
        texture: What it looks like.
        tones: Blood, vessels and depth in a cavity of each vertex, shape (points, 3); see `texture.Mucosa.albedo`.
    """

    surface: Surface
    texture: Texture
    tones: Float[Tensor, "points 3"]

    def __post_init__(self) -> None:
        if self.surface.faces is None or not len(self.surface.faces) or self.surface.normals is None:
            raise BadInputError("a surface without faces or normals", "a triangle mesh with normals")
        if self.tones.shape != (len(self.surface.points), 3):
            raise BadInputError(f"tones of shape {tuple(self.tones.shape)}", f"({len(self.surface.points)}, 3)")

    @cached_property
    def _tree(self) -> Any:
        """Embree's tree over the triangles."""
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        scene = EmbreeScene()
        TriangleMesh(scene, self.surface.points.float().numpy(), self._faces.astype(np.int32))
        return scene

    @cached_property
    def _faces(self) -> NDArray[np.int64]:
        assert self.surface.faces is not None
        return self.surface.faces.numpy()

    @cached_property
    def _planes(self) -> NDArray[np.float64]:
        """Normal and offset of each triangle's plane, shape (faces, 4)."""
        a, b, c = (self.surface.points.double().numpy()[self._faces[:, i]] for i in range(3))
        normal = np.cross(b - a, c - a)
        return np.concatenate([normal, (normal * a).sum(1, keepdims=True)], 1)

    @cached_property
    def _attributes(self) -> NDArray[np.float32]:
        """Normal and tones of each vertex, shape (points, 6)."""
        assert self.surface.normals is not None
        return torch.cat([self.surface.normals, self.tones], 1).float().numpy()

    def cast(self, starts: Float[Tensor, "#rays 3"], directions: Float[Tensor, "rays 3"]) -> Hits:
        """The first triangle that each ray meets, in the surface's frame."""
        starts, directions = starts.expand_as(directions), directions
        found = self._tree.run(_packed(starts), _packed(directions), output=1)
        face = found["primID"].astype(np.int64)
        hit = face >= 0
        plane = self._planes[np.where(hit, face, 0)]
        o, d = starts.double().numpy(), directions.double().numpy()
        slope = np.einsum("ij,ij->i", plane[:, :3], d)
        depth = (plane[:, 3] - np.einsum("ij,ij->i", plane[:, :3], o)) / np.where(slope == 0, 1, slope)
        # A ray along the plane of its triangle keeps Embree's answer.
        near = np.abs(depth - found["tfar"]) < 1e-3 * (1 + found["tfar"])
        depth = np.where(hit, np.where(near, depth, found["tfar"]), 0.0)
        u, v = found["u"], found["v"]
        weights = np.stack([1 - u - v, u, v], 1)
        return Hits(torch.from_numpy(face), torch.from_numpy(depth), torch.from_numpy(weights))

    def blocked(self, starts: Float[Tensor, "rays 3"], ends: Float[Tensor, "rays 3"]) -> Bool[Tensor, " rays"]:
        """Whether something stands between pairs of points."""
        ways = _packed(ends - starts)
        reach = np.ones(len(ways), np.float32)
        return torch.from_numpy(self._tree.run(_packed(starts), ways, query="OCCLUDED", dists=reach) >= 0)

    def at(self, hits: Hits) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays 3"]]:
        """Unit normals and tones where rays met the surface."""
        corners = self._attributes[self._faces[hits.face.clamp_min(0).numpy()]]
        values = torch.from_numpy(np.einsum("ij,ijk->ik", hits.weights.numpy(), corners))
        return functional.normalize(values[:, :3], dim=-1), values[:, 3:]


@dataclass(frozen=True, eq=False)
class Rendered:
    """One frame: what is true at the pixels' centres, and the light that comes back.

    Attributes:
        light: Linear RGB light before gain and lens, float32, shape (height, width, 3).
        depth: z-depth in mm, float64, 0 where no tissue is shown, shape (height, width).
        normals: Unit normals in camera axes, 0 where no tissue is shown, shape (height, width, 3).
        highlight: Where more than a fifth of the light is a glint.
        shadow: Where walls take more than half of the lamps' light.
    """

    light: Float[Tensor, "height width 3"]
    depth: Float[Tensor, "height width"]
    normals: Float[Tensor, "height width 3"]
    highlight: Bool[Tensor, "height width"]
    shadow: Bool[Tensor, "height width"]


@dataclass(frozen=True, eq=False)
class View:
    """The pixels of a camera that show something, and their rays.

    Attributes:
        camera: The lens.
        shown: Which pixels show something, shape (height, width).
    """

    camera: Camera
    shown: Bool[Tensor, "height width"]

    @cached_property
    def pixels(self) -> Float[Tensor, "pixels 2"]:
        """Centres of the pixels that are shown."""
        height, width = self.shown.shape
        return pixel_grid(height, width, torch.zeros((), dtype=torch.float64))[self.shown]

    def rays(self, shift: tuple[float, float] = (0.0, 0.0)) -> Float[Tensor, "pixels 3"]:
        """Their rays, z = 1, through the centre or `shift` pixels beside it.

        Raises:
            BadInputError: The lens sends no ray to some of them.
        """
        if shift not in self._rays:
            rays = self.camera.unproject(self.pixels + self.pixels.new_tensor(shift))
            if not bool(rays.isfinite().all()):
                raise BadInputError(
                    f"a lens that sends no ray to {int((~rays.isfinite().all(-1)).sum())} pixels of the picture",
                    "a lens that covers the round picture",
                    "choose a narrower picture or less distortion",
                )
            self._rays[shift] = rays
        return self._rays[shift]

    @cached_property
    def _rays(self) -> dict[tuple[float, float], Tensor]:
        return {}

    def image(self, values: Tensor) -> Tensor:
        """Values of the shown pixels as an image, 0 elsewhere."""
        image = values.new_zeros(*self.shown.shape, *values.shape[1:])
        image[self.shown] = values
        return image


def truth(
    scene: Scene, view: View, camera_from_world: RigidMotion
) -> tuple[Float[Tensor, "height width"], Float[Tensor, "height width 3"]]:
    """z-depth in mm and unit normals in camera axes at the pixels' centres; 0 where nothing is shown or met."""
    world_from_camera = camera_from_world.inverse()
    hits = scene.cast(world_from_camera.translation[None], rotate(world_from_camera.rotation, view.rays()))
    normals, _ = scene.at(hits)
    normals = rotate(camera_from_world.rotation, normals.double()) * (hits.face >= 0)[:, None]
    return view.image(hits.depth), view.image(normals)


def render(
    scene: Scene,
    view: View,
    camera_from_world: RigidMotion,
    lighting: Lighting,
    shading: Shading = Shading(),  # noqa: B008 (frozen)
    during: Sequence[RigidMotion] = (),
) -> Rendered:
    """One frame.

    Args:
        scene: What is looked at.
        view: The lens and the pixels that are shown.
        camera_from_world: Where the camera is in the middle of the exposure, which the truth is for.
        lighting: The lamps.
        shading: What the picture shows.
        during: Camera motions over the exposure, which the rays of a pixel are spread over; without them it is still.
    """
    depth, normals = truth(scene, view, camera_from_world)
    side = shading.samples
    shifts = [((i + 0.5) / side - 0.5, (j + 0.5) / side - 0.5) for j in range(side) for i in range(side)]
    mean = Samples.none(len(view.pixels))
    for number, shift in enumerate(shifts):
        # Each place within the pixel has its own moment, in an order that does not run along either axis.
        moment = (number * 3 + number // side) % len(shifts) * len(during) // len(shifts) if during else 0
        motion = during[moment] if during else camera_from_world
        mean = mean + sampled(scene, view, view.rays(shift), motion, lighting, shading, number)
    mean = mean.scaled(1 / len(shifts))

    diffuse = view.image(mean.diffuse)
    if shading.translucency_mm:
        spread = within_tissue(view, depth, view.image(mean.irradiance), shading.translucency_mm)
        diffuse = (diffuse + view.image(mean.albedo) * spread / math.pi).clamp_min(0)
    shine = view.image(mean.glint)
    luma = diffuse @ diffuse.new_tensor(LUMA)
    highlight = shine > 0.2 * (shine + luma).clamp_min(1e-12)
    blocked = view.image(mean.taken) > 0.5 * view.image(mean.offered).clamp_min(1e-12)
    return Rendered(diffuse + shine[..., None], depth, normals, highlight & view.shown, blocked & view.shown)


@dataclass(frozen=True, eq=False)
class Samples:
    """What rays found, to be averaged.

    Attributes:
        diffuse: Linear RGB light, shape (rays, 3).
        glint: Linear light of the film, white.
        irradiance: Light of the lamps that arrives.
        albedo: Reflectance, shape (rays, 3).
        offered: Light that would arrive without shadows.
        taken: What shadows take of it.
    """

    diffuse: Float[Tensor, "rays 3"]
    glint: Float[Tensor, " rays"]
    irradiance: Float[Tensor, " rays"]
    albedo: Float[Tensor, "rays 3"]
    offered: Float[Tensor, " rays"]
    taken: Float[Tensor, " rays"]

    @classmethod
    def none(cls, rays: int) -> "Samples":
        """Nothing."""
        flat, colour = torch.zeros(rays), torch.zeros(rays, 3)
        return cls(colour, flat, flat, colour, flat, flat)

    def __add__(self, other: "Samples") -> "Samples":
        return Samples(*(a + b for a, b in zip(self._values, other._values, strict=True)))

    def scaled(self, factor: float) -> "Samples":
        """All of it times a factor."""
        return Samples(*(factor * value for value in self._values))

    @property
    def _values(self) -> tuple[Tensor, ...]:
        return self.diffuse, self.glint, self.irradiance, self.albedo, self.offered, self.taken


def sampled(
    scene: Scene,
    view: View,
    rays: Float[Tensor, "rays 3"],
    camera_from_world: RigidMotion,
    lighting: Lighting,
    shading: Shading,
    number: int,
) -> Samples:
    """What one ray through each pixel finds; rays that meet nothing find darkness."""
    world_from_camera = camera_from_world.inverse()
    hits = scene.cast(world_from_camera.translation[None], rotate(world_from_camera.rotation, rays))
    met = hits.face >= 0
    seen = hits.depth[:, None] * rays
    places = world_from_camera.apply(seen)
    outward, tones = scene.at(hits)
    seen, cell = seen.float(), (hits.depth / min(view.camera.focal_px)).float()
    turn = camera_from_world.rotation.float()
    albedo = scene.texture.albedo(places, outward, tones, cell)
    normals = rotate(turn, outward)
    film, roughness = scene.texture.film(places, outward) if shading.film else (outward, torch.ones_like(cell))
    film = rotate(turn, film)
    wrap = 0.15 if shading.translucency_mm else 0.0

    arrives, offered, shine, around = (torch.zeros(len(rays)) for _ in range(4))
    above = places + OFF_THE_WALL_MM * outward
    for lamp in lighting.lamps:
        light = irradiance(lamp, seen, normals, wrap)
        lit = _lit(scene, lamp, above, world_from_camera, number) if shading.shadows else torch.ones_like(light)
        offered, arrives = offered + light, arrives + lit * light
        around = around + arriving(lamp, seen)[1]
        if shading.film:
            shine = shine + shading.film * lit * glint(lamp, seen, film, roughness)
    # Walls light each other: deeper in a cavity more, and each bounce takes the colour of the tissue once more.
    bounced = lighting.ambient * (0.15 + 0.85 * tones[:, 2:]) * around[:, None] * albedo * albedo / 0.5
    diffuse = (albedo * arrives[:, None] + bounced) / math.pi
    zero = met.float()
    return Samples(
        diffuse * zero[:, None], shine * zero, arrives * zero, albedo * zero[:, None], offered * zero,
        (offered - arrives) * zero,
    )  # fmt: skip


def _lit(
    scene: Scene, lamp: Lamp, above: Float[Tensor, "rays 3"], world_from_camera: RigidMotion, number: int
) -> Float[Tensor, " rays"]:
    """1 where a lamp's light arrives, 0 in its shadow; every sample looks at another place of its face."""
    angle = 2.399963 * number  # the golden angle spreads any number of places over the face
    offset = lamp.radius_mm * math.sqrt((number % 4 + 0.5) / 4)
    place = world_from_camera.translation.new_tensor(lamp.position_mm)
    place = place + place.new_tensor([offset * math.cos(angle), offset * math.sin(angle), 0.0])
    ways = world_from_camera.apply(place) - above
    own = (torch.tensor(lamp.position_mm).norm() + SCOPE_TIP_MM) / ways.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return (~scene.blocked(above, above + (1 - own.clamp(0, 0.9)) * ways)).float()


def within_tissue(
    view: View, depth: Float[Tensor, "height width"], arrives: Float[Tensor, "height width"], reach_mm: float
) -> Float[Tensor, "height width 3"]:
    """What changes in the light on the tissue when it spreads below the surface before it comes out, by channel.

    The spread is over the picture, of light freed from its fall with distance, so that near folds do not shine onto
    what lies behind them.
    """
    z = depth.float().numpy()
    known = (z > 0).astype(np.float32)
    square = np.where(z > 0, z * z, 0)
    even = arrives.numpy() * square
    focal = min(view.camera.focal_px)
    sigmas = (0.6, 1.2, 2.4, 4.8, 9.6)
    layers = [even, *(_blurred(even, known, sigma) for sigma in sigmas)]
    change = np.zeros((*z.shape, 3), np.float32)
    for channel, share in enumerate((1.0, 0.4, 0.25)):
        sigma = share * reach_mm * focal / np.where(z > 0, z, 1)
        level = np.log2(np.maximum(sigma, 0.3) / 0.3).clip(0, len(sigmas) - 1e-3)
        low = level.astype(int)
        stack = np.stack(layers)
        below, beyond = (np.take_along_axis(stack, (low + k)[None], 0)[0] for k in (0, 1))
        change[..., channel] = below + (level - low) * (beyond - below) - even
    return torch.from_numpy(change / np.where(z > 0, square, 1)[..., None])


def _blurred(values: NDArray[np.float32], known: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """A Gaussian blur that the unknown surroundings take no part in."""
    share = cv2.GaussianBlur(known, (0, 0), sigma)
    return np.where(known > 0, cv2.GaussianBlur(values * known, (0, 0), sigma) / np.maximum(share, 1e-6), 0)


def _packed(vectors: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(vectors.float().numpy())


def wanted_gains(
    scene: Scene, view: View, motions: RigidMotion, lighting: Lighting, automatic: AutoGain
) -> list[float]:
    """The gain that each of some frames asks for, from a few rays without shadows: cheap enough to look back with.

    Args:
        scene: What is looked at.
        view: The lens and the pixels that are shown.
        motions: ``camera_from_world`` of the frames, batch shape (frames,).
        lighting: The lamps.
        automatic: How the gain is chosen.
    """
    height, width = view.shown.shape
    step = max(1, min(height, width) // SAMPLES_FOR_GAIN)
    coarse = torch.zeros_like(view.shown)
    coarse[step // 2 :: step, step // 2 :: step] = True
    rays = view.rays()[coarse[view.shown]]
    gains = []
    for motion in (motions[i] for i in range(len(motions.translation))):
        found = sampled(
            scene, view, rays, motion, lighting, Shading(1, shadows=False, film=0.0, translucency_mm=0.0), 0
        )
        gains.append(automatic.wanted(found.diffuse @ found.diffuse.new_tensor(LUMA), lighting.gamma))
    return gains


def flow_to(
    scene: Scene,
    view: View,
    depth: Float[Tensor, "height width"],
    here: RigidMotion,
    there: RigidMotion,
) -> tuple[Float[Tensor, "height width 2"], Bool[Tensor, "height width"]]:
    """How far each pixel moves to another frame, from depth and motions, and whether it is still seen there.

    Args:
        scene: What is looked at.
        view: The lens and the pixels that are shown.
        depth: z-depth at the pixels' centres, float64.
        here: ``camera_from_world`` of this frame.
        there: Of the other frame.
    """
    z = depth[view.shown]
    world = here.inverse().apply(z[:, None] * view.rays())
    pixels = view.camera.project(there.apply(world))
    inside = in_picture(view, pixels) & (z > 0)
    # From the wall to the other camera's centre; a step off the wall, so that it does not hide itself.
    back = functional.normalize(here.origin - world, dim=-1)
    hidden = scene.blocked(world + OFF_THE_WALL_MM * back, there.origin.expand_as(world))
    moved = torch.where(pixels.isfinite() & (z > 0)[:, None], pixels - view.pixels, 0.0)
    return view.image(moved), view.image(inside & ~hidden)


def in_picture(view: View, pixels: Float[Tensor, "*points 2"]) -> Bool[Tensor, "*points"]:
    """Whether positions lie in pixels that are shown; not where they are NaN."""
    height, width = view.shown.shape
    column, row = pixels.nan_to_num(nan=-1.0).floor().clamp(-1, max(width, height)).long().unbind(-1)
    within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return within & view.shown[torch.where(within, row, 0), torch.where(within, column, 0)]


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
        found = scene._tree.run(_packed(points + OFF_THE_WALL_MM * normals), _packed(way), query="DISTANCE")
        distance = torch.from_numpy(np.minimum(found, 1e6).astype(np.float32))
        total += torch.exp(-distance / reach_mm)
    return total / rays
