"""``--content-mask``: one image for all frames of a clip, white where they show tissue."""

from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.video.stills import read_grey

WHITE = 128
"""Grey level from which a pixel of the mask is white."""


def read_content_mask(path: Path, size_px: tuple[int, int] | None = None) -> Bool[Tensor, "height width"]:
    """Where the frames show tissue.

    Args:
        path: The image.
        size_px: (width, height) of the frames; not checked if None.

    Raises:
        BadInputError: It cannot be read, is of another size, or nothing in it is white.
    """
    grey = read_grey(path)
    if size_px is not None and (grey.shape[1], grey.shape[0]) != size_px:
        raise BadInputError(
            f"the mask {path} has {grey.shape[1]} x {grey.shape[0]} pixels",
            f"{size_px[0]} x {size_px[1]} as the frames",
            "make it at their size",
        )
    brightest = int(grey.max())
    if brightest < WHITE:
        labels = 0 < brightest <= 20
        raise BadInputError(
            f"the mask {path} hides everything: nothing in it is white, its greatest value is {brightest}",
            f"an image that is white ({WHITE} to 255) where the frames show tissue",
            f"these look like labels: write 255 for {brightest}" if labels else "check that it is not inverted",
        )
    return grey >= WHITE
