"""Files to go on with: the surface for other programs, in the frame of the report, and its figures as tables."""

import csv
import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from depthscope.formats import ply
from depthscope.geometry import Surface
from depthscope.report.clip_view import sequence_of
from depthscope.report.folder import CaseFolder, ClipResults, Results
from depthscope.report.space import placed_surface, space_of

FOLDER = "downloads"
"""Beside the page."""

VOXEL_MM = 0.5
"""Of a label map where there is no CT in NIfTI whose grid it could take."""

MOST_VOXELS = 400_000_000
"""Of a label map."""

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Download:
    """A file beside the page.

    Attributes:
        address: Its path from the page.
        title: Its format and what it holds.
        size: In bytes.
    """

    address: str
    title: str
    size: int


def write_downloads(case: CaseFolder, folder: Path) -> tuple[Download, ...]:
    """Writes the files and returns them.

    Args:
        case: The case.
        folder: Of the page.
    """
    made: list[Download] = []
    for clip in case.clips:
        place = folder / FOLDER / clip.name
        for name, title in _of_clip(case, clip, place):
            path = place / name
            address = path.relative_to(folder).as_posix()
            made.append(Download(address, f"{clip.name}: {title}" if clip.name else title, path.stat().st_size))
    path = folder / FOLDER / "figures.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_figures(case, path)
    made.append(Download(f"{FOLDER}/figures.csv", "CSV, every figure with its file and key", path.stat().st_size))
    return tuple(made)


def _of_clip(case: CaseFolder, clip: ClipResults, place: Path) -> Iterator[tuple[str, str]]:
    found = placed_surface(case, clip)
    if found is not None:
        place.mkdir(parents=True, exist_ok=True)
        surface, source = found
        mm = surface.unit == "mm"
        frame = "LPS, mm" if source else "frame and free unit of the reconstruction"
        comments = ("frame LPS", "SPACE=LPS", f"millimetres from {source}") if source else ()
        ply.write(surface, place / "surface.ply", comments=comments)
        yield "surface.ply", f"PLY, the whole surface with colours ({frame})"
        write_mesh(surface, place / "surface.stl")
        yield "surface.stl", f"STL, its shape ({frame})"
        write_mesh(as_gltf(surface, bool(source)), place / "surface.glb")
        yield "surface.glb", f"GLB, with colours ({'metres, y up' if mm else 'free unit, y up'})"
        if source and mm:
            write_label_map(surface, place / "surface.nii.gz", ct_of(clip.registration))
            yield "surface.nii.gz", "NIfTI, voxels that the surface passes through"
    sequence = sequence_of(clip)
    if sequence is not None:
        place.mkdir(parents=True, exist_ok=True)
        space = space_of(case, clip, sequence, 1000)
        write_path(space.names, space.cameras, space.unit, place / "camera_path.csv")
        yield "camera_path.csv", f"CSV, position and rotation of the camera in every frame ({space.unit})"


def write_mesh(surface: Surface, path: Path) -> None:
    """Writes a mesh in the format that the file's ending names (``.stl``, ``.glb``)."""
    import trimesh

    colours = None if surface.colours is None or path.suffix == ".stl" else surface.colours.numpy()
    assert surface.faces is not None
    mesh = trimesh.Trimesh(surface.points.double().numpy(), surface.faces.numpy(), vertex_colors=colours, process=False)
    data = mesh.export(file_type=path.suffix[1:])
    path.write_bytes(data if isinstance(data, bytes) else str(data).encode())


def as_gltf(surface: Surface, lps: bool) -> Surface:
    """The surface in glTF's axes (y up) and, where it is in mm, its metres.

    Args:
        surface: The mesh.
        lps: Whether its axes are those of a CT; else they are a camera's, x right, y down, z forward.
    """
    turn = [[1.0, 0, 0], [0, 0, 1], [0, -1, 0]] if lps else [[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]
    points = surface.points.double() @ torch.tensor(turn, dtype=torch.float64).T
    return Surface(
        points / 1000 if surface.unit == "mm" else points, None, surface.colours, surface.faces, surface.unit
    )


def ct_of(registration: Results) -> Path | None:
    """The NIfTI file of the CT that a registration went to, where it still lies there."""
    inputs = registration.provenance.get("inputs")
    for name in inputs if isinstance(inputs, dict) else ():
        path = Path(str(name))
        if path.name.lower().endswith((".nii", ".nii.gz")) and path.is_file():
            return path
    return None


def write_label_map(surface: Surface, path: Path, ct: Path | None) -> None:
    """A volume with 1 where the surface is, on the grid of a CT, or of `VOXEL_MM` about the surface.

    Args:
        surface: In LPS mm.
        path: Where to.
        ct: A NIfTI file whose grid is taken, or None.
    """
    import nibabel
    import trimesh

    shape, lps_from_voxel = _grid(surface, ct)
    size = float(np.linalg.norm(lps_from_voxel[:3, :3], axis=0).min())
    assert surface.faces is not None
    dense = trimesh.remesh.subdivide_to_size(
        surface.points.double().numpy(), surface.faces.numpy(), max_edge=size / 2, max_iter=30
    )[0]
    voxel_from_lps = np.linalg.inv(lps_from_voxel)
    at = np.rint(dense @ voxel_from_lps[:3, :3].T + voxel_from_lps[:3, 3]).astype(np.int64)
    at = at[((at >= 0) & (at < shape)).all(1)]
    labels = np.zeros(shape, np.uint8)
    labels[tuple(at.T)] = 1
    image = nibabel.Nifti1Image(labels, RAS_FROM_LPS @ lps_from_voxel)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"depthscope surface, research use only"
    with gzip.GzipFile(path, "wb", compresslevel=3, mtime=0) as stream:  # the same case makes the same file
        stream.write(image.to_bytes())


def _grid(surface: Surface, ct: Path | None) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape, and LPS from voxels."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    if ct is not None:
        try:
            header = nibabel.load(ct)
            shape, affine = tuple(header.shape[:3]), np.asarray(header.affine, np.float64)  # type: ignore[attr-defined]
        except (OSError, ValueError, AttributeError, ImageFileError):
            shape, affine = (), np.zeros((4, 4))
        sound = len(shape) == 3 and 0 < math.prod(shape) <= MOST_VOXELS and abs(np.linalg.det(affine)) > 1e-9
        if sound and header.header.get_xyzt_units()[0] in ("mm", "unknown"):  # type: ignore[attr-defined]
            return shape, RAS_FROM_LPS @ affine
    low, high = (surface.points.double().numpy().min(0) - 2, surface.points.double().numpy().max(0) + 2)
    voxel = max(VOXEL_MM, float(np.prod((high - low) / MOST_VOXELS ** (1 / 3))) ** (1 / 3))
    made = np.diag([voxel, voxel, voxel, 1.0])
    made[:3, 3] = low
    return tuple(int(n) for n in np.ceil((high - low) / voxel).astype(int) + 1), made


def write_path(names: tuple[str, ...], cameras, unit: str, path: Path) -> None:
    """The camera of every frame: its centre, and world_from_camera as a quaternion."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["frame", *(f"{axis}_{unit}" for axis in "xyz"), "qw", "qx", "qy", "qz"])
        if cameras is None:
            return
        turns = cameras.inverse().quaternion_wxyz
        for name, centre, turn in zip(names, cameras.origin.tolist(), turns.tolist(), strict=True):
            rows.writerow([name, *(f"{value:.6g}" for value in (*centre, *turn))])


def write_figures(case: CaseFolder, path: Path) -> None:
    """Every number of every result: its file, its key, its value."""
    of_clips = [r for c in case.clips if c.name for r in (c.sequence, c.prediction, c.surface, c.registration)]
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "key", "value"])
        for results in (*case.stages.values(), *of_clips):
            for key, value in numbers(results.content):
                rows.writerow([f"{results.name}/result.json", key, repr(value)])


def numbers(content: object, key: str = "") -> Iterator[tuple[str, int | float]]:
    """The numbers of nested records and short lists, with their keys."""
    if isinstance(content, bool):
        return
    if isinstance(content, int | float):
        yield key, content
    elif isinstance(content, dict):
        for name, value in content.items():
            yield from numbers(value, f"{key}/{name}" if key else str(name))
    elif isinstance(content, list) and len(content) <= 16:
        for number, value in enumerate(content):
            yield from numbers(value, f"{key}/{number}")
