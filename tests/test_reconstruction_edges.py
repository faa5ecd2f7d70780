"""Tracks beside an edge of depth, on two layers that a camera moves past."""

import numpy as np
import pytest

from depthscope.reconstruction.alignment import REACH_PX, ROUND, Patches, comparable
from depthscope.reconstruction.edges import HALVES, depths, hold_two_depths, middle_of_information
from depthscope.reconstruction.sightings import Sightings

EDGE_PX = 80.0
STEPS_PX = np.array([-6.0, -3.0, 0.0, 3.0, 6.0])
"""By which the far layer moves from frame to frame; the near one moves by so many times that:"""
NEAR = 1.8


def texture(places: np.ndarray, seed: int) -> np.ndarray:
    """Smooth brightness in closed form, 0..255, at places of shape (..., 2)."""
    random = np.random.default_rng(seed)
    waves, phases = random.normal(0, 0.45, (30, 2)), random.uniform(0, 6.3, 30)
    return np.clip(128 + 30 * np.cos(places @ waves.T + phases).sum(-1) / 30**0.5, 0, 255)


def frames(slope: float = 0.0) -> dict[int, np.ndarray]:
    """Five frames of a far wall, tilted by `slope` of ln depth in a pixel, whose left is hidden by a near one."""
    places = np.stack(np.meshgrid(np.arange(160) + 0.5, np.arange(128) + 0.5, indexing="xy"), -1)
    pictures = {}
    for number, step in enumerate(STEPS_PX, 1):
        near, far = places - (NEAR * step, 0), places.copy()
        for _ in range(20):  # the wall's pixel that has moved to here
            far = places - np.stack([step * np.exp(-slope * (far[..., 0] - 120)), 0 * far[..., 1]], -1)
        picture = np.where(near[..., 0] < EDGE_PX, texture(near, 1), texture(far, 2))
        pictures[number] = picture.round().astype(np.uint8)
    return pictures


def tracks(columns: np.ndarray, slope: float = 0.0) -> tuple[Sightings, np.ndarray, np.ndarray]:
    """Points of the far wall at some columns of the third frame; their warps, and how they move as they come nearer."""
    count, shots = len(columns), len(STEPS_PX)
    rows = np.linspace(30, 98, count)
    step = np.repeat(np.exp(-slope * (columns - 120))[:, None], shots, 1) * STEPS_PX
    pixels = np.stack([columns[:, None] + step, np.repeat(rows[:, None], shots, 1)], -1).reshape(-1, 2)
    point = np.repeat(np.arange(count), shots)
    seen = Sightings(
        np.tile(np.arange(1, shots + 1), count), point, point, pixels, point * shots + shots // 2, np.zeros((count, 3))
    )
    parallax = np.stack([step.ravel(), np.zeros(count * shots)], -1)
    return seen, np.tile(np.eye(2), (count * shots, 1, 1)), parallax


def mixed(columns: np.ndarray, slope: float = 0.0) -> np.ndarray:
    """Which points at some columns are given up."""
    seen, warp, parallax = tracks(columns, slope)
    rows = comparable(seen, warp, np.ones(len(seen.image), bool))
    return hold_two_depths(seen, seen.pixels, frames(slope), warp, parallax, rows)


def test_far_points_beside_something_near_are_given_up():
    assert mixed(np.full(30, EDGE_PX + 2.5)).mean() > 0.8


def test_points_away_from_the_edge_stay():
    assert mixed(np.linspace(EDGE_PX + 20, 140, 30)).mean() < 0.1


def test_a_tilted_wall_is_no_edge():
    tilt = 0.012  # of ln depth in a pixel: 60 degrees of incidence at a focal length of 145 px
    assert mixed(np.linspace(EDGE_PX + 25, 140, 30), slope=tilt).mean() < 0.2


@pytest.mark.parametrize("nearer", [-0.3, 0.3])
def test_a_part_of_a_patch_tells_its_depth(nearer):
    """Patches are sought from where a wrong depth would have them; every half finds how wrong it is."""
    seen, warp, parallax = tracks(np.linspace(EDGE_PX + 20, 140, 20))
    rows = comparable(seen, warp, np.ones(len(seen.image), bool))
    patches = Patches.around(seen, seen.pixels - nearer * parallax, frames(), warp, rows)
    for window in (ROUND, *HALVES):
        found, std = depths(patches, window, seen.point[rows], parallax[rows], 20)
        assert np.median(np.abs(found - nearer)) < 0.02 and np.median(std) < 0.03


def test_information_lies_where_the_picture_changes():
    """A dark wall with one bright bar beside the point: all that its depth is known by is there."""
    seen, warp, parallax = tracks(np.full(1, 120.0))
    places = np.stack(np.meshgrid(np.arange(160) + 0.5, np.arange(128) + 0.5, indexing="xy"), -1)
    grey = {
        number: (40 + 150 * np.exp(-((places[..., 0] - 124 - step) ** 2) / 2)).astype(np.uint8)
        for number, step in enumerate(STEPS_PX, 1)
    }
    rows = comparable(seen, warp, np.ones(len(seen.image), bool))
    patches = Patches.around(seen, seen.pixels, grey, warp, rows)
    middle = middle_of_information(patches, seen.point[rows], parallax[rows], 1)
    np.testing.assert_allclose(middle, [[4.0, 0.0]], atol=0.6)
    assert np.linalg.norm(middle) > 0.36 * REACH_PX
    assert hold_two_depths(seen, seen.pixels, grey, warp, parallax, rows).all()


def test_nothing_to_look_at_gives_nothing_up():
    seen, warp, parallax = tracks(np.full(2, 120.0))
    assert not hold_two_depths(seen, seen.pixels, frames(), warp, parallax, np.zeros(0, np.int64)).any()
