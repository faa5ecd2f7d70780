"""Maps that are continued beyond the rim of what is known."""

import pytest
import torch

from depthscope.geometry.rim import rings_around, spread_outwards


def disc(height=40, width=50, radius=12):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (y - 18) ** 2 + (x - 30) ** 2 < radius**2


def by_hand(map_, mask, pixels):
    """Pixel by pixel: the mean of the known ones among the nine around."""
    values, known = map_.clone(), mask.clone()
    for _ in range(pixels):
        new = known.clone()
        for y in range(map_.shape[0]):
            for x in range(map_.shape[1]):
                rows, columns = slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2)
                if not known[y, x] and known[rows, columns].any():
                    values[y, x] = values[rows, columns][known[rows, columns]].mean()
                    new[y, x] = True
        known = new
    return values


@pytest.mark.parametrize("radius", [12, 25])
def test_each_ring_takes_the_mean_of_what_is_known_beside_it(radius):
    mask = disc(radius=radius)
    maps = torch.rand(2, 40, 50)
    found = spread_outwards(maps, rings_around(mask, 4))
    torch.testing.assert_close(found[1], by_hand(maps[1], mask, 4))
    assert torch.equal(found[:, mask], maps[:, mask])


def test_a_flat_map_stays_flat_whatever_lies_outside():
    mask = disc()
    maps = torch.where(mask, 3.0, torch.rand(1, 40, 50))
    near = torch.nn.functional.max_pool2d(mask[None].float(), 17, stride=1, padding=8)[0] > 0
    assert (spread_outwards(maps, rings_around(mask))[0][near] == 3.0).all()


def test_a_whole_or_empty_mask_changes_nothing():
    maps = torch.rand(1, 6, 7)
    for mask in (torch.ones(6, 7, dtype=torch.bool), torch.zeros(6, 7, dtype=torch.bool)):
        assert torch.equal(spread_outwards(maps, rings_around(mask)), maps)
