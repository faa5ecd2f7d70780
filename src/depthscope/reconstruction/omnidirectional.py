"""An omnidirectional camera as the fisheye that comes nearest to it: COLMAP has no such lens."""

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.formats.lens_fit import (
    FISHEYE,
    LEAST_ROLL_DEG,
    MOST_RMS_PX,
    SAMPLES,
    LensFit,
    nearest_camera,
    sampled_pixels,
)
from depthscope.geometry import Camera, Scaramuzza
from depthscope.video import ContentArea

MOST_ANGLE_DEG = 87.0
"""Rays further from the axis are left out: a lens there is known badly, and no pinhole sees them."""


def fisheye_of(camera: Camera, area: ContentArea | None = None) -> LensFit:
    """The Kannala-Brandt camera whose pixels are nearest to those of another one for the same rays.

    What is reconstructed with the fisheye has its axes, which may be turned about the optical axis.

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
    return nearest_camera(camera, FISHEYE, pixels, rays)


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
    if fit.rms_px > MOST_RMS_PX:
        raise BadInputError(
            f"{what}: the nearest fisheye to this omnidirectional camera is {fit.summary}",
            f"at most {MOST_RMS_PX:g} px, as structure from motion knows no omnidirectional lens",
            "calibrate with --model fisheye",
        )
    turned = f", with axes turned by {fit.roll_deg:.2g} degrees" if abs(fit.roll_deg) > LEAST_ROLL_DEG else ""
    found = f"{what}: the omnidirectional lens was replaced by a fisheye{turned}, {fit.summary} over the content"
    return fit.camera, (found,)


def _samples(camera: Camera, area: ContentArea | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels evenly over the content and their rays in front of the camera."""
    pixels = sampled_pixels(camera.size_px)
    if area is not None and area.radius_px is not None:
        away = (pixels - torch.tensor(area.centre_px, dtype=torch.float64)).norm(dim=-1)
        pixels = pixels[away <= area.radius_px]
    rays = camera.directions(pixels)
    known = rays.isfinite().all(-1) & (rays[:, 2] > np.cos(np.deg2rad(MOST_ANGLE_DEG)))
    return pixels[known], rays[known]
