"""Laws of rigid motions."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.spatial.transform import Rotation

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.geometry.motion import rotate
from scenes import F64, motion, stacked, tensor

ROUNDING = 1e-12  # a dozen float64 operations on numbers up to 10

vectors = st.tuples(*[st.floats(-3, 3)] * 3)
motions = st.builds(motion, vectors, vectors)


def close(a: RigidMotion, b: RigidMotion, tolerance: float = ROUNDING) -> bool:
    return torch.allclose(a.rotation, b.rotation, 0, tolerance) and torch.allclose(
        a.translation, b.translation, 0, tolerance
    )


@given(motions)
def test_a_motion_times_its_inverse_is_the_identity(a_from_b):
    assert close(a_from_b @ a_from_b.inverse(), RigidMotion.identity())
    assert close(a_from_b.inverse() @ a_from_b, RigidMotion.identity())


@given(motions, motions, motions, vectors)
def test_composition_is_associative_and_applies_right_to_left(a_from_b, b_from_c, c_from_d, point):
    assert close((a_from_b @ b_from_c) @ c_from_d, a_from_b @ (b_from_c @ c_from_d))
    point = tensor(*point)
    assert torch.allclose((a_from_b @ b_from_c).apply(point), a_from_b.apply(b_from_c.apply(point)), 0, ROUNDING)


@given(motions)
def test_the_origin_is_where_the_target_stands(camera_from_world):
    assert torch.allclose(camera_from_world.apply(camera_from_world.origin), tensor(0, 0, 0), 0, ROUNDING)


@given(vectors)
def test_quaternions_are_scipys_with_w_first(turn):
    rotation = Rotation.from_rotvec(turn)
    x, y, z, w = rotation.as_quat()
    moved = RigidMotion.from_quaternion(3 * tensor(w, x, y, z), tensor(0, 0, 0))  # of any length
    assert np.allclose(moved.rotation.numpy(), rotation.as_matrix(), 0, ROUNDING)
    back = moved.quaternion_wxyz
    assert back[0] >= 0
    # A square root of a sum near 1: half the digits of a cancellation would be 1e-8, none is lost here.
    assert torch.allclose(RigidMotion.from_quaternion(back, tensor(0, 0, 0)).rotation, moved.rotation, 0, 1e-12)


@pytest.mark.parametrize("axis", [(1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0), (0.6, -0.48, 0.64)])
@pytest.mark.parametrize("angle", [0.0, 1e-9, 1.0, np.pi - 1e-9, np.pi])
def test_the_angle_is_right_from_none_to_half_a_turn(axis, angle):
    turned = motion(np.array(axis) * angle)
    # The matrix of scipy is rounded to 1e-16, which the angle near 0 and pi carries linearly, not as a square root.
    assert float(turned.angle_rad) == pytest.approx(angle, abs=1e-14)
    back = RigidMotion.from_quaternion(turned.quaternion_wxyz, turned.translation)
    assert torch.allclose(back.rotation, turned.rotation, 0, 1e-14)


@given(motions, vectors, st.floats(0.01, 100))
def test_a_change_of_unit_scales_points_and_motions_alike(a_from_b, point, factor):
    point = tensor(*point)
    scaled = a_from_b.scaled(factor).apply(factor * point)
    assert torch.allclose(scaled, factor * a_from_b.apply(point), 1e-12, 1e-12)


def test_batches_act_one_by_one():
    many = stacked(*(motion((0.1 * i, 0.2, -0.3), (i, 1, 2)) for i in range(4)))
    points = torch.randn(4, 5, 3, dtype=F64)
    moved = many.unsqueeze(1).apply(points)
    factors = tensor(1, 2, 3, 4)
    for i in range(4):
        assert torch.equal(moved[i], many[i].apply(points[i]))
        assert close(many.inverse()[i], many[i].inverse())
        assert close((many @ many)[i], many[i] @ many[i])
        assert close(many.scaled(factors)[i], many[i].scaled(i + 1.0))


def test_mixed_precision_does_not_round_rotations():
    turned = motion((0.3, -0.2, 0.5)).to(torch.float32)
    vectors = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    exact = rotate(turned.rotation.double(), vectors.double())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = rotate(turned.rotation, vectors)
    assert (rounded.double() - exact).abs().max() < 1e-6  # float32; bfloat16 would be off by 1e-2


def test_defects_are_named_in_order():
    good, turned = motion((0.1, 0, 0), (1, 2, 3)), motion()
    mirrored = RigidMotion(torch.diag(tensor(1, 1, -1)), tensor(0, 0, 0))
    stretched = RigidMotion(1.1 * turned.rotation, tensor(0, 0, 0))
    lost = RigidMotion(turned.rotation, tensor(0, float("nan"), 0))
    names = stacked(good, mirrored, stretched, lost).defects()
    assert names == ["", "not a rotation", "not a rotation", "not finite"]


def test_shapes_that_do_not_match_are_told():
    with pytest.raises(BadInputError, match="rotation .* and translation .*; expected shapes"):
        RigidMotion(torch.eye(3, dtype=F64), torch.zeros(2, 3, dtype=F64))


@given(vectors)
def test_rotation_vectors_and_euler_angles_are_the_usual_ones(turn):
    turned = torch.tensor(Rotation.from_rotvec(turn).as_matrix())
    found = RigidMotion.from_axis_angle(tensor(*turn), tensor(0.0, 0.0, 0.0)).rotation
    assert torch.allclose(found, turned, 0, ROUNDING)
    angles = torch.tensor(Rotation.from_euler("XYZ", turn).as_matrix())  # intrinsic: R_x R_y R_z
    assert torch.allclose(RigidMotion.from_euler(tensor(*turn), tensor(0.0, 0.0, 0.0)).rotation, angles, 0, ROUNDING)


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-3, 9.999e-3, 1.0001e-2, 0.5, 3.0])
def test_rotation_vectors_have_the_right_gradient_also_at_zero(size):
    turn = (size * tensor(0.6, -0.48, 0.64)).requires_grad_()
    to = tensor(0.0, 0.0, 0.0)
    assert torch.autograd.gradcheck(lambda v: RigidMotion.from_axis_angle(v, to).rotation, turn, atol=1e-7)
    if size == 0:  # the generators of rotation: dR/dv_x has -1 and +1 at (1, 2) and (2, 1)
        slope = torch.autograd.functional.jacobian(lambda v: RigidMotion.from_axis_angle(v, to).rotation, turn)
        assert slope[:, :, 0].tolist() == [[0, 0, 0], [0, 0, -1], [0, 1, 0]]


@given(motions, vectors)
def test_mirroring_commutes_with_moving(a_from_b, point):
    across = tensor(-1.0, 1.0, 1.0)
    expected = across * a_from_b.apply(tensor(*point))
    assert torch.allclose(a_from_b.mirrored.apply(across * tensor(*point)), expected, 0, ROUNDING)
