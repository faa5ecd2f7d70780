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
        height, width = source.shape[:2]
        window_width, window_height = self.window_px
        before_x, before_y = max(0, -self.left), max(0, -self.top)
        after_x = max(0, self.left + window_width - width)
        after_y = max(0, self.top + window_height - height)
        if before_x or before_y or after_x or after_y:
            source = cv2.copyMakeBorder(source, before_y, after_y, before_x, after_x, cv2.BORDER_CONSTANT, value=0)
        x, y = self.left + before_x, self.top + before_y
        window = source[y : y + window_height, x : x + window_width]
        shrinks = self.size_px[0] < window_width
        return cv2.resize(window, self.size_px, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

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


def content_box(mask: Bool[Tensor, "rows columns"] | None, size_px: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the part that shows tissue."""
    if mask is None:
        return 0, 0, *size_px
    columns, rows = mask.any(0).nonzero().flatten(), mask.any(1).nonzero().flatten()
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def fitting_size(box: tuple[int, int, int, int], area_px: int, divisor: int) -> tuple[int, int]:
    """(width, height) of about `area_px` pixels with the shape of the box, both divisible by `divisor`."""
    left, top, right, bottom = box
    aspect = (right - left) / (bottom - top)
    width = max(1, round((area_px * aspect) ** 0.5 / divisor)) * divisor
    height = max(1, round((area_px / aspect) ** 0.5 / divisor)) * divisor
    return width, height


def view_of(camera: Camera, box: tuple[int, int, int, int], size_px: tuple[int, int]) -> View:
    """The smallest window around the box that has the shape of `size_px`, centred on the box.

    Raises:
        BadInputError: The network's image would be larger than four times the window.
    """
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    scale = max(width / size_px[0], height / size_px[1])
    if scale < 0.25:
        raise BadInputError(
            f"frames whose content is {width} x {height} pixels",
            f"about {size_px[0]} x {size_px[1]}",
            "use a smaller size",
        )
    window = round(size_px[0] * scale), round(size_px[1] * scale)
    centre_x, centre_y = (left + right) / 2, (top + bottom) / 2
    return View(round(centre_x - window[0] / 2), round(centre_y - window[1] / 2), window, size_px, camera.undistorted())


def through(view: View, pixels: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points 2"]:
    """Pixels of the undistorted image as pixels of the network's image."""
    corner = pixels.new_tensor([view.left, view.top])
    return (pixels - corner) * (pixels.new_tensor(view.size_px) / pixels.new_tensor(view.window_px))
