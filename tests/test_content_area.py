"""Content area: analytic forms found to 2 pixels, and no border where there is none."""

import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.video import (
    ContentArea,
    circle_of_frame,
    content_area,
    list_images,
    movie_frames,
    read_grey,
    whole_frame,
)
from depthscope.video.outlines import Disc, Ellipse, Polygon
from moving_pictures import tissue

ROOT = Path(__file__).resolve().parents[1]
SIZE = (640, 480)
Y, X = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5


def clip(inside: np.ndarray, count: int = 6, dark: float = 4.0, seed: int = 0) -> list[torch.Tensor]:
    """Frames of moving tissue in a content area, blurred and noisy as a sensor's are."""
    rng = np.random.default_rng(seed)
    texture = tissue((1000, 600), seed).astype(np.float32).mean(2)
    frames = []
    for number in range(count):
        shown = np.where(inside, texture[10 : 10 + SIZE[1], 20 * number : 20 * number + SIZE[0]], dark)
        shown = cv2.GaussianBlur(shown, (3, 3), 0.7) + rng.normal(0, 1.5, shown.shape)
        frames.append(torch.from_numpy(np.clip(shown, 0, 255).astype(np.uint8)))
    return frames


@pytest.mark.parametrize(
    ("x", "y", "radius"),
    [(310.0, 250.0, 200.0), (320.0, 240.0, 238.0), (330.0, 235.0, 300.0), (300.0, 250.0, 330.0), (350.0, 300.0, 150.0)],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_discs_whole_and_cut(x, y, radius, seed):
    inside = (X - x) ** 2 + (Y - y) ** 2 <= radius**2
    area = content_area(clip(inside, seed=seed))
    assert area.shape == "circle" and area.confidence > 0.6 and area.spread_px < 2
    assert math.dist(area.centre_px, (x, y)) < 2
    assert area.radius_px == pytest.approx(radius, abs=2)
    assert math.isnan(area.notch_angle_rad)
    frame = circle_of_frame(clip(inside, count=1, seed=seed)[0])
    assert frame is not None and math.dist(frame.centre_px, (x, y)) < 2


def test_a_disc_that_moves():
    frames = []
    for shift in range(-6, 7, 2):
        inside = (X - 320 - shift) ** 2 + (Y - 240) ** 2 <= 220**2
        frames += clip(inside, count=1)
    area = content_area(frames)
    assert area.shape == "circle" and math.dist(area.centre_px, (320, 240)) < 2
    assert area.spread_px == pytest.approx(6, abs=2)


def test_dark_tissue_at_the_rim():
    inside = (X - 320) ** 2 + (Y - 240) ** 2 <= 220**2
    frames = clip(inside)
    for number, frame in enumerate(frames):
        frame[:, : 150 + 10 * number] = (frame[:, : 150 + 10 * number] * 0.1).to(torch.uint8)
    area = content_area(frames)
    assert area.shape in ("circle", "free")
    found, wanted = area.mask(), torch.from_numpy(inside)
    assert not bool((found & ~wanted).sum() > 0.02 * wanted.sum())


@pytest.mark.parametrize("ratio", [1.08, 1.25])
def test_ellipse(ratio):
    across, down = 200 * ratio, 200.0
    area = content_area(clip(((X - 320) / across) ** 2 + ((Y - 240) / down) ** 2 <= 1))
    assert isinstance(area.outline, Ellipse) and area.radius_px is None
    assert math.dist(area.centre_px, (320, 240)) < 2
    assert sorted(area.outline.radii_px) == pytest.approx([down, across], abs=2)


def test_octagon():
    inside = (abs(X - 300) < 220) & (abs(Y - 240) < 180) & (abs(X - 300) + abs(Y - 240) < 320)
    area = content_area(clip(inside))
    assert area.shape == "octagon"
    wanted = [(300 + sx * a, 240 + sy * b) for sx in (-1, 1) for sy in (-1, 1) for a, b in ((220, 100), (140, 180))]
    for corner in wanted:
        assert min(math.dist(corner, found) for found in area.corners) < 2


@pytest.mark.parametrize(("left", "top", "right", "bottom"), [(80, 60, 520, 420), (80, 0, 560, 480), (0, 50, 640, 430)])
def test_rectangle(left, top, right, bottom):
    area = content_area(clip((left < X) & (right > X) & (top < Y) & (bottom > Y)))
    assert area.shape == "rectangle"
    for corner in ((left, top), (right, top), (right, bottom), (left, bottom)):
        assert min(math.dist(corner, found) for found in area.corners) < 2


@pytest.mark.parametrize("seed", range(4))
def test_no_border(seed):
    area = content_area(clip(np.ones((480, 640), bool), seed=seed))
    assert area.shape == "none" and bool(area.mask().all()) and area.confidence > 0.9


def test_shadows_are_no_border():
    frames = clip(np.ones((480, 640), bool))
    shade = cv2.GaussianBlur(np.where((X < 200) & (Y > 300), 0.02, 1.0).astype(np.float32), (0, 0), 25)
    area = content_area([(frame * torch.from_numpy(shade)).to(torch.uint8) for frame in frames])
    assert area.shape == "none"


def test_a_warped_disc_is_a_free_form():
    inside = ((X - 320) ** 2 + (Y - 240) ** 2 <= 225**2) & (Y > 45 + ((X - 320) / 40) ** 2) & (Y < 440)
    area = content_area(clip(inside))
    assert area.shape == "free"
    both, either = (area.mask().numpy() & inside).sum(), (area.mask().numpy() | inside).sum()
    assert both / either > 0.97


@pytest.mark.parametrize("degrees", [-120, 10, 75])
def test_notch(degrees):
    inside = (X - 320) ** 2 + (Y - 240) ** 2 <= 220**2
    angle = np.deg2rad(degrees)
    inside &= (X - 320 - 218 * np.cos(angle)) ** 2 + (Y - 240 - 218 * np.sin(angle)) ** 2 > 11**2
    area = content_area(clip(inside))
    assert area.shape == "circle"
    assert np.rad2deg(area.notch_angle_rad) == pytest.approx(degrees, abs=2)


def test_text_beside_the_disc_changes_nothing():
    inside = (X - 380) ** 2 + (Y - 240) ** 2 <= 200**2
    frames = [frame.numpy() for frame in clip(inside)]
    for frame in frames:
        cv2.putText(frame, "NAME 12:30", (5, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    area = content_area([torch.from_numpy(frame) for frame in frames])
    assert area.shape == "circle" and math.dist(area.centre_px, (380, 240)) < 2


def test_masks_scale_and_erode():
    area = ContentArea(Disc((320.0, 240.0), 200.0), SIZE, 0.9)
    mask, half = area.mask(), area.mask((320, 240))
    assert float(mask.sum()) == pytest.approx(np.pi * 200**2, rel=2e-3)
    assert float(half.sum()) == pytest.approx(np.pi * 100**2, rel=4e-3)
    assert float(area.mask(erode_px=20.0).sum()) == pytest.approx(np.pi * 180**2, rel=5e-3)
    assert area.mask((640, 240)).shape == (240, 640)
    assert float(area.mask((640, 240)).sum()) == pytest.approx(np.pi * 200 * 100, rel=1e-2)
    square = ContentArea(Polygon(((10.0, 20.0), (50.0, 20.0), (50.0, 40.0), (10.0, 40.0))), SIZE, 0.9)
    assert int(square.mask().sum()) == 40 * 20
    turned = ContentArea(Polygon(square.corners[::-1]), SIZE, 0.9)
    assert torch.equal(turned.mask(), square.mask())
    assert bool(whole_frame(SIZE).mask(erode_px=9.0).all())  # the sides of the frame are no border


def test_no_frames():
    with pytest.raises(BadInputError, match="no frames"):
        content_area([])


BY_EYE = {
    0: (628.1, 399.0),
    35: (628.9, 398.9),
    70: (615.3, 386.7),
    105: (614.6, 386.4),
    140: (611.5, 395.9),
    175: (617.9, 396.0),
    210: (617.1, 397.9),
    245: (614.8, 400.6),
}
"""Centres of circles through six places each, read off enlarged pieces of the rim (left and right at rows 100, 360 and
640) before any circle was drawn into them; the radii were 566.2 to 566.6."""


@pytest.mark.slow
def test_laparoscopy_by_eye():
    path = ROOT.parent / "shared" / "data" / "laparoscopy" / "endo.mp4"
    if "DEPTHSCOPE_DATA" in os.environ:
        path = type(path)(os.environ["DEPTHSCOPE_DATA"]) / "laparoscopy" / "endo.mp4"
    if not path.is_file():
        pytest.skip(f"the laparoscopy video is not at {path}; set DEPTHSCOPE_DATA to the folder of laparoscopy/")
    circles = [circle_of_frame(grey_of(frame.image)) for frame in movie_frames(path)]
    assert len(circles) == 250 and all(circle is not None and circle.confidence > 0.5 for circle in circles)
    for number, centre in BY_EYE.items():
        circle = circles[number]
        assert circle is not None and circle.radius_px is not None
        assert math.dist(circle.centre_px, centre) < 1.5 and abs(circle.radius_px - 566.4) < 1.5  # 0.9 was measured


def test_sinus_mask(sinus_clip):
    frames = [read_grey(path) for path in list_images(sinus_clip)[:35:3]]
    area = content_area(frames)
    published = read_grey(sinus_clip / "undistorted_mask.bmp") >= 128
    both, either = (area.mask() & published).sum(), (area.mask() | published).sum()
    assert area.shape == "free" and float(both / either) > 0.95


def grey_of(image: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(cv2.cvtColor(image.numpy(), cv2.COLOR_RGB2GRAY))
