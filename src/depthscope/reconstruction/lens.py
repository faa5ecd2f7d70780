"""The camera of a clip: fitted to its frames where one is given, first guesses where none is."""

import math
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats.colmap.cameras import MODELS, camera_of, numbers_of
from depthscope.geometry import Camera
from depthscope.reconstruction.job import Lens
from depthscope.video import ContentArea

FIELDS_OF_VIEW_DEG = (70.0, 95.0, 55.0)
"""First guesses of the angle across the content: most scopes lie between 50 and 110 degrees."""

FISHEYE_FIELD_DEG = 140.0
"""First guess of a fisheye's angle across the disc: flexible scopes lie between 120 and 170 degrees."""

ASPECT_TOLERANCE = 0.005

SELF_CALIBRATED = "self-calibrated: scale of depth and angles are less sure"
"""The source of a camera that nobody measured; it stays with it wherever it goes."""


def fitted(camera: Camera, size_px: tuple[int, int], what: str) -> tuple[Camera, tuple[str, ...]]:
    """The camera for frames of a size, and what to say about it.

    Args:
        camera: As it was given.
        size_px: (width, height) of the frames.
        what: Where the camera came from, for messages.

    Raises:
        BadInputError: The frames have another shape than those the camera belongs to.
    """
    if camera.size_px == size_px:
        return camera, ()
    across, down = size_px[0] / camera.size_px[0], size_px[1] / camera.size_px[1]
    sizes = f"{camera.size_px[0]} x {camera.size_px[1]}", f"{size_px[0]} x {size_px[1]}"
    if abs(across / down - 1) > ASPECT_TOLERANCE:
        raise BadInputError(
            f"{what} is for frames of {sizes[0]} pixels",
            f"{sizes[1]} as these frames, or the same shape at another size",
            "calibrate with frames as they are recorded, or crop the camera with the frames",
        )
    return camera.resized(size_px), (f"{what} is for {sizes[0]} pixels and was scaled to {sizes[1]}",)


def known_lens(camera: Camera) -> Lens:
    """The camera as COLMAP's."""
    number, numbers = numbers_of(camera)
    return Lens(MODELS[number], tuple(numbers), fixed=True)


def guessed_lenses(size_px: tuple[int, int], area: ContentArea | None) -> tuple[Lens, ...]:
    """Cameras with one focal length and one radial coefficient, at several fields of view across the content.

    Where the content is a disc, which is how wide lenses are shown, an equidistant fisheye is tried last.
    """
    width, height = size_px
    centre, across = (width / 2, height / 2), float(max(size_px))
    is_disc = area is not None and area.radius_px is not None and 2 * area.radius_px < 1.2 * max(size_px)
    if area is not None and area.radius_px is not None and is_disc:
        centre, across = area.centre_px, 2 * area.radius_px
    models = [("SIMPLE_RADIAL", math.tan(math.radians(field) / 2)) for field in FIELDS_OF_VIEW_DEG]
    models += [("SIMPLE_RADIAL_FISHEYE", math.radians(FISHEYE_FIELD_DEG) / 2)] if is_disc else []
    x, y = float(centre[0]), float(centre[1])
    return tuple(Lens(model, (across / 2 / radius, x, y, 0.0), fixed=False) for model, radius in models)


def field_of_view_deg(camera: Camera, content: Bool[Tensor, "height width"] | None = None) -> float:
    """Twice the largest angle from the axis of a ray of the content, by default of the frame; NaN without rays."""
    rays = camera.rays if content is None else camera.rays[content]
    angle = torch.atan2(rays[..., :2].norm(dim=-1), rays[..., 2])
    angle = angle[angle.isfinite()]
    return 2 * math.degrees(float(angle.max())) if len(angle) else math.nan


def camera_from_report(found: dict, size_px: tuple[int, int], given: Camera | None) -> Camera:
    """The camera that the model ended with; the given one itself where there was one."""
    if given is not None:
        return given
    width, height = size_px
    numbers = [float(n) for n in found["numbers"]]
    camera = camera_of(str(found["model"]), width, height, numbers, Path("the model"))
    return replace(camera, source=SELF_CALIBRATED)
