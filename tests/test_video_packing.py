"""Stereo recordings: one eye is found and the other left out; a single picture is never taken for two."""

import cv2
import numpy as np
import pytest
import torch

from depthscope.video import area_notes, content_area, survey, write_clip
from depthscope.video.packing import packing_of, split
from moving_pictures import SIZE, disc, encode, pan

WIDTH, HEIGHT = SIZE


def eyes(inside: np.ndarray | None, count: int = 8, disparity: int = 7) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both views of a flat scene: the right one sees everything further to the left."""
    left, right = pan(count, step=3.0, inside=inside), pan(count + 1, step=3.0, inside=inside)
    shift = np.float32([[1, 0, -disparity], [0, 1, 0]])
    moved = [cv2.warpAffine(frame, shift, SIZE, borderMode=cv2.BORDER_REFLECT) for frame in right]
    shown = moved if inside is None else [np.where(inside[..., None], frame, 3).astype(np.uint8) for frame in moved]
    return list(zip(left, shown, strict=False))


def greys(frames: list[np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)) for frame in frames]


@pytest.mark.parametrize("inside", [None, disc()], ids=["rectangle", "disc"])
@pytest.mark.parametrize("gap", [0, 24])
def test_side_by_side_the_left_eye_is_used(inside, gap):
    black = np.zeros((HEIGHT, gap, 3), np.uint8)
    area = content_area(greys([np.concatenate([left, black, right], 1) for left, right in eyes(inside)]))
    assert area.packing == "side by side" and area.size_px == (2 * WIDTH + gap, HEIGHT)
    assert area.shape == ("circle" if inside is not None else "rectangle")
    assert area.centre_px == pytest.approx((WIDTH / 2, HEIGHT / 2), abs=2)
    assert (
        not area.mask()[:, WIDTH + gap // 2 :].any()
        and 0.9 < area.mask()[:, :WIDTH].float().mean() / (1.0 if inside is None else inside.mean()) < 1.1
    )


def blob() -> np.ndarray:
    """A disc that stands before a slit: no regular outline."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (
        disc()
        & ~((rows > HEIGHT * 0.55) & (columns > WIDTH * 0.62))
        & ~((rows < HEIGHT * 0.4) & (columns < WIDTH * 0.3))
    )


@pytest.mark.parametrize("axis", [0, 1])
def test_an_irregular_picture_keeps_its_place_and_size(axis):
    inside = blob()
    area = content_area(greys([np.concatenate(pair, axis) for pair in eyes(inside)]))
    assert area.packing and area.shape == "free"
    one, other = np.split(area.mask().numpy(), 2, axis)
    assert not other.any() and (one & inside).sum() / (one | inside).sum() > 0.95


def inset(frames: list[np.ndarray], width: int, height: int) -> list[np.ndarray]:
    """The frames with another moving picture in their upper right corner."""
    other, made = pan(len(frames), step=3.0, seed=9), []
    for frame, picture in zip(frames, other, strict=False):
        frame = np.asarray(frame).copy()
        frame[6 : 6 + height, -6 - width : -6] = cv2.resize(picture, (width, height))
        made.append(frame)
    return made


def test_a_second_picture_beside_the_disc_is_left_out_and_told():
    wide = [
        cv2.copyMakeBorder(np.asarray(f), 0, 0, 0, 160, cv2.BORDER_CONSTANT, value=(3, 3, 3)) for f, _ in eyes(disc())
    ]
    area = content_area(greys(inset(wide, 120, 90)))
    assert area.shape == "circle" and area.centre_px == pytest.approx((WIDTH / 2, HEIGHT / 2), abs=2)
    ((left, top, width, height),) = area.insets_px
    assert (left, top) == pytest.approx((WIDTH + 160 - 126, 6), abs=4) and (width, height) == pytest.approx(
        (120, 90), abs=6
    )
    assert any("second picture of" in note for note in area_notes(area))
    assert area.figures()["insets_px"] == [[left, top, width, height]]


def test_a_portrait_recording_with_two_other_pictures_shows_the_disc():
    tall = [
        cv2.copyMakeBorder(np.asarray(f), 0, 420, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0)) for f, _ in eyes(disc())
    ]
    other = pan(len(tall), step=3.0, seed=9)
    for frame, picture in zip(tall, other, strict=False):
        frame[HEIGHT + 20 : HEIGHT + 120, 20:150] = cv2.resize(picture, (130, 100))
        frame[HEIGHT + 150 : HEIGHT + 290, 90:270] = cv2.resize(picture, (180, 140))
    area = content_area(greys(tall))
    assert len(area.insets_px) == 2 and area.shape != "none"
    assert area.centre_px == pytest.approx((WIDTH / 2, HEIGHT / 2), abs=2) and not area.mask()[HEIGHT:].any()


def test_burnt_in_text_and_lit_dirt_are_no_second_picture():
    frames = [
        cv2.copyMakeBorder(np.asarray(f), 0, 0, 0, 200, cv2.BORDER_CONSTANT, value=(3, 3, 3)) for f, _ in eyes(disc())
    ]
    text = [cv2.putText(f, "PATIENT 12", (WIDTH + 5, 60), 0, 1.0, (255, 255, 255), 3) for f in frames]
    text = [cv2.line(f, (WIDTH + 20, 100), (WIDTH + 150, 200), (200, 200, 200), 6) for f in text]
    assert content_area(greys(text)).insets_px == ()


def test_one_above_the_other_the_upper_eye_is_used():
    area = content_area(greys([np.concatenate(pair, 0) for pair in eyes(disc())]))
    assert area.packing == "one above the other" and area.radius_px == pytest.approx(110, abs=2)
    assert not area.mask()[HEIGHT:].any()


def test_a_disc_that_reaches_beyond_its_half_is_cut_there():
    wide = disc(radius=175.0)
    area = content_area(greys([np.concatenate(pair, 1) for pair in eyes(wide)]))
    assert area.packing == "side by side" and not area.mask()[:, WIDTH:].any()
    assert float((area.mask()[:, :WIDTH].numpy() == wide).mean()) > 0.98


@pytest.mark.parametrize("inside", [None, disc()], ids=["rectangle", "disc"])
@pytest.mark.parametrize("seed", range(4))
def test_one_picture_is_not_two(inside, seed):
    frames = [frame.numpy() for frame in greys(pan(8, step=5.0, seed=seed, inside=inside))]
    assert packing_of(frames) == ""
    text = [cv2.putText(frame.copy(), "PATIENT 12:03", (60, 60), 0, 0.8, 255, 2) for frame in frames]
    twice = [cv2.putText(frame, "PATIENT 12:03", (60, 200), 0, 0.8, 255, 2) for frame in text]
    assert packing_of(twice) == ""  # what is burnt in twice is no second eye


def test_dark_even_and_few_frames_are_not_two_pictures():
    assert (
        packing_of([np.zeros((60, 80), np.uint8)] * 8) == "" and packing_of([np.full((60, 80), 90, np.uint8)] * 8) == ""
    )
    frames = [np.concatenate(pair, 1)[..., 1] for pair in eyes(None, 3)]
    assert packing_of(frames) == ""
    left, right = split(np.arange(10)[None].repeat(2, 0), "side by side")
    assert left[0].tolist() == [0, 1, 2, 3, 4] and right[0].tolist() == [5, 6, 7, 8, 9]


def test_a_stereo_video_becomes_a_clip_of_its_left_eye(tmp_path):
    path = encode(tmp_path / "a.mkv", [np.concatenate(pair, 1) for pair in eyes(disc(), 30)], options={"crf": "12"})
    found = survey(path)
    assert any("side by side" in note and "the left one is used" in note for note in found.notes)
    assert not any("content area changes" in note for note in found.notes)
    write_clip(path, found.clips[0], found, tmp_path / "clip")
    mask = cv2.imread(str(tmp_path / "clip" / "mask.png"), cv2.IMREAD_GRAYSCALE)
    assert mask.shape == (HEIGHT, 2 * WIDTH) and not mask[:, WIDTH:].any() and mask[:, :WIDTH].any()
