"""COLMAP: text and binary say the same, exactly, and other programs read what we write."""

import shutil
import struct
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import colmap, read_sequence, write_sequence
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion
from depthscope.sequence import Sequence
from depthscope.video import write_image
from miniatures.colmap_folder import names_of, write_colmap
from miniatures.compare import assert_same
from miniatures.jhu_folder import write_jhu
from miniatures.scene import CENTRE, FOCAL, SIZE


def assert_identical(a: Sequence, b: Sequence) -> None:
    """Also what only COLMAP keeps."""
    assert_same(a, b)
    assert torch.equal(a.observations.pixels, b.observations.pixels)
    assert torch.equal(a.point_error_px, b.point_error_px)
    assert torch.equal(a.point_colours, b.point_colours)


def test_reads_the_truth(tmp_path):
    truth = write_colmap(tmp_path)
    sequence = read_sequence(tmp_path)
    assert [str(p.relative_to(tmp_path / "images")) for p in sequence.images] == names_of(truth)
    torch.testing.assert_close(sequence.camera_from_world.rotation, torch.from_numpy(truth.rotation))
    torch.testing.assert_close(sequence.camera_from_world.translation, torch.from_numpy(truth.translation))
    kept = torch.from_numpy(truth.seen.any(0))
    assert torch.equal(sequence.points, torch.from_numpy(truth.points)[kept])
    assert torch.equal(sequence.seen, torch.from_numpy(truth.seen)[:, kept])
    assert not sequence.seen[0].any()  # the image with the empty second line
    residual = (sequence.observations.pixels - sequence.projections).norm(dim=-1)
    assert 0.2 < float(residual.mean()) < 0.6
    assert sequence.cameras[0] == Camera(SIZE, FOCAL, CENTRE)
    assert sequence.pose_direction == "camera_from_world"
    assert sequence.point_error_px is not None and sequence.point_colours is not None and sequence.mask is None


@pytest.mark.parametrize(
    ("line", "distortion"),
    [
        ("SIMPLE_PINHOLE 160 128 130 81 62.5", NoDistortion()),
        ("SIMPLE_RADIAL 160 128 130 81 62.5 0.01", Brown((0.01, 0.0, 0.0, 0.0))),
        ("RADIAL 160 128 130 81 62.5 0.01 0.02", Brown((0.01, 0.02, 0.0, 0.0))),
        ("OPENCV 160 128 130 130 81 62.5 0.01 0.02 0.003 0.004", Brown((0.01, 0.02, 0.003, 0.004))),
        (
            "FULL_OPENCV 160 128 130 130 81 62.5 .1 .2 .3 .4 .5 .6 .7 .8",
            Brown((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)),
        ),
        ("FULL_OPENCV 160 128 130 130 81 62.5 .1 .2 .3 .4 .5 0 0 0", Brown((0.1, 0.2, 0.3, 0.4, 0.5))),
        ("OPENCV_FISHEYE 160 128 130 130 81 62.5 .1 .2 .3 .4", KannalaBrandt((0.1, 0.2, 0.3, 0.4))),
        ("SIMPLE_RADIAL_FISHEYE 160 128 130 81 62.5 .1", KannalaBrandt((0.1, 0.0, 0.0, 0.0))),
        ("RADIAL_FISHEYE 160 128 130 81 62.5 .1 .2", KannalaBrandt((0.1, 0.2, 0.0, 0.0))),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_camera_models(tmp_path, line, distortion):
    write_colmap(tmp_path / "clip", camera=line)
    sequence = read_sequence(tmp_path / "clip")
    assert sequence.cameras[0] == Camera(SIZE, (130.0, 130.0), (81.0, 62.5), distortion)
    for to in ("colmap", "colmap-text"):
        write_sequence(sequence, tmp_path / to, to)
        assert_identical(sequence, read_sequence(tmp_path / to))


@pytest.mark.parametrize(
    "line", ["FOV 160 128 130 130 81 62.5 0.9", "THIN_PRISM_FISHEYE 160 128 130 130 81 62 0 0 0 0 0 0 0 0"]
)
def test_other_camera_models_are_refused(tmp_path, line):
    write_colmap(tmp_path, camera=line)
    with pytest.raises(BadInputError, match=f"camera model {line.split()[0]}.*undistort"):
        read_sequence(tmp_path)


def test_binary_is_text_is_the_sequence(tmp_path):
    write_colmap(tmp_path / "clip")
    original = read_sequence(tmp_path / "clip")
    mask = torch.ones(SIZE[1], SIZE[0], dtype=torch.bool)
    mask[:10] = False
    cameras = (replace(original.cameras[0], focal_px=(131.0, 127.3)), *original.cameras[1:])
    original = replace(original, mask=mask, cameras=cameras)
    for to in ("colmap", "colmap-text"):
        assert write_sequence(original, tmp_path / to, to) == ()
        assert_identical(original, read_sequence(tmp_path / to))


def test_binary_is_preferred_unless_it_is_incomplete(tmp_path):
    write_colmap(tmp_path / "given")
    original = read_sequence(tmp_path / "given")
    write_sequence(original, tmp_path / "clip", "colmap-text")
    moved = replace(original, points=original.points + torch.tensor([0.0, 0.0, 0.1], dtype=torch.float64))
    write_sequence(moved, tmp_path / "moved", "colmap")
    for path in (tmp_path / "moved" / "sparse" / "0").iterdir():
        shutil.copy(path, tmp_path / "clip" / "sparse" / "0")
    assert torch.equal(read_sequence(tmp_path / "clip").points, moved.points)
    (tmp_path / "clip" / "sparse" / "0" / "points3D.bin").unlink()
    assert torch.equal(read_sequence(tmp_path / "clip").points, original.points)


@pytest.mark.parametrize("place", [".", "sparse", "colmap", "colmap/0", "0"])
def test_models_in_other_places(tmp_path, place):
    write_colmap(tmp_path / "clip")
    original = read_sequence(tmp_path / "clip")
    shutil.copytree(tmp_path / "clip" / "images", tmp_path / "other" / "images")
    shutil.copytree(tmp_path / "clip" / "sparse" / "0", tmp_path / "other" / place, dirs_exist_ok=True)
    assert_identical(original, read_sequence(tmp_path / "other"))
    assert_identical(original, colmap.read(tmp_path / "other" / place, tmp_path / "clip" / "images"))
    assert_identical(original, colmap.read(tmp_path / "other" / place))


def test_the_largest_of_several_models(tmp_path):
    write_colmap(tmp_path / "clip")
    original = read_sequence(tmp_path / "clip")
    shorter = original.with_frames(torch.tensor([True, True, True, False, True, False, False, True]))
    write_sequence(shorter, tmp_path / "short", "colmap")
    (tmp_path / "clip" / "sparse" / "0").rename(tmp_path / "clip" / "sparse" / "1")
    shutil.copytree(tmp_path / "short" / "sparse" / "0", tmp_path / "clip" / "sparse" / "0")
    sequence = read_sequence(tmp_path / "clip")
    assert_identical(original, sequence)
    assert sequence.notes[1] == "of 2 models the largest was read, 1; not read: 0 (5 images)"


def test_images_without_a_pose_are_unregistered(tmp_path):
    write_colmap(tmp_path / "clip")
    original = read_sequence(tmp_path / "clip")
    shorter = original.with_frames(torch.tensor([True] * 6 + [False] * 2))
    shorter = replace(shorter, unregistered=("frame 11.jpg", "frame 12.jpg"))
    write_sequence(shorter, tmp_path / "short", "colmap")
    assert read_sequence(tmp_path / "short").unregistered == ("frame 11.jpg", "frame 12.jpg")


def test_from_jhu_and_back(tmp_path):
    write_jhu(tmp_path / "clip", unregistered=1)
    original = read_sequence(tmp_path / "clip")
    assert main(["convert", str(tmp_path / "clip"), str(tmp_path / "colmap"), "--to", "colmap"]) == 0
    assert main(["convert", str(tmp_path / "colmap"), str(tmp_path / "back"), "--to", "jhu"]) == 0
    middle, back = read_sequence(tmp_path / "colmap"), read_sequence(tmp_path / "back")
    assert_same(original, middle)
    assert_same(original, back)
    assert middle.point_error_px is None and middle.point_colours is None
    torch.testing.assert_close(middle.observations.pixels, original.projections, atol=1e-12, rtol=0)


OPENED_BY_COLMAP = """
import sys, numpy, pycolmap
model = pycolmap.Reconstruction(sys.argv[1])
residuals = [
    numpy.linalg.norm(image.project_point(model.points3D[p.point3D_id].xyz) - p.xy)
    for image in model.images.values() for p in image.points2D if p.has_point3D()
]
print(model.num_reg_images(), model.num_points3D(), model.compute_num_observations(), max(residuals))
"""


@pytest.mark.parametrize("to", ["colmap", "colmap-text"])
def test_colmap_opens_what_we_write(tmp_path, to):
    write_jhu(tmp_path / "clip")
    original = read_sequence(tmp_path / "clip")
    write_sequence(original, tmp_path / "model", to)
    # In a process of its own: some builds of pycolmap do not get on with other libraries in one process.
    command = [sys.executable, "-c", OPENED_BY_COLMAP, str(tmp_path / "model" / "sparse" / "0")]
    run = subprocess.run(command, capture_output=True, text=True)
    if "No module named 'pycolmap'" in run.stderr:
        pytest.skip("pycolmap is not installed")
    images, points, observations, residual = run.stdout.split()
    assert (int(images), int(points)) == (len(original), len(original.points))
    assert int(observations) == len(original.observations)
    assert float(residual) < 1e-9


def _cut(name):
    def damage(model):
        path = model / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])

    damage.__name__ = f"cut_{name}"
    return damage


def _remove(name):
    def damage(model):
        (model / name).unlink()

    damage.__name__ = f"without_{name}"
    return damage


def _edit(name, old, new):
    def damage(model):
        data = (model / name).read_bytes()
        assert old in data
        (model / name).write_bytes(data.replace(old, new, 1))

    damage.__name__ = f"edit_{name}"
    return damage


def _forget_a_track(model):
    lines = (model / "points3D.txt").read_text("utf-8").split("\n")
    (model / "points3D.txt").write_text("\n".join([lines[0], *lines[2:]]))


def _swap_tracks(model):
    lines = (model / "points3D.txt").read_text("utf-8").split("\n")
    one, other = lines[1].split(" ", 1), lines[2].split(" ", 1)
    lines[1:3] = [f"{other[0]} {one[1]}", f"{one[0]} {other[1]}"]
    (model / "points3D.txt").write_text("\n".join(lines))


def _long_quaternion(model):
    lines = (model / "images.txt").read_text("utf-8").split("\n")
    words = lines[1].split(" ")
    lines[1] = " ".join([words[0], "1.3", *words[2:]])
    (model / "images.txt").write_text("\n".join(lines))


def _without_image(model):
    next((model.parents[1] / "images").rglob("frame 7.jpg")).unlink()


def _cut_image(model):
    path = next((model.parents[1] / "images").rglob("frame 7.jpg"))
    path.write_bytes(path.read_bytes()[:-100])


def _field_of_view(model):
    path = model / "cameras.bin"
    path.write_bytes(path.read_bytes().replace(struct.pack("<iQ", 1, 160), struct.pack("<iQ", 7, 160)) + bytes(8))


BROKEN_TEXT = [
    (_remove("points3D.txt"), "points3D.txt is missing"),
    (_remove("cameras.txt"), "cameras.txt is missing"),
    (_cut("points3D.txt"), "points3D.txt is damaged or cut short|the images observe points"),
    (_cut("images.txt"), "images.txt is damaged or cut short|the images observe points"),
    (_edit("cameras.txt", b"PINHOLE", b"MYSTERY"), "camera model MYSTERY"),
    (_edit("cameras.txt", b"160 128", b"320 256"), "is 160 x 128 pixels; expected 320 x 256"),
    (_edit("cameras.txt", b"4 PINHOLE", b"5 PINHOLE"), "images of camera 4, which the cameras file lacks"),
    (_edit("images.txt", b"frame 7", b"frame 8"), "an image is listed twice"),
    (_forget_a_track, "the images observe points"),
    (_swap_tracks, "names a keypoint that does not belong to it"),
    (_long_quaternion, "the quaternion of left cam/frame 12.jpg has norm 1.3"),
    (_without_image, "lacks 1 of the 8 registered images, first 'left cam/frame 7.jpg'"),
    (_cut_image, "frame 7.jpg is cut short"),
]
BROKEN_BINARY = [
    (_remove("images.bin"), "images.bin is missing"),
    *[(_cut(f"{part}.bin"), f"{part}.bin is damaged or cut short") for part in colmap.PARTS],
    (_field_of_view, "camera model FOV"),
    (_edit("cameras.bin", struct.pack("<iQ", 1, 160), struct.pack("<iQ", 14, 160)), "camera model number 14"),
    (_edit("images.bin", struct.pack("<Q", 8), struct.pack("<Q", 2**62)), "images.bin is damaged or cut short"),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN_TEXT, ids=[d.__name__ for d, _ in BROKEN_TEXT])
def test_broken_text_is_refused(tmp_path, damage, message):
    write_colmap(tmp_path)
    damage(tmp_path / "sparse" / "0")
    with pytest.raises(BadInputError, match=message) as refusal:
        read_sequence(tmp_path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("damage", "message"), BROKEN_BINARY, ids=[d.__name__ for d, _ in BROKEN_BINARY])
def test_broken_binary_is_refused(tmp_path, damage, message):
    write_colmap(tmp_path / "clip")
    write_sequence(read_sequence(tmp_path / "clip"), tmp_path / "binary", "colmap")
    damage(tmp_path / "binary" / "sparse" / "0")
    with pytest.raises(BadInputError, match=message) as refusal:
        read_sequence(tmp_path / "binary")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("size", "message"), [((80, 64), "a mask of 80 x 64 pixels"), (SIZE, "the mask hides everything")]
)
def test_masks_that_do_not_fit(tmp_path, size, message):
    write_colmap(tmp_path)
    write_image(tmp_path / "mask.png", torch.full((size[1], size[0]), 255 if size != SIZE else 0, dtype=torch.uint8))
    with pytest.raises(BadInputError, match=message):
        read_sequence(tmp_path)


def test_convert_never_replaces_its_input(tmp_path, capsys):
    write_jhu(tmp_path / "case" / "clip")
    (tmp_path / "case" / "result.json").write_text("{}")
    for destination in ("case", "case/clip"):
        assert main(["convert", str(tmp_path / "case" / "clip"), str(tmp_path / destination), "--to", "colmap"]) == 2
    assert (tmp_path / "case" / "clip" / "motion.yaml").is_file()
    assert "holds the input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "is empty"),
        (lambda p: p.write_text(""), "is a file"),
        (
            lambda p: (p.mkdir(), (p / "a.jpg").touch(), (p / "b.jpg").touch()),
            "holds 2 images and no structure from motion",
        ),
        (lambda p: (p.mkdir(), (p / "a.mp4").touch()), "holds 1 videos"),
        (lambda p: (p.mkdir(), (p / "notes.txt").touch()), "is laid out like nothing known"),
    ],
)
def test_what_a_folder_seems_to_hold(tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(BadInputError, match=message):
        read_sequence(tmp_path / "x")
