"""From a field to its surface and to the way through its air."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from skimage import graph, measure
from torch import Tensor
from torch.nn import functional

from depthscope.geometry import Surface
from depthscope.geometry.surface import largest_piece
from depthscope.simulation.anatomy.field import Field, in_blocks, projected, with_gradient

Bounds = tuple[tuple[float, float, float], tuple[float, float, float]]

COARSE = 3
"""Fine steps in a coarse one; the field is evaluated finely only where the coarse one is near 0."""

STEEPEST = 3.0
"""How much faster than the distance a field is expected to grow at most."""


def lattice(bounds: Bounds, spacing_mm: float) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates along each axis of a lattice that fills the bounds."""
    x, y, z = (
        low + spacing_mm * torch.arange(int((high - low) / spacing_mm) + 1, dtype=torch.float64)
        for low, high in zip(*bounds, strict=True)
    )
    return x, y, z


def sampled(field: Field, axes: tuple[Tensor, Tensor, Tensor], band_mm: float | None = None) -> Tensor:
    """The field on a lattice, float32, exact within `band_mm` of its zero and of the right sign elsewhere.

    Args:
        field: What to sample.
        axes: Evenly spaced coordinates along x, y and z.
        band_mm: None for what marching cubes need.

    Returns:
        Shape (len(x), len(y), len(z)).
    """
    spacing = max(float(axis[1] - axis[0]) for axis in axes)
    coarse_axes = tuple(axis[COARSE // 2 :: COARSE] for axis in axes)
    points = torch.stack(torch.meshgrid(*coarse_axes, indexing="ij"), -1).float()
    coarse = in_blocks(field, points.reshape(-1, 3)).reshape(points.shape[:3]).numpy()

    # A coarse node speaks for the block about it, from which the zero may be as far as half its diagonal.
    reach = (band_mm or spacing) + spacing * COARSE * 3**0.5 / 2
    near = np.abs(coarse) < STEEPEST * reach
    shape = tuple(len(axis) for axis in axes)
    blocks = [np.minimum(np.arange(n) // COARSE, m - 1) for n, m in zip(shape, coarse.shape, strict=True)]
    values = torch.from_numpy(coarse[np.ix_(*blocks)])
    rows = torch.from_numpy(near[np.ix_(*blocks)]).nonzero()
    exact = torch.stack([axis[row] for axis, row in zip(axes, rows.unbind(-1), strict=True)], -1).float()
    values[rows[:, 0], rows[:, 1], rows[:, 2]] = in_blocks(field, exact)
    return values


def zero_surface(field: Field, bounds: Bounds, spacing_mm: float) -> Surface:
    """The closed surface between air and tissue: marching cubes, then each vertex moved onto the field's zero.

    Only the largest piece is kept. Normals point into air; faces are counter-clockwise seen from the air.
    """
    axes = lattice(bounds, spacing_mm)
    values = sampled(field, axes)
    corners, faces, _, _ = measure.marching_cubes(values.numpy(), 0.0, spacing=(spacing_mm,) * 3)
    points = torch.from_numpy(corners.astype(np.float64)) + torch.tensor(bounds[0], dtype=torch.float64)
    points, faces = largest_piece(points, torch.from_numpy(faces.astype(np.int64)))

    points = projected(field, points)
    _, gradient = with_gradient(field, points)
    normals = functional.normalize(-gradient, dim=-1)
    surface = Surface(points, normals, None, faces, "mm")
    agreement = (surface.face_normals * normals[faces[:, 0]]).sum(-1).median()
    return surface if agreement > 0 else Surface(points, normals, None, faces.flip(1), "mm")


def route(
    field: Field, bounds: Bounds, start: tuple[float, float, float], goal: tuple[float, float, float]
) -> Float[Tensor, "points 3"]:
    """The widest short way through the air from start to goal, smooth, a point every half mm."""
    axes = lattice(bounds, 0.8)
    values = sampled(field, axes, band_mm=4.0).numpy()
    clearance = 0.8 * np.asarray(ndimage.distance_transform_edt(values < 0), np.float64)
    cost = np.where(values < 0, 1 + (4.0 / np.maximum(clearance, 0.2)) ** 3, 1e6)
    ends = [[int(round((x - low) / 0.8)) for x, low in zip(point, bounds[0], strict=True)] for point in (start, goal)]
    cells, _ = graph.route_through_array(cost, *ends, fully_connected=True, geometric=True)
    way = np.array(cells, np.float64) * 0.8 + np.array(bounds[0])
    return evenly_spaced(ndimage.gaussian_filter1d(way, 5.0, axis=0, mode="nearest"), 0.5)


def evenly_spaced(way: np.ndarray, step_mm: float) -> Float[Tensor, "points 3"]:
    """Points along a polyline at even distances of arc length."""
    at = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    wanted = np.arange(0.0, at[-1], step_mm)
    return torch.from_numpy(np.stack([np.interp(wanted, at, way[:, i]) for i in range(3)], 1))


def first_touch(
    field: Callable[[Tensor], Tensor],
    starts: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    reach: float,
) -> Float[Tensor, "rays 3"]:
    """Where rays from the air first meet tissue, to a tenth of a mm before projection; their far ends if nowhere."""
    steps = torch.arange(0.0, reach, 0.1, dtype=starts.dtype)
    directions = functional.normalize(directions, dim=-1)
    along = starts[:, None] + steps[:, None] * directions[:, None]
    tissue = in_blocks(field, along.reshape(-1, 3)).reshape(along.shape[:2]) > 0
    first = torch.where(tissue.any(1), tissue.int().argmax(1), len(steps) - 1)
    return projected(field, along[torch.arange(len(starts)), first])
