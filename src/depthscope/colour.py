"""Colours as the eye orders them (CIE Lab, D65), and the pixels whose colour is that of the lamp."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from depthscope.brightness import PALE_LEVEL, PALE_SATURATION

XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Of linear sRGB (IEC 61966-2-1)."""

WHITE = (0.95047, 1.0, 1.08883)
"""D65, seen by the observer of 2 degrees."""

BEND = 6 / 29
"""Where the cube root of CIE Lab goes over into a straight line, on the side of the root."""

CLIPPED = 253.5 / 255
"""From here on a channel says no more; a mirror image of the lamp is clipped in two, or bright and pale."""


def lab_from_rgb(images: Float[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
    """CIE L (0..100), a and b of sRGB in 0..1."""
    linear = torch.where(images <= 0.04045, images / 12.92, ((images.clamp_min(0) + 0.055) / 1.055) ** 2.4)
    matrix = linear.new_tensor(XYZ_FROM_RGB) / linear.new_tensor(WHITE)[:, None]
    relative = torch.einsum("xc,...chw->...xhw", matrix, linear)
    root = torch.where(
        relative > BEND**3, relative.clamp_min(BEND**3) ** (1 / 3), relative / (3 * BEND**2) + 4 / 29
    ).unbind(-3)
    return torch.stack([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])], -3)


def rgb_from_lab(lab: Float[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
    """SRGB of CIE Lab; colours that sRGB does not have are cut to 0..1."""
    lightness, a, b = lab.unbind(-3)
    middle = (lightness + 16) / 116
    root = torch.stack([middle + a / 500, middle, middle - b / 200], -3)
    relative = torch.where(root > BEND, root**3, 3 * BEND**2 * (root - 4 / 29))
    matrix = torch.linalg.inv(lab.new_tensor(XYZ_FROM_RGB).double()).to(lab) * lab.new_tensor(WHITE)
    linear = torch.einsum("cx,...xhw->...chw", matrix, relative)
    curved = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curved).clamp(0, 1)


def mirrors_lamp(images: Float[Tensor, "batch 3 height width"]) -> Bool[Tensor, "batch height width"]:
    """Highlights, grown by a pixel: their colour says nothing about the tissue below."""
    brightest, palest = images.amax(1), images.amin(1)
    pale = (palest >= PALE_LEVEL / 255) & (brightest - palest <= PALE_SATURATION / 255 * brightest)
    clipped = (images >= CLIPPED).sum(1) >= 2
    return functional.max_pool2d((pale | clipped).float()[:, None], 3, 1, 1)[:, 0] > 0
