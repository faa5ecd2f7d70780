"""Light against distance: vignetting and slanted walls must not pass for it."""

import numpy as np
import pytest

from depthscope.falloff import FEWEST, falloff_of_frame


def wall(depth, count: int = 300, seed: int = 0) -> np.ndarray:
    """Points seen in all directions up to 45 degrees from the axis, at a depth that is a function of that angle."""
    draw = np.random.default_rng(seed)
    plane = draw.uniform(-0.7, 0.7, (count, 2))
    rays = np.column_stack([plane, np.ones(count)])
    return rays * depth(np.arctan(np.linalg.norm(plane, axis=1)), draw)[:, None]


def lamp(points: np.ndarray, cone: float = 3.0) -> np.ndarray:
    """Log brightness under a lamp at the camera whose light falls off with the angle too."""
    distance = np.linalg.norm(points, axis=1)
    return -2 * np.log(distance) + cone * np.log(points[:, 2] / distance)


def test_a_lamp_at_the_camera_is_recognised_whatever_its_cone():
    points = wall(lambda angle, draw: draw.uniform(5, 20, len(angle)))
    correlation, slope = falloff_of_frame(points, lamp(points, cone=6.0))
    assert correlation < -0.9 and slope == pytest.approx(-2, abs=1e-6)
    reversed_points = points * (100 / points[:, 2] ** 2)[:, None]
    assert falloff_of_frame(reversed_points, lamp(points))[0] > 0.8


def test_a_hollow_is_no_evidence_of_reversal():
    """Seen from within a ball all is equally far, though less deep and darker at the rim: light tells nothing."""
    points = wall(lambda angle, draw: 20 * np.cos(angle))
    depth, light = np.log(points[:, 2]), lamp(points)
    assert np.corrcoef(depth, light)[0, 1] > 0.9
    assert falloff_of_frame(points, light) is None
    uneven = wall(lambda angle, draw: 20 * np.cos(angle) * draw.uniform(0.8, 1.2, len(angle)))
    assert falloff_of_frame(uneven, lamp(uneven))[0] < -0.8


def test_a_tube_is_judged_though_its_rim_is_near_and_dark():
    """Its walls are near at the rim, where vignetting darkens them."""
    points = wall(lambda angle, draw: 5 / np.tan(angle.clip(0.15)) * draw.uniform(0.7, 1.3, len(angle)))
    light = lamp(points, cone=20.0)
    assert np.corrcoef(np.log(points[:, 2]), light)[0, 1] > 0
    assert falloff_of_frame(points, light)[0] < -0.7


def test_light_of_no_relation_has_no_correlation():
    points = wall(lambda angle, draw: draw.uniform(5, 20, len(angle)), count=3000)
    correlation, slope = falloff_of_frame(points, np.random.default_rng(1).normal(size=3000))
    assert abs(correlation) < 0.06 and abs(slope) < 0.2


def test_few_points_and_equal_light_tell_nothing():
    points = wall(lambda angle, draw: draw.uniform(5, 20, len(angle)))
    assert falloff_of_frame(points[: FEWEST - 1], lamp(points[: FEWEST - 1])) is None
    tenfold = falloff_of_frame(10 * points, lamp(points))
    assert tenfold == pytest.approx(falloff_of_frame(points, lamp(points)))
