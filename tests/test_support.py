"""Support: what says how far a depth may be trusted behaves as its words say."""

import math
from dataclasses import replace

import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.support import FEATURES, ON_PHANTOMS, Support

WALL = torch.full((40, 60), 10.0)
"""A flat wall at depth 10."""


def points_on(depth: torch.Tensor, count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points at the middles of random pixels, with the depth there."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randint(depth.shape[0], (count,), generator=draw)
    columns = torch.randint(depth.shape[1], (count,), generator=draw)
    return torch.stack([columns + 0.5, rows + 0.5], -1), depth[rows, columns]


def test_more_points_support_more():
    unlimited = replace(ON_PHANTOMS, most=1e3)
    few, many = (float(unlimited(WALL, *points_on(WALL, n), 50.0, 10.0).median()) for n in (20, 200))
    none = float(unlimited(WALL, torch.zeros(0, 2), torch.zeros(0), 50.0, 10.0).median())
    assert many < few < none


def test_points_at_another_depth_support_nothing():
    pixels, sparse = points_on(WALL, 200)
    there = ON_PHANTOMS(WALL, pixels, sparse, 50.0, 10.0)
    elsewhere = ON_PHANTOMS(WALL, pixels, 3 * sparse, 50.0, 10.0)
    assert float((elsewhere / there).min()) > 2


def test_the_unit_of_depth_does_not_matter():
    pixels, sparse = points_on(WALL, 50)
    one = ON_PHANTOMS(WALL, pixels, sparse, 50.0, 10.0)
    other = ON_PHANTOMS(0.03 * WALL, pixels, 0.03 * sparse, 50.0, 0.3)
    assert torch.allclose(one, other, rtol=1e-4)


def test_the_slope_is_the_tangent_of_the_tilt():
    # The plane z = 10 + x tan t is z = 10 / (1 - (u / f) tan t), and f d(log z)/du = tan t z / 10.
    focal, tilt = 200.0, 0.6
    u = torch.arange(60) + 0.5 - 30
    z = (10 / (1 - u / focal * math.tan(tilt)))[None].expand(40, -1).contiguous()
    features = replace(ON_PHANTOMS, stride=1).features(z, torch.zeros(0, 2), torch.zeros(0), focal, 10.0)
    slope = features[20, 10:50, FEATURES.index("slope")].exp() - 0.1
    assert torch.allclose(slope, math.tan(tilt) * z[20, 10:50] / 10, rtol=2e-3)


def test_nothing_is_said_where_there_is_no_depth():
    depth = WALL.clone()
    depth[:, :20] = 0
    std = ON_PHANTOMS(depth, *points_on(WALL, 50), 50.0, 10.0)
    assert not bool(std[:, :20].any()) and bool((std[:, 20:] > 0).all())


def test_weights_of_another_number_are_refused():
    with pytest.raises(BadInputError, match="weights"):
        Support(weights=(1.0,))
