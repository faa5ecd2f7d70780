"""Self-calibration that ran away: lenses that no camera has, noticed in the child so that the next guess is tried."""

import math

import numpy as np
import pycolmap

from depthscope.reconstruction.job import Job, is_fisheye

FOCAL_RANGE = (0.2, 3.0)
"""Focal length over the longer side of the frame: 136 to 19 degrees wide. Mapping itself is held a little narrower."""

FISHEYE_FOCAL_RANGE = (0.1, 3.0)
"""The same of a fisheye, whose disc of 170 degrees may be a half of a frame's width."""

SEEN_SHARE = 0.98
"""The lens must not fold within the rays of this share of the observations; the rest may be wrong."""


def runaway(job: Job, model: pycolmap.Reconstruction) -> str:
    """What is wrong with the lens that a model ended with, in words; "" where it can be one.

    Args:
        job: The clip.
        model: In working pixels.
    """
    longer = max(job.front_end.working_size(job.size_px))  # of the whole frame; the camera may be of a window
    for camera in model.cameras.values():
        focal = camera.mean_focal_length()
        if not (math.isfinite(focal) and bool(np.isfinite(camera.params).all())):
            return "its numbers are not finite"
        shortest, longest = FISHEYE_FOCAL_RANGE if is_fisheye(camera.model_name) else FOCAL_RANGE
        if not shortest * longer <= focal <= longest * longer:
            return f"a focal length of {focal / longer:.3g} times the width"
        if folds(camera, farthest_ray(model)):
            return "a lens that folds the picture over itself"
    return ""


def farthest_ray(model: pycolmap.Reconstruction) -> float:
    """Distance from the axis, on the plane z = 1, within which nearly all observed points are seen."""
    radii = []
    for number in model.reg_image_ids():
        image = model.images[number]
        seen = [keypoint.point3D_id for keypoint in image.points2D if keypoint.has_point3D()]
        if not seen:
            continue
        places = image.cam_from_world() * np.array([model.points3D[i].xyz for i in seen])
        ahead = places[:, 2] > 0
        radii.append(np.linalg.norm(places[ahead, :2] / places[ahead, 2:], axis=1))
    found = np.concatenate(radii) if radii else np.zeros(0)
    return float(np.quantile(found, SEEN_SHARE)) if len(found) else 0.0


def folds(camera: pycolmap.Camera, radius: float) -> bool:
    """Whether pixels stop moving outwards while rays still do.

    Args:
        camera: The lens.
        radius: Of the farthest ray on the plane z = 1.
    """
    rays = np.linspace(0, radius, 100)
    places = np.stack([rays, np.zeros(100), np.ones(100)], -1)
    across = np.asarray(camera.img_from_cam(places))[:, 0]
    return not bool(np.isfinite(across).all()) or bool((np.diff(across) < 0).any())
