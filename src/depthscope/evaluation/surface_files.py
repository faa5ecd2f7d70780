"""Errors of surfaces, and a table of figures."""

from dataclasses import replace
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.evaluation import SurfaceProtocol, faces_seen
from depthscope.formats.surfaces import Unit
from depthscope.geometry import Surface

MESHES = ("aligned.ply", "surface.ply", "target.ply", "anatomy.ply")
"""What stands for a folder as a surface: what was registered before what was fused, then a truth."""


def measured_surface(
    prediction: Path,
    truth: Path,
    protocol: SurfaceProtocol,
    seen_from: Path | None,
    unit: Unit | None = None,
    truth_unit: Unit | None = None,
) -> dict:
    """The errors of a surface that lies in the frame of the truth.

    Raises:
        BadInputError: One of them cannot be read, they differ in unit, or one is of no body's size and nobody says its
            unit.
    """
    surface, true = surface_in(prediction, unit, "--unit"), surface_in(truth, truth_unit or unit, "--truth-unit")
    if surface.unit != true.unit:
        unknown = prediction if surface.unit == "sfm" else truth
        raise BadInputError(
            f"surfaces in {surface.unit} and {true.unit}: {unknown} does not say its unit",
            "one unit",
            f"register it first, or say {'--unit' if unknown == prediction else '--truth-unit'} mm, cm or m",
        )
    seen = None if seen_from is None else faces_seen_from(true, seen_from)
    return {"protocol": protocol.name, **protocol.figures(surface, true, seen)}


def surface_in(place: Path, unit: Unit | None = None, option: str = "--unit") -> Surface:
    """The surface of a file, or of a folder by the names that depthscope gives, in mm where its unit is known.

    Raises:
        BadInputError: There is none, or it is of no body's size and nobody says its unit.
    """
    from depthscope.formats import surfaces

    if place.is_dir():
        found = next((place / name for name in MESHES if (place / name).is_file()), None)
        if found is None:
            raise BadInputError(f"{place} holds no surface", f"a file, or one of {', '.join(MESHES)} in it")
        place = found
    surface, _ = surfaces.read(place, unit)
    if surface.unit == "mm":
        surfaces.check_size(surface, place, unit, option)
    return replace(surface, points=surface.points.double(), normals=None)


def faces_seen_from(truth: Surface, folder: Path) -> Bool[Tensor, " faces"]:
    """Which faces of the true surface the cameras of a sequence see."""
    from depthscope.formats import read_sequence

    return faces_seen(truth, read_sequence(folder))
