"""How much two images differ, pixel by pixel: structural similarity and absolute difference."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError

C1, C2 = 0.01**2, 0.03**2
"""Constants of SSIM for images in 0..1 (Wang et al. 2004)."""

WINDOW = 3
"""Side of the window of SSIM, as in Godard et al. 2017."""

Images = Float[Tensor, "batch channels height width"]
ErrorMaps = Float[Tensor, "batch height width"]
ValidMaps = Bool[Tensor, "batch height width"]


@dataclass(frozen=True, eq=False)
class Reference:
    """An image that others are compared with, and the moments of its windows, which are computed once.

    Attributes:
        image: Shape (batch, channels, height, width), 0..1.
        mean: Mean of each window, or None where no structural similarity is asked for.
        variance: Its variance.
    """

    image: Images
    mean: Images | None = None
    variance: Images | None = None

    def __getitem__(self, index) -> "Reference":
        """References picked along the batch."""
        mean, variance = self.mean, self.variance
        return Reference(
            self.image[index],
            None if mean is None else mean[index],
            None if variance is None else variance[index],
        )


@dataclass(frozen=True)
class PhotometricError:
    """``a mean_c clamp((1 - SSIM) / 2, 0, 1) + (1 - a) mean_c |I - J|`` (Godard et al. 2017; Zhao et al. 2017).

    Attributes:
        structure: a, the share of structural similarity; 0 leaves the absolute difference (SfMLearner).
    """

    structure: float = 0.85

    def __post_init__(self) -> None:
        if not 0 <= self.structure <= 1:
            raise BadInputError(f"error.structure {self.structure}", "a share from 0 to 1")

    def reference(self, image: Images) -> Reference:
        """An image to compare others with; what does not depend on the others is computed here, once."""
        if not self.structure:
            return Reference(image)
        mean = window_mean(image)
        return Reference(image, mean, window_mean(image * image) - mean * mean)

    def __call__(self, image: Images, reference: Reference) -> ErrorMaps:
        """The error of every pixel, in 0..1, shape (batch, height, width); symmetric in the two images."""
        error = image.new_zeros(())
        if self.structure:
            loss = ((1 - similarity(image, reference)) / 2).clamp(0, 1)
            error = self.structure * loss.mean(1)
        if self.structure < 1:
            error = error + (1 - self.structure) * (image - reference.image).abs().mean(1)
        return error

    def valid(self, valid: ValidMaps) -> ValidMaps:
        """Where the error depends on valid pixels only: shrunk by the radius of the window."""
        if not self.structure:
            return valid
        touched = functional.max_pool2d(reflected((~valid)[:, None].to(torch.float32)), WINDOW, stride=1)
        return touched[:, 0] == 0


def similarity(image: Images, reference: Reference) -> Images:
    """SSIM of every pixel and channel over a uniform 3x3 window, with moments of the population."""
    mean, other_mean, other_variance = window_mean(image), reference.mean, reference.variance
    assert other_mean is not None and other_variance is not None
    product = mean * other_mean
    covariance = window_mean(image * reference.image) - product
    square = mean * mean
    variance = window_mean(image * image) - square
    above = (2 * product + C1) * (2 * covariance + C2)
    below = (square + (other_mean * other_mean + C1)) * (variance + (other_variance + C2))
    return above / below


def window_mean(image: Images) -> Images:
    """Mean over the window around every pixel; the image is reflected at its border."""
    return functional.avg_pool2d(reflected(image), WINDOW, stride=1)


def reflected(image: Images) -> Float[Tensor, "batch channels height+2 width+2"]:
    """One more pixel on every side, reflected about the border pixel."""
    return functional.pad(image, (1, 1, 1, 1), mode="reflect")
