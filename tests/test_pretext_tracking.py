"""Points and masks through clips whose motion is known: whole pixels of a texture, and features that are its own."""

import cv2
import numpy as np
import pytest
import torch

from depthscope.corpus import Window
from depthscope.errors import BadInputError
from depthscope.pretext.video_colorization.klt import Klt
from depthscope.pretext.video_colorization.propagation import Propagation
from depthscope.pretext.video_colorization.refinement import Pyramid, refined
from depthscope.pretext.video_colorization.tracking import (
    MaskCarrier,
    PointTracker,
    Tracking,
    content_cells,
    grid_of_points,
)

STEP, SIDE = 8, 128


def wide_texture() -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, 1, (SIDE, 400))
    smooth = sum(cv2.GaussianBlur(grain, (0, 0), s) * s for s in (1.5, 4.0))
    return np.clip(128 + 60 * smooth / smooth.std() / 2, 0, 255).astype(np.uint8)


def clip(frames: int = 6, step: float = STEP) -> list[torch.Tensor]:
    """Frames of a window that moves to the right over a texture, sRGB bytes."""
    wide = wide_texture()
    found = []
    for n in range(frames):
        part = cv2.getRectSubPix(wide, (SIDE, SIDE), (n * step + (SIDE - 1) / 2, (SIDE - 1) / 2))
        found.append(torch.from_numpy(np.repeat(part[..., None], 3, 2)))
    return found


def cell_features(frames: int = 6) -> list[torch.Tensor]:
    """Features of cells of 8 px that move as the frames do."""
    wide = torch.randn(32, SIDE // 8, 60, generator=torch.Generator().manual_seed(0))
    wide = torch.nn.functional.avg_pool2d(wide[None], 3, 1, 1)[0]
    return [wide[..., n : n + SIDE // 8] for n in range(frames)]


WHOLE = Window(0, 0, (SIDE, SIDE), (SIDE, SIDE), (SIDE, SIDE))
EVERYWHERE = torch.ones(SIDE // 8, SIDE // 8, dtype=torch.bool)
SHARP = Propagation(temperature=0.02)


def test_points_follow_the_texture_to_a_fraction_of_a_pixel():
    start = torch.tensor([[70.3, 40.7], [90.5, 100.2], [110.0, 64.0]])
    tracker = PointTracker(start, WHOLE, EVERYWHERE, 8, Tracking(SHARP))
    for n, (features, image) in enumerate(zip(cell_features(), clip(), strict=True)):
        found = tracker.step(features, image)
        expected = start.double() - torch.tensor([STEP * n, 0.0])
        torch.testing.assert_close(found.places, expected, atol=0.2, rtol=0)
        assert (found.confidence > 0.5).all()


def test_without_refinement_points_are_right_to_a_part_of_a_cell():
    start = torch.tensor([[70.3, 40.7], [90.5, 100.2]])
    tracker = PointTracker(start, WHOLE, EVERYWHERE, 8, Tracking(SHARP, refine=False))
    for n, (features, image) in enumerate(zip(cell_features(), clip(), strict=True)):
        found = tracker.step(features, image)
        assert float((found.places - start + torch.tensor([STEP * n, 0.0])).norm(dim=1).max()) < 5


def test_a_point_that_leaves_is_not_trusted():
    start = torch.tensor([[20.0, 60.0], [100.0, 60.0]])
    tracker = PointTracker(start, WHOLE, EVERYWHERE, 8, Tracking(SHARP))
    found = [tracker.step(*pair) for pair in zip(cell_features(), clip(), strict=True)][-1]
    assert float(found.confidence[0]) < 0.3 < float(found.confidence[1])
    assert (found.places >= 0).all() and (found.places <= SIDE).all()


def test_what_shows_no_tissue_is_not_trusted():
    content = EVERYWHERE.clone()
    content[:, 8:] = False
    tracker = PointTracker(torch.tensor([[100.0, 60.0], [40.0, 60.0]]), WHOLE, content, 8, Tracking(SHARP))
    found = tracker.step(cell_features()[0], clip()[0])
    assert found.confidence.tolist() == [0, 1]


def test_places_are_pixels_of_the_video():
    """The network sees a window of the video at half its size."""
    window = Window(40, 30, (2 * SIDE, 2 * SIDE), (400, 300), (SIDE, SIDE))
    start = torch.tensor([[70.3, 40.7], [90.5, 100.2]])
    tracker = PointTracker(window.in_source(start), window, EVERYWHERE, 8, Tracking(SHARP))
    for n, (features, image) in enumerate(zip(cell_features(), clip(), strict=True)):
        big = np.zeros((300, 400, 3), np.uint8)
        big[30 : 30 + 2 * SIDE, 40 : 40 + 2 * SIDE] = cv2.resize(image.numpy(), (2 * SIDE, 2 * SIDE))
        found = tracker.step(features, torch.from_numpy(big))
        expected = window.in_source(start.double() - torch.tensor([STEP * n, 0.0]))
        torch.testing.assert_close(found.places, expected, atol=0.5, rtol=0)


def test_a_mask_is_carried_with_its_grey_levels():
    mask = torch.zeros(SIDE, SIDE, dtype=torch.long)
    mask[32:64, 64:96], mask[80:112, 64:112] = 128, 255
    carrier = MaskCarrier(mask, WHOLE, EVERYWHERE, SHARP)
    for n, features in enumerate(cell_features()):
        found = carrier.step(features)
        moved = torch.zeros_like(mask)
        moved[32:64, 64 - STEP * n : 96 - STEP * n], moved[80:112, 64 - STEP * n : 112 - STEP * n] = 128, 255
        assert set(found.unique().tolist()) == {0, 128, 255}
        for value in (128, 255):
            one, other = found == value, moved == value
            assert float((one & other).sum() / (one | other).sum()) > 0.8


def test_outside_of_the_tissue_a_mask_is_background():
    mask = torch.full((SIDE, SIDE), 7)
    mask[:, :64] = 3
    content = EVERYWHERE.clone()
    content[:4] = False
    found = MaskCarrier(mask, WHOLE, content, SHARP).step(cell_features()[0])
    assert (found[:24] == 3).all() and (found[64:, 80:] == 7).all()


def test_a_grid_lies_on_the_tissue():
    content = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    content[:, 64:] = True
    window = Window(10, 20, (2 * SIDE, 2 * SIDE), (400, 300), (SIDE, SIDE))
    points = grid_of_points(content, window, 8)
    assert points.shape == (32, 2)
    assert float(points[:, 0].min()) == 10 + 2 * 72 and float(points[:, 1].min()) == 20 + 2 * 8
    assert content_cells(content, 8)[:, 8:].all() and not content_cells(content, 8)[:, :8].any()


def test_refinement_finds_shifts_between_pixels():
    wide = wide_texture()
    for shift in ((3.4, -2.3), (-11.75, 9.5)):
        known, now = (
            Pyramid.of(cv2.getRectSubPix(wide, (SIDE, SIDE), (120.0 + x, 63.5 + y)), 2.0)
            for x, y in ((0.0, 0.0), shift)
        )
        place = np.array([64.0, 64.0])
        found, score = refined(known, place, now, place, 16.0, 0.7)
        np.testing.assert_allclose(found, place - shift, atol=0.15)
        assert score > 0.9


def test_refinement_keeps_the_guess_where_nothing_is_to_be_seen():
    even = Pyramid.of(np.full((SIDE, SIDE), 90, np.uint8), 1.0)
    textured = Pyramid.of(wide_texture()[:, :SIDE].copy(), 1.0)
    other = Pyramid.of(np.random.default_rng(1).integers(0, 255, (SIDE, SIDE)).astype(np.uint8), 1.0)
    guess = np.array([50.0, 60.0])
    for known, now in ((even, even), (even, textured), (textured, even), (textured, other)):
        found, score = refined(known, np.array([64.0, 64.0]), now, guess, 8.0, 0.8)
        assert score == 0 and found.tolist() == guess.tolist()


def test_flow_follows_and_drops_what_is_lost():
    klt = Klt(np.array([[100.0, 60.0], [3.0, 60.0]]))
    for n, image in enumerate(clip(5, step=3.0)):
        places, kept = klt.step(image.numpy())
        np.testing.assert_allclose(places[0], [100 - 3 * n, 60], atol=0.3)
    assert kept.tolist() == [True, False]


@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_options_are_checked(wrong):
    with pytest.raises(BadInputError):
        Tracking(least_correlation=wrong)
