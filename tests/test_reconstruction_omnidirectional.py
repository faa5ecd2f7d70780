"""An omnidirectional camera in structure from motion: the nearest fisheye, and how far off it is."""

import math

import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.formats.c3vd import V1_NUMBERS, V1_SIZE, _omnidirectional
from depthscope.geometry import Brown, Camera, Scaramuzza
from depthscope.reconstruction.lens import known_lens
from depthscope.reconstruction.omnidirectional import fisheye_of, representable

C3VD = _omnidirectional(V1_NUMBERS, V1_SIZE, "published")


def test_the_fisheye_sees_the_rays_of_the_published_camera():
    fit = fisheye_of(C3VD)
    assert fit.rms_px < 0.2 and fit.largest_px < 1.5 and fit.camera.model == "fisheye"
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = points * torch.tensor([3.0, 2.4, 1.0]) + torch.tensor([-1.5, -1.2, 1.0])
    turn = math.radians(fit.roll_deg)
    roll = torch.tensor(
        [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]], dtype=torch.float64
    )
    seen, expected = fit.camera.project(points @ roll.T), C3VD.project(points)
    inside = ((expected > 0) & (expected < torch.tensor(V1_SIZE))).all(-1)
    away = (seen - expected)[inside].norm(dim=-1)
    assert int(inside.sum()) > 500 and float(away.square().mean().sqrt()) < 2 * fit.rms_px
    back = fit.camera.unproject(seen[inside])
    assert float((back - points[inside] @ roll.T / points[inside][:, 2:]).abs().max()) < 1e-5


def test_the_roll_of_the_affine_part_is_taken_up():
    """An affine part that turns and does not shear: without the roll, half a degree is several pixels at the rim."""
    turn = math.radians(0.5)
    lens = Scaramuzza.from_pixels(90.0, -0.004, 0.0, 0.0, 1.0, math.tan(turn), -math.tan(turn))
    fit = fisheye_of(Camera((160, 128), (90.0, 90.0), (80.0, 64.0), lens))
    assert abs(fit.roll_deg) == pytest.approx(0.5, abs=0.02) and fit.rms_px < 0.05


def test_the_error_is_told_and_other_cameras_stay_as_they_are():
    camera, notes = representable(C3VD, "camera.yaml")
    assert "omnidirectional lens was replaced by a fisheye" in notes[0] and " px off" in notes[0]
    assert "turned by 0.17 degrees" in notes[0] and camera.source == C3VD.source
    assert known_lens(camera).model == "OPENCV_FISHEYE"
    brown = Camera((160, 128), (130.0, 128.0), (81.0, 62.0), Brown((0.1, 0.0, 0.0, 0.0)))
    assert representable(brown, "camera.yaml") == (brown, ())


def test_a_lens_that_no_fisheye_comes_near_is_refused():
    lens = Scaramuzza.from_pixels(700.0, -0.0008, 0.0, 0.0, 1.0, 0.05, 0.05)  # a shear of 6 degrees
    with pytest.raises(BadInputError, match=r"camera.yaml: the nearest fisheye .* px off in the root mean square"):
        representable(Camera((1350, 1080), (700.0, 700.0), (675.0, 540.0), lens), "camera.yaml")
