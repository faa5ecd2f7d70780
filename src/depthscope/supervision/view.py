"""The network's window on a recording: the recorded frame, cropped to its content and resized, and nothing else."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, NoDistortion
from depthscope.video import undistortion_maps
from depthscope.video.windows import Box, cut, window_around


@dataclass(frozen=True)
class View:
    """A window of the recorded frame, and the size it is resized to.

    Attributes:
        left, top: Corner of the window in the frame; it may reach beyond it, where it is black.
        window_px: (width, height) of the window.
        size_px: (width, height) for the network.
        recorded: The camera of the frame, in full size.
    """

    left: int
    top: int
    window_px: tuple[int, int]
    size_px: tuple[int, int]
    recorded: Camera

    @classmethod
    def whole(cls, camera: Camera, size_px: tuple[int, int]) -> "View":
        """The whole frame of a camera at another size."""
        return cls(0, 0, camera.size_px, size_px, camera)

    @property
    def camera(self) -> Camera:
        """The camera of the network's image."""
        return self.recorded.cropped(self.left, self.top, self.window_px).resized(self.size_px)

    def image(self, source: UInt8[np.ndarray, "rows columns *channels"], camera: Camera) -> np.ndarray:
        """A frame of `camera` through the window; shrinking averages over areas, so that nothing aliases.

        Only a clip whose frames have different cameras is resampled, onto the pixels of the window's camera.
        """
        target = self.recorded
        same_centre = camera.centre_px == target.centre_px
        if camera.distortion != target.distortion or camera.focal_px != target.focal_px or not same_centre:
            source = cv2.remap(source, *undistortion_maps(camera, target), cv2.INTER_LINEAR)
        return cut(source, (self.left, self.top), self.window_px, self.size_px)

    def mask(
        self, content: Bool[Tensor, "rows columns"] | None, camera: Camera, erosion_px: int
    ) -> Bool[Tensor, "height width"]:
        """Pixels of the network's image that have a ray and show nothing but tissue, shrunk by `erosion_px`."""
        width, height = camera.size_px
        full = np.full((height, width), 255, np.uint8) if content is None else content.numpy().astype(np.uint8) * 255
        seen = (self.image(full, camera) >= 254).astype(np.uint8)
        if not isinstance(self.recorded.distortion, NoDistortion):
            seen &= self.camera.rays.isfinite().all(-1).numpy()
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
    return View(left, top, window_px, size_px, camera)


def through(view: View, pixels: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points 2"]:
    """Pixels of the recorded frame as pixels of the network's image."""
    corner = pixels.new_tensor([view.left, view.top])
    return (pixels - corner) * (pixels.new_tensor(view.size_px) / pixels.new_tensor(view.window_px))
