"""The depth-reversed twin of a model: near for far and all turns the other way, told from it by the light.

A camera that turns about a distant object sees nearly the same as one that turns the other way about the object turned
inside out (the two-fold ambiguity of weak perspective; Koenderink and van Doorn 1991, Szeliski and Kang 1997). Bundle
adjustment does not cross from one to the other. The lamp at the camera tells them apart: what is near is bright.
"""

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycolmap

from depthscope.brightness import DARK, SATURATED, glaring
from depthscope.falloff import falloff_of_frame
from depthscope.reconstruction.bundle import adjust, filtered
from depthscope.reconstruction.front_end import read_picture
from depthscope.reconstruction.job import Job
from depthscope.reconstruction.mapping import Mapped, mapper_options
from depthscope.reconstruction.runaway import runaway

CLEAR_FALLOFF = -0.2
"""Where brightness and distance correlate less than this, light agrees with the model and no twin is made."""

LEAST_DIFFERENCE = 0.2
"""Of the two correlations, for light to decide."""

LEAST_KEPT, MOST_ERROR = 0.7, 1.5
"""Share of the observations that a twin keeps, and its median error over the model's, for light to be believed."""

CLEARLY_LESS = 0.8
"""Median error over the model's with which the twin is taken where light does not tell."""

FEWEST_POINTS, FEWEST_FRAMES = 20, 3
"""Points of a model to have a twin, and frames for light to tell anything."""

ROBUST_PX = 1.0
"""Residual, in working pixels, from which an observation of the twin loses weight."""


@dataclass(frozen=True)
class Choice:
    """What was found out about a model and its twin.

    Attributes:
        light: Median rank correlation of brightness and distance within frames (`depthscope.falloff`); None where light
            does not tell.
        error_px: Median reprojection error of the points, working pixels.
        reversed_light: That of the twin; None too where there is no twin.
        reversed_error_px: That of the twin.
        taken: Whether the twin was taken.
        by: What decided: "light", "reprojection", or "" where no twin was made.
    """

    light: float | None
    error_px: float
    reversed_light: float | None = None
    reversed_error_px: float | None = None
    taken: bool = False
    by: str = ""

    def figures(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def right_way_round(job: Job, result: Mapped, database: Path, images: Path, scratch: Path) -> tuple[Mapped, Choice]:
    """The model or its depth-reversed twin, whichever light and reprojection speak for.

    Args:
        job: The clip.
        result: What mapping came to; has a model.
        database: Its matches.
        images: The working images.
        scratch: A folder for COLMAP's output.

    Raises:
        UnreadableFrameError: A frame cannot be read.
    """
    model = result.model
    assert model is not None
    light = brightness(job, model)
    known = Choice(falloff(model, light), median_error_px(model))
    if known.light is not None and known.light < CLEAR_FALLOFF:
        return result, known
    twin = adjusted(job, result, reflected(model), database, images, scratch)
    if twin is None:
        return result, known
    if not result.lens.fixed and runaway(job, twin):
        return result, known
    kept = twin.compute_num_observations() / max(1, model.compute_num_observations())
    choice = chosen(known, falloff(twin, light), median_error_px(twin), kept)
    return (Mapped(twin, result.lens) if choice.taken else result), choice


def chosen(known: Choice, light: float | None, error_px: float, kept: float) -> Choice:
    """Decides between a model and its twin: by light where it differs, else by a clearly smaller error.

    Args:
        known: The model's own figures.
        light: The twin's correlation of brightness and depth.
        error_px: The twin's median error.
        kept: Observations of the twin over those of the model.
    """
    taken, by = False, "reprojection"
    fits = kept >= LEAST_KEPT and error_px <= MOST_ERROR * known.error_px
    if light is not None and known.light is not None and abs(light - known.light) > LEAST_DIFFERENCE:
        taken, by = fits and light < known.light, "light" if fits else "reprojection"
    elif kept >= 1 and error_px < CLEARLY_LESS * known.error_px:
        taken = True
    return Choice(known.light, known.error_px, light, error_px, taken, by)


def reflected(model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
    """The twin before adjustment, seen from the camera in the middle, at whose median depth z0 the mirror stands.

    Points move along that camera's rays from z to z0^2 / z, which is the reflection 2 z0 - z to first order and keeps
    them in front. The other cameras' turns R become D R D with D = diag(1, 1, -1), and their places are those that see
    the middle of the object where they saw it: t' = R o + t - R' o with o = (0, 0, z0).
    """
    twin = copy.deepcopy(model)
    posed = sorted(i for i, image in twin.images.items() if image.has_pose)
    middle_from_world = twin.images[posed[len(posed) // 2]].cam_from_world()
    world_from_middle = middle_from_world.inverse()
    local = {number: middle_from_world * point.xyz for number, point in twin.points3D.items()}
    depth = float(np.median([place[2] for place in local.values()]))
    for number, place in local.items():
        if place[2] > 0:
            twin.points3D[number].xyz = world_from_middle * (place * (depth / place[2]) ** 2)
    mirror, middle = np.diag([1.0, 1.0, -1.0]), np.array([0.0, 0.0, depth])
    for number in posed:
        image = twin.images[number]
        relative = image.cam_from_world() * world_from_middle
        turn = relative.rotation.matrix()
        turned = mirror @ turn @ mirror
        shift = turn @ middle + relative.translation - turned @ middle
        motion = pycolmap.Rigid3d(pycolmap.Rotation3d(turned), shift) * middle_from_world
        twin.frames[image.frame_id].rig_from_world = motion  # one camera for each frame: the rig is the camera
    return twin


def adjusted(
    job: Job, result: Mapped, twin: pycolmap.Reconstruction, database: Path, images: Path, scratch: Path
) -> pycolmap.Reconstruction | None:
    """The twin after robust bundle adjustment, filtered as mapping filters and with lost points found again."""
    adjust(job, twin, robust_px=ROBUST_PX, free_lens=False)
    filtered(twin)
    if twin.num_points3D() < FEWEST_POINTS:
        return None
    options = mapper_options(job, result.lens, 1.0, 3600.0)
    scratch.mkdir(parents=True, exist_ok=True)
    twin = pycolmap.triangulate_points(twin, database, images, scratch, False, options, False)
    adjust(job, twin, robust_px=ROBUST_PX, free_lens=not result.lens.fixed)
    filtered(twin)
    return twin if twin.num_points3D() >= FEWEST_POINTS else None


def median_error_px(model: pycolmap.Reconstruction) -> float:
    """Median over the points of the mean reprojection error."""
    model.update_point_3d_errors()
    return float(np.median([point.error for point in model.points3D.values()]))


def brightness(job: Job, model: pycolmap.Reconstruction) -> dict[int, np.ndarray]:
    """For each placed image, ln of the linear brightness at each keypoint; NaN where it is saturated or dark."""
    size, (left, top, *_) = job.front_end.working_size(job.size_px), job.working_window
    found = {}
    for number, image in model.images.items():
        if not image.has_pose:
            continue
        frame = job.frames[number - 1]
        picture = read_picture(frame.image, cv2.IMREAD_COLOR)
        blue, green, red = cv2.split(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        value = cv2.max(cv2.max(blue, green), red).astype(np.float32) / 255
        linear = cv2.blur(value**2.2, (5, 5))
        linear[(glaring(value, SATURATED, 2) > 0) | (linear < DARK**2.2)] = np.nan
        places = np.array([keypoint.xy for keypoint in image.points2D]).reshape(-1, 2) + (left, top)
        column, row = places.astype(int).T
        found[number] = np.log(linear[row.clip(0, size[1] - 1), column.clip(0, size[0] - 1)])
    return found


def falloff(model: pycolmap.Reconstruction, light: dict[int, np.ndarray]) -> float | None:
    """Median over the frames of the rank correlation of brightness and distance; None where there is too little of it.

    Args:
        model: The model.
        light: ln brightness of each image's keypoints.
    """
    found = []
    for number, image in model.images.items():
        if not image.has_pose:
            continue
        seen = [k for k, keypoint in enumerate(image.points2D) if keypoint.has_point3D()]
        if not seen:
            continue
        motion = image.cam_from_world()
        points = np.array([motion * model.points3D[image.points2D[k].point3D_id].xyz for k in seen]).reshape(-1, 3)
        bright = light[number][seen].astype(np.float64)
        good = (points[:, 2] > 0) & np.isfinite(bright)
        of_frame = falloff_of_frame(points[good], bright[good])
        if of_frame is not None:
            found.append(of_frame[0])
    return float(np.median(found)) if len(found) >= FEWEST_FRAMES else None
