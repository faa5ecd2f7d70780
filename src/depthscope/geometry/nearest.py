"""The nearest point of a triangle mesh, exactly: few candidates from a tree over samples, then each triangle's own."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.surface import Surface

CANDIDATES, MOST_ROUGHLY = 12, 192
"""Triangles that are looked at first, and at most where the answer need not be exact."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """Where a surface is nearest to some points.

    Attributes:
        distance: Unsigned, shape (points,).
        point: On the surface, shape (points, 3).
        face: Its triangle, shape (points,).
    """

    distance: Float[Tensor, " points"]
    point: Float[Tensor, "points 3"]
    face: Int[Tensor, " points"]


@dataclass(frozen=True, eq=False)
class NearestPoint:
    """A mesh that can be asked for its nearest point.

    Attributes:
        surface: The mesh.
        tolerance: Share of the distance that the answer may be too far by, or by about a triangle where that is more;
            0 is exact, and slow far from the surface.
    """

    surface: Surface
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.surface.faces is None or not len(self.surface.faces):
            raise BadInputError("a surface without faces", "a triangle mesh")

    @cached_property
    def _corners(self) -> Float[Tensor, "faces 3 3"]:
        assert self.surface.faces is not None
        return self.surface.points.double()[self.surface.faces]

    @cached_property
    def _reach(self) -> float:
        """Largest distance from any triangle's centre to its corners."""
        return float((self._corners - self._corners.mean(1, keepdim=True)).norm(dim=-1).max())

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self._corners.mean(1).numpy())

    def __call__(self, points: Float[Tensor, "points 3"]) -> Nearest:
        """The nearest point of the surface to each point, since a triangle lies within its reach of its centre.

        The more candidates are asked for the longer no bound rules out what was not seen.
        """
        points = points.double()
        wanted, found, left = CANDIDATES, None, torch.arange(len(points))
        while True:
            wanted = min(wanted, len(self._corners))
            some, beyond = self._among(points[left], wanted)
            if found is None:
                found = some
            else:
                found.distance[left], found.point[left], found.face[left] = some.distance, some.point, some.face
            # A triangle whose centre is farther than all that were looked at may still reach nearer.
            left = left[beyond - self._reach < (1 - self.tolerance) * some.distance]
            most = MOST_ROUGHLY if self.tolerance else len(self._corners)
            if not len(left) or wanted >= min(most, len(self._corners)):
                return found
            wanted *= 4

    def _among(self, points: Tensor, wanted: int) -> tuple[Nearest, Float[Tensor, " points"]]:
        """The nearest point on the `wanted` triangles with the nearest centres; how far the last of these is."""
        parts = []
        for some in points.split(max(1, 400_000 // wanted)):
            far, rows = self._tree.query(some.numpy(), k=wanted)
            face = torch.from_numpy(np.asarray(rows).reshape(len(some), wanted))
            closest = on_triangles(some[:, None].expand(-1, wanted, -1), self._corners[face])
            distance = (closest - some[:, None]).norm(dim=-1)
            chosen, row = distance.argmin(1), torch.arange(len(some))
            beyond = torch.from_numpy(np.asarray(far).reshape(len(some), wanted)[:, -1])
            parts.append((distance[row, chosen], closest[row, chosen], face[row, chosen], beyond))
        distance, point, face, beyond = (torch.cat(column) for column in zip(*parts, strict=True))
        return Nearest(distance, point, face), beyond


def on_triangles(points: Float[Tensor, "*batch 3"], corners: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """The nearest point of each triangle to its point (inside, on an edge, or a corner)."""
    a, b, c = corners.unbind(-2)
    inside = _on_plane(points, a, b - a, c - a)
    edges = torch.stack([_on_segment(points, a, b), _on_segment(points, b, c), _on_segment(points, c, a)], -2)
    away = (edges - points[..., None, :]).norm(dim=-1)
    edge = edges.gather(-2, away.argmin(-1)[..., None, None].expand(*points.shape[:-1], 1, 3))[..., 0, :]
    return torch.where(inside.isfinite().all(-1, keepdim=True), inside, edge)


def _on_plane(points: Tensor, a: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The foot of the perpendicular where it lies in the triangle, else NaN."""
    w = points - a
    uu, uv, vv, wu, wv = ((x * y).sum(-1) for x, y in ((u, u), (u, v), (v, v), (w, u), (w, v)))
    area = uu * vv - uv**2
    s, t = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    within = (s >= 0) & (t >= 0) & (s + t <= 1)  # NaN, of a triangle without area, is not
    return torch.where(within[..., None], a + s[..., None] * u + t[..., None] * v, torch.nan)


def _on_segment(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    way = end - start
    share = ((points - start) * way).sum(-1) / (way * way).sum(-1).clamp_min(1e-300)
    return start + share.clamp(0, 1)[..., None] * way
