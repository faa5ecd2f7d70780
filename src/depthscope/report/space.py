"""A clip's surface and camera path in one frame and one unit, and how far it lies from what is true."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from depthscope.errors import DepthscopeError
from depthscope.formats import ply
from depthscope.geometry import RigidMotion, Similarity, Surface
from depthscope.geometry.nearest import on_triangles
from depthscope.report.folder import CaseFolder, ClipResults, Results
from depthscope.report.mesh import decimated
from depthscope.sequence import Sequence

SHOWN_MM = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Distances that may be the end of the scale of colours."""


CANDIDATES = 12
"""Triangles with the nearest centres among which the nearest point is looked for: for colours, not for figures."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How far the vertices of the shown surface lie from another one.

    Attributes:
        against: From what, in words.
        mm: Of each vertex, shape (points,).
        most_mm: End of the colours.
        results: Whose figures tell the same in numbers.
        path: Keys of these figures.
        how: How the surface was brought there, in words.
    """

    against: str
    mm: Float[Tensor, " points"]
    most_mm: float
    results: Results
    path: tuple[str, ...]
    how: str = ""


@dataclass(frozen=True, eq=False)
class Space:
    """What there is of a clip in space.

    Attributes:
        surface: With few enough faces for a page, or None.
        faces: How many it has in its file.
        cameras: camera_from_world of the frames in the same frame and unit, or None.
        names: Of these frames.
        unit: "mm" or "units".
        scale_source: Where millimetres come from, "" where there are none.
        distances: To a CT or to the truth, the one to colour by first.
        target: File of the mesh that the first placement is about, in the frame of the surface here, or None.
    """

    surface: Surface | None
    faces: int
    cameras: RigidMotion | None
    names: tuple[str, ...]
    unit: Literal["mm", "units"]
    scale_source: str
    distances: tuple[SurfaceDistances, ...]
    target: Path | None = None


def space_of(case: CaseFolder, clip: ClipResults, sequence: Sequence | None, most_faces: int) -> Space:
    """The surface and the path of a clip, in millimetres where something tells them."""
    mesh = mesh_in(clip.surface.place / "surface.ply")
    small = None if mesh is None else decimated(mesh, most_faces)
    placed = _placements(case, clip)
    distances = [] if small is None else [d for p in placed if (d := _distances(p, small)) is not None]
    motions = None if sequence is None else sequence.camera_from_world.to(torch.float64)
    unit, source = (mesh.unit if mesh is not None else "" if sequence is None else sequence.unit), ""
    if placed:
        chosen = placed[0]
        unit, source = "mm", chosen.source
        small = None if small is None else small.moved(chosen.there_from_here)
        motions = None if motions is None else moved_cameras(motions, chosen.there_from_here)
    elif unit == "mm":
        source = "the sequence, whose unit is mm"
    return Space(
        small,
        0 if mesh is None or mesh.faces is None else len(mesh.faces),
        motions,
        () if sequence is None else sequence.frame_names,
        "mm" if unit == "mm" else "units",
        source,
        tuple(distances),
        placed[0].target if placed else None,
    )


def placed_surface(case: CaseFolder, clip: ClipResults) -> tuple[Surface, str] | None:
    """The whole surface of a clip as `space_of` places it, and where its millimetres come from ("" without any)."""
    mesh = mesh_in(clip.surface.place / "surface.ply")
    if mesh is None:
        return None
    placed = _placements(case, clip)
    if placed:
        return replace(mesh.moved(placed[0].there_from_here), unit="mm"), placed[0].source
    return mesh, "the sequence, whose unit is mm" if mesh.unit == "mm" else ""


def in_target(clip: ClipResults, space: Space) -> bool:
    """Whether a clip's space is that of the CT by a registration that was accepted."""
    return space.surface is not None and bool(clip.registration) and clip.registration.get("ambiguous") is False


def moved_cameras(camera_from_world: RigidMotion, there_from_here: Similarity) -> RigidMotion:
    """The cameras after their world was moved: rotations turn with it, centres move with it."""
    rotation = camera_from_world.rotation @ there_from_here.motion.rotation.transpose(-1, -2)
    centres = there_from_here.apply(camera_from_world.origin)
    return RigidMotion(rotation, -(rotation @ centres[..., None])[..., 0])


@dataclass(frozen=True, eq=False)
class _Placement:
    """A frame in millimetres that a surface can be brought to."""

    there_from_here: Similarity
    target: Path | None
    against: str
    source: str
    results: Results
    path: tuple[str, ...]
    how: str = ""


def _placements(case: CaseFolder, clip: ClipResults) -> list[_Placement]:
    """By registration to a CT, and by the truth of a phantom; the first is the one to show.

    A registration that was refused tells no millimetres: it is shown only where there is nothing better, and named.
    """
    found = []
    registration, truth = clip.registration, case.stages["surface_error"]
    refused = registration.get("ambiguous") is True
    if (motion := _similarity(registration.get("target_from_source"))) is not None:
        against, source = "the CT's surface, after registration", "registration to the CT"
        source = registration.said("scale_source", source)
        if refused:
            against, source = "the CT's surface, by a refused registration", "a registration that was refused"
        target = registration.place / "target.ply"
        found.append(_Placement(motion, target, against, source, registration, ("residual_mm",)))
    first = clip is case.clips[0]  # the truth is measured on the first clip
    if first and (motion := _similarity(truth.get("true_from_sfm"))) is not None:
        anatomy = case.place / "patient" / "video"
        target = anatomy.resolve().parent / "anatomy.ply" if anatomy.exists() else None
        source = truth.said("scale_source", "the truth of the phantom")
        how = "aligned by " + source
        found.append(_Placement(motion, target, "the true anatomy", source, truth, ("surface", "accuracy"), how))
    return found[::-1] if refused else found


def _distances(placed: _Placement, small: Surface) -> SurfaceDistances | None:
    """Distances of the vertices to the target, where it can be read."""
    goal = None if placed.target is None else mesh_in(placed.target)
    if goal is None:
        return None
    moved = small.moved(placed.there_from_here)
    distance = distance_to(goal, moved.points.float())
    high = float(distance.quantile(0.9))
    most = next((end for end in SHOWN_MM if end >= high), SHOWN_MM[-1])
    return SurfaceDistances(placed.against, distance, most, placed.results, placed.path, placed.how)


def distance_to(goal: Surface, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
    """How far points lie from a mesh, looked for on its `CANDIDATES` triangles with the nearest centres."""
    assert goal.faces is not None
    corners = goal.points.float()[goal.faces]
    wanted = min(CANDIDATES, len(corners))
    _, rows = KDTree(corners.mean(1).numpy()).query(points.numpy(), k=wanted)
    near = corners[torch.from_numpy(rows.reshape(len(points), wanted))]
    closest = on_triangles(points[:, None].expand(-1, wanted, -1), near)
    return (closest - points[:, None]).norm(dim=-1).amin(1)


def mesh_in(path: Path) -> Surface | None:
    """A mesh, or None where there is none that can be read."""
    try:
        mesh = ply.read(path) if path.is_file() else None
    except DepthscopeError:
        return None
    if mesh is None or mesh.faces is None or not len(mesh.faces):
        return None
    return replace(mesh, points=mesh.points.float(), normals=None)


def _similarity(rows: object) -> Similarity | None:
    """A similarity from its 4 x 4 matrix, or None where it is none."""
    try:
        matrix = torch.tensor(rows, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return None
    if tuple(matrix.shape) != (4, 4) or not bool(matrix.isfinite().all()):
        return None
    determinant = float(torch.linalg.det(matrix[:3, :3]))
    if determinant <= 0:  # no scale, or a mirror
        return None
    scale = matrix.new_tensor(determinant ** (1 / 3))
    return Similarity(scale, RigidMotion(matrix[:3, :3] / scale, matrix[:3, 3]))
