"""What people give by mistake, through the command line: each is read right, or refused in one line that names it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK
import torch
import trimesh

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import depth_maps
from depthscope.formats.ct import read_ct
from depthscope.pipeline.recordings import open_recording
from depthscope.pipeline.registration import source_surface, target_surface
from depthscope.video import read_image, write_video
from depthscope.video.blank import blank


def picture(height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    """Something to see, RGB."""
    coarse = np.random.default_rng(seed).integers(40, 220, (height // 8, width // 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def saved(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def refused(arguments: list, capsys: pytest.CaptureFixture, *words: str, code: int = 2) -> str:
    """The one line that a call ends with."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == code
    told = capsys.readouterr().err
    assert told.count("\n") == 1, told
    for word in words:
        assert word in told, told
    return told


# Frames that show nothing

NOTHING = {
    "black": np.zeros((96, 128, 3), np.uint8),
    "black with noise": np.random.default_rng(0).integers(0, 8, (96, 128, 3)).astype(np.uint8),
    "white": np.full((96, 128, 3), 255, np.uint8),
    "a blue screen": np.tile(np.array([20, 30, 200], np.uint8), (96, 128, 1)),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_an_image_that_shows_nothing_has_no_depth(tmp_path, kind, capsys):
    path = saved(tmp_path / "frame.png", NOTHING[kind])
    refused(["depth", path, "--out", tmp_path / "out"], capsys, "frame.png shows nothing", "expected frames that show")
    assert not (tmp_path / "out").exists()


def test_dim_frames_show_something():
    """A lit tube at the lowest gain, and haze: hard to see, but there."""
    rows, columns = np.mgrid[:96, :128]
    glow = 30 * np.exp(-(((rows - 48) / 30) ** 2) - ((columns - 64) / 40) ** 2)
    haze = 180 + 6 * np.sin(columns / 9.0)
    for grey in (glow, haze):
        assert blank(torch.from_numpy(np.repeat(grey[..., None], 3, 2).astype(np.uint8))) == ""


def test_what_lies_outside_of_the_content_does_not_count():
    image, content = torch.zeros(96, 128, 3, dtype=torch.uint8), torch.zeros(96, 128, dtype=torch.bool)
    content[20:80, 30:100] = True
    image[:10, :10] = 255  # a logo
    assert blank(image) == "" and blank(image, content) == "black"


def test_some_black_frames_of_a_clip_are_told_and_have_no_depth(tmp_path, capsys):
    frames = [np.zeros((96, 128, 3), np.uint8)] * 2 + [picture(seed=n) for n in range(3)]
    video = write_video(tmp_path / "clip.mp4", (torch.from_numpy(frame) for frame in frames), 10)
    assert main(["depth", str(video), "--out", str(tmp_path / "out"), "--batch", "2"]) == 0
    assert "2 of 5 frames are black, and have no depth: 000000, 000001" in capsys.readouterr().out
    known = [bool((depth_maps.read(path) > 0).any()) for path in depth_maps.listed(tmp_path / "out").values()]
    assert known == [False, False, True, True, True]
    assert any("are black" in note for note in json.loads((tmp_path / "out/result.json").read_text("utf-8"))["notes"])


def test_a_video_that_is_black_throughout_is_refused(tmp_path, capsys):
    video = write_video(tmp_path / "clip.mp4", (torch.zeros(96, 128, 3, dtype=torch.uint8) for _ in range(4)), 10)
    refused(["depth", video, "--out", tmp_path / "out"], capsys, "clip.mp4 shows nothing: all 4 frames are black")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 16), (8, 400), (40, 800)])
def test_thumbnails_and_strips_are_no_frames(tmp_path, height, width, capsys):
    noise = np.random.default_rng(0).integers(40, 220, (height, width, 3)).astype(np.uint8)
    path = saved(tmp_path / "frame.png", noise)
    refused(["depth", path, "--out", tmp_path / "out"], capsys, "frame.png", f"{width} x {height} pixels", "full size")


# Files that hold no frame


def test_a_stack_of_tiff_is_no_frame(tmp_path, capsys):
    path = tmp_path / "stack.tiff"
    assert cv2.imwritemulti(str(path), [picture(seed=n) for n in range(3)])
    refused(["depth", path, "--out", tmp_path / "out"], capsys, "stack.tiff holds several pictures", "single frames")


@pytest.mark.parametrize("kind", ["plain", "16 bits", "smaller copy"])
def test_a_tiff_of_one_picture_is_read(tmp_path, kind):
    from PIL import Image, TiffImagePlugin

    path, image = tmp_path / "one.tiff", picture()
    if kind == "smaller copy":  # as cameras and slide scanners add one
        small = Image.fromarray(image[::4, ::4])
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[0x00FE] = 1
        small.encoderinfo = {"tiffinfo": tags}
        Image.fromarray(image).save(path, save_all=True, append_images=[small])
    else:
        saved(path, image[..., ::-1] if kind == "plain" else image[..., ::-1].astype(np.uint16) * 257)
    assert np.abs(read_image(path).numpy().astype(int) - image).max() <= 1


def test_numbers_of_32_bits_are_no_frame(tmp_path, capfd):
    path = saved(tmp_path / "depth.tiff", picture().astype(np.float32))
    refused(["depth", path, "--out", tmp_path / "out"], capfd, "depth.tiff holds numbers of 32 bits", "depth maps")


def test_a_folder_says_what_it_holds_instead(tmp_path, capsys):
    write_video(tmp_path / "a.mp4", (torch.from_numpy(picture()) for _ in range(2)), 10)
    refused(["depth", tmp_path, "--out", tmp_path.parent / "o"], capsys, "no images, but videos (a.mp4)")
    (tmp_path / "a.mp4").unlink()
    saved(tmp_path / "case/0.png", picture())
    refused(["depth", tmp_path, "--out", tmp_path.parent / "o"], capsys, "but folders with images (case)")
    refused(["depth", tmp_path / "no.mp4", "--out", tmp_path / "o"], capsys, "no.mp4 is missing", "an image,")


# CT volumes and surfaces


def volume(path: Path) -> Path:
    """A cavity in tissue."""
    z, y, x = np.mgrid[:12, :12, :12]
    values = np.where((x - 6) ** 2 + (y - 5) ** 2 + (z - 6) ** 2 < 9, -1000, 40).astype(np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))
    return path


def surface(path: Path, radius: float = 40.0, squeeze: tuple[float, float, float] = (1, 1, 1)) -> Path:
    ball = trimesh.creation.icosphere(2, radius=radius)
    trimesh.Trimesh(ball.vertices * squeeze, ball.faces, process=False).export(path)
    return path


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (b"space: left-posterior-superior", ""),
        (b"space: RAS", ""),
        (b"space: scanner-xyz", "names the space 'scanner-xyz'"),
        (b"space: 3D-right-handed", "names the space '3D-right-handed'"),
        (b"space dimension: 3", "names no space"),
    ],
)
def test_an_nrrd_says_which_axis_points_left_or_that_it_does_not_is_told(tmp_path, space, words):
    path = volume(tmp_path / "ct.nrrd")
    path.write_bytes(path.read_bytes().replace(b"space: left-posterior-superior", space))
    notes = read_ct(path).notes
    assert [words in note and "taken as LPS" in note for note in notes] == ([True] if words else [])


def test_an_nrrd_that_would_mirror_the_patient_is_refused(tmp_path, capsys):
    path, source = volume(tmp_path / "ct.nrrd"), surface(tmp_path / "source.ply")
    path.write_bytes(path.read_bytes().replace(b"space: left-posterior-superior", b"space: 3D-left-handed"))
    refused(["register", source, path, "--out", tmp_path / "o"], capsys, "ct.nrrd", "mirror the patient", "DICOM")


def test_what_is_no_ct_is_called_by_what_it_is(tmp_path, capsys):
    source, target = surface(tmp_path / "source.ply"), volume(tmp_path / "ct.nii.gz")
    call = ["register", source, tmp_path / "x", "--out", tmp_path / "o"]
    for name in ("head.glb", "clip.mp4", "ct.npy"):
        (tmp_path / name).write_bytes(b"anything")
        call[2] = tmp_path / name
        told = refused(call, capsys, f"{name} is neither a CT volume nor a surface", "DICOM folder", "PLY")
        assert "sitk" not in told
    saved(tmp_path / "slices/000.png", picture())
    call[2] = tmp_path / "slices"
    refused(call, capsys, "slices holds pictures (000.png, ...)", "Hounsfield", "DICOM")
    refused(["register", target, source, "--out", tmp_path / "o"], capsys, "ct.nii.gz is given as SURFACE", "swap")
    call[2] = target
    refused([*call, "--smoothing-mm=-1"], capsys, "--smoothing-mm) of -1 mm", "0 to 3 mm")
    refused([*call, "--air-below", "3000"], capsys, "ct.nii.gz", "only voxels below 3000 HU")


@pytest.mark.parametrize(
    ("squeeze", "words"), [((1, 1, 0), "in a plane"), ((0, 0, 1), "on a line"), ((0, 0, 0), "at one point")]
)
def test_surfaces_without_relief_are_refused(tmp_path, squeeze, words):
    flat = surface(tmp_path / "flat.ply", squeeze=squeeze)
    with pytest.raises(BadInputError, match=f"flat.ply: all 162 points lie {words}"):
        source_surface(flat)
    if words == "in a plane":
        with pytest.raises(BadInputError, match="lie in a plane"):
            target_surface(flat, -475.0, None, 0.0, "mm")


# Cameras, masks and numbers


def camera(path: Path, **changes: object) -> Path:
    entries = {"model": "pinhole", "size_px": [128, 96], "focal_px": [110, 110], "centre_px": [64, 48], **changes}
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"centre_px": [0, 0]}, "far from the middle"),
        ({"focal_px": [110, 60]}, "pixels would not be square"),
        ({"centre_px": [63.5, 47.5]}, "half a pixel off"),
        ({}, ""),
    ],
)
def test_a_camera_that_looks_wrong_is_told(tmp_path, changes, words):
    frame = saved(tmp_path / "frame.png", picture())
    notes = open_recording(frame, camera(tmp_path / "camera.yaml", **changes), None).notes
    assert [words in note for note in notes] == ([True] if words else [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_width: 128\ncamera_matrix:\n  data: [110, 0, 64, 0, 110, 48, 0, 0, 1]\n", "of ROS or OpenCV"),
        ("%YAML:1.0\n---\nM1: !!opencv-matrix\n   rows: 3\n", "of OpenCV"),
        ("cam0:\n  intrinsics: [110, 110, 64, 48]\n", "of Kalibr"),
        ('{"K": [[110, 0, 64], [0, 110, 48], [0, 0, 1]]}', "of another program"),
    ],
)
def test_camera_files_of_other_programs_are_called_so(tmp_path, text, words, capsys):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    call = ["depth", saved(tmp_path / "frame.png", picture()), "--camera", path, "--out", tmp_path / "o"]
    refused(call, capsys, f"camera.yaml is a camera file {words}", "centre_px: [cx + 0.5, cy + 0.5]")


def test_the_file_whose_size_is_another_is_named(tmp_path, capsys):
    call = ["depth", saved(tmp_path / "frame.png", picture()), "--out", tmp_path / "o"]
    small = camera(tmp_path / "small.yaml", size_px=[64, 48], focal_px=[55, 55], centre_px=[32, 24])
    refused([*call, "--camera", small], capsys, "small.yaml is for 64 x 48 pixels", "128 x 96", "frame.png")
    mask = saved(tmp_path / "mask.png", np.full((48, 64), 255, np.uint8))
    refused([*call, "--content-mask", mask], capsys, "mask.png is for 64 x 48 pixels", "128 x 96", "frame.png")


@pytest.mark.parametrize(
    ("value", "words"), [(1, "write 255 for 1"), (0, "check that it is not inverted"), (100, "not inverted")]
)
def test_a_mask_in_which_nothing_is_white_is_named(tmp_path, value, words, capsys):
    mask = saved(tmp_path / "labels.png", np.full((96, 128), value, np.uint8))
    call = ["depth", saved(tmp_path / "frame.png", picture()), "--out", tmp_path / "o", "--content-mask", mask]
    refused(call, capsys, "labels.png hides everything", f"its greatest value is {value}", words)


@pytest.mark.parametrize(
    ("given", "words"), [("0.003", "give --square-mm 3"), ("3000", "measure one"), ("0", "measure"), ("nan", "measure")]
)
def test_squares_in_metres_are_asked_about(tmp_path, given, words, capsys):
    frames = saved(tmp_path / "views/0.png", picture()).parent
    call = ["calibrate", frames, "--board", "8x6", "--square-mm", given, "--out", tmp_path / "o"]
    refused(call, capsys, f"squares of {float(given):g} mm", "0.1 to 300 mm", words)


def test_pictures_without_a_board_are_named_and_texture_is_no_board(tmp_path, capsys):
    for n in range(4):
        saved(tmp_path / f"views/{n}.png", picture(96, 128, n))
    call = ["calibrate", tmp_path / "views", "--board", "8x6", "--square-mm", "3", "--out", tmp_path / "o"]
    told = refused(call, capsys, "views: no 8x6 board in any of 4 pictures", "count the inner corners")
    assert "try --board" not in told


def test_numbers_that_make_no_sense_are_refused_and_clouds_need_a_camera(tmp_path, capsys):
    call = ["depth", saved(tmp_path / "frame.png", picture()), "--out", tmp_path / "o"]
    refused([*call, "--batch", "0"], capsys, "--batch 0")
    refused([*call, "--clouds=-1"], capsys, "--clouds -1")
    assert main([*map(str, call), "--clouds", "1", "--no-video"]) == 0
    assert "no point clouds: the camera is not known; give --camera" in capsys.readouterr().out
