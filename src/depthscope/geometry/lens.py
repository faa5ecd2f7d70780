"""Cameras as tensors over a batch: from points to pixels and back, for any lens, with gradients.

A depth D and the ray r of a pixel make the point X = D r. Two kinds of depth are in use: "z" is the distance along the
optical axis, with rays (x, y, 1); "distance" is that along the ray, with unit rays, and exists beyond 90 degrees from
the axis. `Pinhole` has z; `DistortingLens` has either.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from depthscope.geometry.distortion import Brown, KannalaBrandt, NoDistortion, length
from depthscope.geometry.omnidirectional import Scaramuzza
from depthscope.geometry.shapes import Pixels, Points, Scalars

Distortion = NoDistortion | Brown | KannalaBrandt | Scaramuzza

Kind = Literal["z", "distance"]
"""What depth is: along the optical axis, or along the ray."""

AXIS = (0.0, 0.0, 1.0)


def pixel_grid(height: int, width: int, like: Tensor) -> Float[Tensor, "{height} {width} 2"]:
    """The centres of all pixels, (column + 0.5, row + 0.5), with the type and device of `like`."""
    y = torch.arange(height, dtype=like.dtype, device=like.device) + 0.5
    x = torch.arange(width, dtype=like.dtype, device=like.device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def depth_of(points: Points, kind: Kind) -> Scalars:
    """The depth of points in camera axes."""
    return points[..., 2] if kind == "z" else length(*points.unbind(-1))


def converted(depth: Scalars, directions: Points, source: Kind, target: Kind) -> Scalars:
    """Depth of one kind as the other: distance = z |r| / r_z, exactly.

    Args:
        depth: Of the kind `source`; 0 where unknown.
        directions: Of the rays, of any length; where one has no z > 0, z-depth is unknown and 0.
        source: Kind that it has.
        target: Kind that it gets.
    """
    if source == target:
        return depth
    z, length = directions[..., 2], directions.norm(dim=-1)
    if target == "distance":
        return torch.where(z > 0, depth * length / torch.where(z > 0, z, 1.0), 0.0)
    return torch.where(z > 0, depth * z / torch.where(z > 0, length, 1.0), 0.0)


def as_rays(directions: Points, kind: Kind) -> Points:
    """Unit vectors as rays that are multiplied with depth; the optical axis where there is none."""
    z = directions[..., 2:]
    known = directions.isfinite().all(-1, keepdim=True) & ((z > 1e-4) | (kind == "distance"))
    if kind == "z":
        directions = directions / torch.where(known, z, 1.0)
    return torch.where(known, directions, directions.new_tensor(AXIS))


@dataclass(frozen=True, eq=False)
class Pinhole:
    """Pinhole cameras as tensors, over any batch shape.

    Attributes:
        focal_px: (fx, fy), shape (*batch, 2).
        centre_px: (cx, cy), shape (*batch, 2), where the top-left pixel's centre is (0.5, 0.5).
    """

    focal_px: Pixels
    centre_px: Pixels

    @property
    def kind(self) -> Kind:
        """Of the depth."""
        return "z"

    def project(self, points: Points) -> Pixels:
        """Pixels of points in camera axes; z must be non-zero."""
        return points[..., :2] / points[..., 2:] * self.focal_px + self.centre_px

    def unproject(self, pixels: Pixels) -> Points:
        """Rays ((x - cx)/fx, (y - cy)/fy, 1), so that a point of depth z is z times its ray."""
        plane = (pixels - self.centre_px) / self.focal_px
        return torch.cat([plane, torch.ones_like(plane[..., :1])], -1)

    def rays(self, height: int, width: int) -> Float[Tensor, "*batch {height} {width} 3"]:
        """The ray of every pixel."""
        return self[..., None, None].unproject(pixel_grid(height, width, self.focal_px))

    def sees(self, points: Points, nearest: float = 0.0) -> Bool[Tensor, "*points"]:
        """Whether points lie in front of the camera, farther than `nearest`."""
        return points[..., 2] > nearest

    def __getitem__(self, index) -> "Pinhole":
        """Cameras picked along the batch; ``[None]`` and ``[..., None]`` add an axis to it."""
        return Pinhole(_picked(self.focal_px, index), _picked(self.centre_px, index))

    def repeated(self, count: int) -> "Pinhole":
        """One camera without a batch, as a batch of `count`."""
        return Pinhole(self.focal_px.expand(count, -1), self.centre_px.expand(count, -1))

    def to(self, *args, **kwargs) -> "Pinhole":
        """As ``Tensor.to``."""
        return Pinhole(self.focal_px.to(*args, **kwargs), self.centre_px.to(*args, **kwargs))

    def with_intrinsics(self, focal_px: Pixels, centre_px: Pixels) -> "Pinhole":
        """Of the same lens, with another focal length and centre."""
        return Pinhole(focal_px, centre_px)

    def mirrored(self, chosen: Bool[Tensor, " batch"], width: int) -> "Pinhole":
        """The chosen cameras (along the first axis of the batch) of images mirrored left to right."""
        return Pinhole(self.focal_px, _mirrored_centre(self.centre_px, chosen, width))


@dataclass(frozen=True, eq=False)
class DistortingLens:
    """Cameras of any lens as tensors, over any batch shape.

    Attributes:
        focal_px: (fx, fy), shape (*batch, 2).
        centre_px: (cx, cy), shape (*batch, 2).
        models: The lens models that occur in the batch.
        which: Which of them each camera has, shape (*batch).
        across: -1 for cameras of mirrored images, else 1, shape (*batch).
        kind: Of the depth.
        grid: Rays of every pixel, made once for the cameras' own images, shape (*batch, height, width, 3), or None.
    """

    focal_px: Pixels
    centre_px: Pixels
    models: tuple[Distortion, ...]
    which: Int[Tensor, "*batch"]
    across: Float[Tensor, "*batch"]
    kind: Kind = "z"
    grid: Points | None = None

    def project(self, points: Points) -> Pixels:
        """Pixels of points in camera axes; NaN where the lens does not see them."""
        if self._symmetric:
            return self._by_model(lambda model, rows: model.sensor(rows), points, 2) * self.focal_px + self.centre_px
        across = self._across
        sensor = self._by_model(lambda model, rows: model.sensor(rows), points * across, 2)
        return sensor * (across[..., :2] * self.focal_px) + self.centre_px

    def unproject(self, pixels: Pixels) -> Points:
        """Rays such that a point is depth times its ray; the optical axis where the lens has none."""
        across = self._across
        sensor = (pixels - self.centre_px) / self.focal_px * across[..., :2]
        return as_rays(self._by_model(lambda model, rows: model.direction(rows), sensor, 3) * across, self.kind)

    def rays(self, height: int, width: int) -> Float[Tensor, "*batch {height} {width} 3"]:
        """The ray of every pixel."""
        if self.grid is not None and self.grid.shape[-3:-1] == (height, width):
            return self.grid
        return self[..., None, None].unproject(pixel_grid(height, width, self.focal_px))

    def sees(self, points: Points, nearest: float = 0.0) -> Bool[Tensor, "*points"]:
        """Whether the lens has a pixel for points, and they are farther than `nearest`."""
        seen = self._by_model(lambda model, rows: model.sees(rows), points, 0)  # a circle about the axis
        return seen & (depth_of(points, self.kind) > nearest)

    @property
    def _symmetric(self) -> bool:
        """Whether mirrored images make no other lens: distortion depends on the radius alone."""
        return all(
            isinstance(model, NoDistortion | KannalaBrandt)
            or (isinstance(model, Brown) and not any(model.coefficients[2:4]))
            for model in self.models
        )

    @property
    def _across(self) -> Float[Tensor, "*batch 3"]:
        one = torch.ones_like(self.across)
        return torch.stack([self.across, one, one], -1)

    def _by_model(self, function, values: Tensor, size: int) -> Tensor:
        """A function of a lens model and rows of values, for every camera by its own model."""
        if len(self.models) == 1:
            return function(self.models[0], values)
        shape = torch.broadcast_shapes(values.shape[:-1], self.which.shape)
        values = values.expand(*shape, values.shape[-1])
        which = self.which.expand(shape)
        made = values.new_empty(*shape, size) if size else torch.zeros(shape, dtype=torch.bool, device=values.device)
        for number, model in enumerate(self.models):
            own = which == number
            if bool(own.any()):
                made = made.masked_scatter(own[..., None] if size else own, function(model, values[own]))
        return made

    def __getitem__(self, index) -> "DistortingLens":
        """Cameras picked along the batch; ``[None]`` and ``[..., None]`` add an axis to it."""
        adds = isinstance(index, tuple) and any(i is None or i is Ellipsis for i in index)
        return replace(
            self,
            focal_px=_picked(self.focal_px, index),
            centre_px=_picked(self.centre_px, index),
            which=self.which[index],
            across=self.across[index],
            grid=None if self.grid is None or adds else self.grid[index],
        )

    def repeated(self, count: int) -> "DistortingLens":
        """One camera without a batch, as a batch of `count`."""
        return replace(
            self,
            focal_px=self.focal_px.expand(count, -1),
            centre_px=self.centre_px.expand(count, -1),
            which=self.which.expand(count),
            across=self.across.expand(count),
            grid=None if self.grid is None else self.grid.expand(count, -1, -1, -1),
        )

    def to(self, *args, **kwargs) -> "DistortingLens":
        """As ``Tensor.to``, of all that is not a whole number."""
        focal = self.focal_px.to(*args, **kwargs)
        return replace(
            self,
            focal_px=focal,
            centre_px=self.centre_px.to(*args, **kwargs),
            which=self.which.to(focal.device),
            across=self.across.to(*args, **kwargs),
            grid=None if self.grid is None else self.grid.to(*args, **kwargs),
        )

    def with_intrinsics(self, focal_px: Pixels, centre_px: Pixels) -> "DistortingLens":
        """Of the same lens, with another focal length and centre."""
        return replace(self, focal_px=focal_px, centre_px=centre_px, grid=None)

    def mirrored(self, chosen: Bool[Tensor, " batch"], width: int) -> "DistortingLens":
        """The chosen cameras (along the first axis of the batch) of images mirrored left to right."""
        pick = chosen.reshape(-1, *(1,) * (self.across.ndim - 1))
        grid = self.grid
        if grid is not None:
            turned = grid.flip(-2) * grid.new_tensor([-1.0, 1.0, 1.0])
            grid = torch.where(pick[..., None, None, None], turned, grid)
        return replace(
            self,
            centre_px=_mirrored_centre(self.centre_px, chosen, width),
            across=torch.where(pick, -self.across, self.across),
            grid=grid,
        )


Lens = Pinhole | DistortingLens
"""The cameras of a batch."""


def stacked(lenses: Sequence[Lens]) -> Lens:
    """Cameras of one batch shape as one batch with a new first axis; pinholes stay pinholes.

    Raises:
        ValueError: Their depths are of different kinds.
    """
    focal, centre = (torch.stack([getattr(lens, name) for lens in lenses]) for name in ("focal_px", "centre_px"))
    if all(isinstance(lens, Pinhole) for lens in lenses):
        return Pinhole(focal, centre)
    kinds = {lens.kind for lens in lenses}
    if len(kinds) > 1:
        raise ValueError(f"cameras of different kinds of depth: {sorted(kinds)}")
    every = [lens if isinstance(lens, DistortingLens) else _undistorted(lens) for lens in lenses]
    models = tuple(dict.fromkeys(model for lens in every for model in lens.models))
    which = []
    for lens in every:
        number = torch.tensor([models.index(model) for model in lens.models], device=lens.which.device)
        which.append(number[lens.which])
    grids = [lens.grid for lens in every]
    same = len({None if grid is None else grid.shape for grid in grids}) == 1 and grids[0] is not None
    return DistortingLens(
        focal,
        centre,
        models,
        torch.stack(which),
        torch.stack([lens.across for lens in every]),
        every[0].kind,
        torch.stack([grid for grid in grids if grid is not None]) if same else None,
    )


def _undistorted(lens: Pinhole) -> DistortingLens:
    """A pinhole as one of the lenses of a mixed batch."""
    plain = torch.ones_like(lens.focal_px[..., 0])
    return DistortingLens(lens.focal_px, lens.centre_px, (NoDistortion(),), torch.zeros_like(plain).long(), plain)


def _picked(values: Tensor, index) -> Tensor:
    """Rows picked along the batch, the last axis left alone."""
    if isinstance(index, tuple) and Ellipsis in index:
        return values[(*index, slice(None))]
    return values[index]


def _mirrored_centre(centre_px: Pixels, chosen: Bool[Tensor, " batch"], width: int) -> Pixels:
    x, y = centre_px.unbind(-1)
    pick = chosen.reshape(-1, *(1,) * (x.ndim - 1))
    return torch.stack([torch.where(pick, width - x, x), y], -1)
