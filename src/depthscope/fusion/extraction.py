"""The zero level of a volume as a mesh: marching cubes piece by piece, small holes closed, floaters dropped."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.ndimage import map_coordinates, uniform_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from skimage.measure import marching_cubes
from torch import Tensor

from depthscope.errors import NoAnswerError
from depthscope.fusion.volume import SIDE, TRAITS, Volume, corners_of, keys_of
from depthscope.geometry import Surface
from depthscope.geometry.surface import vertex_normals
from depthscope.geometry.units import LengthUnit

PIECE = 6
"""Blocks along the side of a piece that is extracted at once."""

ENOUGH_NEIGHBOURS = 0.55
"""An unseen voxel is filled in where this share of its 26 neighbours is known: inside a hole, not at a border."""

WELD = 1e-3
"""Vertices closer than this share of a voxel are one: the same vertex of two pieces."""


@dataclass(frozen=True, eq=False)
class Extraction:
    """A mesh and what was left out of it.

    Attributes:
        surface: The mesh.
        floaters: Number of pieces that were dropped.
        floater_share: Their share of the area.
    """

    surface: Surface
    floaters: int
    floater_share: float


@dataclass(frozen=True, eq=False)
class Mesh:
    """A part of the mesh, vertices in voxels of the world; traits are sRGB and standard deviation."""

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]
    traits: Float[np.ndarray, "vertices 4"]


def extracted(volume: Volume, hole_voxels: int, least_share: float, unit: LengthUnit) -> Extraction:
    """The surface where the signed distance is 0, between voxels that were seen.

    Raises:
        NoAnswerError: There is none.
    """
    whole = welded([mesh for mesh in pieces(volume, hole_voxels) if len(mesh.faces)])
    kept, floaters, share = without_floaters(whole, least_share)
    points = torch.from_numpy(kept.vertices * volume.voxel).float()
    faces = torch.from_numpy(kept.faces).long()
    traits = all_known(kept)
    colours = (
        torch.from_numpy(np.clip(np.rint(traits[:, :3]), 0, 255).astype(np.uint8)) if traits[:, :3].any() else None
    )
    std = torch.from_numpy(traits[:, 3]).float()
    surface = Surface(points, vertex_normals(points, faces), colours, faces, unit, std)
    return Extraction(surface, floaters, share)


def pieces(volume: Volume, hole_voxels: int) -> Iterator[Mesh]:
    """The mesh of every cube of blocks that holds anything."""
    corners = torch.unique(torch.div(corners_of(volume.keys), PIECE, rounding_mode="floor"), dim=0)
    for corner in corners:
        yield piece(volume, corner * PIECE, hole_voxels)


def piece(volume: Volume, corner: Int[Tensor, "3"], hole_voxels: int) -> Mesh:
    """The mesh of one cube of blocks, and of the cells to the next.

    One block around it is looked at too, so that pieces agree on the holes that they fill.
    """
    distance, weight, traits, traits_weight = gathered(volume, corner)
    for _ in range(hole_voxels):
        distance, weight = filled(distance, weight)
    inner = (slice(SIDE, SIDE * (PIECE + 1) + 1),) * 3
    values, seen = distance[inner], weight[inner] > 0
    cells = np.ones([length - 1 for length in seen.shape], bool)
    for x in (0, 1):
        for y in (0, 1):
            for z in (0, 1):
                lengths = cells.shape
                cells &= seen[x : x + lengths[0], y : y + lengths[1], z : z + lengths[2]]
    crossing = seen & (values < 0)
    if not cells.any() or not crossing.any() or not (seen & (values > 0)).any():
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, TRAITS)))
    mask = np.zeros(seen.shape, bool)
    mask[1:, 1:, 1:] = cells  # the cell below a voxel
    try:
        vertices, faces, _, _ = marching_cubes(values, 0.0, mask=mask, gradient_direction="descent")
    except (ValueError, RuntimeError):  # no cell holds a crossing
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, TRAITS)))
    place = vertices.T + SIDE
    share = map_coordinates(traits_weight, place, order=1)
    mixed = np.stack([map_coordinates(traits[..., c], place, order=1) for c in range(TRAITS)], -1)
    mixed = np.where(share[:, None] > 1e-6, mixed / np.maximum(share, 1e-6)[:, None], np.nan)
    return Mesh(vertices + 0.5 + corner.numpy() * SIDE, faces.astype(np.int64), mixed)


def gathered(volume: Volume, corner: Int[Tensor, "3"]) -> tuple[np.ndarray, ...]:
    """Distance, weight, traits and their weight of a cube of blocks with one block around it, as dense arrays."""
    blocks = PIECE + 2
    offsets = torch.cartesian_prod(*[torch.arange(-1, PIECE + 1)] * 3)
    rows, there = volume.find(keys_of(corner + offsets))

    def dense(values: Tensor) -> np.ndarray:
        chosen = torch.where(there.view(-1, *[1] * (values.ndim - 1)), values[rows], 0.0)
        shape = (blocks, blocks, blocks, SIDE, SIDE, SIDE, *values.shape[2:])
        order = (0, 3, 1, 4, 2, 5, *range(6, len(shape)))
        joined = chosen.reshape(shape).permute(order)
        return joined.reshape(*[blocks * SIDE] * 3, *values.shape[2:]).numpy()

    parts = (volume.distance, volume.weight, volume.traits, volume.traits_weight)
    return tuple(dense(values) for values in parts)


def filled(distance: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unseen voxels that are nearly surrounded by seen ones take their mean."""
    seen = (weight > 0).astype(np.float32)
    share = uniform_filter(seen, 3, mode="constant")
    mean = uniform_filter(distance * seen, 3, mode="constant") / np.maximum(share, 1e-6)
    fill = (seen == 0) & (share * 27 / 26 >= ENOUGH_NEIGHBOURS)
    return np.where(fill, mean, distance), np.where(fill, np.float32(1e-6), weight)


def welded(meshes: list[Mesh]) -> Mesh:
    """One mesh of all pieces; what two of them share is there once.

    Raises:
        NoAnswerError: There are none.
    """
    if not meshes:
        raise NoAnswerError(
            "the depth maps gave no surface", "views that agree where it is", "check their scale and the motions"
        )
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)])
    traits = np.concatenate([mesh.traits for mesh in meshes])
    _, first, number = np.unique(
        np.rint(vertices / WELD).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    faces = number.reshape(-1)[faces]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return Mesh(vertices[first], faces[whole], traits[first])


def without_floaters(mesh: Mesh, least_share: float) -> tuple[Mesh, int, float]:
    """The pieces with at least this share of the largest one's area; how many were dropped, and their share of all."""
    count = len(mesh.vertices)
    pairs = np.concatenate([mesh.faces[:, :2], mesh.faces[:, 1:]])
    graph = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, member = connected_components(graph, directed=False)
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    total = np.bincount(member[mesh.faces[:, 0]], area, minlength=member.max() + 1)
    large = total >= least_share * total.max()
    faces = mesh.faces[large[member[mesh.faces[:, 0]]]]
    used, number = np.unique(faces, return_inverse=True)
    kept = Mesh(mesh.vertices[used], number.reshape(-1, 3), mesh.traits[used])
    dropped = ~large & (total > 0)
    return kept, int(dropped.sum()), float(total[dropped].sum() / total.sum())


def all_known(mesh: Mesh) -> Float[np.ndarray, "vertices 4"]:
    """The vertices' traits; a vertex in a filled hole takes those of the nearest one that was seen."""
    missing = np.isnan(mesh.traits).any(1)
    traits = mesh.traits.copy()
    if missing.any() and not missing.all():
        _, nearest = KDTree(mesh.vertices[~missing]).query(mesh.vertices[missing])
        traits[missing] = mesh.traits[~missing][nearest]
    return np.nan_to_num(traits)
