"""One frame: the mean of several rays through each pixel, spread over its area and over the shutter's time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.geometry import RigidMotion
from depthscope.simulation.light import AutoGain, Lighting
from depthscope.simulation.render.scene import Placed, Scene
from depthscope.simulation.render.shading import Samples, Shading, sampled
from depthscope.simulation.render.translucency import within_tissue
from depthscope.simulation.render.truth import Sight, sight
from depthscope.simulation.render.view import View

LUMA = (0.2126, 0.7152, 0.0722)
"""Brightness of linear sRGB."""

SAMPLES_FOR_GAIN = 24
"""The gain looks at so many columns and rows of the picture."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """One frame: what is true at the pixels' centres, and the light that comes back.

    Attributes:
        light: Linear RGB light before gain and lens, float32, shape (height, width, 3).
        depth: z-depth in mm, float64, 0 where nothing is shown, shape (height, width). Where an instrument stands
            before the tissue, it is the instrument's.
        normals: Unit normals in camera axes, 0 where nothing is shown, shape (height, width, 3).
        highlight: Where more than a fifth of the light is a glint.
        shadow: Where walls take more than half of the lamps' light.
        instrument: Where an instrument is seen.
        sight: What the rays through the centres of the shown pixels met.
    """

    light: Float[Tensor, "height width 3"]
    depth: Float[Tensor, "height width"]
    normals: Float[Tensor, "height width 3"]
    highlight: Bool[Tensor, "height width"]
    shadow: Bool[Tensor, "height width"]
    instrument: Bool[Tensor, "height width"]
    sight: Sight


def render(
    scene: Scene,
    view: View,
    camera_from_world: RigidMotion,
    lighting: Lighting,
    shading: Shading = Shading(),  # noqa: B008 (frozen)
    during: Sequence[RigidMotion] = (),
    instrument: Placed | None = None,
) -> Rendered:
    """One frame.

    Args:
        scene: What is looked at.
        view: The lens and the pixels that are shown.
        camera_from_world: Where the camera is in the middle of the exposure, which the truth is for.
        lighting: The lamps.
        shading: What the picture shows.
        during: Camera motions over the exposure, which the rays of a pixel are spread over; without them it is still.
            Each may be one motion, or a motion for each of the shown pixels where they are not read at once.
        instrument: What stands before the tissue.
    """
    found = sight(scene, view, camera_from_world, instrument)
    depth, normals = view.image(found.depth), view.image(found.normals)
    side, focal = shading.samples, min(view.camera.focal_px)
    shifts = [((i + 0.5) / side - 0.5, (j + 0.5) / side - 0.5) for j in range(side) for i in range(side)]
    mean = Samples.none(len(view.pixels))
    for number, shift in enumerate(shifts):
        # Each place within the pixel has its own moment, in an order that does not run along either axis.
        moment = (number * 3 + number // side) % len(shifts) * len(during) // len(shifts) if during else 0
        motion = during[moment] if during else camera_from_world
        mean = mean + sampled(scene, view.rays(shift), motion, focal, lighting, shading, number, instrument)
    mean = mean.scaled(1 / len(shifts))

    diffuse = view.image(mean.diffuse)
    if shading.translucency_mm:
        tissue = view.image(torch.where(found.instrument, 0.0, found.depth))
        spread = within_tissue(view, tissue, view.image(mean.irradiance), shading.translucency_mm)
        diffuse = (diffuse + view.image(mean.albedo) * spread / math.pi).clamp_min(0)
    shine = view.image(mean.glint)
    luma = diffuse @ diffuse.new_tensor(LUMA)
    highlight = shine > 0.2 * (shine + luma).clamp_min(1e-12)
    blocked = view.image(mean.taken) > 0.5 * view.image(mean.offered).clamp_min(1e-12)
    light, shown = diffuse + shine[..., None], view.shown
    return Rendered(light, depth, normals, highlight & shown, blocked & shown, view.image(found.instrument), found)


def wanted_gains(
    scene: Scene,
    view: View,
    motions: RigidMotion,
    lighting: Lighting,
    automatic: AutoGain,
    instruments: Sequence[Placed | None] = (),
) -> list[float]:
    """The gain that each of some frames asks for, from a few rays without shadows: cheap enough to look back with.

    Args:
        scene: What is looked at.
        view: The lens and the pixels that are shown.
        motions: ``camera_from_world`` of the frames, batch shape (frames,).
        lighting: The lamps.
        automatic: How the gain is chosen.
        instruments: What stands before the tissue in each of them; nothing does without it.
    """
    height, width = view.shown.shape
    step = max(1, min(height, width) // SAMPLES_FOR_GAIN)
    coarse = torch.zeros_like(view.shown)
    coarse[step // 2 :: step, step // 2 :: step] = True
    rays = view.rays()[coarse[view.shown]]
    plain, focal = Shading(1, shadows=False, film=0.0, translucency_mm=0.0), min(view.camera.focal_px)
    held = instruments or [None] * len(motions.translation)
    found = [sampled(scene, rays, motions[i], focal, lighting, plain, 0, thing) for i, thing in enumerate(held)]
    return [automatic.wanted(one.diffuse @ one.diffuse.new_tensor(LUMA), lighting.gamma) for one in found]
