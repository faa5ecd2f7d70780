"""What is true at the pixels' centres: depth, normals, what is seen there, and where it goes until the next frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from depthscope.geometry import RigidMotion
from depthscope.geometry.casting import Hits
from depthscope.geometry.motion import rotate
from depthscope.simulation.render.scene import OFF_THE_WALL_MM, Placed, Scene
from depthscope.simulation.render.view import RenderView, in_picture


@dataclass(frozen=True, eq=False)
class HitPoints:
    """What the rays through the pixels' centres meet, pixel by pixel of those that are shown.

    Attributes:
        depth: z-depth in mm, float64; 0 where nothing is met.
        normals: Unit normals in camera axes, float64; 0 where nothing is met.
        tissue: Where the tissue is met, be it behind the instrument.
        instrument: Which rays meet the instrument first.
    """

    depth: Float[Tensor, " pixels"]
    normals: Float[Tensor, "pixels 3"]
    tissue: Hits
    instrument: Bool[Tensor, " pixels"]


def sight(
    scene: Scene, view: RenderView, camera_from_world: RigidMotion, instrument: Placed | None = None
) -> HitPoints:
    """What the rays through the pixels' centres meet."""
    tissue, normals = _met(scene, view, camera_from_world)
    if instrument is None:
        return HitPoints(tissue.distance, normals, tissue, torch.zeros_like(tissue.found))
    metal, its_normals = _met(instrument.scene, view, camera_from_world @ instrument.world_from_own)
    first = metal.found & (~tissue.found | (metal.distance < tissue.distance))
    depth = torch.where(first, metal.distance, tissue.distance)
    return HitPoints(depth, torch.where(first[:, None], its_normals, normals), tissue, first)


def _met(scene: Scene, view: RenderView, camera_from_own: RigidMotion) -> tuple[Hits, Float[Tensor, "pixels 3"]]:
    own_from_camera = camera_from_own.inverse()
    hits = scene.cast(own_from_camera.translation[None], rotate(own_from_camera.rotation, view.rays()))
    normals, _ = scene.at(hits)
    return hits, rotate(camera_from_own.rotation, normals.double()) * hits.found[:, None]


def truth(
    scene: Scene, view: RenderView, camera_from_world: RigidMotion, instrument: Placed | None = None
) -> tuple[Float[Tensor, "height width"], Float[Tensor, "height width 3"]]:
    """z-depth in mm and unit normals in camera axes at the pixels' centres; 0 where nothing is shown or met."""
    found = sight(scene, view, camera_from_world, instrument)
    return view.image(found.depth), view.image(found.normals)


def flow_to(
    scene: Scene,
    view: RenderView,
    depth: Float[Tensor, "height width"],
    here: RigidMotion,
    there: RigidMotion,
    onward: Float[Tensor, "pixels 3"] | None = None,
    before: Sequence[Placed] = (),
) -> tuple[Float[Tensor, "height width 2"], Bool[Tensor, "height width"]]:
    """How far each pixel moves to another frame, from depth and motions, and whether it is still seen there.

    Args:
        scene: What is looked at in the other frame.
        view: The lens and the pixels that are shown.
        depth: z-depth at the pixels' centres, float64.
        here: ``camera_from_world`` of this frame.
        there: Of the other frame.
        onward: Where what the shown pixels see is in the other frame; without it, it has not moved.
        before: What else may stand before it there.
    """
    z = depth[view.shown]
    world = here.inverse().apply(z[:, None] * view.rays())
    after = world if onward is None else onward
    pixels = view.camera.project(there.apply(after))
    inside = in_picture(view, pixels) & (z > 0)
    # From the wall to the other camera's centre; a step off the wall, so that it does not hide itself.
    back = functional.normalize(here.origin - world, dim=-1)
    starts, ends = after + OFF_THE_WALL_MM * back, there.origin.expand_as(after)
    hidden = scene.blocked(starts, ends)
    for thing in before:
        hidden = hidden | thing.blocked(starts, ends)
    moved = torch.where(pixels.isfinite() & (z > 0)[:, None], pixels - view.pixels, 0.0)
    return view.image(moved), view.image(inside & ~hidden)
