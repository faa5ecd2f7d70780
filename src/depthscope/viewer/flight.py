"""A flight through the surface along the smoothed path of the camera, with a light at the camera."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, RigidMotion, Surface
from depthscope.geometry.casting import Hits, RayCaster
from depthscope.geometry.depth import pixel_grid
from depthscope.geometry.motion import rotate
from depthscope.pictures import BACKGROUND, CLAY, Picture

SMOOTHING = 0.04
"""Standard deviation of the smoothing, as a share of the clip's frames."""

SAMPLES = 2
"""Rays along each side of a pixel."""

AMBIENT = 0.3
"""Share of the light that does not depend on how the wall stands to the camera."""


def smoothed(camera_from_world: RigidMotion, frames: int, smoothing: float = SMOOTHING) -> RigidMotion:
    """A quiet path of so many frames along that of a camera.

    Places are filtered in time, rotations as quaternions of one sign; then both are read at even times.

    Args:
        camera_from_world: Of the clip's frames in order, batch shape (frames,).
        frames: Of the flight.
        smoothing: Standard deviation of the filter as a share of the clip; 0 follows the camera.

    Raises:
        BadInputError: There is no camera, or no frame is wanted.
    """
    count = len(camera_from_world.translation)
    if not count or frames < 1:
        raise BadInputError(f"a flight of {frames} frames along {count} cameras", "at least one of each")
    centres = camera_from_world.origin.double().numpy()
    turns = camera_from_world.inverse().quaternion_wxyz.double().numpy().copy()
    for number in range(1, count):  # a quaternion and its negative turn alike: neighbours must not cancel
        if turns[number] @ turns[number - 1] < 0:
            turns[number] *= -1
    sigma = smoothing * count
    if sigma > 0 and count > 1:
        centres = gaussian_filter1d(centres, sigma, axis=0, mode="nearest")
        turns = gaussian_filter1d(turns, sigma, axis=0, mode="nearest")
    at, times = np.arange(count), np.linspace(0, count - 1, frames)
    places = np.stack([np.interp(times, at, centres[:, i]) for i in range(3)], 1)
    turned = np.stack([np.interp(times, at, turns[:, i]) for i in range(4)], 1)
    return RigidMotion.from_quaternion(torch.from_numpy(turned), torch.from_numpy(places)).inverse()


def fly_through(surface: Surface, camera: Camera, path: RigidMotion) -> Iterator[Picture]:
    """The pictures of a flight, one at a time.

    Args:
        surface: A mesh, with colours or without.
        camera: A pinhole camera of the size of the pictures.
        path: camera_from_world of every picture, in the unit of the surface.
    """
    width, height = camera.size_px
    fine = camera.resized((SAMPLES * width, SAMPLES * height))
    pixels = pixel_grid(fine.size_px[1], fine.size_px[0], torch.empty(0, dtype=torch.float64)).reshape(-1, 2)
    rays = torch.nn.functional.normalize(fine.unproject(pixels), dim=-1)
    caster = RayCaster(surface)
    tones = CLAY.expand(len(surface.points), 3) if surface.colours is None else surface.colours.float()
    reach = None
    for number in range(len(path.translation)):
        hits = caster.view(fine, path[number])
        reach = reach or float(hits.distance[hits.found].quantile(0.5)) if bool(hits.found.any()) else reach
        picture = lit(caster, hits, tones, rays, path[number], reach or 1.0)
        grid = picture.reshape(height, SAMPLES, width, SAMPLES, 3)
        yield grid.mean((1, 3)).round().clamp(0, 255).to(torch.uint8)


def lit(
    caster: RayCaster,
    hits: Hits,
    tones: Float[Tensor, "points 3"],
    rays: Float[Tensor, "rays 3"],
    camera_from_world: RigidMotion,
    reach: float,
) -> Float[Tensor, "rays 3"]:
    """Colours under a light at the camera: by the slope of the wall, and fainter where it is far.

    The colours of a video hold its light already, so the light here falls off gently, and not with the square.

    Args:
        caster: The surface.
        hits: What each ray met.
        tones: Colours of the vertices, 0..255.
        rays: Directions in the camera's axes, unit vectors.
        camera_from_world: Of the camera.
        reach: Distance at which the light is as the tones have it.
    """
    surface = caster.surface
    faces = surface.face_normals[hits.face.clamp_min(0)]
    normals = faces if surface.normals is None else caster.interpolated(hits, surface.normals)
    normals = torch.nn.functional.normalize(rotate(camera_from_world.rotation, normals.double()), dim=-1)
    slope = (normals * rays).sum(-1).abs()
    far = (1.6 / (1 + 0.6 * hits.distance / reach)).clamp(0.35, 1.25)
    light = (AMBIENT + (1 - AMBIENT) * slope) * far
    picture = caster.interpolated(hits, tones).double() * light[:, None]
    picture[~hits.found] = BACKGROUND
    return picture.float()
