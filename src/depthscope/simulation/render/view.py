"""The pixels of a camera that show something, and their rays."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Camera
from depthscope.geometry.depth import pixel_grid


@dataclass(frozen=True, eq=False)
class RenderView:
    """The pixels of a camera that show something, and their rays.

    Attributes:
        camera: The lens.
        shown: Which pixels show something, shape (height, width).
    """

    camera: Camera
    shown: Bool[Tensor, "height width"]

    @cached_property
    def pixels(self) -> Float[Tensor, "pixels 2"]:
        """Centres of the pixels that are shown."""
        height, width = self.shown.shape
        return pixel_grid(height, width, torch.zeros((), dtype=torch.float64))[self.shown]

    def rays(self, shift: tuple[float, float] = (0.0, 0.0)) -> Float[Tensor, "pixels 3"]:
        """Their rays, z = 1, through the centre or `shift` pixels beside it.

        Raises:
            BadInputError: The lens sends no ray to some of them.
        """
        if shift not in self._rays:
            rays = self.camera.unproject(self.pixels + self.pixels.new_tensor(shift))
            if not bool(rays.isfinite().all()):
                raise BadInputError(
                    f"a lens that sends no ray to {int((~rays.isfinite().all(-1)).sum())} pixels of the picture",
                    "a lens that covers the round picture",
                    "choose a narrower picture or less distortion",
                )
            self._rays[shift] = rays
        return self._rays[shift]

    @cached_property
    def _rays(self) -> dict[tuple[float, float], Tensor]:
        return {}

    def image(self, values: Tensor) -> Tensor:
        """Values of the shown pixels as an image, 0 elsewhere."""
        image = values.new_zeros(*self.shown.shape, *values.shape[1:])
        image[self.shown] = values
        return image


def in_picture(view: RenderView, pixels: Float[Tensor, "*points 2"]) -> Bool[Tensor, "*points"]:
    """Whether positions lie in pixels that are shown; not where they are NaN."""
    height, width = view.shown.shape
    column, row = pixels.nan_to_num(nan=-1.0).floor().clamp(-1, max(width, height)).long().unbind(-1)
    within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return within & view.shown[torch.where(within, row, 0), torch.where(within, column, 0)]
