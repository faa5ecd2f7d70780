"""The camera of a recording: image size, focal lengths, centre and lens.

`depthscope.geometry.lens` has the same as tensors over a batch, which is what networks and losses use.
"""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.distortion import Brown, KannalaBrandt, NoDistortion, on_plane
from depthscope.geometry.lens import DistortingLens, Distortion, Kind, Lens, Pinhole, as_rays, pixel_grid
from depthscope.geometry.omnidirectional import Scaramuzza
from depthscope.geometry.shapes import Pixels, Points

WIDEST_Z_RAD = math.radians(60)
"""Lenses that see farther from the axis along the sides of the frame give the distance along the ray, not z: at 60
degrees z is half of the distance and, from pixel to pixel, changes by its own tilt as much as by the surface's."""


FOCAL_RANGE = (0.05, 20.0)
"""Focal length over the width of the image that a camera may have."""


def is_camera(size_px: tuple[int, int], focal_px: tuple[float, float], centre_px: tuple[float, float]) -> bool:
    """Whether numbers that somebody measured or a fit came to can be those of a camera at all."""
    width, height = size_px
    low, high = FOCAL_RANGE
    return (
        all(math.isfinite(number) for number in (*focal_px, *centre_px))
        and low * width <= min(focal_px) <= max(focal_px) <= high * width
        and -width < centre_px[0] < 2 * width
        and -height < centre_px[1] < 2 * height
    )


@dataclass(frozen=True)
class Camera:
    """The camera of a recording: image size, focal lengths, principal point and lens distortion, in pixels.

    Attributes:
        size_px: (width, height).
        focal_px: (fx, fy).
        centre_px: (cx, cy), where the top-left pixel's centre is (0.5, 0.5).
        distortion: `NoDistortion`, `Brown`, `KannalaBrandt` or `Scaramuzza`.
        source: Where the numbers came from, in words ("" if it was not said).

    Example:
        >>> camera = Camera((640, 480), (500.0, 500.0), (320.0, 240.0))
        >>> camera.resized((320, 240)).focal_px
        (250.0, 250.0)
    """

    size_px: tuple[int, int]
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    distortion: Distortion = field(default_factory=NoDistortion)
    source: str = ""

    def __post_init__(self) -> None:
        width, height = self.size_px
        numbers = torch.tensor([*self.focal_px, *self.centre_px, *self.distortion.coefficients], dtype=torch.float64)
        if not bool(numbers.isfinite().all()):
            raise BadInputError(f"camera numbers {numbers.tolist()}", "finite numbers", "calibrate again")
        if width < 1 or height < 1:
            raise BadInputError(f"a camera of size {width} x {height}", "a positive image size")
        if min(self.focal_px) < FOCAL_RANGE[0] * width or max(self.focal_px) > FOCAL_RANGE[1] * width:
            raise BadInputError(
                f"focal length {self.focal_px} px for an image {width} px wide",
                "between 0.05 and 20 times the width",
                "check that the intrinsics are in pixels of this image size",
            )
        if not (-width < self.centre_px[0] < 2 * width and -height < self.centre_px[1] < 2 * height):
            raise BadInputError(
                f"principal point {self.centre_px} px for a {width} x {height} image", "a point near the image"
            )

    @property
    def model(self) -> Literal["pinhole", "brown", "fisheye", "omnidirectional"]:
        """The model's name in ``camera.yaml``."""
        match self.distortion:
            case NoDistortion():
                return "pinhole"
            case Brown():
                return "brown"
            case KannalaBrandt():
                return "fisheye"
            case Scaramuzza():
                return "omnidirectional"

    @property
    def pinhole(self) -> Pinhole:
        """Focal length and centre as float64 tensors, the distortion left out."""
        return Pinhole(
            torch.tensor(self.focal_px, dtype=torch.float64), torch.tensor(self.centre_px, dtype=torch.float64)
        )

    def lens(self, kind: Kind | None = None, *, grid: bool = False) -> Lens:
        """As float64 tensors without a batch: a pinhole where the lens is one and depth is z.

        Args:
            kind: Of the depth; by default `depth_kind`.
            grid: Make the rays of every pixel now, for use in every step of a training.
        """
        kind = kind or self.depth_kind
        if isinstance(self.distortion, NoDistortion) and kind == "z":
            return self.pinhole
        one, plain = self.pinhole, torch.tensor(1.0, dtype=torch.float64)
        rays = as_rays(self.rays, kind) if grid else None
        return DistortingLens(one.focal_px, one.centre_px, (self.distortion,), torch.tensor(0), plain, kind, rays)

    @property
    def depth_kind(self) -> Kind:
        """What depth is on this camera's frames: z, or for a wide lens the distance along the ray."""
        if isinstance(self.distortion, NoDistortion):
            return "z"
        return "distance" if not self.half_field_rad <= WIDEST_Z_RAD else "z"

    @property
    def half_field_rad(self) -> float:
        """The largest angle from the axis at the middle of the four sides of the frame; of those that have a ray."""
        return _half_field_of(self)

    def project(self, points: Points) -> Pixels:
        """Pixels of points in camera axes; NaN where the lens does not see them."""
        pinhole = self.pinhole.to(points)
        return self.distortion.sensor(points) * pinhole.focal_px + pinhole.centre_px

    def directions(self, pixels: Pixels) -> Points:
        """Unit vectors along the rays of pixels, also beyond 90 degrees from the axis; NaN where there is no ray."""
        pinhole = self.pinhole.to(pixels)
        return self.distortion.direction((pixels - pinhole.centre_px) / pinhole.focal_px)

    @property
    def rays(self) -> Float[Tensor, "height width 3"]:
        """The unit ray of every pixel, float64; NaN where there is none. Made once for equal cameras; not to change."""
        return _rays_of(replace(self, source=""))

    def unproject(self, pixels: Pixels) -> Points:
        """Rays with z = 1; NaN where the lens sends no ray, or one that does not point forward."""
        if isinstance(self.distortion, NoDistortion):
            return self.pinhole.to(pixels).unproject(pixels)
        plane = on_plane(self.directions(pixels))
        return torch.cat([plane, torch.ones_like(plane[..., :1])], -1)

    def resized(self, size_px: tuple[int, int]) -> "Camera":
        """The camera of the image resized to ``size_px``: in this convention c' = k c, with no further term."""
        kx, ky = size_px[0] / self.size_px[0], size_px[1] / self.size_px[1]
        return replace(
            self,
            size_px=size_px,
            focal_px=(self.focal_px[0] * kx, self.focal_px[1] * ky),
            centre_px=(self.centre_px[0] * kx, self.centre_px[1] * ky),
        )

    def cropped(self, left: int, top: int, size_px: tuple[int, int]) -> "Camera":
        """The camera of the window of ``size_px`` whose top-left corner is (left, top)."""
        return replace(self, size_px=size_px, centre_px=(self.centre_px[0] - left, self.centre_px[1] - top))

    def undistorted(self) -> "Camera":
        """The pinhole camera of the same size, focal length and centre."""
        return replace(self, distortion=NoDistortion())


@lru_cache(maxsize=256)  # every frame of a clip asks
def _half_field_of(camera: Camera) -> float:
    (width, height), (cx, cy) = camera.size_px, camera.centre_px
    sides = torch.tensor([[0.0, cy], [width, cy], [cx, 0.0], [cx, height]], dtype=torch.float64)
    rays = camera.directions(sides)
    angle = torch.atan2(rays[:, :2].norm(dim=-1), rays[:, 2])
    return float(angle[angle.isfinite()].max()) if bool(angle.isfinite().any()) else math.pi


@lru_cache(maxsize=4)  # seconds for a frame in full HD, and the same for all frames of a clip
def _rays_of(camera: Camera) -> Float[Tensor, "height width 3"]:
    width, height = camera.size_px
    return camera.directions(pixel_grid(height, width, torch.empty(0, dtype=torch.float64)))
