"""Depth maps as what is registered: each frame's own view, joined in one registration as the paper's scenes are."""

import math
from collections.abc import Callable, Iterable, Sequence as Rows
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError, NoAnswerError
from depthscope.fusion.fusion import DepthFrame, Fusion, trusted_pixels
from depthscope.geometry import Similarity, Surface
from depthscope.geometry.depth import backprojected, normals
from depthscope.geometry.motion import rotate
from depthscope.registration.alignment import Alignment
from depthscope.registration.options import Registration, refusals
from depthscope.registration.registration import register
from depthscope.registration.search import Search
from depthscope.registration.target import Target
from depthscope.registration.view import View

FEWEST = 30
"""Pixels without which a frame says nothing."""

FEWEST_IN_HALVES = 6
"""Frames that are still frames enough when halved."""

CERTAIN = Fusion(most_relative_std=0.10)
"""Which pixels are registered. Of less certain ones, edges and far walls are wrong together and stretch the whole; the
most certain alone are few and near, and a patch of wall fits many places."""


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
    starts: Rows[Similarity] = (),
    told: Callable[[str], None] = lambda stage: None,
) -> Alignment:
    """The similarity from some depth maps to a CT surface; two halves of them must lie in the same place.

    The first and the second half are registered alone, each with no start: what they see differs, so that wrong places
    seldom agree. Then all are registered together, from where the halves ended too: a place that one half finds is not
    missed by the whole. How far the halves lie from the whole is part of the evidence.

    Args:
        frames: Depth maps with their motions, in one unit, in order of time.
        target: As `register` takes it.
        options: Likewise.
        starts: Likewise; the halves are not told.
        told: Likewise.

    Raises:
        BadInputError: No frame has pixels that can be trusted.
    """
    options = options or Registration()
    target = target if isinstance(target, Target) else Target(target)
    views = frame_views(frames)
    if len(views) < FEWEST_IN_HALVES:
        return register(views, target, options, starts, told)
    middle = len(views) // 2
    alone = [_alone(half, target, options, told, n) for n, half in enumerate((views[:middle], views[middle:]), 1)]
    found = register(views, target, options, (*starts, *(place for place in alone if place is not None)), told)
    points = torch.cat([view.surface.points for view in views]).double()
    points = points[:: max(1, len(points) // 5000)]
    apart = [_apart(points, found.target_from_source, place) for place in alone]
    evidence = replace(found.evidence, halves_apart_mm=max(apart))
    before = refusals(found.evidence, found.confidence, options)
    others = tuple(reason for reason in found.reasons if reason not in before)
    return replace(found, evidence=evidence, reasons=(*others, *refusals(evidence, found.confidence, options)))


def _apart(points: Float[Tensor, "points 3"], one: Similarity, other: Similarity | None) -> float:
    """Mean distance between where two places put points; infinite where there is no other."""
    return math.inf if other is None else float((one.apply(points) - other.apply(points)).norm(dim=-1).mean())


def _alone(
    half: tuple[View, ...], target: Target, options: Registration, told: Callable[[str], None], number: int
) -> Similarity | None:
    """Where half of the views lies by itself, or None where it fits nowhere."""
    told(f"half {number} of 2")
    searching = options if options.search is not None else replace(options, search=Search())
    try:
        return register(half, target, searching).target_from_source
    except NoAnswerError:
        return None
