"""Lenses through the layouts that are written: the same camera comes back, or the nearest one with its error named."""

import json
from dataclasses import replace

import pytest
import torch

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import camera_file, nerfstudio, read_sequence, tum, write_sequence
from depthscope.formats.lens_fit import FISHEYE, nearest_camera, sampled_pixels
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion, RigidMotion, Scaramuzza
from depthscope.sequence import Observations, Sequence
from depthscope.video import write_image
from scenes import motion, stacked, tensor

SIZE = (120, 96)
NAMED = {
    "pinhole": (NoDistortion(), 90.0),
    "brown4": (Brown((-0.28, 0.07, 0.001, -0.002)), 90.0),
    "brown5": (Brown((-0.3, 0.11, -0.0015, 0.001, -0.02)), 90.0),
    "fisheye140": (KannalaBrandt((0.03, -0.012, 0.004, -0.001)), 45.0),
    "fisheye220": (KannalaBrandt((-0.01, 0.001, 0.0, 0.0)), 30.0),
}
RATIONAL = Brown((0.4, 0.1, 0.001, 0.0005, 0.01, 0.65, 0.12, 0.01)), 90.0
OMNIDIRECTIONAL = Scaramuzza((-0.42, 0.03, -0.02, 1.001, 0.0005, -0.0007)), 55.0
WIDER = Scaramuzza((-0.55, 0.02, -0.06, 0.999, -0.0004, 0.0003)), 45.0  # 200 degrees
SHEARED = Scaramuzza((-0.42, 0.03, -0.02, 1.0, 0.08, 0.08)), 55.0


def clip(folder, lens, focal: float) -> Sequence:
    camera = Camera(SIZE, (focal, 1.01 * focal), (0.52 * SIZE[0], 0.49 * SIZE[1]), lens)
    images = [folder / "images" / f"{n:03d}.png" for n in range(3)]
    (folder / "images").mkdir(parents=True)
    for image in images:
        write_image(image, torch.full((SIZE[1], SIZE[0], 3), 90, dtype=torch.uint8))
    moves = stacked(*(motion((0.0, 0.02 * n, 0.1 * n), (-0.05 * n, 0.0, 0.02 * n)) for n in range(3)))
    points = 0.4 * torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points = points + tensor(0.0, 0.0, 2.0)
    frame, point = torch.ones(3, 20).nonzero().unbind(-1)
    return Sequence("tiny", tuple(images), (camera,) * 3, moves, points, Observations(frame, point))


@pytest.mark.parametrize("to", ["colmap", "colmap-text", "nerfstudio", "tum"])
@pytest.mark.parametrize("name", NAMED)
def test_a_camera_comes_back_as_it_was(tmp_path, name, to):
    sequence = clip(tmp_path / "clip", *NAMED[name])
    write_sequence(sequence, tmp_path / "out", to)
    if to == "tum":
        back = (camera_file.read(tmp_path / "out" / tum.CAMERA),) * 3
    else:
        read = nerfstudio.read if to == "nerfstudio" else read_sequence
        again = read(tmp_path / "out")
        back = again.cameras or ()
        assert again.camera_from_world is not None
        torch.testing.assert_close(again.camera_from_world.rotation, sequence.camera_from_world.rotation)
    assert [replace(camera, source="") for camera in back] == list(sequence.cameras)


def test_a_rational_lens_keeps_its_own_model_where_there_is_one(tmp_path):
    sequence = clip(tmp_path / "clip", *RATIONAL)
    assert write_sequence(sequence, tmp_path / "colmap", "colmap") == (
        "the sequence has no measured pixels: the projections of its points were written",
    )
    assert read_sequence(tmp_path / "colmap").cameras == sequence.cameras
    _, note = write_sequence(sequence, tmp_path / "scene", "nerfstudio")
    assert "nerfstudio has no name for this brown lens" in note and "px at most over the content" in note
    assert largest_px(sequence, nerfstudio.read(tmp_path / "scene")) < 0.2


@pytest.mark.parametrize("lens", [OMNIDIRECTIONAL, WIDER], ids=["160", "200"])
@pytest.mark.parametrize("to", ["colmap", "nerfstudio"])
def test_an_omnidirectional_lens_is_written_as_the_nearest_one(tmp_path, lens, to):
    """Points of the world keep their pixels, although the axes of the fit are turned by the affine part."""
    sequence = clip(tmp_path / "clip", *lens)
    notes = write_sequence(sequence, tmp_path / "out", to)
    assert any("no name for this omnidirectional lens: the nearest fisheye" in note for note in notes)
    again = (nerfstudio.read if to == "nerfstudio" else read_sequence)(tmp_path / "out")
    assert again.cameras is not None and again.cameras[0].model == "fisheye"
    assert largest_px(sequence, again) < 0.3


def test_a_lens_that_nothing_comes_near_is_refused_in_one_line(tmp_path):
    sequence = clip(tmp_path / "clip", *SHEARED)
    for to in ("colmap", "nerfstudio"):
        with pytest.raises(BadInputError, match=r"omnidirectional camera .* px off .*choose --to tum"):
            write_sequence(sequence, tmp_path / to, to)
    assert len(write_sequence(sequence, tmp_path / "tum", "tum")) == 1
    assert camera_file.read(tmp_path / "tum" / tum.CAMERA) == sequence.cameras[0]


def test_tum_keeps_the_camera_of_each_frame(tmp_path):
    sequence = clip(tmp_path / "clip", *NAMED["fisheye140"])
    other = replace(sequence.cameras[0], focal_px=(50.0, 50.0))
    sequence = replace(sequence, cameras=(sequence.cameras[0], other, sequence.cameras[0]))
    write_sequence(sequence, tmp_path / "out", "tum")
    rows = [line.split() for line in (tmp_path / "out" / "frames.txt").read_text().splitlines()]
    assert [camera_file.read(tmp_path / "out" / file) for _, _, file in rows] == list(sequence.cameras)


def test_convert_names_the_error_of_the_fit(tmp_path, capfd):
    write_sequence(clip(tmp_path / "clip", *RATIONAL), tmp_path / "model", "colmap")
    assert main(["convert", str(tmp_path / "model"), "--to", "nerfstudio", "--out", str(tmp_path / "scene")]) == 0
    assert "the nearest" in capfd.readouterr().out
    notes = json.loads((tmp_path / "scene" / "result.json").read_text("utf-8"))["notes"]
    assert any("px off in the root mean square" in note for note in notes)


def test_the_nearest_fisheye_of_a_fisheye_is_itself():
    camera = Camera(SIZE, (45.0, 45.5), (62.0, 47.0), NAMED["fisheye140"][0])
    pixels = sampled_pixels(SIZE)
    fit = nearest_camera(camera, FISHEYE, pixels, camera.directions(pixels))
    assert fit.largest_px < 1e-4 and abs(fit.roll_deg) < 1e-4
    assert fit.camera.focal_px == pytest.approx(camera.focal_px, rel=1e-5)


def largest_px(one: Sequence, other) -> float:
    """The farthest that a point of the content moves in any frame from one clip to the other."""
    most = 0.0
    for n, (a, b) in enumerate(zip(one.cameras, other.cameras, strict=True)):
        pixels = sampled_pixels(SIZE)
        there = _at(one.camera_from_world, n).inverse().apply(3 * a.directions(pixels))
        back = b.project(_at(other.camera_from_world, n).apply(there))
        most = max(most, float((back - pixels).norm(dim=-1).max()))
    return most


def _at(motions: RigidMotion, n: int) -> RigidMotion:
    return RigidMotion(motions.rotation[n].double(), motions.translation[n].double())
