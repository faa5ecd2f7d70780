"""Steps that several rooms share: rotations by vectors, robust deviations, points followed there and back, glare."""

import cv2
import numpy as np
import pytest
import torch

from depthscope.brightness import glaring
from depthscope.geometry.rotation import rotation_from_vector, skew
from depthscope.geometry.scale import robust_std
from depthscope.video.optical_flow import follow


def test_a_cross_product_is_a_matrix_and_its_exponential_a_rotation():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 20, 3, dtype=torch.float64, generator=generator)
    assert torch.allclose((skew(a) @ b[..., None])[..., 0], torch.linalg.cross(a, b))
    rotation = rotation_from_vector(a)
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(20, 3, 3))
    expected = torch.from_numpy(np.stack([cv2.Rodrigues(v.numpy())[0] for v in a]))
    assert torch.allclose(rotation, expected)
    assert torch.allclose((rotation @ a[..., None])[..., 0], a)


def test_outliers_do_not_move_a_robust_deviation():
    values = 2.0 * torch.randn(20_001, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert float(robust_std(values)) == pytest.approx(2.0, rel=0.03)
    values[::5] = 1e6
    assert float(robust_std(values)) < 3.0


def test_points_are_followed_and_those_that_leave_the_picture_are_not():
    noise = np.random.default_rng(3).integers(0, 256, (120, 160), dtype=np.uint8)
    wide = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]
    before, after = np.ascontiguousarray(wide[:100, :120]), np.ascontiguousarray(wide[3:103, 5:125])
    points = np.array([[40, 40], [60, 50], [80, 70]], np.float32)
    places, kept = follow(before, after, points)
    assert kept.all() and np.abs(places - (points - [5, 3])).max() < 0.1
    _, lost = follow(before, np.full_like(after, 90), points)
    assert not lost.any()


def test_glare_grows_by_its_margin():
    value = np.zeros((9, 9), np.uint8)
    value[4, 4] = 250
    assert glaring(value, 240, 2).sum() == 25 and glaring(value, 250, 2).sum() == 0
