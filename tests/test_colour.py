"""Lab against scikit-image, there and back, and what counts as a mirror image of the lamp."""

import numpy as np
import torch
from skimage.color import lab2rgb, rgb2lab

from depthscope.colour import lab_from_rgb, mirrors_lamp, rgb_from_lab


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_lab_is_that_of_scikit_image():
    images = torch.cat([drawn(2, 3, 40, 50), torch.zeros(1, 3, 40, 50), torch.ones(1, 3, 40, 50)])
    oracle = rgb2lab(images.permute(0, 2, 3, 1).numpy())
    # 1e-3: the two write the bend of the cube root with a different number of digits
    np.testing.assert_allclose(lab_from_rgb(images).permute(0, 2, 3, 1).numpy(), oracle, atol=1e-3)


def test_colours_come_back_also_in_single_precision():
    images = drawn(1, 3, 30, 30)
    torch.testing.assert_close(rgb_from_lab(lab_from_rgb(images)), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(rgb_from_lab(lab_from_rgb(images.float())), images.float(), atol=1e-4, rtol=0)


def test_colours_outside_of_srgb_are_cut():
    lab = torch.tensor([50.0, 120.0, -120.0]).reshape(1, 3, 1, 1)
    rgb = rgb_from_lab(lab)
    assert (rgb >= 0).all() and (rgb <= 1).all()
    np.testing.assert_allclose(rgb.permute(0, 2, 3, 1).numpy(), lab2rgb(lab.permute(0, 2, 3, 1).numpy()), atol=1e-4)


def test_gray_has_no_colour():
    gray = drawn(1, 1, 20, 20).expand(1, 3, 20, 20)
    assert lab_from_rgb(gray)[:, 1:].abs().max() < 0.02


def test_the_lamp_is_pale_or_clipped_and_tissue_is_neither():
    image = torch.tensor([0.8, 0.45, 0.4])[:, None, None].repeat(1, 9, 9)
    image[:, 4, 4] = 0.93
    image[:, 0, 8] = torch.tensor([1.0, 1.0, 0.6])
    found = mirrors_lamp(image[None])[0]
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[3:6, 3:6] = True
    expected[:2, 7:] = True
    assert torch.equal(found, expected)
