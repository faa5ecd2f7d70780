"""One frame: the mean of several rays through each pixel, spread over its area and over the shutter's time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.geometry import RigidMotion
from depthscope.simulation.light import AutoGain, Lighting
from depthscope.simulation.render.scene import Placed, Scene
from depthscope.simulation.render.shading import RaySamples, Shading, sampled, total
from depthscope.simulation.render.translucency import within_tissue
from depthscope.simulation.render.truth import HitPoints, sight
from depthscope.simulation.render.view import RenderView

LUMA = (0.2126, 0.7152, 0.0722)
"""Brightness of linear sRGB."""

UNEVEN = 0.12
"""Where the samples of a pixel differ by this share of their mean, more of them are taken."""

PENUMBRA = 0.02
"""Share of the picture's height within which shadows are looked at closely beside their edges."""

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
    sight: HitPoints


def render(
    scene: Scene,
    view: RenderView,
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
    mean = _averaged(scene, view, camera_from_world, lighting, shading, during, instrument)

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


def _averaged(
    scene: Scene,
    view: RenderView,
    camera_from_world: RigidMotion,
    lighting: Lighting,
    shading: Shading,
    during: Sequence[RigidMotion],
    instrument: Placed | None,
) -> RaySamples:
    """The mean of each pixel's samples: those of its diagonal, and all of them where these differ."""
    side, focal = shading.samples, min(view.camera.focal_px)
    # Each place within the pixel has its own moment; the diagonal's are spread over the whole exposure.
    diagonal = [(i, i) for i in range(side)]
    rest = [(i, (i + k) % side) for k in range(1, side) for i in range(side)]
    every = [round(i * (side**2 - 1) / max(side - 1, 1)) for i in range(side)]
    moments = every + [m for m in range(side**2) if m not in every]

    def one(number: int, rows: Tensor | slice = slice(None), foreseen: Tensor | None = None) -> RaySamples:
        column, row = [*diagonal, *rest][number]
        rays = view.rays(((column + 0.5) / side - 0.5, (row + 0.5) / side - 0.5))[rows]
        motion = during[moments[number] * len(during) // side**2] if during else camera_from_world
        motion = motion[rows] if motion.translation.dim() > 1 else motion
        return sampled(scene, rays, motion, focal, lighting, shading, number, instrument, foreseen)

    first = one(0)
    if side == 1:
        return first
    foreseen = _foreseen(view, first.lit) if shading.shadows else None
    samples = [first, *(one(number, foreseen=foreseen) for number in range(1, side))]
    mean = total(samples).scaled(1 / side)
    rows = _uneven(view, samples).nonzero()[:, 0]
    foreseen = None if foreseen is None else foreseen[rows]
    more = [one(number, rows, foreseen) for number in range(side, side**2)]
    return mean.replaced(rows, total([mean[rows].scaled(float(side)), *more]).scaled(1 / side**2))


def _foreseen(view: RenderView, lit: Float[Tensor, "pixels lamps"]) -> Float[Tensor, "pixels lamps"]:
    """Where a lamp is seen or not, as far as all pixels around agree; NaN elsewhere."""
    reach = 2 * max(1, round(PENUMBRA * view.shown.shape[0])) + 1
    image = view.image(lit).numpy()
    image = image.reshape(*view.shown.shape, -1)
    around = np.ones((reach, reach), np.uint8)
    low, high = (f(image, around).reshape(image.shape) for f in (cv2.erode, cv2.dilate))
    agreed = torch.from_numpy(np.where(low == high, image, np.float32(math.nan)))
    return agreed[view.shown]


def _uneven(view: RenderView, samples: Sequence[RaySamples]) -> Bool[Tensor, " pixels"]:
    """Pixels whose samples differ, and those beside them."""
    light = torch.stack([s.diffuse @ s.diffuse.new_tensor(LUMA) + s.glint for s in samples])
    uneven = light.amax(0) - light.amin(0) > UNEVEN * light.mean(0)
    image = view.image(uneven.byte()).numpy()
    return torch.from_numpy(cv2.dilate(image, np.ones((3, 3), np.uint8)))[view.shown] > 0


def wanted_gains(
    scene: Scene,
    view: RenderView,
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
