"""What a video processor and a recorder make of a sensor's picture, and how a moving hand blurs it."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from depthscope.errors import BadInputError

Picture = UInt8[np.ndarray, "height width 3"]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Brightness of display values, as video weighs them."""


@dataclass(frozen=True)
class Finish:
    """The last steps of one frame; the defaults change nothing.

    Attributes:
        motion_px: Length of the smear by a moving camera.
        motion_rad: Its direction in the picture.
        saturation: What colours are multiplied by about their grey.
        local_tone: How far dark regions are brightened and bright ones darkened, 0 to 1, as processors do with a high
            dynamic range: it takes away some of what brightness tells of depth.
        rescale: Share of the size that the frame is recorded in before it is shown at its own; 1 is none.
        jpeg_quality: Of the recorder, 1 to 100; None records without loss.
    """

    motion_px: float = 0.0
    motion_rad: float = 0.0
    saturation: float = 1.0
    local_tone: float = 0.0
    rescale: float = 1.0
    jpeg_quality: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.motion_px <= 64 or not 0 <= self.saturation <= 3 or not 0 <= self.local_tone <= 1:
            raise BadInputError(
                f"a smear of {self.motion_px:g} px, saturation {self.saturation:g}, local tone {self.local_tone:g}",
                "0 to 64 px, 0 to 3 and 0 to 1",
            )
        if not 0.1 <= self.rescale <= 1 or not 1 <= (self.jpeg_quality or 1) <= 100:
            raise BadInputError(
                f"a recording at {self.rescale:g} of the size, JPEG quality {self.jpeg_quality}", "0.1 to 1, 1 to 100"
            )

    def smeared(self, light: Float[Tensor, "height width 3"]) -> Float[Tensor, "height width 3"]:
        """Linear light of a camera that moved while the shutter was open."""
        if self.motion_px < 0.5:
            return light
        side = 2 * math.ceil(self.motion_px / 2) + 1
        kernel = np.zeros((side, side), np.float32)
        step = 0.5 * self.motion_px * np.array([math.cos(self.motion_rad), math.sin(self.motion_rad)])
        ends = [tuple(int(round(16 * v)) for v in side // 2 + sign * step) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
        values = np.ascontiguousarray(light.float().numpy())
        blurred = cv2.filter2D(values, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
        return torch.from_numpy(np.ascontiguousarray(blurred, np.float32))

    def recorded(self, image: Picture) -> Picture:
        """The recorded frame of the sensor's picture."""
        if self.local_tone or self.saturation != 1:
            image = self._graded(image)
        if self.rescale < 1:
            height, width = image.shape[:2]
            small = (max(round(self.rescale * width), 8), max(round(self.rescale * height), 8))
            image = cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height))
            image = np.asarray(image, np.uint8)
        if self.jpeg_quality is None:
            return image
        options = [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality]
        _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), options)
        return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])

    def _graded(self, image: Picture) -> Picture:
        x = image.astype(np.float32)
        grey = x @ LUMA
        if self.local_tone:
            # The neighbourhood's brightness, from a small picture: the blur is as wide as a tenth of the frame.
            height, width = grey.shape
            small = cv2.resize(grey, (max(width // 8, 4), max(height // 8, 4)), interpolation=cv2.INTER_AREA)
            around = cv2.resize(cv2.GaussianBlur(small, (0, 0), 0.1 * small.shape[1]), (width, height))
            gain = ((around + 12.0) / (float(around.mean()) + 12.0)) ** np.float32(-0.8 * self.local_tone)
            shown = np.minimum(grey / 24.0, 1.0)  # what the processor blanks stays black
            gain = 1 + shown * (gain - 1)
            x, grey = x * gain[..., None], grey * gain
        x = grey[..., None] + np.float32(self.saturation) * (x - grey[..., None])
        return np.rint(x.clip(0, 255)).astype(np.uint8)
