import numpy as np
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.geometry import Camera
from depthscope.simulation.sensor import (
    ScopeDisc,
    Sensor,
    defocused,
    demosaiced,
    mosaic,
    picture,
    scattered,
    toned,
    vignette,
)

SIZE = (96, 80)
DISC = ScopeDisc(SIZE, (48.0, 40.0), 37.0)
CAMERA = Camera(SIZE, (50.0, 50.0), (48.0, 40.0))


def grey(value: float) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), value, np.float32)


def developed(light: np.ndarray, sensor: Sensor, seed: int = 0) -> np.ndarray:
    depth = torch.full((SIZE[1], SIZE[0]), 15.0)
    draw = np.random.default_rng(seed)
    return picture(torch.from_numpy(light), depth, 1.0, 2.2, sensor, CAMERA, DISC, draw).numpy()


def test_a_perfect_sensor_shows_the_power_of_light():
    shown = developed(grey(0.3), Sensor())
    assert shown[40, 48, 0] == round(255 * 0.3 ** (1 / 2.2)) and shown[0, 0, 0] == 0


def test_noise_variance_is_a_line_in_the_mean():
    sensor, means, variances = Sensor(shot=0.05, read=1.5), [], []
    for level in (0.1, 0.3, 0.5, 0.7, 0.9):
        raw = mosaic(np.full((400, 400, 3), level, np.float32), sensor, np.random.default_rng(int(100 * level)))
        means.append(raw.mean())
        variances.append(raw.var())
    slope, intercept = np.polyfit(means, variances, 1)
    assert slope == pytest.approx(0.05, rel=0.05) and intercept == pytest.approx(1.5**2, rel=0.05)


def test_the_mosaic_gives_each_colour_back_in_its_place():
    colours = np.zeros((64, 64, 3), np.float32) + np.float32([0.7, 0.4, 0.2])
    raw = mosaic(colours, Sensor(), np.random.default_rng(0))
    assert demosaiced(raw)[8:-8, 8:-8].reshape(-1, 3).mean(0) == pytest.approx([0.7, 0.4, 0.2], abs=2e-3)


def test_noise_is_the_frames_own():
    sensor = Sensor(shot=0.05, read=1.0)
    first, again, other = (developed(grey(0.3), sensor, seed) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_vignetting_is_a_power_of_the_cosine():
    shade = vignette(CAMERA, 2.0, DISC)
    assert shade[40, 48] == pytest.approx(1, abs=1e-3)
    x = (70.5 - 48) / 50
    assert shade[40, 70] == pytest.approx(1 / (1 + x * x), rel=1e-3)


def test_blur_is_nothing_in_focus_and_keeps_the_light():
    point = grey(0.0)
    point[40, 48] = 1
    sensor = Sensor(focus_mm=15.0, defocus_px=8.0)
    sharp, soft = (defocused(point, np.full(SIZE[::-1], z, np.float32), sensor) for z in (15.0, 60.0))
    assert sharp[40, 48, 0] == pytest.approx(1) and soft[40, 48, 0] < 0.2
    assert soft.sum() == pytest.approx(point.sum(), rel=1e-2)


def test_saturation_blooms_and_the_shoulder_bends():
    bright = grey(0.1)
    bright[38:42, 46:50] = 6
    assert scattered(bright, Sensor(bloom=0.3))[40, 53, 0] > 0.11
    curve = toned(np.linspace(0, 3, 50, dtype=np.float32), 1.5)
    assert (np.diff(curve) > 0).all() and (np.diff(curve, 2) < 1e-6).all()


def test_the_rim_is_soft_and_has_its_notch():
    soft = DISC.opening(Sensor(rim_px=4.0))
    assert soft[40, 48] == 1 and soft[0, 0] == 0 and ((soft > 0.1) & (soft < 0.9)).sum() > 100
    notched = DISC.opening(Sensor(notch_rad=0.0))
    assert notched[40, 48 + 36] == 0 and notched[40, 48 - 36] == 1


def test_sharpening_leaves_a_halo():
    step = grey(0.1)
    step[:, 48:] = 0.5
    plain, sharp = (developed(step, Sensor(sharpening=s)).astype(int) for s in (0.0, 1.0))
    assert sharp[40, 48, 0] > plain[40, 48, 0] and sharp[40, 47, 0] < plain[40, 47, 0]


def test_impossible_sensors_are_refused():
    with pytest.raises(BadInputError, match="read -1"):
        Sensor(read=-1.0)
    with pytest.raises(BadInputError, match="positive"):
        Sensor(focus_mm=0.0)
