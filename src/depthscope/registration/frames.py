"""Depth maps as what is registered: each frame's own view, joined in one registration as the paper's scenes are."""

from collections.abc import Callable, Iterable, Sequence as Rows

import torch

from depthscope.errors import BadInputError
from depthscope.fusion.fusion import DepthFrame, Fusion, trusted_pixels
from depthscope.geometry import Similarity, Surface
from depthscope.geometry.depth import backprojected, normals
from depthscope.geometry.motion import rotate
from depthscope.registration.alignment import Alignment
from depthscope.registration.options import Registration
from depthscope.registration.registration import register
from depthscope.registration.target import Target
from depthscope.registration.view import View

FEWEST = 30
"""Pixels without which a frame says nothing."""

CERTAIN, LESS_CERTAIN = Fusion(most_relative_std=0.08), Fusion(most_relative_std=0.15)
"""Which pixels are registered: fewer than are fused, as errors of those less certain are not those of noise; or, where
these few do not tell one place of the cavity from another, as many."""


def frame_views(frames: Iterable[DepthFrame], options: Fusion | None = None) -> tuple[View, ...]:
    """The trusted pixels of some frames in the world of their motions, with normals and standard deviations.

    Args:
        frames: Depth maps with their motions, in one unit.
        options: Which pixels are trusted, as in fusion; `CERTAIN` ones by default.

    Raises:
        BadInputError: No frame has pixels enough.
    """
    options = options or CERTAIN
    found = []
    for frame in frames:
        trusted = trusted_pixels(frame, options)
        if int(trusted.sum()) < FEWEST:
            continue
        pinhole = frame.camera.pinhole.to(torch.float32)[None]
        solid = torch.where(frame.depth > 0, frame.depth, 1.0)[None]
        world = frame.camera_from_world.inverse().to(torch.float64)
        points = world.apply(backprojected(solid, pinhole)[0][trusted].double())
        directions = rotate(world.rotation, normals(solid, pinhole)[0][trusted].double())
        std = None if frame.std is None else frame.std[trusted]
        found.append(View(Surface(points, directions), world.translation, std=std))
    if not found:
        raise BadInputError(
            "no depth map with pixels that can be trusted", "at least one", "check the maps, or their uncertainty"
        )
    return tuple(found)


def register_frames(
    frames: Rows[DepthFrame],
    target: Surface | Target,
    options: Registration | None = None,
    start: Similarity | None = None,
    told: Callable[[str], None] = lambda stage: None,
) -> Alignment:
    """The similarity from some depth maps to a CT surface, by their most certain pixels.

    Where that answer is refused, more pixels are taken, and the answer of the two that is surer of itself is given.

    Args:
        frames: Depth maps with their motions, in one unit.
        target: As `register` takes it.
        options: Likewise.
        start: Likewise.
        told: Likewise.

    Raises:
        BadInputError: No frame has pixels that can be trusted.
    """
    target = target if isinstance(target, Target) else Target(target)
    best: Alignment | None = None
    for certain in (CERTAIN, LESS_CERTAIN):
        try:
            views = frame_views(frames, certain)
        except BadInputError:
            if certain is LESS_CERTAIN and best is None:
                raise
            continue
        found = register(views, target, options, start, told)
        if best is None or (found.ambiguous, -found.confidence) < (best.ambiguous, -best.confidence):
            best = found
        if not best.ambiguous:
            break
    assert best is not None
    return best
