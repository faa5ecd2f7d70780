"""How good a surface is: distances to the true one, and how much of what was seen it covers."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Surface
from depthscope.geometry.nearest import NearestPoint
from depthscope.geometry.units import LengthUnit

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
        hausdorff, hausdorff_p95: The larger of the two directions: largest distance, and 95th percentile.
        normal_consistency: Mean of abs(n m) between the normals of the surface and of the truth nearest to it.
        facing: Share of the surface whose normal looks to the same side as the truth's.
        unit: Of all of these.
        samples: Points drawn on each surface.
    """

    accuracy: Distances
    completeness: Distances
    chamfer: float
    f_scores: dict[float, float]
    hausdorff: float
    hausdorff_p95: float
    normal_consistency: float
    facing: float
    unit: LengthUnit
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
    drawn, faces = sampled_faces(surface, samples, generator)
    nearest = NearestPoint(truth, TOLERANCE)(drawn)
    there, cosine = nearest.distance, (surface.face_normals[faces] * truth.face_normals[nearest.face]).double().sum(-1)
    back = NearestPoint(surface, TOLERANCE)(sampled(truth, samples, generator, seen)).distance
    accuracy, completeness = Distances.of(there), Distances.of(back)
    scores = {}
    for limit in THRESHOLDS_MM:
        precision, recall = float((there < limit).double().mean()), float((back < limit).double().mean())
        scores[limit] = 2 * precision * recall / max(precision + recall, 1e-12)
    return SurfaceError(
        accuracy,
        completeness,
        (accuracy.mean + completeness.mean) / 2,
        scores,
        max(float(there.max()), float(back.max())),
        max(accuracy.p95, completeness.p95),
        float(cosine.abs().mean()),
        float((cosine > 0).double().mean()),
        truth.unit,
        samples,
    )


def sampled(
    surface: Surface, count: int, generator: torch.Generator, chosen: Bool[Tensor, " faces"] | None = None
) -> Float[Tensor, "{count} 3"]:
    """Points drawn evenly over the area of a mesh, or of some of its faces.

    Raises:
        BadInputError: It has no faces.
    """
    return sampled_faces(surface, count, generator, chosen)[0]


def sampled_faces(
    surface: Surface, count: int, generator: torch.Generator, chosen: Bool[Tensor, " faces"] | None = None
) -> tuple[Float[Tensor, "{count} 3"], Int[Tensor, " {count}"]]:
    """Such points with the faces that they lie on.

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
    points = a[face] + u[:, None] * (b - a)[face] + v[:, None] * (c - a)[face]
    return points, face if chosen is None else chosen.nonzero().flatten()[face]


@dataclass(frozen=True)
class BothWaysProtocol:
    """Accuracy, completeness of what was seen, Chamfer, F-scores, Hausdorff distances and normals.

    Attributes:
        name: On the command line and beside every number.
        about: Who computes it so.
    """

    name: str
    about: str

    def figures(self, surface: Surface, truth: Surface, seen: Bool[Tensor, " faces"] | None) -> dict[str, Any]:
        """The errors, and whether completeness is over what was seen.

        Args:
            surface: The one to judge, in the frame and unit of the truth.
            truth: The true one.
            seen: Faces of the truth that the cameras saw, or None for all.
        """
        return {**asdict(surface_error(surface, truth, seen)), "completeness_over": "all" if seen is None else "seen"}


@dataclass(frozen=True)
class ResidualProtocol:
    """The one-sided residual from a registered surface to the CT, as mean and deviation of a scene.

    It says nothing of where the surface lies: it must stand beside scale, coverage and a target registration error.

    Attributes:
        name: On the command line and beside every number.
        about: Who computes it so.
    """

    name: str
    about: str

    def figures(self, surface: Surface, truth: Surface, seen: Bool[Tensor, " faces"] | None) -> dict[str, Any]:
        """As `BothWaysProtocol.figures`; what was seen does not matter here."""
        found = surface_error(surface, truth)
        return {"residual": asdict(found.accuracy), "unit": found.unit, "samples": found.samples}


SurfaceProtocol = BothWaysProtocol | ResidualProtocol

SURFACE = BothWaysProtocol("surface-1", "any true surface in the same frame")

SURFACE_PROTOCOLS: tuple[SurfaceProtocol, ...] = (
    SURFACE,
    ResidualProtocol("sinus-ct", "a surface registered to a CT, as Liu et al. 2018 print it"),
)
"""Every protocol of surfaces."""
