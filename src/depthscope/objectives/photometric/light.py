"""What a moving lamp does to brightness, taken out before images are compared, and highlights that are left out."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry.depth import MaskMaps

Images = Float[Tensor, "batch channels height width"]


@dataclass(frozen=True)
class AffineBrightness:
    """Brings an image to the brightness of another one, a I + b per sample and channel (after Yang et al. 2020).

    a and b are in closed form, from means and standard deviations over the valid pixels, without gradient: exposure and
    the mean of the fall-off of light are gone, and structure has to be explained by geometry.

    Attributes:
        steepest: Bound of a to both sides; a nearly even image would otherwise be blown up to noise.
    """

    steepest: float = 4.0

    def __post_init__(self) -> None:
        if not self.steepest >= 1:
            raise BadInputError(f"brightness.steepest {self.steepest}", "1 or more")

    def __call__(self, image: Images, target: Images, valid: MaskMaps) -> Images:
        """The image in the brightness of the target; as it is where fewer than two pixels are valid."""
        a, b = self.fitted(image, target, valid)
        return a[..., None, None] * image + b[..., None, None]

    @torch.no_grad()
    def fitted(
        self, image: Images, target: Images, valid: MaskMaps
    ) -> tuple[Float[Tensor, "batch channels"], Float[Tensor, "batch channels"]]:
        """A and b of each sample and channel."""
        count = valid.sum((-1, -2)).clamp_min(1)[:, None]

        def moments(values: Images) -> tuple[Tensor, Tensor]:
            solid = torch.where(valid[:, None], values, 0.0)
            mean = solid.sum((-1, -2)) / count
            centred = torch.where(valid[:, None], values - mean[..., None, None], 0.0)
            return mean, ((centred * centred).sum((-1, -2)) / count).sqrt()

        (mean, spread), (target_mean, target_spread) = moments(image), moments(target)
        known = (spread > 1e-4) & (target_spread > 1e-4)
        ratio = torch.where(known, target_spread / torch.where(known, spread, 1.0), 1.0)
        a = ratio.clamp(1 / self.steepest, self.steepest)
        enough = (valid.sum((-1, -2)) > 1)[:, None]
        return torch.where(enough, a, 1.0), torch.where(enough, target_mean - a * mean, 0.0)


@dataclass(frozen=True)
class Highlights:
    """Mirror images of the lamp: bright and pale pixels, grown. They keep their place in the image, not on the tissue.

    Attributes:
        brightest: Least value of the brightest channel, 0..1.
        palest: Most saturation (1 - least over greatest channel).
        grown_px: Pixels by which they are grown.
    """

    brightest: float = 0.9
    palest: float = 0.3
    grown_px: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.brightest <= 1 or not 0 <= self.palest <= 1 or self.grown_px < 0:
            raise BadInputError(
                f"highlights.brightest {self.brightest}, palest {self.palest}, grown_px {self.grown_px}",
                "shares of 1, and 0 pixels or more",
            )

    def __call__(self, images: Images) -> MaskMaps:
        """True on highlights, shape (batch, height, width)."""
        high, low = images.amax(1), images.amin(1)
        bright = (high >= self.brightest) & (high - low <= self.palest * high)
        side = 2 * self.grown_px + 1
        return functional.max_pool2d(bright[:, None].to(torch.float32), side, stride=1, padding=self.grown_px)[:, 0] > 0
