"""The network's window on a recording: undistorted, cropped to the content, resized."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Camera
from depthscope.video import undistortion_maps
from depthscope.video.windows import Box, cut, window_around


@dataclass(frozen=True)
class View:
    """A window of the undistorted image, and the size it is resized to.

    Attributes:
        left, top: Corner of the window in the undistorted image; it may reach beyond the image, where it is black.
        window_px: (width, height) of the window.
        size_px: (width, height) for the network.
        undistorted: The pinhole camera of the undistorted image, in full size.
    """

    left: int
    top: int
    window_px: tuple[int, int]
    size_px: tuple[int, int]
    undistorted: Camera

    @property
    def camera(self) -> Camera:
        """The camera of the network's image."""
        return self.undistorted.cropped(self.left, self.top, self.window_px).resized(self.size_px)

    def image(self, source: UInt8[np.ndarray, "rows columns *channels"], camera: Camera) -> np.ndarray:
        """A frame of `camera` through the window; shrinking averages over areas, so that nothing aliases."""
        target = self.undistorted
        same_centre = camera.centre_px == target.centre_px
        if camera.distortion != target.distortion or camera.focal_px != target.focal_px or not same_centre:
            source = cv2.remap(source, *undistortion_maps(camera, target), cv2.INTER_LINEAR)
        return cut(source, (self.left, self.top), self.window_px, self.size_px)

    def mask(
        self, content: Bool[Tensor, "rows columns"] | None, camera: Camera, erosion_px: int
    ) -> Bool[Tensor, "height width"]:
        """Pixels of the network's image that show nothing but tissue, shrunk by `erosion_px`."""
        width, height = camera.size_px
        full = np.full((height, width), 255, np.uint8) if content is None else content.numpy().astype(np.uint8) * 255
        seen = (self.image(full, camera) >= 254).astype(np.uint8)
        if erosion_px:
            seen = cv2.erode(seen, np.ones((2 * erosion_px + 1,) * 2, np.uint8), borderValue=0)
        return torch.from_numpy(seen.astype(bool))


def view_of(camera: Camera, box: Box, size_px: tuple[int, int]) -> View:
    """The smallest window around the box that has the shape of `size_px`, centred on the box.

    Raises:
        BadInputError: The network's image would be larger than four times the window.
    """
    (left, top), window_px = window_around(box, size_px)
    if window_px[0] < 0.25 * size_px[0]:
        raise BadInputError(
            f"frames whose content is {box[2] - box[0]} x {box[3] - box[1]} pixels",
            f"about {size_px[0]} x {size_px[1]}",
            "use a smaller size",
        )
    return View(left, top, window_px, size_px, camera.undistorted())


def through(view: View, pixels: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points 2"]:
    """Pixels of the undistorted image as pixels of the network's image."""
    corner = pixels.new_tensor([view.left, view.top])
    return (pixels - corner) * (pixels.new_tensor(view.size_px) / pixels.new_tensor(view.window_px))
