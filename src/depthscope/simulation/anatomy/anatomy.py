"""A phantom patient's anatomy: the field that is its truth, its surface, its landmarks, and the way in."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Surface
from depthscope.simulation.anatomy.abdomen import Abdomen
from depthscope.simulation.anatomy.bronchus import BronchialTree
from depthscope.simulation.anatomy.colon import Colon
from depthscope.simulation.anatomy.extraction import route, zero_surface
from depthscope.simulation.anatomy.field import Positions, Values, with_gradient
from depthscope.simulation.anatomy.landmarks import (
    abdominal_landmarks,
    bronchial_landmarks,
    colon_landmarks,
    nasal_landmarks,
)
from depthscope.simulation.anatomy.nasal import NasalCavity

Kind = Literal["nasal", "colon", "bronchus", "abdomen"]

Shape = NasalCavity | Colon | BronchialTree | Abdomen

Split = Literal["train", "validation", "test"]

SPLITS: dict[Split, range] = {
    "train": range(0, 10_000),
    "validation": range(10_000, 11_000),
    "test": range(11_000, 12_000),
}
"""Seeds of the patients of each split: by patient, never by clip or frame."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A phantom patient's cavity, in mm in LPS (x to the patient's left, y to the back, z to the head).

    Attributes:
        seed: Everything about it is a function of this, `kind` and `swelling_mm`.
        kind: "nasal", "colon", "bronchus" or "abdomen".
        shape: The parameters it was drawn with, and the field itself.
        surface: The closed surface between air and tissue: vertices where the field is 0, normals into air, faces
            counter-clockwise seen from the air.
        regions: Which of `region_names` each vertex belongs to, shape (vertices,).
        landmarks: Named points of the surface, each of shape (3,).
        lumen: Middle of the air from the entry inwards, a point every half mm, shape (samples, 3).
        passages: Every way that a scope may take, the lumen first, each like it; a tree has many.
    """

    seed: int
    kind: Kind
    shape: Shape
    surface: Surface
    regions: Int[Tensor, " vertices"]
    landmarks: dict[str, Float[Tensor, "3"]]
    lumen: Float[Tensor, "samples 3"]
    passages: tuple[Float[Tensor, "_ 3"], ...]

    @property
    def region_names(self) -> tuple[str, ...]:
        """What the numbers of `regions` mean."""
        return self.shape.region_names

    @property
    def swelling_mm(self) -> float:
        """How far the mucosa swells beyond that of the CT, at most."""
        return self.shape.swelling_mm

    def field(self, points: Positions) -> Values:
        """Signed field at points in LPS mm, of any dtype and device: positive in tissue, 0 on the surface.

        Close to the surface it is about the distance in mm; divide by the gradient's length for a better one.
        """
        return self.shape(points)

    def distance_mm(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance to the surface to first order, field over gradient; good within a mm of the surface."""
        value, gradient = with_gradient(self.field, points)
        return value / gradient.norm(dim=-1).clamp_min(0.1)

    def normals(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """Unit normals into air at points of the surface."""
        return functional.normalize(-with_gradient(self.field, points)[1], dim=-1)

    @cached_property
    def size_mm(self) -> Float[Tensor, "3"]:
        """Extent of the surface along x, y and z."""
        return self.surface.points.amax(0) - self.surface.points.amin(0)


SPACING_MM: dict[Kind, float] = {"nasal": 0.3, "colon": 0.3, "bronchus": 0.4, "abdomen": 1.0}
"""Step of the marching cubes; 0.3 shows the thinnest sheets of a nose, and an abdomen has none so thin."""


def patient(seed: int, kind: Kind = "nasal", swelling_mm: float = 0.0, spacing_mm: float | None = None) -> Anatomy:
    """The anatomy of a patient; the same arguments give the same one, and another seed gives another one.

    Args:
        seed: Number of the patient, 0 or more; `split_of` says where it belongs.
        kind: "nasal", "colon", "bronchus" or "abdomen".
        swelling_mm: How far the mucosa swells, between the CT (0) and the video, 0 to 1.5; the landmarks move with it.
        spacing_mm: Step of the marching cubes, 0.1 to 2; that of `SPACING_MM` where none is given.

    Raises:
        BadInputError: An option out of its range.
    """
    if seed < 0:
        raise BadInputError(f"patient seed {seed}", "0 or more")
    if kind not in get_args(Kind):
        raise BadInputError(f"anatomy {kind!r}", " or ".join(get_args(Kind)))
    if not 0 <= swelling_mm <= 1.5:
        raise BadInputError(f"a swelling of {swelling_mm} mm", "0 to 1.5 mm", "more would close the passages")
    spacing_mm = SPACING_MM[kind] if spacing_mm is None else spacing_mm
    if not 0.1 <= spacing_mm <= 2.0:
        raise BadInputError(f"a mesh spacing of {spacing_mm} mm", "0.1 to 2 mm", "0.3 shows the thinnest sheets")
    if kind == "nasal":
        shape = NasalCavity.drawn(seed, swelling_mm)
        lumen = route(shape, shape.bounds, shape.entry, shape.goal)
        passages = (lumen,)
        before = replace(shape, swelling_mm=0.0)
        unswollen = route(before, shape.bounds, shape.entry, shape.goal) if swelling_mm else lumen
        landmarks = nasal_landmarks(shape, unswollen)  # the same sights, so that landmarks move with the swelling
    elif kind == "colon":
        shape = Colon.drawn(seed, swelling_mm)
        lumen, landmarks = shape.middle, colon_landmarks(shape)
        passages = (lumen,)
    elif kind == "bronchus":
        shape = BronchialTree.drawn(seed, swelling_mm)
        landmarks, passages = bronchial_landmarks(shape), shape.middles
        lumen = passages[0]
    else:
        shape = Abdomen.drawn(seed, swelling_mm)
        landmarks, passages = abdominal_landmarks(shape), shape.middles
        lumen = passages[0]
    surface = zero_surface(shape, shape.bounds, spacing_mm)
    return Anatomy(seed, kind, shape, surface, shape.regions(surface.points), landmarks, lumen, passages)


def split_of(seed: int) -> Split:
    """The split that a patient belongs to.

    Raises:
        BadInputError: The seed belongs to none.
    """
    for split, seeds in SPLITS.items():
        if seed in seeds:
            return split
    raise BadInputError(
        f"patient seed {seed}", "0 to 9999 (train), 10000 to 10999 (validation) or 11000 to 11999 (test)"
    )
