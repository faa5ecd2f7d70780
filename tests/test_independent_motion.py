"""What moves by itself is found and masked; a rigid scene, however deep, is left as it is."""

import cv2
import numpy as np
import pytest
import torch

from depthscope.inspection.evidence import read_images
from depthscope.reconstruction.moving_parts import LEAST_MOVING, mask_moving_parts
from depthscope.sequence import Sequence
from depthscope.simulation import simulate
from depthscope.video import write_image
from depthscope.video.independent_motion import independent_motion, sampson_px
from tiny_runs import TUBE

HEIGHT, WIDTH, FRAMES = 120, 160, 5
RADIUS = 26


def texture(seed, side=400):
    noise = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def scene(own_px):
    """A floor seen by a camera that moves sideways, nearer below, and a disc on it with a motion of its own."""
    floor, disc = texture(0), texture(1)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    frames, discs = [], []
    for number in range(FRAMES):
        shift = number * (1.5 + 2.5 * rows / HEIGHT)  # parallax: disparity grows with nearness
        image = cv2.remap(floor, columns + shift + 50, rows + 50, cv2.INTER_LINEAR)
        middle = 70 - 2.75 * number, 50 + own_px * number  # at row 60 the floor's own motion
        on = np.hypot(columns - middle[0], rows - middle[1]) < RADIUS
        moved = cv2.remap(disc, columns - middle[0] + 200, rows - middle[1] + 200, cv2.INTER_LINEAR)
        frames.append(np.where(on, moved, image).astype(np.uint8))
        discs.append(on)
    return frames, discs


WHOLE = [np.ones((HEIGHT, WIDTH), bool)] * FRAMES


def test_a_disc_that_moves_by_itself_is_found_and_little_else():
    frames, discs = scene(own_px=6.0)
    found = independent_motion(frames, WHOLE)
    recall = [(moving & disc).sum() / disc.sum() for moving, disc in zip(found.masks, discs, strict=True)]
    assert min(recall[1:-1]) > 0.75 and np.median(recall) > 0.75  # those at the ends have half of the pairs
    for moving, disc in zip(found.masks, discs, strict=True):
        around = cv2.dilate(disc.astype(np.uint8), np.ones((33, 33), np.uint8)) > 0
        assert (moving & ~around).sum() < 0.02 * (~around).sum()
    assert 0.08 < np.median(found.shares) < 0.3


def test_parallax_alone_is_no_motion_of_its_own():
    floor = texture(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    shifts = [number * (1.5 + 2.5 * rows / HEIGHT) for number in range(FRAMES)]
    frames = [cv2.remap(floor, columns + shift + 50, rows + 50, cv2.INTER_LINEAR) for shift in shifts]
    assert max(independent_motion(frames, WHOLE).shares) < LEAST_MOVING


def test_what_is_masked_already_is_not_looked_at():
    frames, discs = scene(own_px=6.0)
    hidden = [~(cv2.dilate(disc.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0) for disc in discs]
    assert max(independent_motion(frames, hidden).shares) < LEAST_MOVING


@pytest.mark.parametrize("kind", ["black", "still", "noise"])
def test_pictures_without_a_motion_have_no_part_that_moves(kind):
    draw = np.random.default_rng(0)
    frames = {
        "black": [np.zeros((HEIGHT, WIDTH), np.uint8)] * FRAMES,
        "still": [texture(0)[:HEIGHT, :WIDTH]] * FRAMES,
        "noise": [draw.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8) for _ in range(FRAMES)],
    }[kind]
    assert max(independent_motion(frames, WHOLE).shares) == 0


def test_the_distance_from_an_epipolar_line_is_in_pixels():
    sideways = np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]], float)  # a camera that moves along x
    here = np.array([[10.0, 20.0], [30.0, 40.0]])
    away = sampson_px(sideways, here, here + [[7.0, 0.0], [7.0, 2.0]])
    assert away == pytest.approx([0, 2 / np.sqrt(2)])


def test_masks_of_a_clip_lose_what_moves_and_are_made_once(tmp_path, monkeypatch):
    frames, discs = scene(own_px=6.0)
    clip, out = tmp_path / "clip", tmp_path / "rest"
    for name in ("images", "masks"):
        (clip / name).mkdir(parents=True)
    for number, frame in enumerate(frames):
        colour = torch.from_numpy(np.repeat(frame[..., None], 3, 2))
        write_image(clip / "images" / f"{number}.png", colour)
        if number:  # one has no mask of its own: that of the clip stands for it
            write_image(clip / "masks" / f"{number}.png.png", torch.full((HEIGHT, WIDTH), 255, dtype=torch.uint8))
    write_image(clip / "mask.png", torch.full((HEIGHT, WIDTH), 255, dtype=torch.uint8))
    share = mask_moving_parts(clip, out)
    assert share > 0.08
    for number, disc in enumerate(discs):
        left, moving = (cv2.imread(str(out / name / f"{number}.png.png"), 0) > 127 for name in ("masks", "moving"))
        assert (left == ~moving).all()
        assert moving[disc].mean() > (0.75 if 0 < number < FRAMES - 1 else 0)
    monkeypatch.setattr("depthscope.reconstruction.moving_parts.independent_motion", None)
    assert mask_moving_parts(clip, out) == share


def test_the_checks_do_not_look_at_what_moves(tmp_path):
    from depthscope.formats import colmap, read_sequence

    colmap.write(simulate(TUBE, tmp_path), tmp_path)
    sequence: Sequence = read_sequence(tmp_path)
    height, width = sequence.size_px[::-1]
    assert not read_images(sequence, sequence.size_px).moving[0].any()
    mask = torch.zeros(height, width, dtype=torch.uint8)
    mask[:, : width // 2] = 255
    (tmp_path / "moving").mkdir()
    write_image(sequence.images[0].parent.parent / "moving" / f"{sequence.images[0].name}.png", mask)
    images = read_images(sequence, sequence.size_px)
    assert images.moving[0][:, : width // 2].all() and not images.moving[0][:, width // 2 :].any()
    assert not images.moving[1].any()
