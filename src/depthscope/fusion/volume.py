"""A truncated signed distance volume in blocks that exist only near what was seen (Curless and Levoy 1996).

A block is a cube of 8 voxels a side, found by the integers of its corner. Where memory would run out, the voxels
double in size and eight blocks become one: a long clip gets coarser, never larger.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from depthscope.geometry import Camera, Kind, NoDistortion, RigidMotion, depth_of
from depthscope.geometry.depth import NEAREST_DEPTH, sample
from depthscope.geometry.lens import AXIS

SIDE = 8
"""Voxels along the side of a block."""

VOXELS = SIDE**3

REACH = 1 << 20
"""Blocks from the origin in each direction; three such numbers fit into an int64."""

AT_ONCE = 2048
"""Blocks that are updated together: a million voxels."""

CHANNELS = 8
"""Of the maps that voxels sample: inverse depth, known, truncation, weight, red, green, blue, standard deviation."""

TRAITS = 4
"""What a voxel near the surface carries of the pixels that saw it: red, green, blue, standard deviation."""


class Volume:
    """Blocks of voxels: signed distance over truncation in -1..1, its weight, and traits with their own weight.

    Args:
        voxel: Side of a voxel, in the unit of the depth maps.
        most_blocks: More are never held; voxels double instead.
    """

    def __init__(self, voxel: float, most_blocks: int) -> None:
        self.voxel, self.most_blocks = voxel, most_blocks
        self.keys = torch.zeros(0, dtype=torch.int64)
        self._make_room(1024)

    def _make_room(self, capacity: int) -> None:
        count = len(self.keys)

        def longer(name: str, *shape: int) -> Tensor:
            values = torch.zeros(capacity, VOXELS, *shape)
            if count:
                values[:count] = getattr(self, name)[:count]
            return values

        self.distance, self.weight = longer("distance"), longer("weight")
        self.traits, self.traits_weight = longer("traits", TRAITS), longer("traits_weight")

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self.keys)

    @property
    def block(self) -> float:
        """Side of a block, in the unit of the depth maps."""
        return self.voxel * SIDE

    def integrate(
        self,
        maps: Float[Tensor, "channels height width"],
        camera: Camera,
        kind: Kind,
        camera_from_world: RigidMotion,
        touched: Float[Tensor, "points 3"],
    ) -> None:
        """Adds one view.

        Args:
            maps: Inverse depth, known (0 or 1), truncation, weight, sRGB and standard deviation, on the pixels of
                `camera`.
            camera: Of any lens.
            kind: What depth is.
            camera_from_world: Its motion, float32.
            touched: Points of the world in whose blocks there is surface.
        """
        self._add_blocks(torch.unique(keys_of(torch.floor(touched / self.block).long())))
        for rows in self._in_view(camera, camera_from_world).split(AT_ONCE):
            self._update(rows, maps, camera, kind, camera_from_world)

    def _add_blocks(self, keys: Int[Tensor, " new"]) -> None:
        place, there = self.find(keys)
        new = keys[~there]
        while len(self.keys) + len(new) > self.most_blocks:
            self._coarsen()
            new = torch.unique(keys_of(torch.div(corners_of(new), 2, rounding_mode="floor")))
            new = new[~self.find(new)[1]]
        if len(self.keys) + len(new) > len(self.distance):
            self._make_room(min(self.most_blocks, max(2 * len(self.distance), len(self.keys) + len(new))))
        self.keys = torch.cat([self.keys, new])
        self._order = torch.argsort(self.keys)

    def find(self, keys: Int[Tensor, " wanted"]) -> tuple[Int[Tensor, " wanted"], Bool[Tensor, " wanted"]]:
        """Rows of the blocks with these keys, and whether they exist."""
        if not len(self.keys):
            return torch.zeros_like(keys), torch.zeros_like(keys, dtype=torch.bool)
        ordered = self.keys[self._order]
        place = torch.searchsorted(ordered, keys).clamp_max(len(ordered) - 1)
        return self._order[place], ordered[place] == keys

    def _in_view(self, camera: Camera, camera_from_world: RigidMotion) -> Int[Tensor, " rows"]:
        """Blocks of which some voxel may lie inside the image."""
        centres = (corners_of(self.keys).float() + 0.5) * self.block
        x, y, z = camera_from_world.apply(centres).unbind(-1)
        radius = self.block * 3**0.5 / 2
        if not isinstance(camera.distortion, NoDistortion):  # a cone about the axis that holds all rays
            away = torch.sqrt(x * x + y * y + z * z)
            angle = torch.atan2(torch.hypot(x, y), z) - torch.asin((radius / away.clamp_min(1e-9)).clamp_max(1.0))
            return ((angle <= widest_ray_rad(camera)) | (away <= radius)).nonzero().flatten()
        width, height = camera.size_px
        (fx, fy), (cx, cy) = camera.focal_px, camera.centre_px
        margin_x, margin_y = radius * (fx**2 + width**2) ** 0.5, radius * (fy**2 + height**2) ** 0.5
        inside = (z > -radius) & (fx * x + cx * z > -margin_x) & (fx * x + (cx - width) * z < margin_x)
        inside = inside & (fy * y + cy * z > -margin_y) & (fy * y + (cy - height) * z < margin_y)
        return inside.nonzero().flatten()

    def _update(
        self, rows: Int[Tensor, " rows"], maps: Tensor, camera: Camera, kind: Kind, camera_from_world: RigidMotion
    ) -> None:
        centres = (corners_of(self.keys[rows])[:, None] * SIDE + LOCAL + 0.5).float() * self.voxel
        points = camera_from_world.apply(centres)
        lens = camera.lens(kind).to(torch.float32)
        depth = depth_of(points, kind)
        front = lens.sees(points, NEAREST_DEPTH * self.block)
        pixels = lens.project(torch.where(front[..., None], points, points.new_tensor(AXIS)))
        size = torch.tensor(camera.size_px, dtype=torch.float32)
        inside = front & ((pixels >= 0.5) & (pixels <= size - 0.5)).all(-1)
        # Positions far outside would overflow in the sampling.
        values = sample(maps[None], torch.where(inside[..., None], pixels, size / 2)[None])[0]
        inverse, known, truncation, weight = values[:4]
        signed = 1 / inverse.clamp_min(1e-12) - depth
        # Nothing is known behind the surface, nor where a pixel of the four has no depth.
        used = inside & (known > 0.999) & (signed >= -truncation)
        weight = torch.where(used, weight, 0.0)
        value = (signed / truncation.clamp_min(1e-12)).clamp(-1, 1)
        total = self.weight[rows] + weight
        mixed = self.distance[rows] * self.weight[rows] + torch.where(used, value, 0.0) * weight
        self.distance[rows] = mixed / total.clamp_min(1e-12)
        self.weight[rows] = total
        seen = torch.where(used & (value < 1), weight, 0.0)  # free air has no traits
        self.traits[rows] += values[4:].movedim(0, -1) * seen[..., None]
        self.traits_weight[rows] += seen

    def _coarsen(self) -> None:
        """Voxels of twice the size: each the weighted mean of the eight it replaces."""
        corners = corners_of(self.keys)
        parents, member = torch.unique(keys_of(torch.div(corners, 2, rounding_mode="floor")), return_inverse=True)
        child = (corners % 2)[:, None] * SIDE + LOCAL  # voxel within the parent, at the old size
        cell = torch.div(child, 2, rounding_mode="floor")
        target = member[:, None] * VOXELS + (cell[..., 0] * SIDE + cell[..., 1]) * SIDE + cell[..., 2]
        count = len(self.keys)

        def summed(values: Tensor) -> Tensor:
            flat = torch.zeros(len(parents) * VOXELS, *values.shape[2:])
            return flat.index_add_(0, target.flatten(), values.flatten(0, 1)).unflatten(0, (len(parents), VOXELS))

        weight = summed(self.weight[:count])
        distance = summed(self.distance[:count] * self.weight[:count]) / weight.clamp_min(1e-12)
        traits, traits_weight = summed(self.traits[:count]), summed(self.traits_weight[:count])
        self.keys, self.voxel = parents, 2 * self.voxel
        self._order = torch.argsort(parents)
        self.distance, self.weight, self.traits, self.traits_weight = distance, weight / 8, traits, traits_weight
        self._make_room(len(parents))


def widest_ray_rad(camera: Camera) -> float:
    """The largest angle of a pixel's ray from the axis."""
    rays = camera.rays
    angle = torch.atan2(rays[..., :2].norm(dim=-1), rays[..., 2])
    return float(angle[angle.isfinite()].max())


def keys_of(corners: Int[Tensor, "blocks 3"]) -> Int[Tensor, " blocks"]:
    """One number for the integer corner of each block."""
    shifted = corners + REACH
    return (shifted[:, 0] * 2 * REACH + shifted[:, 1]) * 2 * REACH + shifted[:, 2]


def corners_of(keys: Int[Tensor, " blocks"]) -> Int[Tensor, "blocks 3"]:
    """The inverse of `keys_of`."""
    rest, z = torch.div(keys, 2 * REACH, rounding_mode="floor"), keys % (2 * REACH)
    return torch.stack([torch.div(rest, 2 * REACH, rounding_mode="floor"), rest % (2 * REACH), z], -1) - REACH


LOCAL = torch.from_numpy(np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), -1).reshape(-1, 3))
"""Integers of the voxels of a block, shape (512, 3); the last axis runs fastest."""
