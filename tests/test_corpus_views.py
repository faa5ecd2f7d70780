import pytest
import torch
from hypothesis import given, settings, strategies as st

from depthscope.corpus.views import Crops, box_points, by_video, evenly, largest_box, places, sampled, textured
from depthscope.errors import BadInputError
from depthscope.geometry.depth import pixel_grid
from mosaics import flat_corpus, mosaic_corpus


def disc(side: int = 40, radius: float = 18.0) -> torch.Tensor:
    return (pixel_grid(side, side, torch.zeros(1)) - side / 2).square().sum(-1).sqrt() <= radius


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_places_are_all_boxes_inside_the_content_and_no_other(width, height, seed):
    content = torch.rand(14, 17, generator=torch.Generator().manual_seed(seed)) > 0.05
    expected = [
        [left, top]
        for top in range(14 - height + 1)
        for left in range(17 - width + 1)
        if bool(content[top : top + height, left : left + width].all())
    ]
    assert places(content, (width, height)).tolist() == expected


def test_a_box_that_is_larger_than_the_frame_has_no_place():
    assert len(places(torch.ones(5, 5, dtype=torch.bool), (6, 2))) == 0


def test_the_largest_square_in_a_disc_is_the_inscribed_one():
    left, top, width, height = largest_box(disc(), (1, 1))
    assert width == height and abs(width - 18 * 2**0.5) <= 1
    assert abs(left + width / 2 - 20) <= 1 and abs(top + height / 2 - 20) <= 1


def test_the_largest_box_has_the_shape_that_was_asked_for():
    assert largest_box(torch.ones(30, 40, dtype=torch.bool), (4, 3)) == (0, 0, 40, 30)
    assert largest_box(torch.ones(30, 60, dtype=torch.bool), (1, 1)) == (15, 0, 30, 30)
    assert largest_box(torch.zeros(30, 60, dtype=torch.bool), (1, 1)) == (0, 0, 0, 0)


def test_drawn_crops_lie_inside_the_content():
    content, crops = disc(), Crops.of(disc(), (1, 1), 0.5)
    generator = torch.Generator().manual_seed(0)
    sizes = set()
    for _ in range(200):
        centre, size = crops.draw(torch.rand(2, generator=generator))
        left, top = (centre - size / 2).int().tolist()
        width, height = size.int().tolist()
        assert bool(content[top : top + height, left : left + width].all())
        sizes.add(width)
    assert max(sizes) >= 1.8 * min(sizes)


def test_a_box_of_all_pixels_gives_the_image_itself():
    image = torch.rand(1, 3, 12, 20)
    points = box_points(torch.tensor([[10.0, 6.0]]), torch.tensor([[20.0, 12.0]]), torch.zeros(1), (20, 12))
    assert torch.allclose(sampled(image, points), image, atol=1e-5)


def test_a_mirrored_box_gives_the_mirrored_image():
    image = torch.rand(1, 3, 12, 20)
    points = box_points(
        torch.tensor([[10.0, 6.0]]),
        torch.tensor([[20.0, 12.0]]),
        torch.zeros(1),
        (20, 12),
        mirrored=torch.tensor([True]),
    )
    assert torch.allclose(sampled(image, points), image.flip(-1), atol=1e-5)


def test_a_quarter_turn_goes_from_x_toward_y():
    points = box_points(torch.zeros(1, 2), torch.tensor([[4.0, 4.0]]), torch.tensor([torch.pi / 2]), (4, 4))
    right_of_top_row = points[0, 0, -1]  # seen at the upper right: in the image at the lower right
    assert right_of_top_row.tolist() == pytest.approx([1.5, 1.5])


def test_groups_are_drawn_evenly_whatever_their_size():
    groups = [torch.arange(0, 1), torch.arange(1, 100)]
    generator = torch.Generator().manual_seed(0)
    drawn = [evenly(groups, torch.rand(2, generator=generator)) for _ in range(2000)]
    assert abs(sum(one == 0 for one in drawn) / 2000 - 0.5) < 0.05
    assert evenly(groups, torch.ones(2)) == 99  # the upper end stays inside


def test_frames_of_one_colour_are_told():
    with pytest.raises(BadInputError, match="one colour"):
        textured(flat_corpus(), torch.arange(24))
    corpus = mosaic_corpus()
    assert textured(corpus, corpus.trained).tolist() == corpus.trained.tolist()


def test_frames_by_video_leave_out_empty_videos():
    corpus = mosaic_corpus(frames=12, videos=3, holdout=0.0)
    assert [group.tolist() for group in by_video(corpus, torch.tensor([0, 1, 9]))] == [[0, 1], [9]]
