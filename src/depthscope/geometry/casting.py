"""Rays against triangle meshes, by Embree: where they meet a surface first, and what stands between two points."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.camera import Camera
from depthscope.geometry.depth import pixel_grid
from depthscope.geometry.motion import RigidMotion, rotate
from depthscope.geometry.surface import Surface


@dataclass(frozen=True, eq=False)
class Hits:
    """Where rays met a surface.

    Attributes:
        face: Number of the triangle, -1 where there is none, shape (rays,).
        distance: Along the ray in lengths of its direction, 0 where there is none, shape (rays,).
        weights: Barycentric weights of the triangle's corners, shape (rays, 3).
    """

    face: Int[Tensor, " rays"]
    distance: Float[Tensor, " rays"]
    weights: Float[Tensor, "rays 3"]

    @property
    def found(self) -> Bool[Tensor, " rays"]:
        """Which rays met anything."""
        return self.face >= 0

    def among(self, cast: Bool[Tensor, " all"]) -> "Hits":
        """As rows of more rays, of which these alone were cast; the others met nothing."""
        face, distance = torch.full(cast.shape, -1), torch.zeros(cast.shape, dtype=self.distance.dtype)
        weights = torch.zeros(*cast.shape, 3, dtype=self.weights.dtype)
        face[cast], distance[cast], weights[cast] = self.face, self.distance, self.weights
        return Hits(face, distance, weights)


@dataclass(frozen=True, eq=False)
class RayCaster:
    """A triangle mesh that rays can be cast at.

    Attributes:
        surface: The mesh; both sides of its faces are met.
    """

    surface: Surface

    def __post_init__(self) -> None:
        if self.surface.faces is None or not len(self.surface.faces):
            raise BadInputError("a surface without faces", "a triangle mesh")

    @cached_property
    def _tree(self) -> Any:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        scene = EmbreeScene()
        TriangleMesh(scene, self.surface.points.float().numpy(), self.faces.astype(np.int32))
        return scene

    @cached_property
    def faces(self) -> NDArray[np.int64]:
        """Vertex numbers of the triangles, shape (faces, 3)."""
        assert self.surface.faces is not None
        return self.surface.faces.numpy()

    @cached_property
    def _planes(self) -> NDArray[np.float64]:
        """Normal and offset of each triangle's plane, shape (faces, 4)."""
        a, b, c = (self.surface.points.double().numpy()[self.faces[:, i]] for i in range(3))
        normal = np.cross(b - a, c - a)
        return np.concatenate([normal, (normal * a).sum(1, keepdims=True)], 1)

    def cast(self, starts: Float[Tensor, "#rays 3"], directions: Float[Tensor, "rays 3"]) -> Hits:
        """The first triangle that each ray meets; the distance is exact, by the triangle's plane in float64.

        Rays that are not finite, as of pixels outside a lens's image, meet nothing; Embree would look at every face.
        """
        starts = starts.expand_as(directions)
        finite = (starts.isfinite() & directions.isfinite()).all(-1)
        if not bool(finite.all()):
            return self.cast(starts[finite], directions[finite]).among(finite)
        found = self._tree.run(_packed(starts), _packed(directions), output=1)
        face = found["primID"].astype(np.int64)
        hit = face >= 0
        plane = self._planes[np.where(hit, face, 0)]
        o, d = starts.double().numpy(), directions.double().numpy()
        slope = np.einsum("ij,ij->i", plane[:, :3], d)
        distance = (plane[:, 3] - np.einsum("ij,ij->i", plane[:, :3], o)) / np.where(slope == 0, 1, slope)
        # A ray along the plane of its triangle keeps Embree's answer.
        near = np.abs(distance - found["tfar"]) < 1e-3 * (1 + found["tfar"])
        distance = np.where(hit, np.where(near, distance, found["tfar"]), 0.0)
        u, v = found["u"], found["v"]
        return Hits(
            torch.from_numpy(face), torch.from_numpy(distance), torch.from_numpy(np.stack([1 - u - v, u, v], 1))
        )

    def distances(self, starts: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]) -> Float[Tensor, " rays"]:
        """How far rays get, in lengths of their direction, as Embree rounds it; huge where they meet nothing."""
        return torch.from_numpy(self._tree.run(_packed(starts), _packed(directions), query="DISTANCE"))

    def view(self, camera: Camera, camera_from_world: RigidMotion) -> Hits:
        """What a camera sees, pixel by pixel in rows; with rays of z = 1 the distance is the z-depth."""
        width, height = camera.size_px
        rays = camera.unproject(pixel_grid(height, width, torch.empty(0, dtype=torch.float64))).reshape(-1, 3)
        world_from_camera = camera_from_world.inverse().to(torch.float64)
        return self.cast(world_from_camera.translation[None], rotate(world_from_camera.rotation, rays))

    def blocked(self, starts: Float[Tensor, "rays 3"], ends: Float[Tensor, "rays 3"]) -> Bool[Tensor, " rays"]:
        """Whether something stands between pairs of points."""
        ways = _packed(ends - starts)
        reach = np.ones(len(ways), np.float32)
        return torch.from_numpy(self._tree.run(_packed(starts), ways, query="OCCLUDED", dists=reach) >= 0)

    def interpolated(self, hits: Hits, values: Float[Tensor, "points channels"]) -> Float[Tensor, "rays channels"]:
        """Values of the vertices where rays met the surface; those of face 0 where they met nothing."""
        corners = values.numpy()[self.faces[hits.face.clamp_min(0).numpy()]]
        return torch.from_numpy(np.einsum("ij,ijk->ik", hits.weights.numpy(), corners)).to(values.dtype)


def _packed(vectors: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(vectors.detach().numpy(), dtype=np.float32)
