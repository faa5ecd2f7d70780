"""Enlarged depth follows the edges of the frame, and leaves alone what has none."""

import torch

from depthscope.geometry.guided import guided


def blurred_step(width: int = 80, height: int = 60, ramp: int = 8) -> torch.Tensor:
    """Inverse depth 1 on the left and 2 on the right, blurred over the middle as enlarging blurs it."""
    across = (torch.arange(width) - width / 2 + 0.5) / ramp + 0.5
    return (1 + across.clamp(0, 1)).expand(height, width).contiguous()


def test_a_blurred_edge_moves_onto_that_of_the_frame():
    image = torch.zeros(60, 80, 3, dtype=torch.uint8)
    image[:, 40:] = 255
    values, known = blurred_step(), torch.ones(60, 80, dtype=torch.bool)
    true = torch.where(torch.arange(80) < 40, 1.0, 2.0).expand(60, 80)
    found = guided(values, image, known, 6)
    assert (found - true).abs()[20:40, 36:44].mean() < 0.7 * (values - true).abs()[20:40, 36:44].mean()


def test_an_even_frame_leaves_a_plane_as_it_is():
    plane = (0.5 + 0.003 * torch.arange(80) + 0.002 * torch.arange(60)[:, None]).float()
    image = torch.full((60, 80, 3), 90, dtype=torch.uint8)
    found = guided(plane, image, torch.ones(60, 80, dtype=torch.bool), 4)
    torch.testing.assert_close(found[10:-10, 10:-10], plane[10:-10, 10:-10], atol=1e-5, rtol=0)


def test_what_is_not_known_is_neither_used_nor_changed():
    values, known = blurred_step(), torch.ones(60, 80, dtype=torch.bool)
    known[:, :30] = False
    image = torch.randint(0, 255, (60, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    other = torch.where(known, values, torch.nan)
    found, again = guided(values, image, known, 4), guided(other, image, known, 4)
    assert torch.equal(found[known], again[known]) and torch.equal(found[~known], values[~known])
    assert bool(found[known].isfinite().all())
