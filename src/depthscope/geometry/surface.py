"""Surfaces and point clouds: points with normals, colours and faces."""

from dataclasses import dataclass

import numpy as np
import scipy  # its packages load where they are used
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.motion import RigidMotion, Similarity, rotate
from depthscope.geometry.units import LengthUnit


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangle mesh, or a point cloud where there are no faces.

    Attributes:
        points: Vertices, shape (points, 3), in `unit`.
        normals: Unit normals, shape (points, 3), or None.
        colours: sRGB 0..255, shape (points, 3), or None.
        faces: Vertex numbers, shape (faces, 3), counter-clockwise seen from outside, or None.
        unit: Unit of the points: "mm", or "sfm" for the free unit of a reconstruction.
        std: Standard deviation of each point along the rays that saw it, shape (points,), in `unit`, or None.
    """

    points: Float[Tensor, "points 3"]
    normals: Float[Tensor, "points 3"] | None = None
    colours: UInt8[Tensor, "points 3"] | None = None
    faces: Int[Tensor, "faces 3"] | None = None
    unit: LengthUnit = "sfm"
    std: Float[Tensor, " points"] | None = None

    def __post_init__(self) -> None:
        count = len(self.points)
        if not bool(self.points.isfinite().all()):
            raise BadInputError("a surface with points that are not finite", "finite coordinates")
        for name, rows in (("normals", self.normals), ("colours", self.colours), ("standard deviations", self.std)):
            if rows is not None and len(rows) != count:
                raise BadInputError(f"{len(rows)} {name} for {count} points", "one for each point")
        if (
            self.faces is not None
            and len(self.faces)
            and not 0 <= int(self.faces.min()) <= int(self.faces.max()) < count
        ):
            raise BadInputError("faces that name points which do not exist", f"numbers in 0..{count - 1}")

    def moved(self, target_from_source: Similarity | RigidMotion) -> "Surface":
        """The surface in another frame."""
        scaled = isinstance(target_from_source, Similarity)
        motion = target_from_source.motion if scaled else target_from_source
        normals = None if self.normals is None else rotate(motion.rotation, self.normals)
        std = self.std if self.std is None or not scaled else self.std * target_from_source.scale
        return Surface(target_from_source.apply(self.points), normals, self.colours, self.faces, self.unit, std)

    @property
    def face_normals(self) -> Float[Tensor, "faces 3"]:
        """Unit normals of the faces.

        Raises:
            BadInputError: The surface has no faces.
        """
        if self.faces is None:
            raise BadInputError("a point cloud", "a surface with faces")
        a, b, c = self.points[self.faces].unbind(1)
        return torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)


def vertex_normals(points: Float[Tensor, "points 3"], faces: Int[Tensor, "faces 3"]) -> Float[Tensor, "points 3"]:
    """Unit normals: the mean of the faces about each vertex, by area."""
    a, b, c = points[faces].unbind(1)
    area = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(points)
    for corner in range(3):
        normals = normals.index_add(0, faces[:, corner], area)
    return torch.nn.functional.normalize(normals, dim=-1)


def largest_piece(
    points: Float[Tensor, "points 3"], faces: Int[Tensor, "faces 3"]
) -> tuple[Float[Tensor, "kept 3"], Int[Tensor, "fewer 3"]]:
    """The connected piece of a mesh with the most vertices."""
    edges = faces[:, [0, 1]].T.numpy(), faces[:, [1, 2]].T.numpy()
    rows, columns = np.concatenate(edges, 1)
    links = scipy.sparse.coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(points), len(points)))
    _, piece = scipy.sparse.csgraph.connected_components(links, directed=False)
    kept = torch.from_numpy(piece == np.bincount(piece).argmax())
    number = torch.cumsum(kept, 0) - 1
    return points[kept], number[faces[kept[faces[:, 0]]]]
