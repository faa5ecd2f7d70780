import torch

from depthscope.networks.descriptors import farthest_first, pooled, pooled_size, quadrant_maxima, standardised

STRIDES = (4, 8, 16)


def maps() -> list[torch.Tensor]:
    return [torch.rand(2, 3, 16, 16), torch.rand(2, 5, 8, 8), torch.rand(2, 7, 4, 4)]


def test_pooling_takes_the_coarse_maps_only():
    given = maps()
    values = pooled(given, STRIDES)
    assert values.shape[1] == pooled_size((3, 5, 7), STRIDES) == 24
    assert torch.allclose(values[:, :5], given[1].mean((-1, -2)))
    assert torch.equal(values[:, 5:10], given[1].amax((-1, -2)))
    assert pooled(given[:1], STRIDES[:1]).shape[1] == pooled_size((3,), (4,)) == 6


def test_what_lies_outside_the_content_does_not_reach_a_descriptor():
    given = maps()
    masks = torch.ones(2, 64, 64, dtype=torch.bool)
    masks[:, :, 32:] = False
    before = quadrant_maxima(given, STRIDES, masks)
    for one in given:
        one[..., one.shape[-1] // 2 :] = 100.0
    assert torch.equal(quadrant_maxima(given, STRIDES, masks), before)
    assert before.max() <= 1 and before.shape == (2, 4 * 12)


def test_standardised_descriptors_have_length_one_and_leave_out_what_all_share():
    values = torch.rand(20, 6)
    values[:, 0] = 1000.0
    found = standardised(values)
    assert torch.allclose(found.norm(dim=1), torch.ones(20))
    assert torch.equal(found[:, 0], torch.zeros(20))
    query = standardised(values[:1], like=values)
    assert torch.allclose(query, found[:1], atol=1e-6)


def test_identical_descriptors_stay_finite():
    assert bool(standardised(torch.ones(4, 3)).isfinite().all())


def test_farthest_first_takes_one_of_each_bunch_before_a_second():
    bunches = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    points = (bunches[:, None] + 0.1 * torch.rand(4, 5, 2)).flatten(0, 1)
    order = farthest_first(points, 20)
    assert sorted((order[:4] // 5).tolist()) == [0, 1, 2, 3]
    assert sorted(order.tolist()) == list(range(20))


def test_farthest_first_keeps_away_from_what_was_chosen_before():
    points = torch.tensor([[0.0], [0.1], [5.0]])
    assert farthest_first(points, 5, chosen=[0]).tolist() == [2, 1]
    assert farthest_first(points, 2, first=1).tolist() == [1, 2]
