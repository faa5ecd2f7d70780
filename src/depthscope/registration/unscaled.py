"""A surface of which neither cameras nor scale are known: accepted only where its parts say the same.

A surface made small enough lies well on any wall, and noise hides that it has another shape. Nothing but the shape says
its scale, so that more is asked of it: an extent that is told from noise, odds against every other scale, and two
halves that prefer no other place or scale to that of the whole.
"""

import math
from collections.abc import Callable, Sequence as Rows
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from depthscope.errors import BadInputError, NoAnswerError
from depthscope.geometry import Similarity, Surface
from depthscope.registration.alignment import Alignment
from depthscope.registration.options import Registration, refusals
from depthscope.registration.registration import register
from depthscope.registration.search import Search
from depthscope.registration.target import Target

UNSETTLED = "neither cameras nor a scale are known, and the shape alone does not settle it"


def register_unscaled(
    surface: Surface,
    target: Surface | Target,
    options: Registration | None = None,
    starts: Rows[Similarity] = (),
    told: Callable[[str], None] = lambda stage: None,
) -> Alignment:
    """The similarity from a surface without cameras to a CT surface.

    With a prior of the scale this is `register`. Without one, what that would accept is registered by halves too, each
    searched for anew and begun from the whole's place as well, and refused where either half fits better elsewhere or
    at another scale: where the whole is wrong, parts of it fit many places better.

    Args:
        surface: With normals into the air, in any unit.
        target: As `register` takes it.
        options: Likewise.
        starts: Likewise.
        told: Likewise.
    """
    options = options or Registration()
    target = target if isinstance(target, Target) else Target(target)
    found = register(surface, target, options, starts, told)
    if options.scale_prior is not None or found.ambiguous:
        return found
    apart = max(_apart(found, part, target, options, told, number) for number, part in enumerate(halves(surface), 1))
    evidence = replace(found.evidence, halves_apart_mm=apart)
    again = refusals(evidence, found.confidence, options)
    reasons = tuple(
        reason.replace("a half of the frames alone would lie", "a half of the surface alone fits better")
        for reason in again
    )
    return replace(found, evidence=evidence, reasons=(UNSETTLED, *reasons) if reasons else ())


def halves(surface: Surface) -> tuple[Surface, Surface]:
    """The points on either side of the middle across the longest axis of the surface."""
    points = surface.points.double()
    middle = points - points.mean(0)
    longest = torch.linalg.eigh(middle.T @ middle).eigenvectors[:, -1]
    before = (middle @ longest).argsort().argsort() < len(points) // 2
    return _part(surface, before), _part(surface, ~before)


def _part(surface: Surface, rows: Bool[Tensor, " points"]) -> Surface:
    assert surface.normals is not None
    std = None if surface.std is None else surface.std[rows]
    return Surface(surface.points[rows], surface.normals[rows], unit=surface.unit, std=std)


def _apart(
    whole: Alignment,
    part: Surface,
    target: Target,
    options: Registration,
    told: Callable[[str], None],
    number: int,
) -> float:
    """Mean distance of the half's points between where the whole places them and where they fit best."""
    told(f"half {number} of 2")
    searching = options if options.search is not None else replace(options, search=Search())
    try:
        alone = register(part, target, searching, (whole.target_from_source,)).target_from_source
    except (NoAnswerError, BadInputError):
        return math.inf
    points = part.points.double()[:: max(1, len(part.points) // 5000)]
    return float((alone.apply(points) - whole.target_from_source.apply(points)).norm(dim=-1).mean())
