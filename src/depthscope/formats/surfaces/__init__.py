"""Surface files of other programs: PLY, STL, OBJ, VTP and VTK, in LPS mm whatever space and unit the file says it has.

3D Slicer and others write ``SPACE=RAS`` or ``SPACE=LPS`` into the header of STL, OBJ, PLY and VTK files, and a string
array ``SPACE`` into those of VTK. A file that says RAS is converted; one that says nothing is taken to be LPS, as ITK
and Slicer's current default have it. Hardly any file says its unit of length: `read` takes it from its caller, and
`check_size` asks for it where the size is not that of a body.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from depthscope.errors import BadInputError, require_file
from depthscope.formats import ply
from depthscope.formats.surfaces import vtk_legacy, vtk_xml
from depthscope.formats.surfaces.header import MM, Unit, is_ras, space_of, stated_unit
from depthscope.geometry import Surface
from depthscope.geometry.surface import vertex_normals
from depthscope.reading import reader

__all__ = ["ENDINGS", "MM", "Unit", "check_size", "read", "stated_unit"]

ENDINGS = (".ply", ".stl", ".obj", ".vtp", ".vtk")

USUAL_MM = (60.0, 1000.0)
"""How long the anatomy in a file usually is, from a child's nose to an abdomen; what is not is asked about."""

POSSIBLE_MM = (5.0, 3000.0)
"""How long it may be where its unit is stated."""


@reader("a surface (PLY, STL, OBJ, VTP, VTK)")
def read(path: Path, unit: Unit | None = None) -> tuple[Surface, str]:
    """Reads a surface, and says in words which axes it was in.

    Normals that are missing follow from the faces; they are then on the side from which the faces look
    counter-clockwise.

    Args:
        path: The file.
        unit: Its unit of length, where that is known: points are then in mm, whatever the file says. Without it a file
            that says its unit is converted to mm, a PLY file that says none is in the free unit of a reconstruction,
            and other files are taken to be in mm.

    Raises:
        BadInputError: No such file, not one of these formats, damaged, or in a space that is neither LPS nor RAS.
    """
    path = require_file(Path(path), f"a surface ({', '.join(ENDINGS)})")
    space: str | None = None
    match path.suffix.lower():
        case ".ply":
            surface = ply.read(path)
        case ".stl" | ".obj":
            surface = _by_trimesh(path)
        case ".vtp":
            surface, space = vtk_xml.read(path)
        case ".vtk":
            surface, space = vtk_legacy.read(path)
        case ending:
            raise BadInputError(f"{path}: ending '{ending}'", f"one of {', '.join(ENDINGS)}", "export it as PLY")
    if (named := unit or stated_unit(path)) is not None:
        factor = MM[named]
        std = None if surface.std is None else surface.std * factor
        surface = replace(surface, points=surface.points * factor, std=std, unit="mm")
    if surface.normals is None and surface.faces is not None and len(surface.faces):
        surface = replace(surface, normals=vertex_normals(surface.points, surface.faces))
    if is_ras(space or space_of(path), path):
        flip = surface.points.new_tensor([-1.0, -1.0, 1.0])
        normals = None if surface.normals is None else surface.normals * flip
        return replace(surface, points=surface.points * flip, normals=normals), "RAS in the file, turned to LPS"
    return surface, "LPS"


def check_size(surface: Surface, path: Path, unit: Unit | None, option: str = "--unit") -> None:
    """Asks for the unit of a surface of a body where nobody stated it and the size is unusual.

    Raises:
        BadInputError: The size is not that of a body.
    """
    stated = unit is not None or stated_unit(path) is not None
    least, most = POSSIBLE_MM if stated else USUAL_MM
    extent = float((surface.points.amax(0) - surface.points.amin(0)).amax()) if len(surface.points) else 0.0
    if least <= extent <= most:
        return
    guesses = [name for name in ("m", "cm") if least <= extent * MM[name] <= most]
    maybe = f" (in {' or '.join(guesses)} it would be {extent * MM[guesses[0]]:.3g} mm)" if guesses else ""
    raise BadInputError(
        f"{path} is {extent:.3g} mm long{'' if stated else ', if its numbers are mm, which it does not say'}{maybe}",
        f"a part of a body, {least:g} to {most:g} mm long",
        f"say its unit with {option} mm, cm or m",
    )


def _by_trimesh(path: Path) -> Surface:
    import trimesh

    try:
        mesh = trimesh.load_mesh(path, process=True)  # merges the corners that an STL file repeats
        points, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    except Exception as error:  # whatever a parser meets in a damaged file
        raise BadInputError(f"{path} cannot be read ({error})", "an STL or OBJ mesh", "export it again") from error
    if not len(faces):
        raise BadInputError(f"{path} has no faces", "a triangle mesh", "export it again")
    if not np.isfinite(points).all():
        raise BadInputError(f"{path} has points that are not finite", "finite coordinates", "export it again")
    ply.check_faces(faces, len(points), path)
    return Surface(torch.from_numpy(points), None, None, torch.from_numpy(faces), "mm")
