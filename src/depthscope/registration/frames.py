"""Depth maps as what is registered: each frame's own view, joined in one registration as the paper's scenes are."""

from collections.abc import Iterable

import torch

from depthscope.errors import BadInputError
from depthscope.fusion.fusion import DepthFrame, Fusion, trusted_pixels
from depthscope.geometry import Surface
from depthscope.geometry.depth import backprojected, normals
from depthscope.geometry.motion import rotate
from depthscope.registration.view import SurfaceView

FEWEST = 30
"""Pixels without which a frame says nothing."""

CERTAIN = Fusion(most_relative_std=0.10)
"""Which pixels are registered. Of less certain ones, edges and far walls are wrong together and stretch the whole; the
most certain alone are few and near, and a patch of wall fits many places."""


def frame_views(frames: Iterable[DepthFrame], options: Fusion | None = None) -> tuple[SurfaceView, ...]:
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
        lens = frame.lens
        solid = torch.where(frame.depth > 0, frame.depth, 1.0)[None]
        world = frame.camera_from_world.inverse().to(torch.float64)
        points = world.apply(backprojected(solid, lens)[0][trusted].double())
        directions = rotate(world.rotation, normals(solid, lens)[0][trusted].double())
        std = None if frame.std is None else frame.std[trusted]
        found.append(SurfaceView(Surface(points, directions), world.translation, std=std))
    if not found:
        raise BadInputError(
            "no depth map with pixels that can be trusted", "at least one", "check the maps, or their uncertainty"
        )
    return tuple(found)
