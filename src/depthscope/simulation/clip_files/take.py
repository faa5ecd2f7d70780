"""One clip to be made, and any frame of it: a function of the patient's seed, the clip's seed and the frame's number.

The automatic gain looks back a few frames, but at what they show, not at how they came out, so that any frame can be
made alone, by any worker.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.geometry import Camera, RigidMotion
from depthscope.simulation.anatomy import Anatomy, Kind
from depthscope.simulation.breathing import breathed
from depthscope.simulation.debris import soiled
from depthscope.simulation.exposure import during, row_by_row
from depthscope.simulation.instrument import carried, placed
from depthscope.simulation.presets import Disturbances, Scope
from depthscope.simulation.render import Placed, Rendered, RenderView, Scene, cavity, flow_to, render, wanted_gains
from depthscope.simulation.sensor import ScopeDisc, picture
from depthscope.simulation.texture import Look, Mucosa, smoothed_over, tones

SCENES: dict[Kind, tuple[int, float]] = {
    "nasal": (40, 8.0),
    "colon": (40, 8.0),
    "bronchus": (10, 8.0),
    "abdomen": (3, 30.0),
}
"""Rounds in which the regions' seams are smoothed, and the reach in mm by which a place is deep in a cavity."""


@dataclass(frozen=True, eq=False)
class Take:
    """One clip to be made.

    Attributes:
        scene: The patient, at rest.
        scope: The instrument.
        motions: ``camera_from_world`` of its frames and of the one after the last.
        patient: Seed of the patient.
        clip: Seed of the clip.
        disturbances: What moves or stands before the camera.
        frames_per_second: Of the video.
    """

    scene: Scene
    scope: Scope
    motions: RigidMotion
    patient: int
    clip: int
    disturbances: Disturbances = field(default_factory=Disturbances)
    frames_per_second: float = 25.0

    @property
    def view(self) -> RenderView:
        """The pixels within the round picture."""
        return view_of(self.scope.camera, self.scope.disc)

    def __len__(self) -> int:
        return len(self.motions.translation) - 1

    def seconds(self, number: int) -> float:
        """When a frame is taken."""
        return number / self.frames_per_second

    def tissue(self, number: int) -> Scene:
        """The patient when a frame is taken."""
        breathing = self.disturbances.breathing
        return self.scene if breathing.still else breathed(self.scene, breathing, self.seconds(number))

    def instrument(self, number: int) -> Placed | None:
        """What stands before the tissue when a frame is taken."""
        held = self.disturbances.instrument
        if held is None:
            return None
        return placed(held, self.scene, self.motions[number], self.seconds(number))

    def displaced(self, points: Float[Tensor, "points 3"], frames: Tensor) -> Float[Tensor, "points 3"]:
        """Where points of the tissue at rest are in the frames of the same length, or in the one frame."""
        breathing = self.disturbances.breathing
        if breathing.still:
            return points
        moved = points.clone()
        for number in frames.unique().tolist():
            rows = (frames == number).expand(len(points))
            moved[rows] = points[rows] + breathing.displacement(points[rows], self.seconds(int(number)))
        return moved


@lru_cache(maxsize=4)
def view_of(camera: Camera, disc: ScopeDisc) -> RenderView:
    """The pixels within a round picture; kept, since undistorting their rays takes longer than casting them."""
    return RenderView(camera, disc.inside() > 0)


def scene_of(anatomy: Anatomy, look: Look) -> Scene:
    """The patient's surface with its tissue: the regions' tones, and how deep in a cavity each vertex lies."""
    rounds, reach = SCENES[anatomy.kind]
    table = tones(anatomy.surface, anatomy.regions, anatomy.region_names, rounds)
    bare = Scene(anatomy.surface, Mucosa(look, anatomy.seed), table)
    deep = smoothed_over(anatomy.surface, cavity(bare, reach)[:, None], 6)
    table[:, 2:3] = ((deep - 0.1) / 0.6).clamp(0, 1)
    return bare


def gains(take: Take, frames: range) -> list[float]:
    """The gain of each frame: what it and those before it ask for, the latest first."""
    automatic = take.scope.gain
    back = len(automatic.weights())
    first = max(frames.start - back + 1, 0)
    looked_at = range(first, frames.stop)
    held = [take.instrument(n) for n in looked_at]
    motions = take.motions[first : frames.stop]
    wanted = wanted_gains(take.scene, take.view, motions, take.scope.lighting, automatic, held)
    history = [wanted[: n - first + 1][::-1][:back] for n in frames]
    # Before the clip the scope stood where the clip begins.
    return [automatic.lagged(h + [h[-1]] * (back - len(h))) for h in history]


def frame(take: Take, number: int, gain: float) -> tuple[Rendered, Tensor]:
    """One frame: its light and truth, and its 8-bit picture, shape (height, width, 3)."""
    rendered, _, shown = photographed(take, number, gain)
    return rendered, shown


def photographed(take: Take, number: int, gain: float) -> tuple[Rendered, Bool[Tensor, "height width"], Tensor]:
    """One frame: its light and truth, where debris hides the tissue, and its 8-bit picture."""
    scope, shading, shutter = take.scope, take.scope.shading, take.scope.shutter
    count, height = shading.samples**2, take.scope.camera.size_px[1]
    if shutter.at_once:
        moments = during(take.motions, number, shutter.open, count)
    else:
        moments = row_by_row(take.motions, number, shutter, take.view.pixels[:, 1], height, count)
    rendered = render(
        take.tissue(number), take.view, take.motions[number], scope.lighting, shading, moments, take.instrument(number)
    )
    light, hidden, debris = rendered.light, torch.zeros_like(rendered.shadow), take.disturbances.debris
    if not debris.clear:
        focal = min(scope.camera.focal_px)
        light, hidden = soiled(light, rendered.depth, debris, scope.disc, focal, take.seconds(number))
    draw = np.random.default_rng((take.patient, take.clip, number, 71))
    return (
        rendered,
        hidden,
        picture(
            light,
            rendered.depth,
            gain,
            scope.lighting.gamma,
            scope.sensor,
            scope.camera,
            scope.disc,
            draw,
            scope.seed,
        ),
    )


def flow_after(
    take: Take, number: int, rendered: Rendered
) -> tuple[Float[Tensor, "height width 2"], Bool[Tensor, "height width"]]:
    """How far what each pixel sees moves until the next frame, tissue and instrument each in its own way."""
    here, there = take.motions[number], take.motions[number + 1]
    now, later = take.instrument(number), take.instrument(number + 1)
    next_tissue, onward = take.tissue(number + 1), None
    if not take.disturbances.breathing.still:
        onward = next_tissue.places(rendered.sight.tissue)
    if now is not None and later is not None:
        world = here.inverse().apply(rendered.sight.depth[:, None] * take.view.rays())
        onward = world if onward is None else onward
        onward = torch.where(rendered.sight.instrument[:, None], carried(now, later, world), onward)
    before = () if later is None else (later,)
    return flow_to(next_tissue, take.view, rendered.depth, here, there, onward, before)
