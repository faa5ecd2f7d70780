"""Laws of cameras: projection and ray are inverse, OpenCV agrees, windows agree (G1)."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from depthscope.errors import BadInputError
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion, Pinhole
from scenes import F64, grid, pinhole, tensor

SIZE, FOCAL, CENTRE = (640, 480), (420.0, 425.0), (318.2, 243.7)
LENSES = {
    "pinhole": NoDistortion(),
    "brown4": Brown((-0.28, 0.07, 0.001, -0.002)),
    "brown5": Brown((-0.3, 0.11, -0.0015, 0.001, -0.02)),
    "brown8": Brown((0.4, 0.1, 0.001, 0.0005, 0.01, 0.65, 0.12, 0.01)),
    "fisheye": KannalaBrandt((0.03, -0.012, 0.004, -0.001)),
}
lenses = pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES.keys())


def camera(lens=None, **changes) -> Camera:
    return Camera(
        **({"size_px": SIZE, "focal_px": FOCAL, "centre_px": CENTRE, "distortion": lens or NoDistortion()} | changes)
    )


def disc(radius: float = 0.9, count: int = 2000) -> torch.Tensor:
    """Directions (x, y, 1) over the disc that the lenses above do not fold, its centre among them."""
    random = np.random.default_rng(0)
    r, angle = radius * np.sqrt(random.random(count)), random.uniform(0, 2 * np.pi, count)
    plane = np.stack([r * np.cos(angle), r * np.sin(angle), np.ones(count)], -1)
    plane[0, :2] = 0
    return torch.tensor(plane)


@lenses
def test_unproject_is_the_inverse_of_project(lens):
    rays = disc()
    depth = torch.linspace(0.1, 5, len(rays), dtype=F64)[:, None]
    back = camera(lens).unproject(camera(lens).project(depth * rays))
    assert (back - rays).abs().max() < 1e-9  # Newton and bisection stop at rounding times a slope below 100


@lenses
def test_project_is_the_inverse_of_unproject_wherever_there_is_a_ray(lens):
    pixels = grid(*SIZE)[::16, ::16]
    rays = camera(lens).unproject(pixels)
    assert rays.isfinite().all()
    assert (rays[..., 2] == 1).all()
    assert (camera(lens).project(rays) - pixels).abs().max() < 1e-6  # 1e-9 on the plane times the focal length


@lenses
def test_opencv_agrees_after_half_a_pixel(lens):
    points = disc() * 1.7
    matrix = np.array([[FOCAL[0], 0, CENTRE[0] - 0.5], [0, FOCAL[1], CENTRE[1] - 0.5], [0, 0, 1]])
    zero, coefficients = np.zeros(3), np.array(lens.coefficients)
    rows = points.numpy()[:, None]
    if isinstance(lens, KannalaBrandt):
        theirs, _ = cv2.fisheye.projectPoints(rows, zero, zero, matrix, coefficients)
    else:
        theirs, _ = cv2.projectPoints(rows, zero, zero, matrix, coefficients)
    ours = camera(lens).project(points).numpy()
    assert np.abs(ours - (theirs[:, 0] + 0.5)).max() < 1e-9  # the same formula in float64, in pixels


@lenses
@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(16, 2000), height=st.integers(16, 2000), left=st.integers(-200, 200), top=st.integers(-200, 200)
)
def test_a_resized_or_cropped_camera_projects_where_the_pixels_went(lens, width, height, left, top):
    points, whole = disc(count=20), camera(lens)
    pixels = whole.project(points)
    window = whole.cropped(left, top, (500, 300))
    assert window.size_px == (500, 300)
    assert torch.allclose(window.project(points), pixels - tensor(left, top), 0, 1e-9)
    k = tensor(width / SIZE[0], height / SIZE[1])
    if not 0.2 < float(k[0] / k[1]) < 5:  # a focal length beyond 20 widths is refused
        return
    assert torch.allclose(whole.resized((width, height)).project(points), pixels * k, 0, 1e-9)


@pytest.mark.parametrize("times", [2, 3, 4, 5])
def test_a_camera_resized_there_and_back_is_the_same(times):
    whole = camera(LENSES["brown4"])
    back = whole.resized((SIZE[0] * times, SIZE[1] * times)).resized(SIZE)
    assert torch.allclose(tensor(*back.focal_px, *back.centre_px), tensor(*FOCAL, *CENTRE), 1e-15, 0)
    assert back.size_px == SIZE and back.distortion == whole.distortion


def test_a_pixel_of_a_shrunk_image_covers_the_pixels_it_was_made_of():
    small = camera().resized((320, 240))
    first = small.unproject(tensor(0.5, 0.5))  # covers the four pixels around (1, 1)
    assert torch.allclose(first, camera().unproject(tensor(1.0, 1.0)), 0, 1e-15)


def test_the_tensors_of_a_camera_are_the_camera():
    rays = disc(count=50)
    assert torch.allclose(camera().pinhole.project(3 * rays), camera().project(rays), 0, 1e-10)
    assert torch.allclose(camera().pinhole.unproject(camera().project(rays)), rays, 0, 1e-13)


def test_a_flipped_pinhole_projects_flipped_points():
    one = pinhole(*SIZE)
    flipped = Pinhole(one.focal_px, torch.stack([SIZE[0] - one.centre_px[:, 0], one.centre_px[:, 1]], -1))
    points = disc(count=50)
    mirrored = flipped.project(points * tensor(-1, 1, 1))
    pixels = one.project(points)
    assert torch.allclose(mirrored, torch.stack([SIZE[0] - pixels[:, 0], pixels[:, 1]], -1), 0, 1e-10)


@lenses
def test_nothing_is_seen_behind_the_camera(lens):
    assert camera(lens).project(tensor(0.1, 0.2, -1.0)).isnan().all()
    beside = camera(lens).project(tensor(0.1, 0.2, 0.0))
    assert beside.isfinite().all() if isinstance(lens, KannalaBrandt) else beside.isnan().all()


def test_no_ray_is_invented_where_the_lens_folds():
    barrel = Brown((-0.3, 0.0, 0.0, 0.0))  # its largest distorted radius is 0.703
    assert barrel.undistort(tensor(0.9, 0.0)).isnan().all()
    assert barrel.undistort(tensor(0.6, 0.0)).isfinite().all()
    fisheye = KannalaBrandt((0.0, 0.0, 0.0, 0.0))  # its radius is the angle: the plane z = 1 ends at a quarter turn
    assert fisheye.undistort(tensor(1.6, 0.0)).isnan().all()
    assert fisheye.undistort(tensor(torch.pi / 2, 0.0)).isnan().all()
    assert fisheye.undistort(tensor(1.5, 0.0)).isfinite().all()


@lenses
def test_the_undistorted_camera_keeps_straight_lines(lens):
    ideal = camera(lens).undistorted()
    assert (ideal.size_px, ideal.focal_px, ideal.centre_px) == (SIZE, FOCAL, CENTRE)
    assert ideal.model == "pinhole"
    x = torch.linspace(-0.5, 0.5, 9, dtype=F64)
    line = ideal.project(torch.stack([x, 0.3 * x + 0.2, torch.ones_like(x)], -1))
    assert torch.allclose(line[2:] - line[1:-1], line[1:-1] - line[:-2], 0, 1e-10)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size_px": (0, 480)}, "positive image size"),
        ({"focal_px": (1.2, 1.2)}, "focal length .* pixels of this image size"),
        ({"focal_px": (-420.0, 420.0)}, "focal length"),
        ({"focal_px": (420.0, 20_000.0)}, "focal length"),
        ({"focal_px": (float("nan"), 420.0)}, "finite numbers; calibrate again"),
        ({"centre_px": (2000.0, 200.0)}, "principal point"),
        ({"centre_px": (300.0, float("inf"))}, "finite"),
        ({"distortion": Brown((float("nan"), 0.0, 0.0, 0.0))}, "finite"),
    ],
)
def test_numbers_that_no_camera_has_are_told(changes, words):
    with pytest.raises(BadInputError, match=words) as error:
        camera(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("lens", "count"), [(Brown, 3), (Brown, 6), (KannalaBrandt, 5)])
def test_a_wrong_number_of_coefficients_is_told(lens, count):
    with pytest.raises(BadInputError, match=f"{count} distortion coefficients"):
        lens((0.0,) * count)


def test_a_steep_fisheye_is_undone_up_to_its_rim():
    """Its radius grows with the ninth power of the angle: Newton's method alone, from the middle, would not arrive."""
    lens = KannalaBrandt((0.2, -0.1, 0.05, 0.02))
    angle = torch.linspace(0.0, 1.48, 60, dtype=F64)
    plane = torch.tan(angle)[:, None] * tensor(0.6, -0.8)
    assert torch.allclose(lens.undistort(lens.distort(plane)), plane, 1e-8, 1e-12)
