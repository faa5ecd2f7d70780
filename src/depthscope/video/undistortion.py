"""Frames as another camera would have seen them: for exports, and for clips whose frames have different cameras."""

from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from depthscope.geometry import Camera
from depthscope.video.stills import Image


def undistorted(image: Image, camera: Camera) -> tuple[Image, Camera, Bool[Tensor, "height width"]]:
    """The picture without the lens's distortion, its pinhole camera, and the pixels whose ray the camera saw."""
    target = camera.undistorted()
    x, y = undistortion_maps(camera, target)
    height, width = image.shape[:2]
    seen = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return torch.from_numpy(cv2.remap(image.numpy(), x, y, cv2.INTER_LINEAR)), target, torch.from_numpy(seen)


@lru_cache(maxsize=2)  # a second for a frame in full HD, and the same for all frames of a clip
def undistortion_maps(camera: Camera, target: Camera) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the `target` camera where to read in the image of `camera`, in OpenCV's convention.

    The arrays are shared by all who ask: they cannot be written to.
    """
    pixels = camera.project(target.rays).nan_to_num(-1e4).numpy().astype(np.float32) - np.float32(0.5)  # OpenCV border
    x, y = np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])
    for values in (x, y):
        values.setflags(write=False)
    return x, y
