"""An omnidirectional camera as the fisheye that comes nearest to it: COLMAP has no such lens."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import least_squares

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, KannalaBrandt, Scaramuzza
from depthscope.video import ContentArea

MOST_ANGLE_DEG = 87.0
"""Rays further from the axis are left out: a lens there is known badly, and no pinhole sees them."""

SAMPLES = 48
"""Pixels across and down that the lens is fitted at."""

MOST_RMS_PX = 1.0
"""A fisheye further off than this is another lens; features are found to about half of it."""

LEAST_ROLL_DEG = 0.01
"""A smaller roll is not worth a word."""


@dataclass(frozen=True)
class FisheyeFit:
    """A fisheye in place of another lens, and how far off it is.

    Attributes:
        camera: The fisheye.
        roll_deg: How far its axes are turned about the optical axis against those of the other camera.
        rms_px: Root of the mean squared distance of the places that both give to the same ray, over the content.
        largest_px: The largest of these distances.
    """

    camera: Camera
    roll_deg: float
    rms_px: float
    largest_px: float


def fisheye_of(camera: Camera, area: ContentArea | None = None) -> FisheyeFit:
    """The Kannala-Brandt camera whose pixels are nearest to those of another one for the same rays.

    Focal lengths, principal point, four coefficients and a roll are fitted by least squares over the content. The roll
    takes up what the affine part of an omnidirectional camera turns; what is reconstructed with the fisheye has its
    axes, and depth along z is the same.

    Args:
        camera: Any camera.
        area: The content, or None for the whole frame.

    Raises:
        BadInputError: Too few pixels of the content have a ray in front of the camera.
    """
    pixels, rays = _samples(camera, area)
    if len(pixels) < 4 * SAMPLES:
        raise BadInputError(
            f"a {camera.model} camera that sees a ray at {len(pixels)} of {SAMPLES**2} pixels",
            "rays in front of the camera over the content",
            "calibrate again",
        )

    slope = rays[:, :2].norm(dim=-1, keepdim=True)
    angle, direction = torch.atan(slope), rays[:, :2] / slope.clamp_min(1e-12)
    scale = np.array([*camera.focal_px, *camera.size_px, 0.1, 0.1, 0.1, 0.1, 0.01])

    def residuals(values: np.ndarray) -> np.ndarray:
        fx, fy, cx, cy, *lens, roll = (float(value) for value in values * scale)
        turn = torch.tensor([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]], dtype=torch.float64)
        plane = direction @ turn.T * KannalaBrandt(tuple(lens)).radius(angle)
        found = plane * plane.new_tensor([fx, fy]) + plane.new_tensor([cx, cy])
        return (found - pixels).reshape(-1).numpy()

    start = np.array([*camera.focal_px, *camera.centre_px, 0.0, 0.0, 0.0, 0.0, 0.0]) / scale
    solved = least_squares(residuals, start, method="lm", max_nfev=2000)
    away = np.linalg.norm(solved.fun.reshape(-1, 2), axis=1)
    fx, fy, cx, cy, *lens, roll = (float(value) for value in solved.x * scale)
    found = Camera(camera.size_px, (fx, fy), (cx, cy), KannalaBrandt(tuple(lens)), camera.source)
    return FisheyeFit(found, float(np.rad2deg(roll)), float(np.sqrt((away**2).mean())), float(away.max()))


def representable(camera: Camera, what: str, area: ContentArea | None = None) -> tuple[Camera, tuple[str, ...]]:
    """The camera itself where COLMAP has its lens, else the nearest fisheye, and what to say about it.

    Args:
        camera: As it was given.
        what: Where it came from, for messages.
        area: The content, or None for the whole frame.

    Raises:
        BadInputError: No fisheye comes near.
    """
    if not isinstance(camera.distortion, Scaramuzza):
        return camera, ()
    fit = fisheye_of(camera, area)
    said = f"{fit.rms_px:.2g} px off in the root mean square and {fit.largest_px:.2g} px at most"
    if fit.rms_px > MOST_RMS_PX:
        raise BadInputError(
            f"{what}: the nearest fisheye to this omnidirectional camera is {said}",
            f"at most {MOST_RMS_PX:g} px, as structure from motion knows no omnidirectional lens",
            "calibrate with --model fisheye",
        )
    turned = f", with axes turned by {fit.roll_deg:.2g} degrees" if abs(fit.roll_deg) > LEAST_ROLL_DEG else ""
    return fit.camera, (f"{what}: the omnidirectional lens was replaced by a fisheye{turned}, {said} over the content",)


def _samples(camera: Camera, area: ContentArea | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels evenly over the content and their rays with z = 1."""
    width, height = camera.size_px
    x, y = (torch.linspace(0.5, side - 0.5, SAMPLES, dtype=torch.float64) for side in (width, height))
    pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
    if area is not None and area.radius_px is not None:
        away = (pixels - torch.tensor(area.centre_px, dtype=torch.float64)).norm(dim=-1)
        pixels = pixels[away <= area.radius_px]
    rays = camera.unproject(pixels)
    slope = rays[:, :2].norm(dim=-1)
    known = rays.isfinite().all(-1) & (slope < np.tan(np.deg2rad(MOST_ANGLE_DEG)))
    return pixels[known], rays[known]
