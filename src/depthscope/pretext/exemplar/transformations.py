"""What an exemplar is recognised through: shift, scale, rotation, contrast, colour (Dosovitskiy et al. 2014)."""

from dataclasses import dataclass
from math import pi
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.corpus.views import between, between_logs, box_points, sampled
from depthscope.errors import BadInputError

NUMBERS = 14
"""Random numbers of a transformation."""

Patches = Float[Tensor, "batch 3 side side"]


class Transformation(NamedTuple):
    """A transformation of each patch of a batch; one draw for all of its pixels.

    Attributes:
        shift: Right and down, in sides of the patch.
        scale: How much larger it is seen.
        angle_rad: How far it is turned.
        components: Factors on the principal components of colour.
        power: Exponents of saturation and value.
        factor: Factors on them.
        added: What is added to them.
        hue: What is added to the hue, which is 0..1 all around.
    """

    shift: Float[Tensor, "batch 2"]
    scale: Float[Tensor, " batch"]
    angle_rad: Float[Tensor, " batch"]
    components: Float[Tensor, "batch 3"]
    power: Float[Tensor, "batch 2"]
    factor: Float[Tensor, "batch 2"]
    added: Float[Tensor, "batch 2"]
    hue: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Transformations:
    """Ranges of the transformations; factors are drawn evenly in their logarithm.

    Attributes:
        shift: Largest shift, in sides of the patch.
        scale: Smallest and largest scale.
        rotation_deg: Largest rotation.
        components: Smallest and largest factor on each principal component of the patches' colours.
        power: Smallest and largest exponent of saturation and of value.
        factor: Smallest and largest factor on them.
        added: Most that is added to them.
        hue: Most that is added to the hue, of 1 all around.
    """

    shift: float = 0.2
    scale: tuple[float, float] = (0.7, 1.4)
    rotation_deg: float = 20.0
    components: tuple[float, float] = (0.5, 2.0)
    power: tuple[float, float] = (0.25, 4.0)
    factor: tuple[float, float] = (0.7, 1.4)
    added: float = 0.1
    hue: float = 0.1

    def __post_init__(self) -> None:
        for name in ("scale", "components", "power", "factor"):
            low, high = getattr(self, name)
            if not 0 < low <= high < float("inf"):
                raise BadInputError(f"transformations.{name} {low} to {high}", "two factors above 0, the smaller first")
        limits = {"shift": 0.5, "rotation_deg": 180, "added": 1, "hue": 0.5}
        for name, most in limits.items():
            if not 0 <= getattr(self, name) <= most:
                raise BadInputError(f"transformations.{name} {getattr(self, name)}", f"0 to {most}")

    @classmethod
    def none(cls) -> "Transformations":
        """All patches stay as they are: a network then learns its exemplars by heart."""
        one = (1.0, 1.0)
        return cls(0.0, one, 0.0, one, one, one, 0.0, 0.0)

    def reach(self) -> float:
        """Half the side of what any transformation may look at, in sides of the patch."""
        angle = min(self.rotation_deg, 45.0) * pi / 180
        turned = torch.tensor(angle).cos() + torch.tensor(angle).sin()
        return float(turned) / self.scale[0] / 2 + self.shift

    def of(self, uniform: Float[Tensor, "batch 14"]) -> Transformation:
        """The transformations that these random numbers of 0..1 stand for."""
        limit = self.rotation_deg * pi / 180
        return Transformation(
            shift=between(uniform[:, :2], -self.shift, self.shift),
            scale=between_logs(uniform[:, 2], *self.scale),
            angle_rad=between(uniform[:, 3], -limit, limit),
            components=between_logs(uniform[:, 4:7], *self.components),
            power=between_logs(uniform[:, 7:9], *self.power),
            factor=between_logs(uniform[:, 9:11], *self.factor),
            added=between(uniform[:, 11:13], -self.added, self.added),
            hue=between(uniform[:, 13], -self.hue, self.hue),
        )


class ColourChange(NamedTuple):
    """How the colours of the seed patches lie.

    Attributes:
        mean: Their mean.
        axes: Their principal components, one in a row.
    """

    mean: Float[Tensor, " 3"]
    axes: Float[Tensor, "3 3"]


def principal_colours(patches: Float[Tensor, "patches 3 side side"]) -> ColourChange:
    """Mean and principal components of the colours of all pixels."""
    pixels = patches.transpose(0, 1).flatten(1).double()
    _, axes = torch.linalg.eigh(torch.cov(pixels, correction=0))
    return ColourChange(pixels.mean(1).float(), axes.T.float())


def transformed(
    neighbourhoods: Float[Tensor, "batch 3 wide wide"], side_px: int, drawn: Transformation, colours: ColourChange
) -> Patches:
    """The patches in the middle of larger neighbourhoods, transformed; so no corner is ever empty."""
    middle = neighbourhoods.shape[-1] / 2 + drawn.shift * side_px
    size = (side_px / drawn.scale)[:, None].expand(-1, 2)
    patches = sampled(neighbourhoods, box_points(middle, size, drawn.angle_rad, (side_px, side_px)))
    return recoloured(patches, drawn, colours)


def recoloured(patches: Patches, drawn: Transformation, colours: ColourChange) -> Patches:
    """Contrast along the principal colours, then saturation, value and hue."""
    mean, axes = colours.mean[:, None, None], colours.axes
    along = torch.einsum("kc,bchw->bkhw", axes, patches - mean) * drawn.components[:, :, None, None]
    contrast = (torch.einsum("kc,bkhw->bchw", axes, along) + mean).clamp(0, 1)
    hue, saturation_value = hsv_of(contrast).split([1, 2], 1)
    power, factor, added = (part[:, :, None, None] for part in (drawn.power, drawn.factor, drawn.added))
    saturation_value = (saturation_value.clamp_min(1e-6) ** power * factor + added).clamp(0, 1)
    hue = (hue + drawn.hue[:, None, None, None]) % 1.0
    return rgb_of(torch.cat([hue, saturation_value], 1))


def hsv_of(rgb: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Hue, saturation and value (Smith 1978), each 0..1; grey has hue 0."""
    value, largest = rgb.max(1)
    spread = value - rgb.amin(1)
    red, green, blue = rgb.unbind(1)
    over = spread.clamp_min(1e-12)
    sixths = torch.stack([(green - blue) / over % 6, (blue - red) / over + 2, (red - green) / over + 4], 1)
    hue = torch.where(spread > 0, sixths.gather(1, largest[:, None])[:, 0] / 6, 0.0)
    return torch.stack([hue, spread / value.clamp_min(1e-12), value], 1)


def rgb_of(hsv: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """The inverse of `hsv_of`."""
    hue, saturation, value = hsv.split(1, 1)
    steps = hsv.new_tensor([5.0, 3.0, 1.0])[:, None, None]
    place = (steps + hue * 6) % 6
    return value - value * saturation * torch.minimum(place, 4 - place).clamp(0, 1)
