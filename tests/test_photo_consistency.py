"""Lock-on: the published numbers, sub-pixel patches, and what makes the score fall."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.formats import read_sequence
from depthscope.geometry import Camera, RigidMotion
from depthscope.photo_consistency import (
    PatchPairs,
    another_of_the_same,
    cut_patches,
    normalised,
    photo_consistency,
    photo_consistency_of_each,
    textured,
)
from depthscope.sequence import Observations, Sequence
from miniatures.jhu_folder import write_jhu
from miniatures.scene import scene


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_jhu(folder)
    return read_sequence(folder, "world_from_camera")


def test_the_published_numbers(sinus_clip):
    clip = read_sequence(sinus_clip, "world_from_camera")
    right, wrong = photo_consistency_of_each((clip, replace(clip, camera_from_world=clip.camera_from_world.inverse())))
    assert (right.pairs, right.gap) == (wrong.pairs, wrong.gap) == (5286, 4)
    assert (right.mean, right.median) == pytest.approx((0.777, 0.799), abs=5e-4)
    assert (wrong.mean, wrong.median) == pytest.approx((0.071, 0.060), abs=5e-4)
    assert (right.share_above_half, wrong.share_above_half) == pytest.approx((0.956, 0.201), abs=5e-4)
    assert abs(right.null_mean) < 0.03 and abs(wrong.null_mean) < 0.03
    few = photo_consistency(clip, most_pairs=50, seed=3)
    assert few.pairs == 50 and 0.7 < few.mean < 0.85


def test_right_poses_lock_on_and_wrong_ones_do_not(clip):
    right = photo_consistency(clip)
    assert right.mean > 0.9 and right.share_above_half == 1
    assert abs(right.null_mean) < 0.25
    shifted = replace(clip, camera_from_world=clip.camera_from_world[torch.arange(8).flip(0)])
    assert photo_consistency(shifted).mean < 0.4


def test_a_scope_that_comes_near_and_turns_still_locks_on(tmp_path):
    """Patches of another size and roll look different as they are, and alike where the poses align them."""
    frames = 9
    texture = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (400, 400)).astype(np.float32), (0, 0), 3)
    texture = 255 * (texture - texture.min()) / (texture.max() - texture.min())
    roll, depth = np.linspace(0, 1.2, frames), np.linspace(2.0, 1.0, frames)
    camera = Camera((160, 160), (160.0, 160.0), (80.0, 80.0))
    images, rotations, translations = [], [], []
    for number, (angle, z) in enumerate(zip(roll, depth, strict=True)):
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        rotations.append(turn)
        translations.append([0, 0, z])
        wall_to_pixels = np.array([[160, 0, 79.5], [0, 160, 79.5], [0, 0, 1]]) @ np.c_[turn[:, :2], [0, 0, z]]
        to_wall = np.array([[0.01, 0, -2], [0, 0.01, -2], [0, 0, 1]])  # 100 texture pixels to a unit
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), cv2.warpPerspective(texture, wall_to_pixels @ to_wall, (160, 160)))
        images.append(path)
    points = torch.from_numpy(np.c_[np.random.default_rng(1).uniform(-0.35, 0.35, (60, 2)), np.zeros(60)])
    frame, point = torch.meshgrid(torch.arange(frames), torch.arange(60), indexing="ij")
    sequence = Sequence(
        name="wall",
        images=tuple(images),
        cameras=(camera,) * frames,
        camera_from_world=RigidMotion(torch.tensor(np.array(rotations)), torch.tensor(translations).double()),
        points=points,
        observations=Observations(frame.flatten(), point.flatten()),
    )
    assert photo_consistency(sequence).mean < 0.5
    assert photo_consistency(sequence, aligned=True).mean > 0.85


def test_patches_of_noise_are_left_out_where_others_have_texture():
    noise, texture, outside = torch.randn(60, 11, 11), 20 * torch.randn(60, 11, 11), torch.zeros(5, 11, 11)
    patches = torch.cat([100 + noise, 100 + texture, outside])
    first = torch.arange(125)
    kept = textured(patches, PatchPairs(first, first, 4))
    assert kept.first.tolist() == list(range(60, 125))  # what fell outside of the image stays, and counts as 0
    few = PatchPairs(first[:100], first[:100], 4)
    assert textured(patches, few) is few


def test_a_subset_is_drawn_by_its_seed(clip):
    assert photo_consistency(clip, most_pairs=60, seed=1) == photo_consistency(clip, most_pairs=60, seed=1)
    assert photo_consistency(clip, most_pairs=60, seed=1) != photo_consistency(clip, most_pairs=60, seed=2)
    assert photo_consistency(clip, most_pairs=60).pairs == 60


def test_a_short_clip_uses_the_widest_gap_it_has(clip):
    short = clip.with_frames(torch.arange(8) < 3)
    score = photo_consistency(short)
    assert 1 <= score.gap <= 2 and score.pairs > 0 and score.mean > 0.9


def test_a_wall_without_texture_locks_on_to_nothing(tmp_path):
    write_jhu(tmp_path, scene(textured=False))
    score = photo_consistency(read_sequence(tmp_path, "world_from_camera"))
    assert abs(score.mean) < 0.2


def test_an_image_of_another_size_is_refused(clip):
    other = replace(clip.cameras[0], size_px=(320, 128))
    with pytest.raises(BadInputError, match="is 160 x 128 pixels; expected 320 x 128 as its camera"):
        photo_consistency(replace(clip, cameras=(other,) * 8, mask=None))


def test_patches_are_cut_at_sub_pixel_positions():
    rows, columns = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(50) + 0.5, indexing="ij")
    ramp = 3 * columns + 2 * rows
    patch = cut_patches(ramp, torch.tensor([[20.3, 15.8]], dtype=torch.float64))[0]
    offset = torch.arange(11) - 5.0
    expected = 3 * (20.3 + offset)[None, :] + 2 * (15.8 + offset)[:, None]
    torch.testing.assert_close(patch, expected, atol=1e-3, rtol=0)


def test_patches_outside_the_image_are_empty():
    image = torch.rand(30, 30)
    centres = torch.tensor([[-0.1, 10.0], [10.0, 30.1], [float("nan"), 5.0], [15.0, 15.0]], dtype=torch.float64)
    patches = cut_patches(image, centres)
    assert not patches[:3].any() and patches[3].any()
    assert not normalised(patches)[:3].any()
    torch.testing.assert_close(normalised(patches)[3].norm(), torch.tensor(1.0))


def test_the_null_is_another_member_of_the_group():
    group = torch.tensor([2, 0, 2, 2, 1, 0])
    for seed in range(20):
        other = another_of_the_same(group, torch.Generator().manual_seed(seed))
        assert torch.equal(group[other], group)
        assert (other != torch.arange(6)).tolist() == [True, True, True, True, False, True]
