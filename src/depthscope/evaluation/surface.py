"""How good a surface is: distances to the true one, and how much of what was seen it covers."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Surface
from depthscope.geometry.nearest import NearestPoint

THRESHOLDS_MM = (0.5, 1.0, 2.0)
"""Of the F-scores."""

TOLERANCE = 0.02
"""Share of a distance that it may be too large by: what is far off need not be known exactly."""


@dataclass(frozen=True)
class Distances:
    """Unsigned distances from points of one surface to another.

    Attributes:
        mean, median, p95: In the unit of the surfaces.
        std: Standard deviation.
    """

    mean: float
    median: float
    p95: float
    std: float

    @classmethod
    def of(cls, values: Float[Tensor, " values"]) -> "Distances":
        """From the values."""
        if not len(values):
            raise BadInputError("no distances", "surfaces that can be compared")
        values = values.double()
        median, p95 = torch.quantile(values, torch.tensor([0.5, 0.95], dtype=torch.float64)).tolist()
        return cls(float(values.mean()), median, p95, float(values.std(correction=0)))


@dataclass(frozen=True)
class SurfaceError:
    """Errors of a surface that lies in the truth's frame.

    Attributes:
        accuracy: From the surface to the truth.
        completeness: From the seen part of the truth to the surface.
        chamfer: Mean of the two mean distances, not squared.
        f_scores: Harmonic mean of the shares below each threshold, by threshold in mm.
        unit: Of all of these.
        samples: Points drawn on each surface.
    """

    accuracy: Distances
    completeness: Distances
    chamfer: float
    f_scores: dict[float, float]
    unit: str
    samples: int


def surface_error(
    surface: Surface,
    truth: Surface,
    seen: Bool[Tensor, " faces"] | None = None,
    samples: int = 100_000,
    seed: int = 0,
) -> SurfaceError:
    """Compares two meshes in one frame by points drawn evenly over their areas.

    Args:
        surface: The one to judge.
        truth: The true one.
        seen: Faces of the truth that the cameras saw; without it completeness punishes what nobody could see.
        samples: Points on each.
        seed: Draws them.

    Raises:
        BadInputError: The units differ, a surface has no faces, or nothing was seen.
    """
    if surface.unit != truth.unit:
        raise BadInputError(f"surfaces in {surface.unit} and {truth.unit}", "one unit", "register the first")
    if seen is not None and not bool(seen.any()):
        raise BadInputError("no face of the truth was seen", "a view of it", "check the motions")
    generator = torch.Generator().manual_seed(seed)
    there = NearestPoint(truth, TOLERANCE)(sampled(surface, samples, generator)).distance
    back = NearestPoint(surface, TOLERANCE)(sampled(truth, samples, generator, seen)).distance
    accuracy, completeness = Distances.of(there), Distances.of(back)
    scores = {}
    for limit in THRESHOLDS_MM:
        precision, recall = float((there < limit).double().mean()), float((back < limit).double().mean())
        scores[limit] = 2 * precision * recall / max(precision + recall, 1e-12)
    return SurfaceError(accuracy, completeness, (accuracy.mean + completeness.mean) / 2, scores, truth.unit, samples)


def sampled(
    surface: Surface, count: int, generator: torch.Generator, chosen: Bool[Tensor, " faces"] | None = None
) -> Float[Tensor, "{count} 3"]:
    """Points drawn evenly over the area of a mesh, or of some of its faces.

    Raises:
        BadInputError: It has no faces.
    """
    if surface.faces is None or not len(surface.faces):
        raise BadInputError("a surface without faces", "a triangle mesh")
    faces = surface.faces if chosen is None else surface.faces[chosen]
    a, b, c = surface.points.double()[faces].unbind(1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1)
    # torch.multinomial takes at most 2^24 categories.
    edges = area.cumsum(0)
    draw = torch.rand(count, generator=generator, dtype=torch.float64) * edges[-1]
    face = torch.searchsorted(edges, draw).clamp_max(len(faces) - 1)
    u, v = torch.rand(2, count, generator=generator, dtype=torch.float64)
    flip = u + v > 1
    u, v = torch.where(flip, 1 - u, u), torch.where(flip, 1 - v, v)
    return a[face] + u[:, None] * (b - a)[face] + v[:, None] * (c - a)[face]
