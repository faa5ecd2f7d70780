"""A registration checked by its halves: what either half of the cameras saw must come to lie in the same place."""

import math
from collections.abc import Callable, Sequence as Rows
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError, NoAnswerError
from depthscope.geometry import Similarity, Surface
from depthscope.registration.alignment import Alignment
from depthscope.registration.options import Registration, refusals
from depthscope.registration.registration import register
from depthscope.registration.search import Search
from depthscope.registration.target import Target
from depthscope.registration.view import SurfaceView

FEWEST_IN_HALVES = 6
"""Views that are still enough when halved."""


def register_with_split_half_check(
    views: tuple[SurfaceView, ...],
    target: Surface | Target,
    options: Registration | None = None,
    starts: Rows[Similarity] = (),
    told: Callable[[str], None] = lambda stage: None,
) -> Alignment:
    """The similarity from what some cameras saw to a CT surface; two halves of them must lie in the same place.

    The first and the second half are registered alone, each with no start: what they see differs, so that wrong places
    seldom agree. Then all are registered together, from where the halves ended too: a place that one half finds is not
    missed by the whole. How far the halves lie from the whole is part of the evidence. Fewer than `FEWEST_IN_HALVES`
    views are not halved.

    Args:
        views: Of depth maps or of a fused surface, in one frame and unit, in order of time.
        target: As `register` takes it.
        options: Likewise.
        starts: Likewise; the halves are not told.
        told: Likewise.
    """
    options = options or Registration()
    target = target if isinstance(target, Target) else Target(target)
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
    half: tuple[SurfaceView, ...], target: Target, options: Registration, told: Callable[[str], None], number: int
) -> Similarity | None:
    """Where half of the views lies by itself, or None where it fits nowhere or is too little."""
    told(f"half {number} of 2")
    searching = options if options.search is not None else replace(options, search=Search())
    try:
        return register(half, target, searching).target_from_source
    except (NoAnswerError, BadInputError):  # what is wrong with the whole as well is told by the whole
        return None
