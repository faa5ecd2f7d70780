"""A camera as the nearest one of another lens model, for programs that have no name for its own lens."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import scipy  # its packages load where they are used
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Brown, Camera, KannalaBrandt, RigidMotion
from depthscope.ground_truth import GroundTruth
from depthscope.sequence import Sequence

SAMPLES = 48
"""Pixels across and down that a lens is fitted at."""

MOST_RMS_PX = 1.0
"""A lens further off than this is another one; features are found to about half of it."""

LEAST_ROLL_DEG = 0.01
"""A smaller roll is not worth a word."""

FISHEYE = KannalaBrandt((0.0,) * 4)
BROWN_5 = Brown((0.0,) * 5)

Clip = TypeVar("Clip", bound=Sequence | GroundTruth)


@dataclass(frozen=True)
class LensFit:
    """A camera in place of another one, and how far off it is.

    Attributes:
        camera: The camera.
        roll_deg: How far its axes are turned about the optical axis against those of the other camera.
        rms_px: Root of the mean squared distance of the places that both give to the same ray, over the content.
        largest_px: The largest of these distances.
    """

    camera: Camera
    roll_deg: float
    rms_px: float
    largest_px: float

    @property
    def rolled_from_camera(self) -> Float[Tensor, "3 3"]:
        """From the axes of the other camera to those of the fit."""
        return torch.tensor(_turn(math.radians(self.roll_deg)))

    @property
    def summary(self) -> str:
        """The error in words."""
        return f"{self.rms_px:.2g} px off in the root mean square and {self.largest_px:.2g} px at most"


def nearest_camera(
    camera: Camera,
    lens: KannalaBrandt | Brown,
    pixels: Float[Tensor, "pixels 2"],
    rays: Float[Tensor, "pixels 3"],
) -> LensFit:
    """The camera of a lens model whose pixels are nearest to those of another camera for the same rays.

    Focal lengths, principal point, the coefficients and a roll are fitted by least squares. The roll takes up what the
    affine part of an omnidirectional camera turns; depth along z and along the ray are the same with it.

    Args:
        camera: Any camera.
        lens: The model, with the coefficients to start from.
        pixels: Where the cameras are compared.
        rays: Unit vectors of the camera at these pixels; forward ones for `Brown`.
    """
    direction = rays.numpy()
    free = len(lens.coefficients)
    scale = np.array([*camera.focal_px, *camera.size_px, *(0.1,) * free, 0.01])

    def residuals(values: np.ndarray) -> np.ndarray:
        fx, fy, cx, cy, *coefficients, roll = (float(value) for value in values * scale)
        turned = torch.from_numpy(direction @ _turn(roll).T)
        sensor = _on_sensor(type(lens)(tuple(coefficients)), turned)
        found = sensor * sensor.new_tensor([fx, fy]) + sensor.new_tensor([cx, cy])
        return (found - pixels).reshape(-1).numpy()

    start = np.array([*camera.focal_px, *camera.centre_px, *lens.coefficients, 0.0]) / scale
    solved = scipy.optimize.least_squares(residuals, start, method="lm", max_nfev=2000)
    away = np.linalg.norm(solved.fun.reshape(-1, 2), axis=1)
    fx, fy, cx, cy, *coefficients, roll = (float(value) for value in solved.x * scale)
    found = Camera(camera.size_px, (fx, fy), (cx, cy), type(lens)(tuple(coefficients)), camera.source)
    return LensFit(found, math.degrees(roll), float(np.sqrt((away**2).mean())), float(away.max()))


def sampled_pixels(size_px: tuple[int, int], count: int = SAMPLES) -> Float[Tensor, "pixels 2"]:
    """Pixels evenly over a frame, `count` across and as many down."""
    x, y = (torch.linspace(0.5, side - 0.5, count, dtype=torch.float64) for side in size_px)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)


def with_named_lenses(
    clip: Clip, has_name: Callable[[Camera], bool], lenses: tuple[KannalaBrandt | Brown, ...], program: str
) -> tuple[Clip, tuple[str, ...]]:
    """A clip whose cameras a program has names for: its own ones, or the nearest, and what to say about these.

    Where the nearest camera is turned about the optical axis, the motions turn with it, so that points stay in place.

    Args:
        clip: A clip with cameras and motions.
        has_name: Whether the program has a camera's own lens model.
        lenses: Models that it has, to choose the nearest of.
        program: What it is called.

    Raises:
        BadInputError: No camera of these models comes near.
    """
    if clip.cameras is None or clip.camera_from_world is None:
        return clip, ()
    strangers = [camera for camera in dict.fromkeys(clip.cameras) if not has_name(camera)]
    if not strangers:
        return clip, ()
    fits = {camera: _named(camera, clip.mask, lenses, clip.name, program) for camera in strangers}
    turns = torch.stack([fits[c].rolled_from_camera if c in fits else torch.eye(3).double() for c in clip.cameras])
    motions = clip.camera_from_world
    turned = RigidMotion(turns @ motions.rotation, (turns @ motions.translation[..., None])[..., 0])
    cameras = tuple(fits[camera].camera if camera in fits else camera for camera in clip.cameras)
    notes = [
        f"{program} has no name for this {camera.model} lens: the nearest {fit.camera.model} camera was written"
        + (f", with axes turned by {fit.roll_deg:.2g} degrees" if abs(fit.roll_deg) > LEAST_ROLL_DEG else "")
        + f", {fit.summary} over the content"
        for camera, fit in fits.items()
    ]
    return replace(clip, cameras=cameras, camera_from_world=turned), tuple(notes)


def _named(
    camera: Camera,
    content: Bool[Tensor, "height width"] | None,
    lenses: tuple[KannalaBrandt | Brown, ...],
    clip: str,
    program: str,
) -> LensFit:
    """The nearest camera of the models, over the content."""
    pixels = sampled_pixels(camera.size_px)
    if content is not None:
        pixels = pixels[content[pixels[:, 1].long(), pixels[:, 0].long()]]
    rays = camera.directions(pixels)
    known = rays.isfinite().all(-1)
    pixels, rays, share = pixels[known], rays[known], float(known.double().mean()) if len(known) else 0.0
    fits = []
    if share > 0.9:
        for lens in lenses:
            if isinstance(lens, KannalaBrandt) or bool((rays[:, 2] > 0.1).all()):  # Brown's plane ends at 90 degrees
                fits.append(nearest_camera(camera, lens, pixels, rays))
    best = min(fits, key=lambda fit: fit.rms_px, default=None)
    if best is None or best.rms_px > MOST_RMS_PX:
        what = f"{clip}: a {camera.model} camera with {len(camera.distortion.coefficients)} coefficients"
        raise BadInputError(
            f"{what}, of which {f'the nearest is {best.summary}' if best else f'{share:.0%} of the content has a ray'}",
            f"a lens that {program} has, to {MOST_RMS_PX:g} px",
            "choose --to tum, which keeps the camera as it is, or undistort the frames first",
        )
    return best


def _on_sensor(lens: KannalaBrandt | Brown, rays: Float[Tensor, "pixels 3"]) -> Float[Tensor, "pixels 2"]:
    """Where rays fall on the sensor, also where the lens folds: a fit may pass through such lenses."""
    if isinstance(lens, Brown):
        return lens.distort(rays[:, :2] / rays[:, 2:])
    across = rays[:, :2].norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return rays[:, :2] * (lens.radius(torch.atan2(across, rays[:, 2:])) / across)


def _turn(roll_rad: float) -> np.ndarray:
    """A rotation about the optical axis."""
    c, s = math.cos(roll_rad), math.sin(roll_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
