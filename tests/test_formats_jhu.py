"""The JHU layouts: read exactly, whichever way the poses are stored, written back, and refused when broken."""

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import FORMATS, jhu, read_sequence, write_sequence
from depthscope.formats.jhu.files import poses_text
from depthscope.geometry import Brown, Camera
from depthscope.sequence import Sequence
from miniatures.compare import assert_same
from miniatures.jhu_folder import FIRST, write_jhu
from miniatures.scene import CENTRE, FOCAL, SIZE, scene


def assert_true(sequence: Sequence, truth) -> None:
    frames = len(sequence)
    rotation, translation = torch.from_numpy(truth.rotation[:frames]), torch.from_numpy(truth.translation[:frames])
    torch.testing.assert_close(sequence.camera_from_world.rotation, rotation, atol=1e-12, rtol=0)
    torch.testing.assert_close(sequence.camera_from_world.translation, translation, atol=1e-12, rtol=0)
    torch.testing.assert_close(sequence.points, torch.from_numpy(truth.points))
    assert torch.equal(sequence.seen, torch.from_numpy(truth.seen[:frames]))


@pytest.mark.parametrize("direction", ["world_from_camera", "camera_from_world"])
@pytest.mark.parametrize("sister", [False, True], ids=["tmi", "sister"])
def test_reads_the_truth_however_poses_are_stored(tmp_path, direction, sister):
    truth = write_jhu(tmp_path / "clip", direction=direction, sister=sister)
    sequence = read_sequence(tmp_path / "clip")
    assert_true(sequence, truth)
    assert sequence.pose_direction == direction
    assert re.match(
        rf"poses are {direction} \(patch correlation 0\.\d+ over \d+ pairs, the other way", sequence.notes[0]
    )
    assert [p.stem for p in sequence.images] == [f"{n:08d}" for n in range(FIRST, FIRST + 8)]
    assert sequence.cameras[0] == Camera(SIZE, FOCAL, CENTRE)
    pixels = torch.from_numpy(truth.pixels)[sequence.observations.frame, sequence.observations.point]
    torch.testing.assert_close(sequence.projections, pixels, atol=1e-9, rtol=0)


def test_only_the_whitest_grey_of_the_mask_is_tissue(tmp_path):
    truth = write_jhu(tmp_path)
    mask = read_sequence(tmp_path).mask
    assert not mask[:3].any()
    assert torch.equal(mask[3:], torch.from_numpy(truth.mask[3:]))


@pytest.mark.parametrize("variant", [{"colours": True}, {"camera_element": False}, {"views": 3}, {"views": 8}])
def test_variants_of_the_files_mean_the_same(tmp_path, variant):
    write_jhu(tmp_path / "plain")
    write_jhu(tmp_path / "variant", **variant)
    assert_same(read_sequence(tmp_path / "plain"), read_sequence(tmp_path / "variant"))


def test_frames_that_sfm_did_not_place_are_told(tmp_path):
    truth = write_jhu(tmp_path, unregistered=2)
    sequence = read_sequence(tmp_path)
    assert len(sequence) == 6
    assert sequence.unregistered == ("00000101.jpg", "00000102.jpg")
    assert_true(sequence, truth)
    assert sequence.notes[1] == f"{truth.seen[6:].sum()} observations of 2 frames that are not registered were dropped"


def test_poses_in_a_plain_list_and_under_any_second_key(tmp_path):
    truth = write_jhu(tmp_path)
    text = (tmp_path / "motion.yaml").read_text("utf-8")
    (tmp_path / "motion.yaml").write_text(
        re.sub(r"  poses\[\d+\]: \n    position", "  - position", text).replace("poses[]", "path")
    )
    assert_true(read_sequence(tmp_path), truth)


def test_rows_out_of_order_follow_their_frames(tmp_path):
    truth = write_jhu(tmp_path)
    lines = (tmp_path / "motion.yaml").read_text("utf-8").split("poses[]:\n")
    poses = re.split(r"(?=  poses\[)", lines[1])[1:]
    renumbered = [re.sub(r"poses\[\d+\]", f"poses[{i}]", pose) for i, pose in enumerate(reversed(poses))]
    (tmp_path / "motion.yaml").write_text(lines[0] + "poses[]:\n" + "".join(renumbered))
    frames = (tmp_path / "visible_view_indexes").read_text("utf-8").split()
    (tmp_path / "visible_view_indexes").write_text("\n".join(reversed(frames)))
    assert_true(read_sequence(tmp_path), truth)


def test_writing_and_reading_changes_nothing(tmp_path):
    write_jhu(tmp_path / "clip", direction="camera_from_world", unregistered=1)
    original = read_sequence(tmp_path / "clip")
    notes = write_sequence(original, tmp_path / "again", "jhu")
    again = read_sequence(tmp_path / "again")
    assert_same(original, again)
    assert "poses are written as world_from_camera" in notes
    assert again.pose_direction == "world_from_camera"
    for a, b in zip(original.images, again.images, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_frames_without_numbers_are_numbered(tmp_path):
    write_jhu(tmp_path / "clip")
    original = read_sequence(tmp_path / "clip")
    renamed = []
    for i, path in enumerate(original.images):
        renamed.append(path.rename(path.with_name(f"view_{i + 7}.jpg")))
    notes = jhu.write(replace(original, images=tuple(renamed)), tmp_path / "again")
    assert "frame names are not numbers: numbered 0 to 7 in the order of their names" in notes
    again = jhu.read(tmp_path / "again")
    assert again.frame_names == tuple(f"{n:08d}" for n in range(8))
    assert again.images[3].read_bytes() == renamed[3].read_bytes()


def test_a_lens_has_no_place(tmp_path):
    write_jhu(tmp_path / "clip")
    original = read_sequence(tmp_path / "clip")
    lens = replace(original.cameras[0], distortion=Brown((0.1, 0.0, 0.0, 0.0)))
    with pytest.raises(BadInputError, match="lens distortion.*--to colmap"):
        jhu.write(replace(original, cameras=(lens,) * 8), tmp_path / "again")


def test_images_that_decide_nothing(tmp_path):
    write_jhu(tmp_path / "clip", scene(textured=False))
    with pytest.raises(BadInputError, match=r"neither direction of the poses fits.*--pose-direction"):
        read_sequence(tmp_path / "clip")
    told = read_sequence(tmp_path / "clip", "world_from_camera")
    assert told.notes[0] == "poses are world_from_camera, as told"
    write_sequence(told, tmp_path / "again", "jhu")  # its comment says how the poses are stored
    again = read_sequence(tmp_path / "again")
    assert "by the convention comment" in again.notes[0]
    assert_same(told, again)


def test_images_overrule_a_wrong_comment(tmp_path):
    truth = write_jhu(tmp_path, direction="camera_from_world")
    path = tmp_path / "motion.yaml"
    path.write_text("# convention: world_from_camera\n" + path.read_text("utf-8"))
    sequence = read_sequence(tmp_path)
    assert_true(sequence, truth)
    assert "which the images contradict" in sequence.notes[0]


def _drop_last_pose(folder):
    path = folder / "motion.yaml"
    path.write_text(path.read_text("utf-8").split("  poses[7]")[0])


def _not_finite(folder):
    path = folder / "motion.yaml"
    path.write_text(re.sub(r"(poses\[3\]: \n    position: \n      x: )\S+", r"\1nan", path.read_text("utf-8")))


def _long_quaternion(folder):
    path = folder / "motion.yaml"
    path.write_text(re.sub(r"(?s)(poses\[2\].*?      w: )\S+", r"\g<1>1.2", path.read_text("utf-8"), count=1))


def _all_behind(folder):
    path = folder / "structure.ply"
    lines = path.read_text("utf-8").split("\n")
    start = lines.index("end_header") + 1
    lines[start:-1] = [re.sub(r"\S+$", "-50.0", line) if line.count(" ") == 2 else line for line in lines[start:-1]]
    path.write_text("\n".join(lines))


def _another_size(folder):
    cv2.imwrite(str(folder / "00000098.jpg"), np.zeros((64, 80, 3), np.uint8))


def _cut_image(folder):
    path = folder / "00000099.jpg"
    path.write_bytes(path.read_bytes()[:2000])


def _text_for_image(folder):
    (folder / "00000099.jpg").write_text("not an image")


def _small_mask(folder):
    cv2.imwrite(str(folder / "undistorted_mask.bmp"), np.full((64, 80), 255, np.uint8))


def _black_mask(folder):
    cv2.imwrite(str(folder / "undistorted_mask.bmp"), np.full((SIZE[1], SIZE[0]), 253, np.uint8))


def _one_frame(folder):
    (folder / "visible_view_indexes").write_text("95\n")
    path = folder / "motion.yaml"
    path.write_text(path.read_text("utf-8").split("  poses[1]")[0])


def _without(name):
    def remove(folder):
        (folder / name).unlink()

    remove.__name__ = f"without_{name}"
    return remove


def _wrong_text(name, text):
    def overwrite(folder):
        (folder / name).write_text(text)

    overwrite.__name__ = f"{name}_holds_{text[:6]!r}"
    return overwrite


def _extra_block(folder):
    with (folder / "view_indexes_per_point").open("a") as stream:
        stream.write("-1\n95\n96\n")


BROKEN = [
    *[(_without(n), f"{n} is missing") for n in (*jhu.FILES, jhu.MASK)],
    (_without("00000098.jpg"), "no image for 1 of 8 registered frames, first 00000098.jpg"),
    (_drop_last_pose, "7 poses in motion.yaml and 8 frames in visible_view_indexes"),
    (_extra_block, r"holds \d+ blocks for the \d+ points"),
    (_not_finite, "the position of frame 98 is not finite"),
    (_long_quaternion, "the quaternion of frame 97 has norm 1.2"),
    (_another_size, "00000098.jpg is 80 x 64 pixels; expected 160 x 128"),
    (_cut_image, "00000099.jpg is cut short"),
    (_text_for_image, "00000099.jpg is not an image of a known format"),
    (_small_mask, "a mask of 80 x 64 pixels; expected the frames' 160 x 128"),
    (_black_mask, "the mask hides everything"),
    (_wrong_text("camera_intrinsics_per_view", "130\n128\n81\n"), "holds 3 numbers; expected four for each view"),
    (_wrong_text("camera_intrinsics_per_view", "fx\n"), "holds what is no number"),
    (_wrong_text("visible_view_indexes", ""), "is empty"),
    (_wrong_text("visible_view_indexes", "95\nx\n"), "holds 'x'"),
    (_wrong_text("view_indexes_per_point", "95\n-1\n"), "begins with 95"),
    (_wrong_text("motion.yaml", "poses: [1, 2"), "cannot be read as poses"),
    (_wrong_text("motion.yaml", "nothing"), "cannot be read as poses"),
    (_wrong_text("structure.ply", "solid"), "does not begin with 'ply'"),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN, ids=[damage.__name__ for damage, _ in BROKEN])
def test_a_broken_folder_is_refused_in_one_line(tmp_path, capfd, damage, message):
    write_jhu(tmp_path)
    damage(tmp_path)
    assert main(["inspect", str(tmp_path)]) == 2
    out, err = capfd.readouterr()
    assert re.search(message, err), err
    assert err.count("\n") == 1 and err.startswith("error: ") and not out


@pytest.mark.parametrize(
    ("damage", "message"),
    [(_all_behind, "every point lies behind"), (_one_frame, "1 registered frames; expected at least 2")],
    ids=["_all_behind", "_one_frame"],
)
def test_what_can_be_read_ends_in_a_verdict(tmp_path, capsys, damage, message):
    """No file is bad, but no reconstruction can be right: a refusal, with its result, not bad input."""
    write_jhu(tmp_path / "clip")
    damage(tmp_path / "clip")
    with pytest.raises(BadInputError, match=message):
        read_sequence(tmp_path / "clip")
    assert main(["inspect", str(tmp_path / "clip"), "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().out.startswith("refused: clip\n")
    result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert result["outcome"] == "refused" and message in result["reasons"][0] and result["registered"] == 0


def test_small_deviations_of_a_quaternion_are_normalised(tmp_path):
    write_jhu(tmp_path)
    path = tmp_path / "motion.yaml"
    path.write_text(re.sub(r"(\d\.\d{6})\d+", r"\1", path.read_text("utf-8")))  # 6 digits, as in the published files
    sequence = read_sequence(tmp_path)
    assert sequence.camera_from_world.defects(1e-12) == [""] * 8


def test_a_folder_above_names_what_it_holds(tmp_path):
    write_jhu(tmp_path / "bag" / "clip_1")
    with pytest.raises(BadInputError, match=r"is no sequence itself but holds 1 of them \(clip_1\)"):
        read_sequence(tmp_path / "bag")


def test_the_published_clip(sinus_clip):
    sequence = read_sequence(sinus_clip)
    assert (len(sequence), len(sequence.points), len(sequence.observations)) == (35, 570, 6585)
    assert sequence.notes == (
        "poses are world_from_camera (patch correlation 0.78 over 5286 pairs, the other way 0.07)",
    )
    assert sequence.cameras[0] == Camera((1920, 1080), (677.171, 677.171), (872.127 + 0.5, 471.918 + 0.5))
    assert float(sequence.mask.double().mean()) == pytest.approx(0.391, abs=5e-4)
    rows, columns = sequence.mask.any(1).nonzero().flatten(), sequence.mask.any(0).nonzero().flatten()
    assert (int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])) == (70, 1039, 470, 1516)
    assert (sequence.images[0].stem, sequence.images[-1].stem) == ("00004584", "00004618")
    assert sequence.median_depth == pytest.approx(1.55, abs=5e-3)
    assert int(sequence.seen.sum(0).min()) == 3
    assert FORMATS["jhu"].recognises(sinus_clip) and not FORMATS["colmap"].recognises(sinus_clip)


def test_the_published_clip_with_its_poses_inverted(sinus_clip, tmp_path):
    original = read_sequence(sinus_clip)
    folder = tmp_path / "inverted"
    jhu.write(original, folder)
    path = folder / "motion.yaml"
    path.write_text(poses_text(original.camera_from_world).split("\n", 1)[1])  # without the comment
    inverted = read_sequence(folder)
    assert inverted.pose_direction == "camera_from_world"
    assert_same(original, inverted)
