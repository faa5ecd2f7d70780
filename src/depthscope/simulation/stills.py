"""Single frames with exact depth, drawn for the breadth of what a depth network should know.

Each still has its own viewpoint, lens, lamps, tissue colour, sensor and disturbances. Still n is a function of the
patient's seed, the draw's seed and n, so that any of them can be made alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, RigidMotion
from depthscope.geometry.casting import Hits
from depthscope.geometry.depth import pixel_grid
from depthscope.simulation.anatomy import Kind, patient
from depthscope.simulation.clip_files import scene_of
from depthscope.simulation.debris import soiled
from depthscope.simulation.looks import Look, Setup, drawn_setup, drawn_tissue
from depthscope.simulation.render import Placed, RenderView, Scene, Shading, within_tissue
from depthscope.simulation.render.frames import LUMA
from depthscope.simulation.render.shading import RaySamples, sampled, total
from depthscope.simulation.render.truth import HitPoints, sight
from depthscope.simulation.sensor import picture
from depthscope.simulation.texture import Mucosa
from depthscope.simulation.viewpoints import Viewpoints

SPACING_MM: dict[Kind, float] = {"nasal": 0.45, "colon": 0.7, "bronchus": 0.6, "abdomen": 1.5}
"""Mesh of stills: coarser than that of clips, since it is made for a few dozen pictures."""

ATTEMPTS = 40
"""Viewpoints and lenses that are tried for one still."""

OPEN_SHARE = 0.01
"""A view of which more than this share meets no tissue at all is drawn again."""

EDGE = 0.1
"""Relative step in depth or light beside which a pixel gets further rays."""


@dataclass(frozen=True, eq=False)
class Still:
    """One frame with its truth, as recorded: nothing is undistorted.

    Attributes:
        image: sRGB, after sensor, processor and codec, shape (height, width, 3).
        depth: z-depth in mm at the pixels' centres, 0 = unknown, shape (height, width). Where a tool is seen, it is
            the tool's.
        content: The pixels that show something, shape (height, width).
        foreign: Where a tool is seen, shape (height, width).
        hidden: Where debris on or before the lens hides the tissue; the depth is that of what lies behind.
        camera: The lens.
        anatomy: What is seen.
        patient_seed: Of the anatomy.
        number: Of the still in its draw.
    """

    image: UInt8[np.ndarray, "height width 3"]
    depth: Float[np.ndarray, "height width"]
    content: Bool[np.ndarray, "height width"]
    foreign: Bool[np.ndarray, "height width"]
    hidden: Bool[np.ndarray, "height width"]
    camera: Camera
    anatomy: Kind
    patient_seed: int
    number: int

    @property
    def distance(self) -> NDArray[np.float32]:
        """Distance along each pixel's ray in mm, 0 = unknown, shape (height, width)."""
        height, width = self.depth.shape
        rays = self.camera.unproject(pixel_grid(height, width, torch.empty(0, dtype=torch.float64)))
        length = rays.norm(dim=-1).nan_to_num(nan=0.0).numpy()
        return (self.depth * length).astype(np.float32)


def stills(
    anatomy: Kind, patient_seed: int, draw_seed: int, count: int, size: tuple[int, int] = (256, 256), first: int = 0
) -> Iterator[Still]:
    """Stills of one patient.

    Args:
        anatomy: What is seen.
        patient_seed: Of the anatomy; `anatomy.split_of` says which split it belongs to.
        draw_seed: Of everything else.
        count: How many.
        size: (width, height) of the frames.
        first: Number of the first of them.

    Yields:
        Stills `first` to `first + count - 1`; each depends on the seeds, the size and its number alone.

    Raises:
        BadInputError: An option out of its range.
    """
    if draw_seed < 0 or count < 0 or first < 0:
        raise BadInputError(f"draw seed {draw_seed}, {count} stills from {first} on", "numbers from 0 on")
    if min(size) < 64 or max(size) > 4096:
        raise BadInputError(f"stills of {size[0]} x {size[1]} pixels", "64 to 4096 along each side")
    scene, viewpoints = _prepared(anatomy, patient_seed)
    for number in range(first, first + count):
        yield _still(scene, viewpoints, anatomy, patient_seed, draw_seed, number, size)


@lru_cache(maxsize=1)
def _prepared(kind: Kind, seed: int) -> tuple[Scene, Viewpoints]:
    """A patient's scene and viewpoints; kept, since a second draw is mostly of the same patient."""
    anatomy = patient(seed, kind, spacing_mm=SPACING_MM[kind])
    return scene_of(anatomy, Look()), Viewpoints.of(anatomy)


def _still(
    scene: Scene, viewpoints: Viewpoints, kind: Kind, seed: int, draw_seed: int, number: int, size: tuple[int, int]
) -> Still:
    draw = np.random.default_rng((seed, draw_seed, number, sum(map(ord, kind)), 101))
    setup = drawn_setup(draw, kind, size, seed)
    scope = setup.scope
    scene = scene.with_texture(Mucosa(drawn_tissue(draw, kind), seed))
    view = RenderView(scope.camera, scope.disc.inside() > 0)
    for _ in range(ATTEMPTS):
        motion = viewpoints.drawn(draw)
        seen = sight(scene, view, motion)
        closest = float(seen.depth[seen.tissue.found].min()) if bool(seen.tissue.found.any()) else 0.0
        if float((~seen.tissue.found).double().mean()) <= OPEN_SHARE and closest > 0.01:
            break
    else:
        raise BadInputError(f"no view of {kind} patient {seed} that tissue fills", "a closed cavity")
    tool = None
    if setup.tool:
        tool = setup.tool.before(view, motion, seen)
        seen = sight(scene, view, motion, tool)
    depth = view.image(seen.depth)
    light = _light(scene, view, motion, setup, tool, seen)
    light = setup.smoke.seen_through(light, depth)
    light = setup.bubbles.before(light, depth, view)
    light = setup.finish.smeared(light)
    hidden = torch.zeros_like(view.shown)
    if not setup.debris.clear:
        light, hidden = soiled(light, depth, setup.debris, scope.disc, min(scope.camera.focal_px), 0.0)
    luma = light[view.shown] @ light.new_tensor(LUMA)
    gain = scope.gain.wanted(luma, scope.lighting.gamma) * setup.exposure
    noise = np.random.default_rng((seed, draw_seed, number, 102))
    shown = picture(light, depth, gain, scope.lighting.gamma, scope.sensor, scope.camera, scope.disc, noise, scope.seed)
    return Still(
        image=setup.finish.recorded(shown.numpy()),
        depth=depth.float().numpy(),
        content=view.shown.numpy(),
        foreign=view.image(seen.instrument).numpy(),
        hidden=hidden.numpy(),
        camera=scope.camera,
        anatomy=kind,
        patient_seed=seed,
        number=number,
    )


def _light(
    scene: Scene,
    view: RenderView,
    motion: RigidMotion,
    setup: Setup,
    tool: Placed | None,
    seen: HitPoints,
) -> Float[Tensor, "height width 3"]:
    """Linear light: a ray through each pixel's centre, and three more where depth or light make a step."""
    scope, focal = setup.scope, min(setup.scope.camera.focal_px)
    shading: Shading = scope.shading
    depth, foreign = view.image(seen.depth), view.image(seen.instrument)

    def one(number: int, rays: Tensor, met: Hits | None = None) -> RaySamples:
        return sampled(scene, rays, motion, focal, scope.lighting, shading, number, tool, met=met)

    mean = one(0, view.rays(), seen.tissue)
    rows = _steps(view, depth, mean).nonzero()[:, 0]
    if len(rows):
        pixels = view.pixels[rows]
        more = [one(k, view.camera.unproject(pixels + pixels.new_tensor(at))) for k, at in enumerate(THIRDS, 1)]
        mean = mean.replaced(rows, total([mean[rows], *more]).scaled(1 / (1 + len(THIRDS))))
    diffuse = view.image(mean.diffuse)
    if shading.translucency_mm:
        tissue = torch.where(foreign, 0.0, depth)
        spread = within_tissue(view, tissue, view.image(mean.irradiance), shading.translucency_mm)
        diffuse = (diffuse + view.image(mean.albedo) * spread / math.pi).clamp_min(0)
    return diffuse + view.image(mean.glint)[..., None]


THIRDS = ((-0.32, 0.12), (0.12, -0.32), (0.3, 0.3))
"""Where in a pixel the further rays go, from its centre."""


def _steps(view: RenderView, depth: Float[Tensor, "height width"], found: RaySamples) -> Bool[Tensor, " pixels"]:
    """Pixels whose neighbours differ from them in depth or in light."""
    luma = view.image(found.diffuse @ found.diffuse.new_tensor(LUMA) + found.glint).numpy()
    z = depth.float().numpy()
    uneven = np.zeros(z.shape, bool)
    for values, limit in ((z, EDGE), (luma, 2 * EDGE)):
        low, high = cv2.erode(values, np.ones((3, 3), np.uint8)), cv2.dilate(values, np.ones((3, 3), np.uint8))
        uneven |= high - low > limit * (high + low)
    return torch.from_numpy(uneven)[view.shown]
