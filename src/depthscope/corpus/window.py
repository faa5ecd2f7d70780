"""Where the frames of a corpus lie in those of their video, and the way back."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.video.windows import cut


@dataclass(frozen=True)
class Window:
    """Where the frames of a corpus lie in those of their video.

    Attributes:
        left: Of the window in the video's frame, in pixels; the window may reach beyond it, where it is black.
        top: Likewise.
        window_px: (width, height) of the window.
        source_px: (width, height) of the video's frames.
        size_px: (width, height) of the corpus's frames.
    """

    left: int
    top: int
    window_px: tuple[int, int]
    source_px: tuple[int, int]
    size_px: tuple[int, int]

    def cut(self, image: np.ndarray) -> np.ndarray:
        """A frame of the video, or a mask of it, as a frame of the corpus; shrinking averages over areas."""
        return cut(image, (self.left, self.top), self.window_px, self.size_px)

    def in_source(self, pixels: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points 2"]:
        """Pixels of the corpus's frame as pixels of the video's; the top left one's centre is (0.5, 0.5) in both."""
        return pixels * self._scale(pixels) + pixels.new_tensor([self.left, self.top])

    def from_source(self, pixels: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points 2"]:
        """The inverse of `in_source`."""
        return (pixels - pixels.new_tensor([self.left, self.top])) / self._scale(pixels)

    def map_in_source(
        self, values: Float[Tensor, "channels height width"], fill: float = 0.0
    ) -> Float[Tensor, "channels rows columns"]:
        """A map over the corpus's frame, of any resolution, spread bilinearly over the video's frame."""
        (width, height), (across, down) = self.window_px, self.source_px
        whole = torch.full((values.shape[0], down, across), fill, dtype=values.dtype)
        spread = torch.nn.functional.interpolate(values[None], size=(height, width), mode="bilinear")[0]
        y, x = max(0, self.top), max(0, self.left)
        bottom, right = min(down, self.top + height), min(across, self.left + width)
        whole[:, y:bottom, x:right] = spread[:, y - self.top : bottom - self.top, x - self.left : right - self.left]
        return whole

    def _scale(self, like: Tensor) -> Tensor:
        return like.new_tensor([w / s for w, s in zip(self.window_px, self.size_px, strict=True)])
