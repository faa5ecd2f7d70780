"""Datasets with dense depth: poses, cameras and depth are what was written, and they belong together."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthscope.agreement import depth_agreement
from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import camera_file, depth_maps, read_sequence, read_truth, recognised, tum
from depthscope.geometry import Camera, Scaramuzza
from depthscope.ground_truth import GroundTruth, with_points
from miniatures.dataset_folders import (
    PINHOLE,
    Truth,
    write_c3vd,
    write_endoslam,
    write_hamlyn,
    write_nerfstudio,
    write_scared,
    write_servct,
    write_simcol3d,
)

INTRINSICS = """; omnidirectional camera intrinsics
width = 160
height = 128
cx = 80.0
cy = 63.5
a0 = 91.0
a1 = 0.0
a2 = -0.005
a3 = 4.4e-5
a4 = -7.2e-7
c = 0.998
d = 0.01
e = -0.02
"""
LENS = Scaramuzza.from_pixels(91.0, -0.005, 4.4e-5, -7.2e-7, 0.998, 0.01, -0.02)
OMNI = Camera((160, 128), (91.0, 91.0), (80.5, 64.0), LENS)


def c3vd(place: Path, **options) -> tuple[Path, Truth]:
    return place, write_c3vd(place, OMNI, INTRINSICS, **options)


WRITERS = {
    "c3vd": lambda p: c3vd(p),
    "c3vd by rows": lambda p: c3vd(p, by_rows=True),
    "c3vdv2": lambda p: c3vd(p, second=True),
    "simcol3d": write_simcol3d,
    "simcol3d by the letter": lambda p: write_simcol3d(p, square=False),
    "scared": lambda p: (p, write_scared(p)),
    "hamlyn": lambda p: (p, write_hamlyn(p)),
    "servct": lambda p: (p, write_servct(p)),
    "nerfstudio": lambda p: (p, write_nerfstudio(p)),
}
STEP_MM = {
    "c3vd": 100 / 65535,
    "simcol3d": 0.002,
    "scared": 1e-5,
    "hamlyn": 0.51,
    "servct": 0.002,
    "nerfstudio": 0.0051,
}
POSED = [name for name in WRITERS if name not in ("hamlyn", "servct")]


def step_mm(name: str) -> float:
    return next(step for start, step in STEP_MM.items() if name.startswith(start))


@pytest.fixture(params=WRITERS)
def written(request, tmp_path) -> tuple[str, Path, Truth]:
    (tmp_path / "clip").mkdir()
    return request.param, *WRITERS[request.param](tmp_path / "clip")


@pytest.fixture
def posed(tmp_path, request) -> Path:
    (tmp_path / "clip").mkdir()
    return WRITERS[request.param](tmp_path / "clip")[0]


def test_reads_what_was_written(written):
    name, folder, truth = written
    clip = read_truth(folder)
    assert recognised(folder) and len(clip) == len(truth.depth)
    scale = 1 / 1000 if name == "nerfstudio" else 1.0
    assert clip.unit == ("sfm" if name == "nerfstudio" else "mm")
    for n, depth in enumerate(truth.depth):
        difference = np.abs(clip.depth_of(n).numpy() - depth * scale).max()
        assert difference <= step_mm(name) * scale * 1.001 + 1e-5
    if clip.camera_from_world is not None:
        assert name in POSED
        found = clip.camera_from_world.inverse()
        assert np.abs(found.rotation.numpy() - truth.world_from_camera[:, :3, :3]).max() < 1e-12
        assert np.abs(found.translation.numpy() - truth.world_from_camera[:, :3, 3] * scale).max() < 1e-11
    assert clip.cameras is not None
    camera = clip.cameras[0]
    if name.startswith("c3vd"):
        assert camera.focal_px == OMNI.focal_px and camera.centre_px == OMNI.centre_px
        assert camera.distortion.coefficients == OMNI.distortion.coefficients
    elif not name.startswith("simcol3d"):
        assert (camera.size_px, camera.focal_px, camera.centre_px) == (
            PINHOLE.size_px,
            PINHOLE.focal_px,
            PINHOLE.centre_px,
        )


@pytest.mark.parametrize("posed", POSED, indirect=True)
def test_depth_poses_and_camera_belong_together(posed):
    """The scene warped into another frame lands on that frame's depth; not so with poses the other way round."""
    clip = read_truth(posed)
    agreement = depth_agreement(clip)
    assert agreement is not None and agreement < 0.01
    from dataclasses import replace

    inverted = depth_agreement(replace(clip, camera_from_world=clip.camera_from_world.inverse()))
    assert inverted is None or inverted > 2 * agreement


@pytest.mark.parametrize("posed", POSED, indirect=True)
def test_points_drawn_from_depth_lie_on_the_surface(posed):
    clip = read_truth(posed)
    sequence = with_points(clip)
    assert len(sequence.points) > 30 and sequence.unit == clip.unit
    ball = np.array([0.1, 0.0, -1.0]) * 10 * (1 / 1000 if clip.unit == "sfm" else 1.0)
    radius = 30.0 * (1 / 1000 if clip.unit == "sfm" else 1.0)
    off = (sequence.points - torch.from_numpy(ball)).norm(dim=-1) / radius - 1
    assert float(off.abs().median()) < 0.01
    assert int(sequence.seen.sum(0).min()) >= 2


def test_a_point_behind_a_nearer_surface_is_not_seen(tmp_path):
    """A hidden half of one frame: no observation of that frame lies in it."""
    folder, truth = c3vd(tmp_path / "clip")
    path = folder / "0003_depth.tiff"
    levels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    levels[:, :80] //= 2
    cv2.imwrite(str(path), levels)
    sequence = read_sequence(folder)
    rows = sequence.observations.frame == 3
    own = (sequence.projections[rows, 0] < 79).sum()
    other = sequence.observations.frame == 2
    assert int((sequence.projections[other, 0] < 79).sum()) > 10
    assert int(own) <= 0.5 * int((sequence.projections[other, 0] < 79).sum())


def test_simcol3d_asks_the_depth_which_camera(tmp_path):
    folder, _ = write_simcol3d(tmp_path)
    clip = read_truth(folder)
    assert clip.cameras is not None
    assert clip.cameras[0].focal_px == (100.0, 100.0) and clip.cameras[0].centre_px == (60.0, 60.0)
    assert any("square pixels" in note for note in clip.notes)


def test_scared_keyframe_alone_and_from_one(tmp_path):
    write_scared(tmp_path / "d" / "k", clip=False)
    clip = read_truth(tmp_path / "d" / "k")
    assert len(clip) == 1 and clip.cameras is not None and clip.cameras[0].focal_px == PINHOLE.focal_px
    write_scared(tmp_path / "d" / "full")
    full = read_truth(tmp_path / "d" / "full")
    assert full.depth[0] is not None and full.depth[0].path.name == "scene_points000000.tiff"
    assert full.images[0].name == "0000000001.png"


def test_endoslam_has_poses_and_no_depth(tmp_path):
    truth = write_endoslam(tmp_path)
    clip = read_truth(tmp_path)
    assert clip.with_depth == 0 and clip.cameras is None and clip.camera_from_world is not None
    found = clip.camera_from_world.inverse().translation.numpy()
    assert np.abs(found - truth.world_from_camera[:, :3, 3]).max() < 1e-9
    with pytest.raises(BadInputError, match=r"no camera .*no depth"):
        read_sequence(tmp_path)


def test_scaramuzza_projects_and_unprojects():
    pixels = torch.rand(500, 2, dtype=torch.float64) * torch.tensor([160.0, 128.0])
    assert float((OMNI.project(OMNI.unproject(pixels)) - pixels).abs().max()) < 1e-9
    u, v = (pixels - torch.tensor(OMNI.centre_px)).unbind(-1)  # the published equation, in pixels
    x, y = torch.linalg.solve(
        torch.tensor([[0.998, -0.02], [0.01, 1]], dtype=torch.float64), torch.stack([u, v])
    ).unbind()
    rho = (x * x + y * y).sqrt()
    z = 91.0 - 0.005 * rho**2 + 4.4e-5 * rho**3 - 7.2e-7 * rho**4
    expected = torch.stack([x / z, y / z, torch.ones_like(z)], -1)
    torch.testing.assert_close(OMNI.unproject(pixels), expected)


def test_published_numbers_of_c3vd_see_all_but_the_corners():
    from depthscope.formats.c3vd import V1_NUMBERS, V1_SIZE, _omnidirectional

    camera = _omnidirectional(V1_NUMBERS, V1_SIZE, "")
    corners = torch.tensor([[200.0, 200.0], [1150.0, 200.0], [675.0, 1079.5], [0.5, 540.0]], dtype=torch.float64)
    rays = camera.unproject(corners)
    assert bool(rays.isfinite().all())
    assert float((camera.project(rays) - corners).abs().max()) < 1e-6
    half = camera.resized((675, 540))
    assert float((half.project(rays) - corners / 2).abs().max()) < 1e-6


def test_camera_file_keeps_the_omnidirectional_camera(tmp_path):
    assert camera_file.read(camera_file.write(OMNI, tmp_path / "camera.yaml")) == OMNI


# Bad files


def change(path: Path, line: int, text: str) -> None:
    lines = path.read_text("utf-8").splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")


def refused(folder: Path, match: str) -> None:
    with pytest.raises(BadInputError, match=match) as caught:
        clip = read_truth(folder)
        for n in range(len(clip)):
            clip.depth_of(n)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda f: change(f / "pose.txt", 2, "1,2,three"), "line 3"),
        (lambda f: change(f / "pose.txt", 2, ",".join(["nan"] * 16)), "line 3: a number is not finite"),
        (lambda f: change(f / "pose.txt", 2, ",".join(["1"] * 16)), "pose 3 is not a rotation"),
        (lambda f: (f / "pose.txt").write_text(""), "no numbers"),
        (lambda f: change(f / "pose.txt", 2, ""), "5 poses for 6 frames"),
        (lambda f: (f / "0002_depth.tiff").unlink(), "1 of 6 frames have no depth.*0002_color.png"),
        (lambda f: [p.unlink() for p in f.glob("*_depth.tiff")], r"6 \*_color.png and pose.txt, but no depth.*_depth"),
        (lambda f: cv2.imwrite(str(f / "0002_depth.tiff"), np.zeros((64, 80), np.uint16)), "80 x 64 pixels"),
        (lambda f: cv2.imwrite(str(f / "0002_depth.tiff"), np.zeros((128, 160), np.uint8)), "uint8 in 1 channels"),
        (lambda f: cv2.imwrite(str(f / "0002_depth.tiff"), np.zeros((128, 160, 3), np.uint16)), "3 channels"),
        (lambda f: (f / "0002_depth.tiff").write_bytes(b"II*"), "cannot be read"),
        (lambda f: (f / "camera_intrinsics.txt").write_text("a0 = 3\n"), "lacks width"),
        (lambda f: cv2.imwrite(str(f / "0002_color.png"), np.zeros((64, 80, 3), np.uint8)), "80 x 64 pixels"),
    ],
)
def test_damaged_c3vd(tmp_path, damage, match):
    folder, _ = c3vd(tmp_path / "clip")
    damage(folder)
    refused(folder, match)


@pytest.mark.parametrize(
    ("writer", "victim", "content", "match"),
    [
        ("simcol3d", "SavedPosition_S1.txt", "1 2\n", "line 1"),
        ("simcol3d", "SavedRotationQuaternion_S1.txt", "0 0 0 3\n" * 6, "norm 3"),
        ("simcol3d", "cam.txt", "1 2 3\n", "3 numbers"),
        ("simcol3d", "cam.txt", None, "no cam.txt"),
        ("scared", "data/frame_data/frame_data000001.json", "{", "damaged"),
        ("scared", "data/frame_data/frame_data000001.json", None, "has no frame_data"),
        ("scared", "data/scene_points/scene_points000001.tiff", None, "1 of 6 frames have no depth"),
        ("hamlyn", "intrinsics.txt", "a b c\n", "line 1"),
        ("hamlyn", "intrinsics.txt", None, "no intrinsics.txt"),
        ("hamlyn", "depth01/0000000002.png", None, "1 of 6"),
        ("servct", "Rectified_calibration/001.json", "[]", "no P1"),
        ("servct", "Rectified_calibration/001.json", None, "001.json"),
        ("nerfstudio", "transforms.json", "{", "damaged"),
        ("nerfstudio", "transforms.json", '{"frames": []}', "0 frames"),
        ("nerfstudio", "depth/0002.png", None, "missing"),
        ("nerfstudio", "images/0002.png", None, "0002.png"),
    ],
)
def test_damaged_others(tmp_path, writer, victim, content, match):
    folder, _ = WRITERS[writer](tmp_path)
    (tmp_path / victim).unlink() if content is None else (tmp_path / victim).write_text(content)
    refused(folder, match)


@pytest.mark.parametrize(
    ("files", "match"),
    [
        (["0000_color.png"], r"looks like C3VD without pose.txt"),
        (["FrameBuffer_0000.png"], "looks like SimCol3D"),
        (["Left_Image.png"], "looks like SCARED"),
        (["depth01/0.png"], "looks like Hamlyn without image01"),
        (["Ground_truth_CT/x.png"], "looks like SERV-CT without Left_rectified"),
        (["Poses/pose.csv"], "looks like EndoSLAM without Frames"),
        (["notes.txt"], r"nothing known here.*C3VD \(.*SERV-CT \("),
        ([], "is empty"),
    ],
)
def test_unknown_folders_get_a_guess(tmp_path, files, match):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert not recognised(tmp_path)
    for reader in (read_sequence, read_truth):
        with pytest.raises(BadInputError, match=match):
            reader(tmp_path)


# Trajectories


def test_tum_round_trip(tmp_path):
    folder, _ = c3vd(tmp_path / "clip")
    clip = read_truth(folder)
    tum.write(clip, tmp_path / "out")
    again = tum.read(tmp_path / "out" / tum.FILE)
    torch.testing.assert_close(again.camera_from_world.rotation, clip.camera_from_world.rotation, atol=1e-14, rtol=0)
    torch.testing.assert_close(again.camera_from_world.translation, clip.camera_from_world.translation)
    assert not any(line.endswith(" ") for line in (tmp_path / "out" / tum.FILE).read_text("utf-8").splitlines())


@pytest.mark.parametrize(
    ("text", "match"),
    [("0 1 2 3 0 0 0\n", "line 1"), ("0 1 2 3 0 0 0 2\n", "norm 2"), ("1 0 0 0 0 0 0 1\n" * 2, "rise"), ("", "no num")],
)
def test_damaged_tum(tmp_path, text, match):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(BadInputError, match=match):
        tum.read(tmp_path / "t.txt")


# Verbs


def outcome(*words: object) -> int:
    return main([str(word) for word in words])


def test_nerfstudio_round_trip_by_convert(tmp_path):
    write_scared(tmp_path / "clip")
    assert outcome("convert", tmp_path / "clip", tmp_path / "out", "--to", "nerfstudio") == 0
    first, again = read_truth(tmp_path / "clip"), read_truth(tmp_path / "out")
    assert again.unit == "mm" and again.cameras is not None
    assert [c.focal_px for c in again.cameras] == [c.focal_px for c in first.cameras]
    torch.testing.assert_close(
        again.camera_from_world.translation, first.camera_from_world.translation, atol=1e-10, rtol=0
    )
    assert all(float((first.depth_of(n) - again.depth_of(n)).abs().max()) < 1e-5 for n in range(len(first)))


@pytest.mark.parametrize("to", ["colmap", "jhu", "tum"])
def test_convert_takes_a_dataset(tmp_path, to):
    write_scared(tmp_path / "clip")
    assert outcome("convert", tmp_path / "clip", tmp_path / "out", "--to", to) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert result["registered"] == 6 and (to == "tum" or result["points"] > 30)
    if to == "colmap":
        assert len(read_sequence(tmp_path / "out").points) == result["points"]


def test_convert_says_what_a_layout_cannot_hold(tmp_path, capfd):
    folder, _ = c3vd(tmp_path / "clip")
    assert outcome("convert", folder, tmp_path / "jhu", "--to", "jhu") == 2
    error = capfd.readouterr().err
    assert "omnidirectional" in error and "Traceback" not in error and not (tmp_path / "jhu").exists()
    for to in ("colmap", "nerfstudio"):  # COLMAP and nerfstudio have fisheyes, which come near
        assert outcome("convert", folder, tmp_path / to, "--to", to) == 0
        assert "omnidirectional lens: the nearest fisheye camera was written" in capfd.readouterr().out


def test_inspect_says_what_it_is(tmp_path, capfd):
    write_scared(tmp_path / "clip")
    assert outcome("inspect", tmp_path / "clip", "--out", tmp_path / "out") in (0, 3)
    assert "SCARED, 6 frames, 6 depth maps, pinhole camera" in capfd.readouterr().out
    result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert result["layout"] == "SCARED" and result["depth_agreement"] < 0.01 and result["unit"] == "mm"
    write_servct(tmp_path / "pairs")
    assert outcome("inspect", tmp_path / "pairs") == 2
    said = capfd.readouterr()
    assert "SERV-CT, 6 frames" in said.out and "no poses" in said.err


def perfect_prediction(clip: GroundTruth, folder: Path, factor: float) -> Path:
    (folder / "depth").mkdir(parents=True)
    for n, name in enumerate(clip.frame_names):
        depth_maps.write(folder / "depth" / f"{name}.tiff", clip.depth_of(n) * factor)
    return folder


@pytest.mark.parametrize("name", ["c3vd", "scared", "hamlyn", "servct", "simcol3d", "nerfstudio"])
def test_evaluate_takes_a_dataset_as_truth(tmp_path, name):
    (tmp_path / "clip").mkdir()
    folder, _ = WRITERS[name](tmp_path / "clip")
    prediction = perfect_prediction(read_truth(folder), tmp_path / "prediction", 0.5)
    assert outcome("evaluate", prediction, folder, "--out", tmp_path / "out") == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert result["frames"] == 6 and result["alignment"]["per_sequence"]["abs_rel"] < 1e-5
    assert result["truth"]["layout"] == read_truth(folder).layout


def test_undistorted_truth_is_the_closed_form():
    """The truth of an undistorted frame is what the pinhole sees, to interpolation."""
    from depthscope.ground_truth import undistorted_depth
    from miniatures.dataset_folders import truth_of

    through_lens, ideal = truth_of(OMNI, 2), truth_of(OMNI.undistorted(), 2)
    for seen, expected in zip(through_lens.depth, ideal.depth, strict=True):
        found = undistorted_depth(torch.from_numpy(seen).float(), OMNI, OMNI.undistorted()).numpy()
        known = found > 0
        assert known.mean() > 0.7
        assert np.abs(found / expected - 1)[known].max() < 5e-3


def test_evaluate_names_what_does_not_match(tmp_path, capfd):
    write_hamlyn(tmp_path / "clip")
    (tmp_path / "p" / "depth").mkdir(parents=True)
    depth_maps.write(tmp_path / "p" / "depth" / "other.tiff", torch.ones(4, 4))
    assert outcome("evaluate", tmp_path / "p", tmp_path / "clip", "--out", tmp_path / "out") == 2
    assert "same frame names" in capfd.readouterr().err
