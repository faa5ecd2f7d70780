"""Camera paths: golden values, and what the errors must not see."""

import math

import pytest
import torch
from hypothesis import given, strategies as st

from depthscope.errors import BadInputError
from depthscope.evaluation import path_error
from depthscope.evaluation.path import angles_deg
from depthscope.geometry import RigidMotion, Similarity
from scenes import F64, motion


def at(centres: torch.Tensor, rotation: torch.Tensor | None = None) -> RigidMotion:
    rotation = torch.eye(3, dtype=F64).expand(len(centres), 3, 3) if rotation is None else rotation
    return RigidMotion(rotation, -(rotation @ centres[..., None])[..., 0])


SQUARE = torch.tensor([[0.0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]], dtype=F64)


def seen_in(world_from_old: Similarity, path: RigidMotion) -> RigidMotion:
    """The same cameras in another world and unit."""
    return path.scaled(world_from_old.scale) @ world_from_old.motion.inverse()


def winding(frames: int = 20) -> RigidMotion:
    generator = torch.Generator().manual_seed(0)
    steps = torch.randn(frames, 3, generator=generator, dtype=F64).cumsum(0)
    turns = torch.stack([motion((0.1 * k, -0.05 * k, 0.02 * k)).rotation for k in range(frames)])
    return at(steps, turns)


def test_golden_a_square_at_half_the_size():
    away = Similarity(torch.tensor(0.5, dtype=F64), motion((0.3, -0.2, 1.0), (5, 6, 7)))
    found = path_error(seen_in(away, at(SQUARE)), at(SQUARE))
    assert found.ate < 1e-12 and found.scale == pytest.approx(2, rel=1e-12) and found.rotation_deg < 1e-6
    corner = SQUARE.clone()
    corner[2, 0] += 1
    assert 0 < path_error(at(corner), at(SQUARE)).ate < 0.5
    assert found.ate_of_extent == pytest.approx(found.ate / math.sqrt(200))
    assert found.ate_of_length == pytest.approx(found.ate / 30)


@given(st.floats(0.05, 20), st.floats(-3, 3), st.floats(-3, 3))
def test_the_world_and_the_unit_do_not_matter(scale, turn, shift):
    truth = winding()
    generator = torch.Generator().manual_seed(1)
    estimate = at(truth.origin + 0.1 * torch.randn(20, 3, generator=generator, dtype=F64), truth.rotation)
    plain = path_error(estimate, truth)
    away = Similarity(torch.tensor(scale, dtype=F64), motion((turn, 0.5, -turn), (shift, 1, 2)))
    moved = path_error(seen_in(away, estimate), truth)
    assert moved.ate == pytest.approx(plain.ate, rel=1e-8)
    assert moved.rotation_deg == pytest.approx(plain.rotation_deg, abs=1e-6)
    for one, other in zip(moved.relative, plain.relative, strict=True):
        assert one.translation == pytest.approx(other.translation, rel=1e-6)
        assert one.rotation_deg == pytest.approx(other.rotation_deg, abs=1e-6)


def test_a_constant_turn_of_all_cameras_is_an_error_of_rotation_only():
    truth = winding()
    turn = motion((0.0, 0.0, math.radians(3)))
    estimate = RigidMotion(turn.rotation @ truth.rotation, (turn.rotation @ truth.translation[..., None])[..., 0])
    found = path_error(estimate, truth)
    assert found.ate < 1e-9 and found.rotation_deg == pytest.approx(3, rel=1e-6)


def test_drift_shows_in_long_gaps():
    truth = winding()
    factor = torch.linspace(1, 1.3, 20, dtype=F64)[:, None]
    found = path_error(at(truth.origin * factor, truth.rotation), truth)
    assert [r.gap for r in found.relative] == [1, 5, 10]
    assert found.relative[2].translation > found.relative[0].translation > 0


def test_a_straight_path_says_that_it_is_one():
    line = torch.zeros(10, 3, dtype=F64)
    line[:, 2] = torch.arange(10)
    assert path_error(at(line), at(line)).collinear
    assert not path_error(winding(), winding()).collinear


def test_angles():
    for degrees in (0.0, 1e-6, 30.0, 179.9999):
        rotation = motion((0.0, math.radians(degrees), 0.0)).rotation
        assert float(angles_deg(rotation)) == pytest.approx(degrees, abs=1e-9)


def test_too_few_or_other_frames():
    with pytest.raises(BadInputError, match="at least 3"):
        path_error(at(SQUARE[:2]), at(SQUARE[:2]))
    with pytest.raises(BadInputError, match="the same frames"):
        path_error(at(SQUARE[:3]), at(SQUARE))
