"""What people do to data sets before they bring them: frames left out, names changed, other units, other cameras."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthscope.agreement import agreement, depth_remarks, turned_axes
from depthscope.errors import BadInputError
from depthscope.formats import camera_file, kitti, read_truth, recognised
from depthscope.formats.intrinsics import other_size, remarks_on_centre
from depthscope.geometry import Brown, Camera, KannalaBrandt, RigidMotion, Scaramuzza
from depthscope.ground_truth import GroundTruth
from depthscope.pipeline.recordings import open_recording
from miniatures.dataset_folders import (
    Truth,
    write_c3vd,
    write_endoslam,
    write_hamlyn,
    write_nerfstudio,
    write_scared,
    write_servct,
    write_simcol3d,
)
from miniatures.kitti_folder import DAY, DRIVE, write_odometry, write_raw
from miniatures.scene import CENTRE, FOCAL, SIZE

LENS = Scaramuzza.from_pixels(91.0, -0.005, 4.4e-5, -7.2e-7, 0.998, 0.01, -0.02)
OMNI = Camera((160, 128), (91.0, 91.0), (80.5, 64.0), LENS)
INTRINSICS = "width = 160\nheight = 128\ncx = 80.0\ncy = 63.5\na0 = 91.0\na2 = -0.005\na3 = 4.4e-5\na4 = -7.2e-7\n" + (
    "c = 0.998\nd = 0.01\ne = -0.02\n"
)


def c3vd(place: Path) -> tuple[Path, Truth]:
    return place, write_c3vd(place, OMNI, INTRINSICS)


def simcol(place: Path) -> tuple[Path, Truth]:
    place.mkdir(parents=True)
    return write_simcol3d(place)


def told(clip: GroundTruth, words: str) -> bool:
    return any(words in note for note in clip.notes)


def belongs(clip: GroundTruth, truth: Truth, numbers: list[int], tolerance_mm: float = 0.01) -> None:
    """Every frame of a clip has the depth and the pose of its number."""
    assert len(clip) == len(numbers)
    for position, number in enumerate(numbers):
        assert float(np.abs(clip.depth_of(position).numpy() - truth.depth[number]).max()) < tolerance_mm
    if clip.camera_from_world is not None:
        found = clip.camera_from_world.inverse().translation.numpy()
        assert np.abs(found - truth.world_from_camera[numbers, :3, 3]).max() < 1e-9


# Frames are paired with truth by number


@pytest.mark.parametrize("kept", [[2, 3], [1, 4], [0, 5], [5], [3, 5]])
def test_scared_with_part_of_its_frames(tmp_path, kept):
    truth = write_scared(tmp_path)
    for path in (tmp_path / "image_02/data").iterdir():
        if int(path.stem) - 1 not in kept:
            path.unlink()
    clip = read_truth(tmp_path)
    belongs(clip, truth, kept)
    assert told(clip, f"frame {kept[0] + 1} belongs to scene_points {kept[0]}")


def test_scared_with_part_of_its_truth_is_refused_by_name(tmp_path):
    write_scared(tmp_path)
    for n in (0, 1):
        (tmp_path / f"data/scene_points/scene_points{n:06d}.tiff").unlink()
    with pytest.raises(BadInputError, match="2 of 6 frames have no depth, the first is 0000000001.png"):
        read_truth(tmp_path)
    for n in (0, 1):
        (tmp_path / f"image_02/data/{n + 1:010d}.png").unlink()
    assert read_truth(tmp_path).images[0].name == "0000000003.png"


def test_scared_frames_that_count_from_zero(tmp_path):
    truth = write_scared(tmp_path)
    (tmp_path / "data/left").mkdir()
    for n in range(6):
        shutil.move(tmp_path / f"image_02/data/{n + 1:010d}.png", tmp_path / f"data/left/{n}.png")
    shutil.rmtree(tmp_path / "image_02")
    belongs(read_truth(tmp_path), truth, list(range(6)))
    (tmp_path / "data/left/0.png").unlink()
    with pytest.raises(BadInputError, match="may count from 0 or from 1"):
        read_truth(tmp_path)  # 1 to 5 of 0 to 5


@pytest.mark.parametrize("writer", [c3vd, simcol])
@pytest.mark.parametrize("kept", [[2, 3, 5], [1, 2, 3], [0, 5], [4]])
def test_a_pose_file_of_all_frames_serves_some_of_them(tmp_path, writer, kept):
    folder, truth = writer(tmp_path / "clip")
    for path in folder.iterdir():
        digits = "".join(filter(str.isdigit, path.stem.split("_color")[0].split("_depth")[0]))
        if path.suffix in (".png", ".tiff") and int(digits) not in kept:
            path.unlink()
    belongs(read_truth(folder), truth, kept)


def test_poses_that_cannot_be_of_these_frames(tmp_path):
    folder, _ = c3vd(tmp_path / "clip")
    lines = (folder / "pose.txt").read_text("utf-8").splitlines()
    (folder / "pose.txt").write_text("\n".join(lines[:4]) + "\n")
    with pytest.raises(BadInputError, match="4 poses for 6 frames with numbers 0 to 5"):
        read_truth(folder)
    for n in (1, 3):
        (folder / f"{n:04d}_color.png").unlink()
    with pytest.raises(BadInputError, match="4 poses for 4 frames with numbers 0 to 5"):
        read_truth(folder)  # as many, and yet nobody knows which


def test_a_clip_cut_together_with_its_poses_is_taken_in_order(tmp_path):
    folder, truth = c3vd(tmp_path / "clip")
    lines = (folder / "pose.txt").read_text("utf-8").splitlines()
    (folder / "pose.txt").write_text("\n".join(lines[2:]) + "\n")
    for n in (0, 1):
        (folder / f"{n:04d}_color.png").unlink()
    clip = read_truth(folder)
    belongs(clip, truth, [2, 3, 4, 5])
    assert told(clip, "line 1 of pose.txt belongs to frame 2")


def test_names_without_padding_are_in_the_order_of_their_numbers(tmp_path):
    folder, truth = c3vd(tmp_path / "clip")
    for n in range(6):
        for kind in ("color.png", "depth.tiff"):
            (folder / f"{n:04d}_{kind}").rename(folder / f"{n}_{kind}")
    for n in (4, 5):  # 2 before 10
        (folder / f"{n}_color.png").rename(folder / f"{n + 6}_color.png")
        (folder / f"{n}_depth.tiff").rename(folder / f"{n + 6}_depth.tiff")
    rows = (folder / "pose.txt").read_text("utf-8").splitlines()
    (folder / "pose.txt").write_text("\n".join([*rows[:4], *[rows[0]] * 6, *rows[4:]]) + "\n")
    clip = read_truth(folder)
    assert [path.stem for path in clip.images] == [f"{n}_color" for n in (0, 1, 2, 3, 10, 11)]
    belongs(clip, truth, list(range(6)))


def test_endings_in_capitals_and_other_padding(tmp_path):
    truth = write_servct(tmp_path / "servct")
    for place, ending in (
        ("Left_rectified", "PNG"),
        ("Ground_truth_CT/DepthL", "png"),
        ("Rectified_calibration", "JSON"),
    ):
        for path in sorted((tmp_path / "servct" / place).iterdir()):
            path.rename(path.parent / f"{int(path.stem)}.{ending}")
    belongs(read_truth(tmp_path / "servct"), truth, list(range(6)))
    truth = write_hamlyn(tmp_path / "hamlyn")
    for path in sorted((tmp_path / "hamlyn/image01").iterdir()):
        path.rename(path.parent / f"frame_{int(path.stem)}.JPG")
    belongs(read_truth(tmp_path / "hamlyn"), truth, list(range(6)), 0.51)
    write_raw(tmp_path)
    for path in sorted((tmp_path / DAY / DRIVE / "image_02/data").iterdir()):
        path.rename(path.parent / f"{int(path.stem)}.PNG")
    assert len(kitti.read(tmp_path / DAY / DRIVE)[0]) == 6


def test_transforms_are_in_the_order_of_their_numbers(tmp_path):
    write_nerfstudio(tmp_path)
    entries = json.loads((tmp_path / "transforms.json").read_text("utf-8"))
    for frame, number in zip(entries["frames"], (1, 2, 3, 9, 10, 11), strict=True):
        shutil.move(tmp_path / frame["file_path"], tmp_path / f"images/{number}.png")
        frame["file_path"] = f"images/{number}.png"
    (tmp_path / "transforms.json").write_text(json.dumps(entries))
    assert [path.stem for path in read_truth(tmp_path).images] == ["1", "2", "3", "9", "10", "11"]


# Without poses


@pytest.mark.parametrize("writer", [c3vd, simcol])
def test_frames_and_depth_without_poses(tmp_path, writer):
    folder, truth = writer(tmp_path / "clip")
    for path in [folder / "pose.txt", *folder.parent.glob("Saved*.txt")]:
        path.unlink(missing_ok=True)
    assert recognised(folder)
    clip = read_truth(folder)
    assert clip.camera_from_world is None and clip.cameras is not None and told(clip, "frames and depth alone")
    belongs(clip, truth, list(range(6)))
    recording = open_recording(folder, None, None)
    assert recording.names == clip.frame_names and len(list(recording.frames)) == 6
    assert agreement(clip).difference is None and not depth_remarks(clip)


def test_simcol3d_without_poses_and_camera_and_with_half_of_the_poses(tmp_path):
    folder, _ = simcol(tmp_path / "clip")
    (tmp_path / "clip/SavedRotationQuaternion_S1.txt").unlink()
    with pytest.raises(BadInputError, match="no SavedRotationQuaternion_S1.txt"):
        read_truth(folder)
    (tmp_path / "clip/SavedPosition_S1.txt").unlink()
    (tmp_path / "clip/cam.txt").unlink()
    clip = read_truth(folder)
    assert clip.cameras is None and told(clip, "camera is not known")
    assert open_recording(folder, None, None).camera is None


@pytest.mark.parametrize("writer", [c3vd, simcol])
def test_depth_among_the_frames_is_not_reconstructed_from(tmp_path, writer):
    from depthscope.pipeline.reconstruction import frames_of

    folder, _ = writer(tmp_path / "clip")
    with pytest.raises(BadInputError, match="depth and other pictures among its frames"):
        frames_of(folder)
    write_scared(tmp_path / "scared")
    assert frames_of(tmp_path / "scared/image_02/data") == tmp_path / "scared/image_02/data"


# EndoSLAM


def test_endoslam_in_millimetres_and_with_one_rotation(tmp_path):
    truth = write_endoslam(tmp_path)
    table = tmp_path / "Poses/pose.csv"
    rows = [line.split(",") for line in table.read_text("utf-8").splitlines()]
    metres = read_truth(tmp_path)
    assert told(metres, "taken as metres")
    mm = [[*(repr(float(x) * 1000) for x in row[:3]), *row[3:]] for row in rows[1:]]
    table.write_text("\n".join(",".join(row) for row in [rows[0], *mm]) + "\n")
    clip = read_truth(tmp_path)
    assert told(clip, "taken as millimetres")
    found = clip.camera_from_world.inverse().translation.numpy()
    assert np.abs(found - truth.world_from_camera[:, :3, 3]).max() < 1e-9
    same = [[*row[:3], "0.5", "0.5", "0.5", "0.5", row[7]] for row in rows[1:]]
    table.write_text("\n".join(",".join(row) for row in [rows[0], *same]) + "\n")
    assert told(read_truth(tmp_path), "one and the same rotation")


def test_endoslam_pairs_by_number_or_says_that_it_cannot(tmp_path):
    truth = write_endoslam(tmp_path)
    for n in (1, 2):
        (tmp_path / f"Frames/image_{n:04d}.png").unlink()
    found = read_truth(tmp_path).camera_from_world.inverse().translation.numpy()
    assert np.abs(found - truth.world_from_camera[[0, 3, 4, 5], :3, 3]).max() < 1e-9
    (tmp_path / "Frames/image_0000.png").unlink()
    with pytest.raises(BadInputError, match="count from 0 or from 1"):
        read_truth(tmp_path)


# Lenses


def with_entries(folder: Path, **entries) -> Path:
    found = json.loads((folder / "transforms.json").read_text("utf-8"))
    found.update(entries)
    (folder / "transforms.json").write_text(json.dumps({k: v for k, v in found.items() if v is not None}))
    return folder


@pytest.mark.parametrize(
    ("entries", "lens"),
    [
        ({"is_fisheye": True, "camera_model": None, "k1": 0.1, "k2": 0.02, "k3": 0.003, "k4": 0.0004},
         KannalaBrandt((0.1, 0.02, 0.003, 0.0004))),
        ({"is_fisheye": True, "camera_model": None}, KannalaBrandt()),
        ({"is_fisheye": False, "camera_model": None, "k1": 0.1, "p2": 0.01}, Brown((0.1, 0.0, 0.0, 0.01))),
        ({"camera_model": "opencv_fisheye", "k1": 0.1}, KannalaBrandt((0.1, 0.0, 0.0, 0.0))),
        ({"camera_model": "SIMPLE_RADIAL", "k1": 0.1}, Brown((0.1, 0.0, 0.0, 0.0))),
        ({"k1": 0.1, "k3": 0.2, "k4": 0.0}, Brown((0.1, 0.0, 0.0, 0.0, 0.2))),
        ({"aabb_scale": 16, "ftheta_p0": 0.0, "is_latlong": False, "sharpness": 3.0}, None),
    ],
)  # fmt: skip
def test_lenses_of_transforms_are_heeded(tmp_path, entries, lens):
    write_nerfstudio(tmp_path)
    cameras = read_truth(with_entries(tmp_path, **entries)).cameras
    assert cameras is not None
    if lens is None:
        assert cameras[0].model == "pinhole"
    else:
        assert cameras[0].distortion == lens


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ({"k1": 0.1, "k4": 0.2}, "k4 for a lens OPENCV"),
        ({"camera_model": "PINHOLE", "k1": 0.1}, "k1 for a lens PINHOLE"),
        ({"is_fisheye": True, "camera_model": None, "k1": 0.1, "p1": 0.1}, "p1 for a lens OPENCV_FISHEYE"),
        ({"is_fisheye": True}, "camera_model OPENCV and is_fisheye true"),
        ({"ftheta_p0": 0.3}, "ftheta_p0 0.3, a lens that is not known"),
        ({"latlong": True}, "latlong True"),
        ({"k5": 0.01}, "k5 0.01"),
        ({"s1": 0.01}, "s1 0.01"),
        ({"distortion_params": [0, 0, 0.1]}, "distortion_params"),
        ({"camera_model": "EQUIRECTANGULAR"}, "camera_model EQUIRECTANGULAR"),
        ({"rolling_shutter": [0, 0, 0.3, 0.02]}, "rolling_shutter"),
    ],
)
def test_lenses_that_have_no_place_are_refused(tmp_path, entries, match):
    write_nerfstudio(tmp_path)
    with pytest.raises(BadInputError, match=match) as caught:
        read_truth(with_entries(tmp_path, **entries))
    assert "transforms.json" in str(caught.value) and "\n" not in str(caught.value)


# Principal points


def test_a_centre_that_is_off_by_half_a_pixel_is_told():
    for centre, words in (((79.5, 63.5), "first pixel's centre were (0, 0)"), ((80.5, 64.5), "converted twice")):
        assert words in remarks_on_centre(Camera(SIZE, FOCAL, centre))[0]
    for centre in ((80.0, 64.0), (79.5, 64.0), (79.6, 63.4), CENTRE):
        assert remarks_on_centre(Camera(SIZE, FOCAL, centre)) == ()


def test_the_middle_in_the_other_convention_is_told_by_each_reader(tmp_path):
    write_nerfstudio(tmp_path / "nerf")
    assert told(read_truth(with_entries(tmp_path / "nerf", cx=79.5, cy=63.5)), "half a pixel off")
    write_hamlyn(tmp_path / "hamlyn")
    k = tmp_path / "hamlyn/intrinsics.txt"
    k.write_text("130 0 80 0\n0 128 64 0\n0 0 1 0\n")  # of OpenCV's convention the middle is 79.5
    assert told(read_truth(tmp_path / "hamlyn"), "converted twice")
    k.write_text("130 0 79.5 0\n0 128 63.5 0\n0 0 1 0\n")
    assert not told(read_truth(tmp_path / "hamlyn"), "half a pixel")


@pytest.mark.parametrize("factor", [2.0, 0.5, 4.0])
def test_intrinsics_of_another_size_are_refused(tmp_path, factor):
    scaled = [[FOCAL[0] * factor, 0, (CENTRE[0] - 0.5) * factor], [0, FOCAL[1] * factor, (CENTRE[1] - 0.5) * factor]]
    matrix = [*scaled, [0, 0, 1]]
    write_hamlyn(tmp_path / "hamlyn")
    (tmp_path / "hamlyn/intrinsics.txt").write_text("".join(" ".join(map(str, row)) + " 0\n" for row in matrix))
    write_servct(tmp_path / "servct")
    for path in (tmp_path / "servct/Rectified_calibration").iterdir():
        path.write_text(json.dumps({"P1": [[*row, 0] for row in matrix]}))
    write_scared(tmp_path / "scared")
    for path in (tmp_path / "scared/data/frame_data").iterdir():
        entry = json.loads(path.read_text("utf-8"))
        entry["camera-calibration"]["KL"] = matrix
        path.write_text(json.dumps(entry))
    for name in ("hamlyn", "servct", "scared"):
        with pytest.raises(BadInputError, match=r"seem to be for frames of about (\d+) x (\d+) pixels") as caught:
            read_truth(tmp_path / name)
        width, height = re.findall(r"about (\d+) x (\d+)", str(caught.value))[0]
        assert int(width) == pytest.approx(160 * factor, rel=0.03)
        assert int(height) == pytest.approx(128 * factor, rel=0.03) and str(tmp_path / name) in str(caught.value)


def test_an_odd_centre_is_no_other_size():
    for centre in ((60.0, 90.0), (110.0, 30.0), CENTRE, (100.0, 80.0)):
        assert other_size(SIZE, centre) is None


def test_kitti_made_smaller_is_refused(tmp_path):
    write_raw(tmp_path)
    write_odometry(tmp_path)
    for place in (tmp_path / DAY / DRIVE / "image_02/data", tmp_path / "sequences/09/image_2"):
        for path in place.iterdir():
            cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (80, 64)))
    with pytest.raises(BadInputError, match="calib_cam_to_cam.txt is for frames of 160 x 128"):
        kitti.read(tmp_path / DAY / DRIVE)
    with pytest.raises(BadInputError, match="calib.txt puts the principal point of 80 x 64 frames"):
        kitti.read(tmp_path / "sequences/09")


# Depth and poses that do not belong together


def clip_of(tmp_path: Path) -> GroundTruth:
    write_scared(tmp_path / "clip")
    return read_truth(tmp_path / "clip")


def left_handed_files(motions: RigidMotion) -> RigidMotion:
    flip = torch.tensor([1.0, -1, 1], dtype=torch.float64)
    return RigidMotion(flip[:, None] * motions.rotation * flip, flip * motions.translation)


MISTAKES = {
    "the poses inverted": lambda m: m.inverse(),
    "positions times 1000": lambda m: m.scaled(0.001),
    "positions over 1000": lambda m: m.scaled(1000.0),
    "positions times 10": lambda m: m.scaled(0.1),
    "OpenGL camera axes": turned_axes,
    "left-handed axes": left_handed_files,
    "w first": lambda m: wrong_quaternion(m, [3, 0, 1, 2]),
    "w last": lambda m: wrong_quaternion(m, [1, 2, 3, 0]),
}


def wrong_quaternion(camera_from_world: RigidMotion, order: list[int]) -> RigidMotion:
    stored = camera_from_world.inverse()
    return RigidMotion.from_quaternion(stored.quaternion_wxyz[:, order], stored.translation).inverse()


@pytest.mark.parametrize("words", MISTAKES)
def test_the_mistake_in_the_poses_is_named(tmp_path, words):
    clip = clip_of(tmp_path)
    assert clip.camera_from_world is not None
    assert agreement(clip).better == "" and (agreement(clip).difference or 1) < 0.01
    found = agreement(replace(clip, camera_from_world=MISTAKES[words](clip.camera_from_world)))
    assert words in found.better and words in found.warning and (found.better_difference or 1) < 0.01


def test_distance_along_the_ray_is_named(tmp_path):
    folder, _ = c3vd(tmp_path / "clip")
    clip = read_truth(folder)
    assert clip.cameras is not None and agreement(clip).better == ""
    from depthscope.agreement import ray_lengths

    lengths = ray_lengths(clip.cameras[0]).numpy()
    for path in folder.glob("*_depth.tiff"):
        levels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) * lengths
        cv2.imwrite(str(path), levels.clip(0, 65534).astype(np.uint16))
    found = agreement(read_truth(folder))
    assert "distance along the ray" in found.better and (found.better_difference or 1) < 0.5 * (found.difference or 0)


# Depth in other units


def rewritten(folder: Path, pattern: str, change) -> None:
    for path in folder.glob(pattern):
        assert cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(float)))


def test_hamlyn_in_another_unit(tmp_path):
    write_hamlyn(tmp_path)
    assert depth_remarks(read_truth(tmp_path)) == ()
    rewritten(tmp_path / "depth01", "*.png", lambda v: (v * 256).astype(np.uint16))
    with pytest.raises(BadInputError, match="hold numbers from .* of which none is"):
        depth_remarks(read_truth(tmp_path))


def test_depth_of_a_tenth_of_a_millimetre_is_told(tmp_path):
    write_servct(tmp_path)
    rewritten(tmp_path / "Ground_truth_CT/DepthL", "*.png", lambda v: (v / 256).astype(np.uint16))
    assert any("other unit" in note or "another unit" in note for note in depth_remarks(read_truth(tmp_path)))


def test_eight_bits_in_sixteen_are_told(tmp_path):
    folder, _ = c3vd(tmp_path / "clip")
    rewritten(folder, "*_depth.tiff", lambda v: (v / 256).astype(np.uint16) * np.uint16(256))
    assert any("eight bits" in note and "0.391 mm" in note for note in depth_remarks(read_truth(folder)))


def add_disparity(folder: Path, truth: Truth, baseline_mm: float = 5.0, factor: float = 1.0) -> None:
    (folder / "Ground_truth_CT/Disparity").mkdir()
    for n, depth in enumerate(truth.depth, 1):
        levels = np.round(FOCAL[0] * baseline_mm * factor / depth * 256).astype(np.uint16)
        assert cv2.imwrite(str(folder / f"Ground_truth_CT/Disparity/{n:03d}.png"), levels)
        path = folder / f"Rectified_calibration/{n:03d}.json"
        entry = json.loads(path.read_text("utf-8"))
        entry["P2"] = [[*row[:3], 0] for row in entry["P1"]]
        entry["P2"][0][3] = -FOCAL[0] * baseline_mm
        path.write_text(json.dumps(entry))


def test_servct_by_disparity_and_where_both_contradict_each_other(tmp_path):
    truth = write_servct(tmp_path)
    add_disparity(tmp_path, truth)
    assert not told(read_truth(tmp_path), "DepthL is")
    shutil.move(tmp_path / "Ground_truth_CT/DepthL", tmp_path / "Ground_truth_CT/kept")
    clip = read_truth(tmp_path)
    assert told(clip, "computed from Disparity")
    belongs(clip, truth, list(range(6)), 0.05)
    shutil.move(tmp_path / "Ground_truth_CT/kept", tmp_path / "Ground_truth_CT/DepthL")
    rewritten(tmp_path / "Ground_truth_CT/DepthL", "*.png", lambda v: (v / 2).astype(np.uint16))
    assert told(read_truth(tmp_path), "DepthL is 0.5 times what Disparity and P2 say")


def test_a_camera_file_for_the_recorded_frames_comes_first(tmp_path):
    write_hamlyn(tmp_path)
    camera = Camera(SIZE, (101.0, 102.0), (70.0, 60.0))
    camera_file.write(camera, tmp_path / "camera.yaml")
    assert read_truth(tmp_path).cameras == (camera,) * 6


@pytest.mark.parametrize(("shift", "told"), [(0.0, False), (-0.5, True), (0.5, True)])
def test_predict_remarks_on_a_principal_point_half_a_pixel_off(tmp_path, shift, told):
    (tmp_path / "frames").mkdir()
    for n in range(2):
        cv2.imwrite(str(tmp_path / "frames" / f"{n}.png"), np.full((64, 80, 3), 90 + n, np.uint8))
    camera_file.write(Camera((80, 64), (70.0, 70.0), (40.0 + shift, 32.0 + shift)), tmp_path / "camera.yaml")
    notes = open_recording(tmp_path / "frames", tmp_path / "camera.yaml", None).notes
    assert any("half a pixel off" in note for note in notes) == told


# --- OpenCV's calibration file


@pytest.mark.parametrize("name", ["M1", "K1"])
def test_an_opencv_calibration_is_read_without_its_own_reader(tmp_path, name):
    """That one writes past the end of its memory on damaged files, which ended the process some files later."""
    write_scared(tmp_path / "clip", clip=False)
    path, k = (
        tmp_path / "clip" / "endoscope_calibration.yaml",
        np.array([[1035.25, 0, 79.5], [0, 1e-5, 60.25], [0, 0, 1]]),
    )
    k[1, 1] = 1034.5
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write(name, k)
    storage.write("D1", np.array([[-1e-5, 2.5, 0, 0, 1e-12]]))
    storage.release()
    clip = read_truth(tmp_path / "clip")
    assert clip.cameras is not None and clip.cameras[0].focal_px == (1035.25, 1034.5)
    assert clip.cameras[0].centre_px == (80.0, 60.75)
    assert clip.cameras[0].distortion.coefficients[:2] == pytest.approx((-1e-5, 2.5))


@pytest.mark.parametrize("wrong", ["rows: 3", "data: [", "%YAML", "M1"])
def test_a_damaged_opencv_calibration_is_refused(tmp_path, wrong):
    write_scared(tmp_path / "clip", clip=False)
    path = tmp_path / "clip" / "endoscope_calibration.yaml"
    assert wrong in path.read_text("utf-8")
    path.write_text(path.read_text("utf-8").replace(wrong, "rows: 7"))
    with pytest.raises(BadInputError, match="endoscope_calibration.yaml"):
        read_truth(tmp_path / "clip")


# --- SCARED as scared_toolkit extracts it


def toolkit(folder, factor: float, *, keyframe: bool = True):
    """Frames and depth as its scripts write them beside the keyframe."""
    write_scared(folder, clip=False)
    still = read_truth(folder)
    depth = still.depth_of(0).numpy()
    for place in ("left", "depthmap"):
        (folder / place).mkdir()
    for n in range(2):
        shutil.copyfile(folder / "Left_Image.png", folder / f"left/{n:06d}.png")
        levels = np.round((depth + n) * factor).clip(0, 65535).astype(np.uint16)
        cv2.imwrite(str(folder / f"depthmap/{n:06d}.png"), levels)
    if not keyframe:
        (folder / "left_depth_map.tiff").unlink()
    return depth


@pytest.mark.parametrize("factor", [128.0, 256.0])
def test_depth_of_the_scared_toolkit_has_the_scale_of_its_keyframe(tmp_path, factor):
    depth = toolkit(tmp_path / "clip", factor)
    clip = read_truth(tmp_path / "clip")
    assert len(clip) == 2 and clip.unit == "mm" and clip.cameras is not None
    found = clip.depth_of(1).numpy()
    known = (depth > 0) & (found > 0)
    assert known.mean() > 0.5 and np.abs(found - depth - 1)[known].max() < 1 / 128
    assert f"{factor:.0f} levels in a mm" in clip.notes[0]


@pytest.mark.parametrize(("factor", "keyframe", "said"), [(128.0, False, "unknown size"), (40.0, True, "40 levels")])
def test_depth_of_the_scared_toolkit_is_not_guessed(tmp_path, factor, keyframe, said):
    toolkit(tmp_path / "clip", factor, keyframe=keyframe)
    with pytest.raises(BadInputError, match=said):
        read_truth(tmp_path / "clip")
