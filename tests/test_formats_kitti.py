"""KITTI there and back: frames, cameras in our convention, the two eyes, splits, paths, and what is told of damage."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import depth_maps, is_truth, kitti, read_truth
from depthscope.video import read_image
from miniatures.kitti_folder import BASELINE_MM, DAY, DRIVE, write_lidar, write_odometry, write_raw
from miniatures.scene import CENTRE, FOCAL, SIZE
from tiny_runs import Wall, wall_run


def test_a_drive_comes_back(tmp_path):
    truth = write_raw(tmp_path)
    assert kitti.recognises(tmp_path / DAY) and kitti.recognises(tmp_path / DAY / DRIVE)
    left, right = kitti.read(tmp_path / DAY / DRIVE, stereo=True)
    assert (
        [one.name for one in kitti.read(tmp_path / DAY)]
        == [left.name, right.name]
        == [
            f"{DRIVE}-left",
            f"{DRIVE}-right",
        ]
    )
    for unposed, images, others in ((left, truth.left, truth.right), (right, truth.right, truth.left)):
        for path, image in zip(unposed.images, images, strict=True):
            assert torch.equal(read_image(path), torch.from_numpy(image))
        for path, image in zip(unposed.right_camera.images, others, strict=True):
            assert torch.equal(read_image(path), torch.from_numpy(image))
        camera = unposed.cameras[0]
        assert camera.size_px == SIZE
        assert np.allclose(camera.focal_px, FOCAL) and np.allclose(camera.centre_px, CENTRE)  # half a pixel moved
    shift = left.right_camera.right_from_left.translation
    assert torch.allclose(shift, torch.tensor([-BASELINE_MM, 0.0, 0.0], dtype=torch.float64), 0, 1e-6)
    assert torch.allclose(right.right_camera.right_from_left.translation, -shift)
    assert left.right_camera.unit == "mm"
    assert kitti.read(tmp_path / DAY / DRIVE)[0].right_camera is None


def test_the_other_eye_lies_where_its_image_says(tmp_path):
    """A point straight ahead of the left eye falls to the left of the right eye's centre."""
    write_raw(tmp_path)
    left, _ = kitti.read(tmp_path / DAY / DRIVE, stereo=True)
    eye = left.right_camera
    point = torch.tensor([0.0, 0.0, 30.0], dtype=torch.float64)
    pixel = eye.cameras[0].project(eye.right_from_left.apply(point)[None])[0]
    assert pixel[0].item() == pytest.approx(CENTRE[0] - FOCAL[0] * BASELINE_MM / 30, abs=1e-4)


def test_a_split_names_its_targets(tmp_path):
    write_raw(tmp_path)
    (tmp_path / "split.txt").write_text(f"{DAY}/{DRIVE} 3 l\n{DAY}/{DRIVE} 0000000001 l\n\n{DAY}/{DRIVE} 2 r\n")
    left, right = kitti.read_split(tmp_path, tmp_path / "split.txt")
    assert left.targets == (3, 1) and right.targets == (2,)
    assert len(left) == 6  # the others may be sources
    (tmp_path / "left.txt").write_text(f"{DAY}/{DRIVE} 3 l\n")
    assert [one.name for one in kitti.read_split(tmp_path, tmp_path / "left.txt", stereo=True)] == [f"{DRIVE}-left"]


def test_odometry_and_its_path_come_back(tmp_path):
    truth = write_odometry(tmp_path)
    left, right = kitti.read(tmp_path / "sequences/09", stereo=True)
    assert left.right_camera.baseline == pytest.approx(BASELINE_MM)
    assert np.allclose(left.cameras[0].centre_px, CENTRE)
    path = kitti.read_path(tmp_path / "poses/09.txt")
    assert np.allclose(path.inverse().rotation.numpy(), truth.world_from_camera[:, :3, :3], atol=1e-9)
    assert np.allclose(path.origin.numpy(), truth.world_from_camera[:, :3, 3], atol=1e-6)
    (tmp_path / "split.txt").write_text("9 4 l\n9 0 r\n")
    left, right = kitti.read_split(tmp_path / "sequences", tmp_path / "split.txt")
    assert left.targets == (4,) and right.targets == (0,)


def test_damage_is_told(tmp_path):
    write_raw(tmp_path)
    day, drive = tmp_path / DAY, tmp_path / DAY / DRIVE
    split = tmp_path / "split.txt"
    for text, told in (
        ("", "is empty"),
        ("one two\n", "line 1: 'one two'"),
        (f"{DAY}/{DRIVE} 3 x\n", "line 1"),
        (f"{DAY}/{DRIVE} 99 l\n", "1 of 1 frames of the list are not there, the first is 99"),
        (f"{DAY}/other 1 l\n", "is no drive"),
    ):
        split.write_text(text)
        with pytest.raises(BadInputError, match=told):
            kitti.read_split(tmp_path, split)
    with pytest.raises(BadInputError, match="is no drive of KITTI"):
        kitti.read(tmp_path)
    next((drive / "image_03/data").iterdir()).unlink()
    with pytest.raises(BadInputError, match="6 frames of the left and 5 of the right"):
        kitti.read(drive, stereo=True)
    assert len(kitti.read(drive)[1]) == 5
    (day / "calib_cam_to_cam.txt").write_text("P_rect_02: 1 2 3\n")
    with pytest.raises(BadInputError, match="no P_rect_02 of 12 numbers"):
        kitti.read(drive)
    (day / "calib_cam_to_cam.txt").unlink()
    with pytest.raises(BadInputError, match="calib_cam_to_cam.txt is missing"):
        kitti.read(drive)


def test_the_lidar_is_read_as_all_papers_read_it(tmp_path):
    write_raw(tmp_path)
    drive = tmp_path / DAY / DRIVE
    assert not is_truth(drive)
    write_lidar(tmp_path, [(11, 21, 5.0), (31.4, 41.4, 7.0), (31, 41, 9.0), (1, 1, 4.0), (0, 5, 4.0), (9, 9, -3.0)])
    assert is_truth(drive)
    clip = read_truth(drive)
    depth = clip.depth_of(2)
    assert clip.unit == "mm" and clip.with_depth == len(clip) == 6
    # Counted from 1, forward of the lidar; of two in a pixel the nearer; nothing from outside or from behind.
    assert {(r, c): round(float(depth[r, c])) for r, c in depth.nonzero().tolist()} == {
        (20, 10): 5000, (40, 30): 7000, (0, 0): 4000
    }  # fmt: skip


def test_the_annotated_maps_come_first_and_evaluate_takes_both(tmp_path, capsys):
    write_raw(tmp_path)
    drive, prediction = tmp_path / DAY / DRIVE, tmp_path / "prediction"
    rows, columns = range(SIZE[1] // 2, SIZE[1] - 2), range(5, SIZE[0] - 5)
    write_lidar(tmp_path, [(c + 1, r + 1, 2.0 + 0.05 * r) for r in rows for c in columns])
    scans = read_truth(drive)
    (prediction / "depth").mkdir(parents=True)
    for number, name in enumerate(scans.frame_names):
        depth_maps.write(prediction / "depth" / f"{name}.tiff", scans.depth_of(number) / 3)
    out = tmp_path / "out"
    assert main(["evaluate", str(prediction), str(drive), "--protocol", "kitti-eigen", "--out", str(out)]) == 0
    found = json.loads((out / "result.json").read_text("utf-8"))
    assert found["frames"] == 6 and found["alignment"]["per_frame_median"]["abs_rel"] < 1e-6
    assert found["truth"]["layout"] == "kitti" and "lidar" in found["truth"]["notes"][0]
    annotated = drive / "proj_depth/groundtruth/image_02"
    annotated.mkdir(parents=True)
    maps = np.full(SIZE[::-1], 256 * 10, np.uint16)
    assert cv2.imwrite(str(annotated / "0000000003.png"), maps)
    clip = read_truth(drive)
    assert clip.with_depth == 1 and float(clip.depth_of(3)[5, 5]) == 10_000


def test_a_published_list_is_predicted_and_averaged_over_all_its_frames(tmp_path, capsys):
    """Two drives of one day: four frames of the one, two of the other; each frame counts alike, not each drive."""
    root, other = tmp_path / "kitti", DRIVE.replace("0001", "0002")
    write_raw(root)
    rows, columns = range(SIZE[1] // 2, SIZE[1] - 2), range(5, SIZE[0] - 5)
    write_lidar(root, [(c + 1, r + 1, 4.0) for r in rows for c in columns])
    shutil.copytree(root / DAY / DRIVE, root / DAY / other)
    split = tmp_path / "test_files.txt"
    listed = [f"{DAY}/{DRIVE} {n:010d} l" for n in (0, 1, 3, 5)] + [f"{DAY}/{other} 2 l", f"{DAY}/{other} 4 l"]
    split.write_text("\n".join(listed))
    run, out = wall_run(tmp_path / "run", Wall(), (40, 32)), tmp_path / "prediction"
    assert main(["predict", str(run), str(root), "--split", str(split), "--out", str(out), "--clouds", "0"]) == 0
    assert "next: depthscope evaluate" in capsys.readouterr().out
    found = sorted(path.stem for path in (out / DAY / DRIVE / "depth").iterdir())
    assert found == ["0000000000", "0000000001", "0000000003", "0000000005"]

    half = torch.ones(SIZE[::-1])  # in the second drive a half of the pixels is a fifth too far
    half[:, SIZE[0] // 2 :] = 1.2
    for path in depth_maps.listed(out / DAY / other).values():
        depth_maps.write(path, half)
    for path in depth_maps.listed(out / DAY / DRIVE).values():
        depth_maps.write(path, torch.ones_like(half))
    call = ["evaluate", str(out), str(root), "--split", str(split), "--protocol", "kitti-eigen"]
    assert main([*call, "--out", str(tmp_path / "all")]) == 0
    every = json.loads((tmp_path / "all/result.json").read_text("utf-8"))
    alone = [str(out / DAY / other), str(root / DAY / other)]
    assert main(["evaluate", *alone, "--protocol", "kitti-eigen", "--out", str(tmp_path / "one")]) == 0
    one = json.loads((tmp_path / "one/result.json").read_text("utf-8"))["alignment"]["per_frame_median"]["abs_rel"]
    assert one > 0.05 and every["frames"] == 6
    assert every["alignment"]["per_frame_median"]["abs_rel"] == pytest.approx(2 * one / 6)
    assert every["split"] == {"drives": 2, "frames": 6, "without_true_depth": 0}

    (root / DAY / DRIVE / "velodyne_points/data/0000000003.bin").unlink()
    assert main([*call, "--out", str(tmp_path / "fewer")]) == 0
    assert json.loads((tmp_path / "fewer/result.json").read_text("utf-8"))["split"]["without_true_depth"] == 1
    next(iter(depth_maps.listed(out / DAY / other).values())).unlink()
    capsys.readouterr()
    assert main([*call, "--out", str(tmp_path / "none")]) == 2
    assert "lacks 1 of 2 frames of the list (0000000002, ...)" in capsys.readouterr().err
    split.write_text(f"{DAY}/{DRIVE} 0 r")
    assert main([*call, "--out", str(tmp_path / "none")]) == 2
    assert "right eye" in capsys.readouterr().err


def test_damaged_scans_are_told(tmp_path):
    write_raw(tmp_path)
    write_lidar(tmp_path, [(11, 21, 5.0)])
    drive = tmp_path / DAY / DRIVE
    clip = read_truth(drive)
    next(iter((drive / "velodyne_points/data").glob("*0.bin"))).write_bytes(b"\0" * 20)
    with pytest.raises(BadInputError, match="holds 5 numbers; expected four for each point"):
        clip.depth_of(0)
    (tmp_path / DAY / "calib_velo_to_cam.txt").write_text("R: 1 2 3")
    with pytest.raises(BadInputError, match="has no R of 9 numbers"):
        read_truth(drive)
