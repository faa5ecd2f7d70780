"""Lenses of endoscopes, 60 to 170 degrees across the picture, and the shapes that a processor crops the picture to.

A lens is described by its projection r = f tan(p a) / p for p > 0, r = f a for p = 0, r = f sin(-p a) / -p for p < 0,
with a the angle from the axis: p = 1 is the pinhole, 1/2 stereographic, 0 equidistant, -1/2 equisolid, -1 orthographic.
The calibrated colonoscope of EndoMapper (Azagra et al. 2023; k1 = -0.139) lies near p = -0.9. The four coefficients of
Kannala and Brandt (2006) are fitted to it.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, KannalaBrandt
from depthscope.geometry.depth import pixel_grid
from depthscope.simulation.sensor import ScopeDisc

FIELDS_DEG: dict[str, float] = {
    "sinus_70": 70.0,
    "laparoscope_90": 90.0,
    "bronchoscope_110": 110.0,
    "bronchoscope_120": 120.0,
    "gastroscope_140": 140.0,
    "colonoscope_160": 160.0,
    "colonoscope_170": 170.0,
}
"""Full field across the content's diameter by lens preset: Hopkins rod lenses have 70 to 90 degrees, Olympus
bronchoscopes (BF-P190, BF-1TH190) 110 to 120, gastroscopes (GIF-H190) 140, colonoscopes (CF-HQ190) 170."""


@dataclass(frozen=True)
class CroppedDisc(ScopeDisc):
    """A picture that the processor crops to a rectangle with cut corners, within the lens's image circle.

    Attributes:
        half_px: Half its width and half its height.
        cut_px: Length that is cut from each side at each corner; 0 is a rectangle, a third of the side an octagon.
    """

    half_px: tuple[float, float] = (0.0, 0.0)
    cut_px: float = 0.0

    def inside(self) -> Float[Tensor, "height width"]:
        """How far inside the border each pixel's centre lies, in pixels; negative outside."""
        width, height = self.size_px
        centre = torch.tensor(self.centre_px, dtype=torch.float64)
        x, y = (pixel_grid(height, width, centre) - centre).abs().unbind(-1)
        half_x, half_y = self.half_px
        sides = torch.minimum(half_x - x, half_y - y)
        corners = (half_x + half_y - self.cut_px - x - y) / math.sqrt(2)
        return torch.minimum(torch.minimum(sides, corners), super().inside())


def full_frame(size_px: tuple[int, int]) -> CroppedDisc:
    """A picture that fills the frame; the image circle passes just outside its corners."""
    width, height = size_px
    half = (width / 2 + 8.0, height / 2 + 8.0)  # a soft rim stays outside the frame
    return CroppedDisc(size_px, (width / 2, height / 2), math.hypot(width, height) / 2 + 8.0, half)


def octagon(size_px: tuple[int, int], share: float = 0.97, cut: float = 0.28) -> CroppedDisc:
    """A rectangle with cut corners, as video processors show flexible endoscopes.

    Args:
        size_px: (width, height) of the frame.
        share: Of the frame's width and height that it fills.
        cut: Length cut at each corner, as a share of the shorter side.
    """
    width, height = size_px
    half, cut_px = (share * width / 2, share * height / 2), cut * min(size_px)
    # The farthest points are the ends of the cuts.
    radius = max(math.hypot(half[0], half[1] - cut_px), math.hypot(half[0] - cut_px, half[1]))
    return CroppedDisc(size_px, (width / 2, height / 2), radius + 0.5, half, cut_px)


def projected_radius(angle_rad: Float[Tensor, "*angles"], projection: float) -> Float[Tensor, "*angles"]:
    """Radius r / f of rays at angles from the axis, for the projection p of the module's text."""
    if abs(projection) < 1e-6:
        return angle_rad
    p = abs(projection)
    return torch.tan(p * angle_rad) / p if projection > 0 else torch.sin(p * angle_rad) / p


def fisheye(projection: float, half_field_rad: float) -> KannalaBrandt:
    """The Kannala-Brandt lens nearest to a projection within a field; it rises over all 90 degrees from the axis.

    Raises:
        BadInputError: A projection or field that four coefficients cannot follow.
    """
    if not -0.95 <= projection <= 0.75 or not 0 < half_field_rad < math.pi / 2:
        raise BadInputError(
            f"a lens of projection {projection:g} and half a field of {math.degrees(half_field_rad):.0f} degrees",
            "-0.95 to 0.75, and less than 90 degrees",
        )
    angle = np.linspace(0.01, math.pi / 2, 300)
    wanted = projected_radius(torch.from_numpy(angle), projection).numpy() / angle - 1
    # What lies beyond the field is never shown, but must not fold back into the picture.
    weight = np.where(angle <= half_field_rad, 1.0, 0.05)
    powers = np.stack([angle**2, angle**4, angle**6, angle**8], 1)
    k1, k2, k3, k4 = np.linalg.lstsq(powers * weight[:, None], wanted * weight, rcond=None)[0].tolist()
    return KannalaBrandt((k1, k2, k3, k4))


def lens_for(
    disc: ScopeDisc,
    field_deg: float,
    projection: float = 0.0,
    aspect: float = 1.0,
    shift_px: tuple[float, float] = (0, 0),
) -> Camera:
    """The camera whose picture spans a field across the content's diameter.

    Args:
        disc: The picture, whose image circle the field is counted over.
        field_deg: Full angle across its diameter, 30 to 175.
        projection: p of the module's text.
        aspect: fy / fx.
        shift_px: Of the principal point from the picture's middle.

    Raises:
        BadInputError: A field or projection out of range.
    """
    if not 30 <= field_deg <= 175:
        raise BadInputError(f"a lens of {field_deg:g} degrees", "30 to 175 degrees across the picture")
    half = math.radians(field_deg) / 2
    lens = fisheye(projection, half)
    focal = disc.radius_px / float(lens.radius(torch.tensor(half, dtype=torch.float64)))
    centre = (disc.centre_px[0] + shift_px[0], disc.centre_px[1] + shift_px[1])
    return Camera(disc.size_px, (focal, focal * aspect), centre, lens, source="simulated")
