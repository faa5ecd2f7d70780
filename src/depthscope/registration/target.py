"""The surface that is registered to: samples of its faces in trees, and the exact most likely point on it."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Surface
from depthscope.geometry.casting import RayCaster
from depthscope.registration.view import cells, one_per_cell

AT_ONCE = 4096
"""Queries that are searched for together: each has up to some hundred candidates in memory."""

Rows = Float[Tensor, "queries 3"]
PerQuery = Float[Tensor, " queries"]


@dataclass(frozen=True, eq=False)
class Beliefs:
    """Where points are believed to lie, and how surely, in the target's frame.

    Attributes:
        position: s R x + t, shape (queries, 3).
        normal: R n, shape (queries, 3).
        ray: R d, the axis of the position's covariance, shape (queries, 3).
        along: Variance along the axis, mm^2.
        across: Variance across it, mm^2.
        kappa: Concentration of the normal.
        beta: Its ovalness.
        sure: R g2, shape (queries, 3).
    """

    position: Rows
    normal: Rows
    ray: Rows
    along: PerQuery
    across: PerQuery
    kappa: PerQuery
    beta: PerQuery
    sure: Rows

    def __getitem__(self, rows: Tensor) -> "Beliefs":
        return Beliefs(
            self.position[rows], self.normal[rows], self.ray[rows], self.along[rows],
            self.across[rows], self.kappa[rows], self.beta[rows], self.sure[rows],
        )  # fmt: skip

    def energy(
        self, points: Float[Tensor, "queries candidates 3"], normals: Float[Tensor, "queries candidates 3"]
    ) -> Float[Tensor, "queries candidates"]:
        """Negative log likelihood of target points, but for constants: 1/2 d^T P d + kappa (1-c) - beta (a^2 - b^2)."""
        d = points - self.position[:, None]
        axial = (d * self.ray[:, None]).sum(-1)
        across, along = self.across[:, None], self.along[:, None]
        quadratic = (d.square().sum(-1) - axial**2) / across + axial**2 / along
        return 0.5 * quadratic + self.orientation(normals)

    def orientation(self, normals: Float[Tensor, "queries candidates 3"]) -> Float[Tensor, "queries candidates"]:
        """The normals' part of it (Kent), as five squares: never negative."""
        kappa, beta = self.kappa[:, None], self.beta[:, None]
        c = (normals * self.normal[:, None]).sum(-1)
        b = (normals * self.sure[:, None]).sum(-1)
        apart = (normals - self.normal[:, None]).square().sum(-1)
        return 0.5 * ((kappa - 2 * beta) * apart + 2 * beta * (1 - c) ** 2 + 4 * beta * b**2)


@dataclass(frozen=True, eq=False)
class Matches:
    """The most likely points of the target.

    Attributes:
        point: On the surface, shape (queries, 3).
        normal: Unit, into the air, shape (queries, 3).
        energy: Negative log likelihood; infinite where nothing is admitted.
    """

    point: Rows
    normal: Rows
    energy: PerQuery

    @property
    def found(self) -> Bool[Tensor, " queries"]:
        """Where anything was admitted."""
        return self.energy.isfinite()


@dataclass(frozen=True, eq=False)
class Target:
    """A surface in mm with normals into the air, ready to be matched and looked at.

    Attributes:
        surface: The mesh.
        spacing_mm: Faces are sampled so that no point of one is farther than this from a sample.
        coarse_mm: Spacing of the samples for the search from afar.
    """

    surface: Surface
    spacing_mm: float = 0.5
    coarse_mm: float = 1.2
    _trees: dict[tuple[str, int], KDTree] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.surface.faces is None or not len(self.surface.faces):
            raise BadInputError("a target without faces", "a triangle mesh, or a CT", "export the surface as a mesh")

    @cached_property
    def corners(self) -> Float[Tensor, "faces 3 3"]:
        """Corners of the faces."""
        assert self.surface.faces is not None
        return self.surface.points.double()[self.surface.faces]

    @cached_property
    def face_normals(self) -> Float[Tensor, "faces 3"]:
        """Of each face the mean of its vertices' normals, which a CT's noise disturbs less than the face's own."""
        assert self.surface.faces is not None
        flat = self.surface.face_normals.double()
        if self.surface.normals is None:
            return flat
        mean = self.surface.normals.double()[self.surface.faces].mean(1)
        good = (mean.norm(dim=-1, keepdim=True) > 0.3) & ((mean * flat).sum(-1, keepdim=True) > 0)
        return functional.normalize(torch.where(good, mean, flat), dim=-1)

    @cached_property
    def _fine(self) -> tuple[Float[Tensor, "samples 3"], Int[Tensor, " samples"], float]:
        """Samples of all faces, the face of each, and how far a face's point may be from the nearest of its samples."""
        corners = self.corners
        longest = (corners - corners.roll(1, 1)).norm(dim=-1).amax(1)
        parts = (longest * (2 / 3) / self.spacing_mm).ceil().clamp(1, 24).long()
        points, faces = [], []
        for n in torch.unique(parts).tolist():
            rows = (parts == n).nonzero()[:, 0]
            weights = _lattice(n)
            points.append(torch.einsum("wk,fkc->fwc", weights, corners[rows]).reshape(-1, 3))
            faces.append(rows.repeat_interleave(len(weights)))
        return torch.cat(points), torch.cat(faces), float((longest / parts).max()) * 2 / 3

    @cached_property
    def _coarse(self) -> tuple[Float[Tensor, "samples 3"], Float[Tensor, "samples 3"]]:
        """Fewer samples with normals: one in each cell for each of six directions, so both sides of a sheet."""
        points, faces, _ = self._fine
        normals = self.face_normals[faces]
        side = normals.abs().argmax(-1) * 2 + (normals.gather(1, normals.abs().argmax(-1)[:, None])[:, 0] > 0)
        rows = one_per_cell(points, cells(points - points.amin(0), self.coarse_mm) * 6 + side)
        return points[rows], normals[rows]

    @property
    def coarse_samples(self) -> tuple[Float[Tensor, "samples 3"], Float[Tensor, "samples 3"]]:
        """Evenly spread points of the surface and their normals."""
        return self._coarse

    @cached_property
    def caster(self) -> RayCaster:
        """For rays."""
        return RayCaster(self.surface)

    @cached_property
    def _places(self) -> KDTree:
        return KDTree(self._fine[0].numpy(), balanced_tree=False)

    def _tree(self, level: str, bin_number: int) -> KDTree:
        """Samples lifted to (y, r m) in six dimensions, for r at the bin's lower edge."""
        if (level, bin_number) not in self._trees:
            if level == "fine":
                points, faces, _ = self._fine
                normals = self.face_normals[faces]
            else:
                points, normals = self._coarse
            lifted = torch.cat([points, 2 ** (bin_number / 2) * normals], 1)
            # Unbalanced trees are built twice as fast and searched as fast.
            self._trees[level, bin_number] = KDTree(lifted.numpy(), leafsize=24, balanced_tree=False)
        return self._trees[level, bin_number]

    def signed_distance(self, points: Float[Tensor, "points 3"]) -> tuple[Tensor, Tensor]:
        """Distance to the tangent plane of the nearest sample, positive in air, shape (points,), and its normal."""
        _, nearest = self._places.query(points.numpy())
        nearest = torch.from_numpy(nearest)
        samples, faces, _ = self._fine
        normal = self.face_normals[faces[nearest]]
        return ((points - samples[nearest]) * normal).sum(-1), normal

    def near(self, beliefs: Beliefs) -> Matches:
        """About the most likely points, fast: the nearest coarse sample in six dimensions, moved along its plane."""
        ratio = (beliefs.kappa * torch.maximum(beliefs.along, beliefs.across)).sqrt()
        number = int(2 * math.log2(max(1e-3, float(ratio.median()))))
        factor = 2 ** (number / 2)
        query = torch.cat([beliefs.position, factor * beliefs.normal], 1)
        _, rows = self._tree("coarse", number).query(query.numpy())
        rows = torch.from_numpy(rows)
        points, normals = self._coarse
        point, normal = points[rows], normals[rows]
        offset = beliefs.position - point
        within = offset - (offset * normal).sum(-1, keepdim=True) * normal
        length = within.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        point = point + within * (length.clamp_max(0.75 * self.coarse_mm) / length)
        return Matches(point, normal, beliefs.energy(point[:, None], normal[:, None])[:, 0])

    def most_likely(
        self, beliefs: Beliefs, cameras: Rows | None = None, most: int = 512, least_cosine: float = -1.0
    ) -> Matches:
        """The admitted point of the surface with the least energy: exact, by growing sets of lifted neighbours.

        With lambda the least eigenvalue of P and k' = kappa - 2 beta, the energy of a face is at least lambda/2
        (D - h)^2, D the distance of its sample in (y, r m) for any r <= sqrt(k'/lambda), h the covering radius; the
        search ends where that passes the best energy found.

        Args:
            beliefs: What is matched.
            cameras: Camera centre of each query in the target's frame: only faces turned to it are admitted.
            most: Neighbours to try at most.
            least_cosine: Faces whose normal is turned farther from the query's are not admitted.
        """
        count = len(beliefs.position)
        best = Matches(
            beliefs.position.clone(), beliefs.normal.clone(), torch.full((count,), torch.inf, dtype=torch.float64)
        )
        widest = torch.maximum(beliefs.along, beliefs.across)
        ratio = ((beliefs.kappa - 2 * beliefs.beta).clamp_min(1e-9) * widest).sqrt()
        bins = torch.floor(2 * torch.log2(ratio)).long()
        for number in torch.unique(bins).tolist():
            for rows in (bins == number).nonzero()[:, 0].split(AT_ONCE):
                self._search(beliefs, cameras, rows, number, most, least_cosine, best)
        return best

    def _search(
        self,
        beliefs: Beliefs,
        cameras: Rows | None,
        rows: Tensor,
        number: int,
        most: int,
        least_cosine: float,
        best: Matches,
    ) -> None:
        """Fills in `best` for the queries of one bin."""
        tree, (_, face_of, covering) = self._tree("fine", number), self._fine
        factor, neighbours, seen = 2 ** (number / 2), 8, 0
        while len(rows) and seen < most:
            neighbours = min(neighbours, tree.n)
            query = torch.cat([beliefs.position[rows], factor * beliefs.normal[rows]], 1)
            ranks: Any = np.arange(seen + 1, neighbours + 1)  # SciPy's stubs know single numbers only
            away, near = tree.query(query.numpy(), k=ranks)
            away, faces = torch.from_numpy(away), face_of[torch.from_numpy(near)]
            part = beliefs[rows]
            points = closest_points(part, self.corners[faces])
            normals = self.face_normals[faces]
            energy = part.energy(points, normals)
            admitted = (normals * part.normal[:, None]).sum(-1) >= least_cosine
            if cameras is not None:
                admitted &= ((cameras[rows][:, None] - points) * normals).sum(-1) > 0
            energy = torch.where(admitted, energy, torch.inf)
            least, column = energy.min(1)
            better = least < best.energy[rows]
            chosen = rows[better]
            best.energy[chosen] = least[better]
            best.point[chosen] = points[better, column[better]]
            best.normal[chosen] = normals[better, column[better]]
            bound = 0.5 * (away[:, -1] - covering).clamp_min(0) ** 2 / torch.maximum(part.along, part.across)
            rows = rows[bound < best.energy[rows]]
            if neighbours == tree.n:
                return
            seen, neighbours = neighbours, min(4 * neighbours, most)


def _lattice(n: int) -> Float[Tensor, "samples 3"]:
    """Barycentric centres of the n^2 equal parts of a triangle."""
    up = [(i + 1 / 3, j + 1 / 3) for i in range(n) for j in range(n - i)]
    down = [(i + 2 / 3, j + 2 / 3) for i in range(n - 1) for j in range(n - 1 - i)]
    uv = torch.tensor(up + down, dtype=torch.float64) / n
    return torch.cat([uv, 1 - uv.sum(1, keepdim=True)], 1)


def closest_points(
    beliefs: Beliefs, corners: Float[Tensor, "queries candidates 3 3"]
) -> Float[Tensor, "queries candidates 3"]:
    """The most likely point of each candidate triangle, by position: the closest one in the Mahalanobis metric.

    Space is stretched along the ray so that the metric becomes round, where the closest point of a triangle is the
    foot on its plane, or else on its nearest edge.
    """
    stretch = (beliefs.across / beliefs.along).sqrt() - 1
    ray = beliefs.ray[:, None, None]

    def rounded(points: Tensor) -> Tensor:
        return points + stretch[:, None, None, None] * (points * ray).sum(-1, keepdim=True) * ray

    offsets = rounded(corners - beliefs.position[:, None, None])
    a, b, c = offsets.unbind(2)
    ab, ac = b - a, c - a
    d1, d2 = -(ab * a).sum(-1), -(ac * a).sum(-1)
    aa, bb, cross = (ab * ab).sum(-1), (ac * ac).sum(-1), (ab * ac).sum(-1)
    determinant = (aa * bb - cross**2).clamp_min(1e-18)
    v, w = (bb * d1 - cross * d2) / determinant, (aa * d2 - cross * d1) / determinant
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    # On the edges: the share along each, and how far the foot is.
    on_ab = (d1 / aa.clamp_min(1e-18)).clamp(0, 1)
    on_ac = (d2 / bb.clamp_min(1e-18)).clamp(0, 1)
    bc = c - b
    on_bc = (-(bc * b).sum(-1) / (bc * bc).sum(-1).clamp_min(1e-18)).clamp(0, 1)
    zero = torch.zeros_like(v)
    feet = torch.stack(
        [
            torch.stack([on_ab, zero], -1),
            torch.stack([zero, on_ac], -1),
            torch.stack([1 - on_bc, on_bc], -1),
        ],
        -2,
    )
    places = a[..., None, :] + feet[..., :1] * ab[..., None, :] + feet[..., 1:] * ac[..., None, :]
    nearest = places.square().sum(-1).argmin(-1, keepdim=True)
    edge = feet.gather(-2, nearest[..., None].expand(*nearest.shape, 2))[..., 0, :]
    share = torch.where(inside[..., None], torch.stack([v, w], -1), edge)
    first, second, third = corners.unbind(2)
    return first + share[..., :1] * (second - first) + share[..., 1:] * (third - first)
