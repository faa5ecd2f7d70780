"""Laws of similarities: their group, and their estimate from matched points."""

import pytest
import torch
from hypothesis import given, strategies as st

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, Similarity
from scenes import F64, motion, tensor

vectors = st.tuples(*[st.floats(-3, 3)] * 3)
similarities = st.builds(
    lambda scale, turn, shift: Similarity(torch.tensor(scale, dtype=F64), motion(turn, shift)),
    st.floats(0.05, 20),
    vectors,
    vectors,
)


def cloud(count: int = 30, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=F64)


@given(similarities, similarities, vectors)
def test_products_inverses_and_matrices_act_alike(a_from_b, b_from_c, point):
    point = tensor(*point)
    expected = a_from_b.apply(b_from_c.apply(point))
    assert torch.allclose((a_from_b @ b_from_c).apply(point), expected, 1e-12, 1e-12)
    assert torch.allclose(a_from_b.inverse().apply(a_from_b.apply(point)), point, 1e-12, 1e-11)  # shift / 0.05
    product = a_from_b.matrix @ b_from_c.matrix @ torch.cat([point, tensor(1)])
    assert torch.allclose(product, torch.cat([expected, tensor(1)]), 1e-12, 1e-12)


@given(similarities, st.integers(0, 1000))
def test_any_similarity_is_recovered(target_from_source, seed):
    source = cloud(seed=seed)
    found = Similarity.estimate(source, target_from_source.apply(source))
    assert torch.allclose(found.matrix, target_from_source.matrix, 1e-10, 1e-10)


@given(similarities)
def test_points_of_a_plane_are_enough(target_from_source):
    source = cloud() * tensor(1, 1, 0)
    found = Similarity.estimate(source, target_from_source.apply(source))
    assert torch.allclose(found.matrix, target_from_source.matrix, 1e-10, 1e-10)


@given(st.integers(0, 1000))
def test_a_reflection_is_never_the_answer(seed):
    source = cloud(seed=seed)
    for target in (source * tensor(1, 1, -1), -source, cloud(seed=seed + 5000)):
        found = Similarity.estimate(source, target)
        assert torch.linalg.det(found.motion.rotation).item() == pytest.approx(1, abs=1e-10)
        assert found.motion.defects(1e-10) == [""]
        assert found.scale > 0


def test_no_other_similarity_fits_better():
    source = cloud()
    target = 1.7 * motion((0.3, 1, -0.4), (1, 2, 3)).apply(source) + 0.3 * cloud(seed=1)
    weight = torch.linspace(0.1, 2, 30, dtype=F64)
    best = Similarity.estimate(source, target, weight)

    def error(candidate: Similarity) -> float:
        return float((weight * ((candidate.apply(source) - target) ** 2).sum(-1)).sum())

    for axis in range(3):
        for step in (-1e-3, 1e-3):
            nudge = [0.0, 0.0, 0.0]
            nudge[axis] = step
            turned = Similarity(
                best.scale, RigidMotion((motion(nudge) @ best.motion).rotation, best.motion.translation)
            )
            shifted = Similarity(
                best.scale, RigidMotion(best.motion.rotation, best.motion.translation + tensor(*nudge))
            )
            scaled = Similarity(best.scale * (1 + step), best.motion)
            assert error(best) < min(error(turned), error(shifted), error(scaled))


def test_points_without_weight_do_not_count_and_weights_are_relative():
    source, target_from_source = cloud(), Similarity(torch.tensor(0.4, dtype=F64), motion((1, 0.2, -0.5), (3, 1, 2)))
    target = target_from_source.apply(source)
    target[:10] = 100.0
    weight = torch.ones(30, dtype=F64)
    weight[:10] = 0
    for factor in (1, 1e-6):
        found = Similarity.estimate(source, target, factor * weight)
        assert torch.allclose(found.matrix, target_from_source.matrix, 1e-10, 1e-10)
    noisy = target + 0.1 * cloud(seed=1)
    doubled = Similarity.estimate(torch.cat([source, source[:5]]), torch.cat([noisy, noisy[:5]]))
    twice = Similarity.estimate(source, noisy, torch.cat([torch.full((5,), 2.0), torch.ones(25)]).double())
    assert torch.allclose(doubled.matrix, twice.matrix, 0, 1e-12)


@pytest.mark.parametrize(
    ("source", "weight", "words"),
    [
        (cloud(2), None, "2 matched points; expected at least 3"),
        (torch.ones(5, 3, dtype=F64), None, "coincide"),
        (cloud(5), tensor(0, 0, 0, 0, 1), "coincide"),
        (cloud(5), torch.zeros(5, dtype=F64), "coincide"),
    ],
)
def test_too_little_to_tell_is_an_error(source, weight, words):
    with pytest.raises(BadInputError, match=words):
        Similarity.estimate(source, cloud(len(source), 1), weight)


def test_a_scale_must_be_positive():
    with pytest.raises(BadInputError, match="scale -1; expected a positive"):
        Similarity(torch.tensor(-1.0), motion().to(torch.float32))
