"""Frames as a pinhole would have seen them."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from depthscope.geometry import Camera
from depthscope.geometry.depth import pixel_grid
from depthscope.video.stills import Image


def undistorted(image: Image, camera: Camera) -> tuple[Image, Camera, Bool[Tensor, "height width"]]:
    """The picture without the lens's distortion, its pinhole camera, and the pixels whose ray the camera saw."""
    target = camera.undistorted()
    x, y = undistortion_maps(camera, target)
    height, width = image.shape[:2]
    seen = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return torch.from_numpy(cv2.remap(image.numpy(), x, y, cv2.INTER_LINEAR)), target, torch.from_numpy(seen)


def undistortion_maps(camera: Camera, target: Camera) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the `target` camera where to read in the image of `camera`, in OpenCV's convention."""
    width, height = target.size_px
    rays = target.unproject(pixel_grid(height, width, torch.empty(0, dtype=torch.float64)))
    pixels = camera.project(rays).nan_to_num(-1e4).numpy().astype(np.float32) - np.float32(0.5)  # OpenCV border
    return pixels[..., 0], pixels[..., 1]
