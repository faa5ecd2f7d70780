"""Cameras: how a point in front of the lens becomes a pixel, and a pixel a ray.

`Camera` is the real lens of a recording with its image size; `Pinhole` is the undistorted camera that networks and
losses use, as tensors over a batch.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.omnidirectional import Scaramuzza
from depthscope.geometry.shapes import Pixels, Points

Plane = Float[Tensor, "*points 2"]  # points on the plane z = 1


@dataclass(frozen=True, eq=False)
class Pinhole:
    """Pinhole cameras as tensors, over any batch shape.

    Attributes:
        focal_px: (fx, fy), shape (*batch, 2).
        centre_px: (cx, cy), shape (*batch, 2), where the top-left pixel's centre is (0.5, 0.5).
    """

    focal_px: Pixels
    centre_px: Pixels

    def project(self, points: Points) -> Pixels:
        """Pixels of points in camera axes; z must be non-zero."""
        return points[..., :2] / points[..., 2:] * self.focal_px + self.centre_px

    def unproject(self, pixels: Pixels) -> Points:
        """Rays ((x - cx)/fx, (y - cy)/fy, 1), so that a point of depth z is z times its ray."""
        plane = (pixels - self.centre_px) / self.focal_px
        return torch.cat([plane, torch.ones_like(plane[..., :1])], -1)

    def __getitem__(self, index) -> "Pinhole":
        """Cameras picked along the batch."""
        return Pinhole(self.focal_px[index], self.centre_px[index])

    def repeated(self, count: int) -> "Pinhole":
        """One camera without a batch, as a batch of `count`."""
        return Pinhole(self.focal_px.expand(count, -1), self.centre_px.expand(count, -1))

    def to(self, *args, **kwargs) -> "Pinhole":
        """As ``Tensor.to``."""
        return Pinhole(self.focal_px.to(*args, **kwargs), self.centre_px.to(*args, **kwargs))


@dataclass(frozen=True)
class NoDistortion:
    """A lens that keeps straight lines straight."""

    @property
    def coefficients(self) -> tuple[float, ...]:
        """None."""
        return ()

    def distort(self, plane: Plane) -> Plane:
        """The plane as it is."""
        return plane

    def undistort(self, plane: Plane) -> Plane:
        """The plane as it is."""
        return plane


@dataclass(frozen=True)
class Brown:
    """Radial and tangential distortion, coefficients in OpenCV's order k1 k2 p1 p2 k3 k4 k5 k6 (Brown 1971).

    The factor of the radius is (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6).
    """

    coefficients: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        _check_coefficients("brown", self.coefficients, (4, 5, 8))

    def distort(self, plane: Plane) -> Plane:
        """Where an ideal point of the plane z = 1 appears through the lens."""
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.coefficients, 0.0, 0.0, 0.0, 0.0)[:8]
        x, y = plane.unbind(-1)
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return torch.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            ],
            -1,
        )

    def undistort(self, plane: Plane) -> Plane:
        """The inverse of `distort`, by Newton's method; NaN where the lens folds and no inverse exists."""
        return _newton_inverse(self.distort, plane)


@dataclass(frozen=True)
class KannalaBrandt:
    """Fisheye: the distorted radius is a (1 + k1 a^2 + k2 a^4 + k3 a^6 + k4 a^8), a the angle (Kannala-Brandt 2006)."""

    coefficients: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        _check_coefficients("fisheye", self.coefficients, (4,))

    def radius(self, angle_rad: Tensor) -> Tensor:
        """Distorted radius on the plane z = 1 of a ray at this angle from the axis."""
        k1, k2, k3, k4 = self.coefficients
        a2 = angle_rad * angle_rad
        return angle_rad * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))

    def _slope(self, angle_rad: Tensor) -> Tensor:
        """Derivative of `radius`."""
        k1, k2, k3, k4 = self.coefficients
        a2 = angle_rad * angle_rad
        return 1 + a2 * (3 * k1 + a2 * (5 * k2 + a2 * (7 * k3 + a2 * 9 * k4)))

    def distort(self, plane: Plane) -> Plane:
        """Where an ideal point of the plane z = 1 appears through the lens."""
        r = plane.norm(dim=-1, keepdim=True)
        near_axis = r < 1e-8
        safe = torch.where(near_axis, torch.ones_like(r), r)
        factor = torch.where(near_axis, torch.ones_like(r), self.radius(torch.atan(safe)) / safe)
        return plane * factor

    def undistort(self, plane: Plane) -> Plane:
        """The inverse of `distort`; NaN where no ray in front of the camera reaches the point."""
        r = plane.norm(dim=-1, keepdim=True)
        low, high = torch.zeros_like(r), torch.full_like(r, torch.pi / 2)
        # Bisection finds the root of a rising radius whatever the coefficients; Newton's method then polishes it.
        for _ in range(14):
            middle = (low + high) / 2
            below = self.radius(middle) < r
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        angle = (low + high) / 2
        for _ in range(4):
            step = (self.radius(angle) - r) / self._slope(angle).clamp_min(1e-3)
            angle = torch.minimum(torch.maximum(angle - step, low), high)
        reached = ((self.radius(angle) - r).abs() < 1e-6) & (angle < torch.pi / 2 - 1e-4)
        near_axis = r < 1e-8
        factor = torch.where(
            near_axis, torch.ones_like(r), torch.tan(angle) / torch.where(near_axis, torch.ones_like(r), r)
        )
        return torch.where(reached | near_axis, plane * factor, torch.full_like(plane, torch.nan))


Distortion = NoDistortion | Brown | KannalaBrandt | Scaramuzza

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

    def project(self, points: Points) -> Pixels:
        """Pixels of points in camera axes; NaN behind the camera."""
        depth = points[..., 2:]
        plane = torch.where(depth > 0, points[..., :2] / depth, torch.full_like(points[..., :2], torch.nan))
        pinhole = self.pinhole.to(points)
        return self.distortion.distort(plane) * pinhole.focal_px + pinhole.centre_px

    def unproject(self, pixels: Pixels) -> Points:
        """Rays with z = 1; NaN where the lens sends no ray."""
        pinhole = self.pinhole.to(pixels)
        plane = self.distortion.undistort((pixels - pinhole.centre_px) / pinhole.focal_px)
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


def _check_coefficients(model: str, coefficients: tuple[float, ...], counts: tuple[int, ...]) -> None:
    if len(coefficients) not in counts:
        raise BadInputError(
            f"{len(coefficients)} distortion coefficients for the {model} model",
            " or ".join(map(str, counts)),
            "give them in OpenCV's order",
        )


def _newton_inverse(function, target: Plane, steps: int = 20) -> Plane:
    """The plane point that `function` sends to `target`, started at the target itself."""
    guess = target.clone()
    h = 1e-6
    for _ in range(steps):
        residual = function(guess) - target
        column_x = (function(guess + guess.new_tensor([h, 0.0])) - function(guess - guess.new_tensor([h, 0.0]))) / (
            2 * h
        )
        column_y = (function(guess + guess.new_tensor([0.0, h])) - function(guess - guess.new_tensor([0.0, h]))) / (
            2 * h
        )
        determinant = column_x[..., 0] * column_y[..., 1] - column_x[..., 1] * column_y[..., 0]
        step_x = (residual[..., 0] * column_y[..., 1] - residual[..., 1] * column_y[..., 0]) / determinant
        step_y = (residual[..., 1] * column_x[..., 0] - residual[..., 0] * column_x[..., 1]) / determinant
        guess = guess - torch.stack([step_x, step_y], -1)
    failed = (function(guess) - target).norm(dim=-1, keepdim=True) > 1e-6
    return torch.where(failed, torch.full_like(guess, torch.nan), guess)
