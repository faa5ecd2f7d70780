"""Depth maps of a clip to one surface, each pixel weighted by how well its depth is known."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from depthscope.errors import BadInputError, NoAnswerError
from depthscope.fusion.extraction import Extraction, extracted
from depthscope.fusion.volume import Volume
from depthscope.geometry import Camera, Kind, Lens, RigidMotion, Surface
from depthscope.geometry.depth import backprojected, normals, rays
from depthscope.geometry.units import LengthUnit


@dataclass(frozen=True, eq=False)
class DepthFrame:
    """One view to fuse.

    Attributes:
        depth: Of `kind`, shape (height, width); 0 where nothing is known.
        camera: Camera of these pixels, of any lens.
        camera_from_world: Its motion, in the unit of the depth.
        image: sRGB of these pixels, shape (height, width, 3), or None.
        content: Where the pixel shows tissue and nothing else, or None for everywhere.
        std: Standard deviation of the depth, shape (height, width), or None where it is not known.
        kind: What depth is.
    """

    depth: Float[Tensor, "height width"]
    camera: Camera
    camera_from_world: RigidMotion
    image: UInt8[Tensor, "height width 3"] | None = None
    content: Bool[Tensor, "height width"] | None = None
    std: Float[Tensor, "height width"] | None = None
    kind: Kind = "z"

    @property
    def lens(self) -> Lens:
        """The camera as a float32 batch of one, with the ray of every pixel."""
        return self.camera.lens(self.kind, grid=True).to(torch.float32)[None]


@dataclass(frozen=True)
class Fusion:
    """How depth maps become a surface.

    Attributes:
        voxel: Side of a voxel in the unit of the depth, or None for `footprint` pixels at the first frame's median
            depth.
        footprint: Pixels that a voxel covers where `voxel` is None.
        relative_std: Standard deviation over depth where a frame does not say its own.
        most_relative_std: Pixels that are less certain than this say nothing: there the network guesses.
        truncation_stds: Distance to the surface, in standard deviations of the depth, within which voxels learn of it.
        truncation_voxels: The least and the most of it in voxels.
        edge: Pixels whose neighbour's depth differs by more than this share lie on an edge, where depth is a mixture
            of two surfaces; they say nothing.
        least_cosine: Pixels that see the surface at a smaller cosine of incidence say nothing.
        hole_voxels: Holes up to about this many voxels wide are closed.
        least_share: Pieces with less than this share of the largest piece's area are floaters, and dropped.
        most_blocks: Bound of the memory (14 KB each); voxels double in size rather than exceed it.
        unit: Of the surface.
    """

    voxel: float | None = None
    footprint: float = 2.0
    relative_std: float = 0.03
    most_relative_std: float = 0.15
    truncation_stds: float = 2.0
    truncation_voxels: tuple[float, float] = (3.0, 12.0)
    edge: float = 0.1
    least_cosine: float = 0.1
    hole_voxels: int = 2
    least_share: float = 0.02
    most_blocks: int = 60_000
    unit: LengthUnit = "sfm"

    def __post_init__(self) -> None:
        positive = {
            "voxel": 1.0 if self.voxel is None else self.voxel,
            "footprint": self.footprint,
            "relative_std": self.relative_std,
            "most_relative_std": self.most_relative_std,
            "truncation_stds": self.truncation_stds,
            "edge": self.edge,
        }
        for name, value in positive.items():
            if not (math.isfinite(value) and value > 0):
                raise BadInputError(f"{name} {value}", "a positive number")
        low, high = self.truncation_voxels
        if not 1 <= low <= high:
            raise BadInputError(f"truncation_voxels {self.truncation_voxels}", "1 or more, the least first")
        if self.most_blocks < 64 or self.hole_voxels < 0 or not 0 <= self.least_share < 1:
            raise BadInputError(
                f"most_blocks {self.most_blocks}, hole_voxels {self.hole_voxels}, least_share {self.least_share}",
                "64 or more, 0 or more, and 0 to 1",
            )


@dataclass(frozen=True, eq=False)
class Fused:
    """A surface and what became of the views.

    Attributes:
        surface: With normals into the air, colours where there were images, the mean standard deviation of what was
            seen there, and faces.
        voxel: Side of the voxels in the end; larger than asked for where memory was short.
        frames: Views that were fused.
        used_share: Share of the known pixels that were used.
        floaters: Pieces that were dropped.
        floater_share: Their share of all area.
        blocks: Blocks of the volume in the end.
    """

    surface: Surface
    voxel: float
    frames: int
    used_share: float
    floaters: int
    floater_share: float
    blocks: int


def fuse(frames: Iterable[DepthFrame], options: Fusion | None = None) -> Fused:
    """Fuses views into one surface; they are drawn one at a time and not kept.

    Raises:
        BadInputError: There are no frames, or their sizes do not agree.
        NoAnswerError: No surface was found.
    """
    options = options or Fusion()
    volume, count, known, used = None, 0, 0, 0
    for frame in frames:
        _check(frame, count)
        trusted = trusted_pixels(frame, options)
        count, known, used = count + 1, known + int((frame.depth > 0).sum()), used + int(trusted.sum())
        if not bool(trusted.any()):
            continue
        if volume is None:
            volume = Volume(options.voxel or footprint(frame, trusted, options), options.most_blocks)
        integrate(volume, frame, trusted, options)
    if not count:
        raise BadInputError("no depth maps", "at least one", "predict first")
    if volume is None:
        raise NoAnswerError(
            f"none of {count} depth maps has a pixel that can be trusted",
            "depth inside the content",
            "check the maps and the mask",
        )
    found: Extraction = extracted(volume, options.hole_voxels, options.least_share, options.unit)
    share = used / max(1, known)
    return Fused(found.surface, volume.voxel, count, share, found.floaters, found.floater_share, len(volume))


def footprint(frame: DepthFrame, trusted: Bool[Tensor, "height width"], options: Fusion) -> float:
    """Side of a voxel that covers `options.footprint` pixels at the median depth."""
    return options.footprint * float(frame.depth[trusted].quantile(0.5)) / min(frame.camera.focal_px)


def trusted_pixels(frame: DepthFrame, options: Fusion) -> Bool[Tensor, "height width"]:
    """Pixels with a depth that is certain enough, in the content, off edges of depth, not seen at a grazing angle."""
    depth = frame.depth
    trusted = depth > 0
    if frame.std is not None:
        trusted = trusted & (frame.std <= options.most_relative_std * depth)
    if frame.content is not None:
        trusted = trusted & frame.content
    for axis in (0, 1):
        near, far = depth.narrow(axis, 0, depth.shape[axis] - 1), depth.narrow(axis, 1, depth.shape[axis] - 1)
        jump = (near - far).abs() > options.edge * torch.minimum(near, far)
        trusted.narrow(axis, 0, depth.shape[axis] - 1)[jump] = False
        trusted.narrow(axis, 1, depth.shape[axis] - 1)[jump] = False
    return trusted & (incidence(frame) >= options.least_cosine)


def incidence(frame: DepthFrame) -> Float[Tensor, "height width"]:
    """Cosine of the angle between the ray of each pixel and the surface's normal."""
    lens = frame.lens
    solid = torch.where(frame.depth > 0, frame.depth, 1.0)[None]
    along = torch.nn.functional.normalize(rays(frame.depth.shape[0], frame.depth.shape[1], lens), dim=-1)
    return (normals(solid, lens) * along).sum(-1)[0].abs()


def integrate(volume: Volume, frame: DepthFrame, trusted: Bool[Tensor, "height width"], options: Fusion) -> None:
    """Adds one view to the volume, each pixel with the inverse variance of its depth as weight."""
    depth = torch.where(trusted, frame.depth, 1.0)
    std = options.relative_std * depth if frame.std is None else frame.std.clamp_min(1e-3 * depth)
    least, most = (voxels * volume.voxel for voxels in options.truncation_voxels)
    truncation = (options.truncation_stds * std).clamp(least, most)
    typical = options.relative_std * float(depth[trusted].quantile(0.5))
    weight = torch.where(trusted, incidence(frame) * (typical / std) ** 2, 0.0).clamp_max(100.0)
    image = torch.zeros(*depth.shape, 3) if frame.image is None else frame.image.float()
    maps = torch.cat([torch.stack([1 / depth, trusted.float(), truncation, weight]), image.movedim(-1, 0), std[None]])
    motion = frame.camera_from_world.to(torch.float32)
    volume.integrate(maps, frame.camera, frame.kind, motion, _band(volume, frame, depth, truncation, trusted, motion))


def _band(
    volume: Volume, frame: DepthFrame, depth: Tensor, truncation: Tensor, trusted: Tensor, motion: RigidMotion
) -> Float[Tensor, "points 3"]:
    """Points of the world along each ray within the truncation of the surface, close enough to miss no block."""
    directions = backprojected(torch.ones_like(depth)[None], frame.lens)[0][trusted]
    steps = 1 + 2 * math.ceil(float(truncation[trusted].max()) / (volume.block / 2))
    offsets = torch.linspace(-1, 1, steps)
    along = depth[trusted][:, None] + truncation[trusted][:, None] * offsets
    points = (along.clamp_min(0)[..., None] * directions[:, None]).flatten(0, 1)
    return motion.inverse().apply(points)


def _check(frame: DepthFrame, number: int) -> None:
    height, width = frame.depth.shape
    if frame.camera.size_px != (width, height):
        raise BadInputError(
            f"depth map {number} is {width} x {height} pixels",
            f"{frame.camera.size_px[0]} x {frame.camera.size_px[1]} as its camera",
            "resize the camera with the map",
        )
