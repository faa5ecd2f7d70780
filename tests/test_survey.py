"""Survey: cuts found, bad frames dropped, keyframes by motion, clips of bounded length, and plain refusals."""

import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from depthscope.errors import BadInputError, NoAnswerError
from depthscope.video import (
    ClipPlan,
    SelectionOptions,
    SurveyOptions,
    read_grey,
    read_image,
    survey,
    write_clip,
    write_image,
)
from depthscope.video.class_masks import Classes, MaskClass, read_mask_folder, write_classes
from depthscope.video.survey import filled, windows
from moving_pictures import SIZE, disc, encode, pan, tensors, tissue, window

FINE = {"crf": "10"}


def test_a_plain_clip(tmp_path):
    path = encode(tmp_path / "a.mkv", pan(60, step=4.0, inside=disc()), options=FINE)
    seen = []
    by_motion = SurveyOptions(least_keyframes=8)
    found = survey(path, by_motion, progress=lambda done, count: seen.append(done))
    assert found.size_px == SIZE and len(found.frames) == 60 and seen == list(range(1, 61))
    assert found.area.shape == "circle" and found.area.radius_px == pytest.approx(110, abs=2)
    assert len(found.clips) == 1 and len(found.clips[0].frames) == 60
    motion = np.median([record.motion_px for record in found.frames[1:]])
    assert motion == pytest.approx(4 * np.hypot(1, 0.3), abs=0.2)
    strides = np.diff(found.clips[0].keyframes)
    assert set(strides[:-1]) <= {2, 3}  # 3 % of 320 pixels are 9.6: the third frame at most
    assert all(record.dropped == "" for record in found.frames)


def test_cuts_blur_black_and_repeats(tmp_path):
    frames = pan(40, seed=1, inside=disc()) + pan(40, seed=2, inside=disc())
    frames[10] = cv2.GaussianBlur(frames[10], (0, 0), 4)
    frames[25] = frames[24].copy()
    frames[60:63] = [np.zeros_like(frames[0])] * 3
    frames[70] = np.repeat(np.where(disc()[..., None], 255, 3), 3, 2).astype(np.uint8)
    path = encode(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    found = survey(path)
    dropped = {record.index: record.dropped for record in found.frames if record.dropped}
    assert dropped == {
        10: "blurred",
        25: "exact repeat",
        60: "black",
        61: "black",
        62: "black",
        70: "over-exposed",
    }
    assert [(clip.frames[0], clip.frames[-1]) for clip in found.clips] == [(0, 39), (40, 79)]
    assert any(f"{why} at 1.6 s" in found.notes for why in ("cut", "loss of tracks"))
    assert any("3 of 80 frames dropped: black" in note for note in found.notes)


def test_still_frames_are_duplicates(tmp_path):
    texture = tissue()
    places = [20 + 4.0 * i for i in range(20)] + [100.2] * 15 + [100.0 + 4.0 * i for i in range(20)]
    path = encode(tmp_path / "a.mkv", [window(texture, x, 50, disc()) for x in places], options={"crf": "8"})
    found = survey(path)
    still = [record.index for record in found.frames if record.dropped in ("no motion", "exact repeat")]
    assert set(range(21, 35)) <= set(still) and len(still) <= 18
    assert len(found.clips) == 1


def test_long_shots_become_clips_that_overlap(tmp_path):
    path = encode(tmp_path / "a.mkv", pan(90, step=9.0), options=FINE)
    options = SurveyOptions(most_keyframes=20, shared_keyframes=4, selection=SelectionOptions(stride_share=0.025))
    found = survey(path, options)
    assert len(found.clips) >= 4
    for clip in found.clips:
        assert len(clip.keyframes) <= 20
    for one, two in zip(found.clips[:-1], found.clips[1:], strict=True):
        assert len(set(one.keyframes) & set(two.keyframes)) == 4
    assert found.clips[0].frames[0] == 0 and found.clips[-1].frames[-1] == 89
    assert [clip.name for clip in found.clips[:2]] == ["clip_000", "clip_001"]


def test_a_camera_that_moves_little_still_gives_many_keyframes(tmp_path):
    path = encode(tmp_path / "a.mkv", pan(30, step=1.0, inside=disc()), options=FINE)
    by_motion = survey(path, SurveyOptions(least_keyframes=4)).clips[0]
    assert 2 <= len(by_motion.keyframes) <= 5
    found = survey(path, SurveyOptions(least_keyframes=12)).clips[0]
    assert len(found.keyframes) == 12 and set(by_motion.keyframes) <= set(found.keyframes)
    assert max(np.diff(found.keyframes)) <= 4
    assert survey(path).clips[0].keyframes == tuple(range(30))  # there are no more


@given(
    frames=st.sets(st.integers(0, 300), min_size=2, max_size=120),
    share=st.floats(0, 1),
    wanted=st.integers(2, 60),
    seed=st.integers(0, 99),
)
def test_keyframes_are_filled_up_evenly(frames, share, wanted, seed):
    usable, random = sorted(frames), np.random.default_rng(seed)
    keys = [n for n in usable if n == usable[0] or random.random() < share]
    sharpness = random.random(301).tolist()
    found = filled(usable, keys, wanted, sharpness)
    assert found == sorted(set(found)) and set(keys) <= set(found) <= set(usable)
    assert len(found) == max(len(keys), min(wanted, len(usable)))


def test_sharp_frames_are_added_first():
    sharpness = [1.0] * 100
    sharpness[47] = 2.0
    assert filled(list(range(100)), [0], 2, sharpness) == [0, 47]
    spread = filled(list(range(400)), [0, 200], 40, [1.0] * 400)
    assert len(spread) == 40 and max(np.diff([*spread, 400])) <= 4 * min(np.diff(spread))


@pytest.mark.parametrize(
    ("count", "most", "shared"), [(61, 60, 6), (100, 60, 6), (1000, 60, 6), (23, 20, 4), (37, 20, 4)]
)
def test_windows_cover_everything(count, most, shared):
    runs = windows(count, most, shared)
    assert runs[0][0] == 0 and runs[-1][1] == count
    assert all(0 < last - first <= most for first, last in runs)
    assert all(one[1] - two[0] == shared for one, two in zip(runs[:-1], runs[1:], strict=True))


@pytest.mark.slow
def test_the_area_may_change(tmp_path):
    texture = tissue((2600, 800))
    small = disc(radius=80.0)
    frames = [window(texture, 20 + 4 * i, 60, disc() if i < 200 else small) for i in range(400)]
    found = survey(encode(tmp_path / "a.mkv", frames, options={"crf": "14"}))
    assert any("content area changes" in note for note in found.notes)
    assert found.area.radius_px == pytest.approx(110, abs=2)
    later = [clip for clip in found.clips if clip.area is not None]
    assert later and all(clip.area is not None and clip.area.radius_px == pytest.approx(80, abs=2) for clip in later)
    assert 200 <= later[0].frames[0] <= 280 and later[-1].frames[-1] == 399
    assert max(clip.frames[-1] for clip in found.clips if clip.area is None) <= 260


def test_a_folder_is_taken_as_it_was_chosen(tmp_path):
    frames = pan(14, step=25.0, inside=disc())
    frames[5] = cv2.GaussianBlur(frames[5], (0, 0), 5)
    frames[8] = frames[7]
    frames[11] = np.zeros_like(frames[0])
    for number, frame in enumerate(tensors(frames)):
        write_image(tmp_path / f"view{number}.png", frame)
    found = survey(tmp_path)
    assert {record.index: record.dropped for record in found.frames if record.dropped} == {
        8: "exact repeat",
        11: "black",
    }
    assert len(found.clips) == 1
    assert found.clips[0].keyframes == found.clips[0].frames == tuple(i for i in range(14) if i not in (8, 11))
    assert any("view5.png looks blurred" in note for note in found.notes)


def test_refusals(tmp_path):
    one = encode(tmp_path / "one.mkv", pan(1))
    with pytest.raises(BadInputError, match="holds 1 frame"):
        survey(one)
    black = encode(tmp_path / "black.mkv", [np.zeros((240, 320, 3), np.uint8)] * 20)
    with pytest.raises(BadInputError, match="is black from start to end"):
        survey(black)
    still = encode(tmp_path / "still.mkv", [pan(1)[0]] * 30)
    with pytest.raises(NoAnswerError, match="nothing moves"):
        survey(still)
    with pytest.raises(BadInputError, match="is missing"):
        survey(tmp_path / "nothing.mp4")
    with pytest.raises(BadInputError, match="most_keyframes"):
        SurveyOptions(most_keyframes=2)
    with pytest.raises(BadInputError, match="shortest_shot"):
        SurveyOptions(shortest_shot=1)
    with pytest.raises(BadInputError, match="blur_ratio"):
        SelectionOptions(blur_ratio=2.0)
    with pytest.raises(BadInputError, match="not among its frames"):
        ClipPlan("a", (1, 2), (3,))


def test_a_cut_video_is_surveyed_as_far_as_it_goes(tmp_path):
    whole = encode(tmp_path / "whole.mkv", pan(60), options=FINE)
    path = tmp_path / "cut.ts"
    data = encode(tmp_path / "whole.ts", pan(60), options=FINE).read_bytes()
    path.write_bytes(data[: int(0.7 * len(data))])
    found = survey(path)
    assert 20 < len(found.frames) < 60 and len(found.clips) == 1
    assert len(survey(whole).frames) == 60


def test_clips_as_files(tmp_path):
    path = encode(tmp_path / "a.mkv", pan(40, inside=disc()), codec="ffv1", pix_fmt="bgr0")
    found = survey(path)
    plan = found.clips[0]
    images = write_clip(path, plan, found, tmp_path / "out")
    assert [image.name for image in images] == [f"frame_{index:06d}.png" for index in plan.keyframes]
    expected = pan(40, inside=disc())
    assert all(
        torch.equal(read_image(i), torch.from_numpy(expected[k])) for i, k in zip(images, plan.keyframes, strict=True)
    )
    content = read_grey(tmp_path / "out" / "mask.png") > 0
    both, either = (content.numpy() & disc()).sum(), (content.numpy() | disc()).sum()
    assert both / either > 0.96
    for image in images:
        mask = read_grey(tmp_path / "out" / "masks" / f"{image.name}.png")
        assert set(mask.unique().tolist()) <= {0, 255} and 0.7 < float((mask > 0).sum()) / disc().sum() < 0.97
        assert not bool(((mask > 0) & ~content).any())
    rows = json.loads((tmp_path / "out" / "frames.json").read_text("utf-8"))["frames"]
    assert [row["index"] for row in rows] == list(plan.keyframes) and set(rows[0]["shares"]) >= {
        "highlight",
        "instrument",
    }


def test_given_masks_keep_features_off_what_is_not_tissue(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    ids = torch.zeros(SIZE[1], SIZE[0], dtype=torch.uint8)
    ids[60:120, 80:160], ids[130:150, 80:160] = 2, 255
    for number, frame in enumerate(tensors(pan(5, step=20.0))):
        write_image(folder / f"view_{number}.png", frame)
        (tmp_path / "masks").mkdir(exist_ok=True)
        write_image(tmp_path / "masks" / f"view_{number}.png", ids)
    write_classes(Classes((MaskClass(0, "wall", None, tissue=True), MaskClass(2, "tool"))), tmp_path / "masks")
    found = survey(folder)
    plan, masks = found.clips[0], read_mask_folder(tmp_path / "masks")
    write_clip(folder, plan, found, tmp_path / "plain")
    write_clip(folder, plan, found, tmp_path / "out", given=masks)
    for number in plan.keyframes:
        name = f"masks/view_{number}.png.png"
        plain, limited = (read_grey(tmp_path / place / name) > 0 for place in ("plain", "out"))
        assert torch.equal(limited, plain & (ids != 2)) and not torch.equal(limited, plain)
    rows = json.loads((tmp_path / "out" / "frames.json").read_text("utf-8"))["frames"]
    assert rows[0]["shares"]["given"] == pytest.approx(60 * 80 / (SIZE[0] * SIZE[1]), rel=0.05)
    (tmp_path / "masks" / f"view_{plan.keyframes[1]}.png").unlink()
    with pytest.raises(BadInputError, match="holds no mask for the frame"):
        write_clip(folder, plan, found, tmp_path / "again", given=read_mask_folder(tmp_path / "masks"))


def test_images_of_a_folder_keep_their_bytes(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number, frame in enumerate(tensors(pan(5, step=20.0))):
        write_image(folder / f"view_{number}.jpg", frame)
    found = survey(folder)
    images = write_clip(folder, found.clips[0], found, tmp_path / "out")
    assert [image.name for image in images] == [f"view_{i}.jpg" for i in range(5)]
    same = [image.read_bytes() == (folder / image.name).read_bytes() for image in images]
    assert all(same)


@pytest.mark.parametrize(
    ("size", "count"), [((192, 192), 24), pytest.param((3840, 2160), 8, marks=pytest.mark.slow)], ids=["small", "4k"]
)
def test_small_and_large_frames_are_surveyed_alike(tmp_path, size, count):
    inside = disc(size, (size[0] / 2, size[1] / 2), 0.46 * size[1])
    frames = [cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in pan(count, step=4.0)]
    frames = [np.where(inside[..., None], frame, 3).astype(np.uint8) for frame in frames]
    found = survey(encode(tmp_path / "a.mkv", frames, options={"crf": "18", "preset": "ultrafast"}))
    assert found.area.shape == "circle" and found.area.radius_px == pytest.approx(0.46 * size[1], rel=0.01)
    assert [len(clip.keyframes) for clip in found.clips] == [count]
    assert not any(record.dropped for record in found.frames)
