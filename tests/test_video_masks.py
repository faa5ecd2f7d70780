"""Masks: known highlights, overlays, dirt and an instrument are found, and tissue is kept."""

import cv2
import numpy as np
import pytest
import torch

from depthscope.video.instruments import Neighbour
from depthscope.video.masks import extremes, frame_masks
from depthscope.video.static_marks import static_marks
from moving_pictures import SIZE, disc, tissue, window

INSIDE = disc(radius=115.0)
CONTENT = torch.from_numpy(INSIDE)


def frames(count: int, step: float = 8.0) -> list[np.ndarray]:
    texture = tissue(seed=3)
    return [window(texture, 20 + step * i, 40 + 3 * np.sin(i), INSIDE) for i in range(count)]


def with_text(frame: np.ndarray) -> np.ndarray:
    return cv2.putText(frame.copy(), "ABC", (130, 80), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (240, 240, 240), 2)


def with_drop(frame: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    shade = 1 - 0.6 * np.exp(-((x - 190) ** 2 + (y - 150) ** 2) / (2 * 8.0**2))
    return (frame * shade[..., None]).astype(np.uint8)


def with_shaft(frame: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """A grey shaft from the right border inward, with a bright line along it."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    cv2.line(mask, (310, 200), (int(310 - reach), int(200 - 0.4 * reach)), 1, 22)
    y = np.mgrid[: SIZE[1], : SIZE[0]][0]
    metal = (110 + 40 * np.sin(y / 3.0))[..., None] * np.array([1.0, 1.0, 1.02])
    on = (mask > 0) & INSIDE
    return np.where(on[..., None], metal, frame).astype(np.uint8), on


def overlap(found: torch.Tensor, wanted: np.ndarray) -> tuple[float, float]:
    """Share of the wanted that is found, and share of the rest of the content that is found too."""
    rest = INSIDE & ~cv2.dilate(wanted.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool)
    return float((found.numpy() & wanted).sum() / wanted.sum()), float((found.numpy() & rest).sum() / rest.sum())


def test_extremes_are_those_of_each_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    largest, smallest = extremes(pixels)
    assert (largest == pixels.max(2)).all() and (smallest == pixels.min(2)).all()


def test_clean_tissue_is_kept():
    for frame in frames(4):
        masks = frame_masks(torch.from_numpy(frame), CONTENT)
        assert all(share < 0.01 for share in masks.shares.values())
        assert float((masks.usable(for_features=True) & CONTENT).sum()) > 0.98 * float(CONTENT.sum())


def test_highlights():
    frame = frames(1)[0]
    wanted = np.zeros(SIZE[::-1], bool)
    for x, y, radius in ((120, 100, 3), (180, 130, 6), (160, 160, 2), (200, 90, 12)):
        spot = cv2.circle(np.zeros(SIZE[::-1], np.uint8), (x, y), radius, 1, -1) > 0
        frame[spot] = (255, 250, 245)
        wanted |= spot
    masks = frame_masks(torch.from_numpy(frame), CONTENT)
    found, false = overlap(masks.highlight, wanted)
    assert found > 0.98 and false < 0.01
    assert not bool((masks.usable(for_features=True).numpy() & wanted).any())


def test_the_dark_is_kept_for_a_loss():
    frame = frames(1)[0]
    frame[100:130, 140:180] = 4
    masks = frame_masks(torch.from_numpy(frame), CONTENT)
    assert not bool(masks.usable(for_features=True)[100:130, 140:180].any())
    assert bool(masks.usable(for_features=False)[100:130, 140:180].all())
    assert masks.shares["dark"] == pytest.approx(1200 / INSIDE.sum(), rel=0.05)


def test_overlay_and_drop_stand_still():
    moving = [with_drop(with_text(frame)) for frame in frames(30)]
    marks = static_marks(moving, INSIDE)
    clean = frames(1)[0].astype(int)
    text = np.abs(with_text(clean.astype(np.uint8)).astype(int) - clean).max(2) > 60
    drop = (np.mgrid[: SIZE[1], : SIZE[0]][1] - 190) ** 2 + (np.mgrid[: SIZE[1], : SIZE[0]][0] - 150) ** 2 < 6**2
    overlay, dirt = marks.at(SIZE)
    assert overlap(torch.from_numpy(overlay), text)[0] > 0.95
    assert overlap(torch.from_numpy(overlay | dirt), drop)[0] > 0.9
    assert overlap(torch.from_numpy(overlay | dirt), text | drop)[1] < 0.02


def test_without_motion_or_frames_nothing_is_marked():
    assert not static_marks(frames(30), INSIDE).overlay.any()
    still = static_marks([with_text(frames(1)[0])] * 30, INSIDE)
    assert not still.overlay.any() and not still.dirt.any()
    few = static_marks([with_text(frame) for frame in frames(4)], INSIDE)
    assert not few.overlay.any()


@pytest.mark.parametrize("reach", [125.0, 160.0])
@pytest.mark.parametrize("moves", [True, False, None])
def test_an_instrument_comes_in(reach, moves):
    one, two = frames(2)
    frame, wanted = with_shaft(one, reach)
    other = with_shaft(two, reach + 12)[0] if moves else with_shaft(two, reach)[0]
    neighbour = None if moves is None else Neighbour(other)
    masks = frame_masks(torch.from_numpy(frame), CONTENT, neighbour=neighbour)
    found, false = overlap(masks.instrument, wanted)
    assert found > 0.9 and false < 0.03


def test_pale_tissue_and_grey_pictures_are_no_instruments():
    frame = frames(1)[0]
    pale = cv2.GaussianBlur(((np.mgrid[: SIZE[1], : SIZE[0]][1] > 200) * 1.0).astype(np.float32), (0, 0), 12)[..., None]
    fading = (frame * (1 - pale) + 200 * pale).astype(np.uint8)
    fading[~INSIDE] = 3
    assert frame_masks(torch.from_numpy(fading), CONTENT).shares["instrument"] == 0
    grey = np.repeat(frame[..., :1], 3, 2)
    assert frame_masks(torch.from_numpy(grey), CONTENT).shares["instrument"] == 0
