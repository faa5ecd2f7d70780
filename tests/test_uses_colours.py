"""pretrain and predict of colorization and video colorization as a user calls them, and what they refuse."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthscope.cli import main
from depthscope.formats import tracks
from depthscope.video import read_image, read_video, write_image, write_video

WIDTH, HEIGHT, COUNT, STEP = 160, 128, 9, 4


def frames() -> list[torch.Tensor]:
    """A window that moves to the right over a texture in colour."""
    rng = np.random.default_rng(3)
    wide = cv2.resize(rng.uniform(60, 220, (10, 24, 3)), (320, HEIGHT), interpolation=cv2.INTER_CUBIC)
    wide += cv2.GaussianBlur(rng.normal(0, 60, (HEIGHT, 320)), (0, 0), 1.5)[..., None]
    wide = np.clip(wide, 20, 235).astype(np.uint8)
    return [torch.from_numpy(wide[:, n * STEP : n * STEP + WIDTH].copy()) for n in range(COUNT)]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("colours")
    (folder / "clip").mkdir()
    for number, frame in enumerate(frames()):
        write_image(folder / "clip" / f"{number:03d}.png", frame)
    write_video(folder / "clip.mp4", frames(), 25)
    small = ["--steps", "4", "--encoder.width", "16", "--encoder.widest", "16", "--frames.area-px", "20480"]
    small += ["--training.batch", "2"]
    assert call("pretrain", "video-colorization", folder / "clip", "--out", folder / "tracker", *small) == 0
    assert call("pretrain", "colorization", folder / "clip", "--out", folder / "colourer", *small) == 0
    return folder


def call(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text("utf-8"))


def test_pretraining_tells_scores_and_leaves_an_encoder(place: Path):
    for run, task in (("tracker", "video-colorization"), ("colourer", "colorization")):
        found = result(place / run)
        assert found["task"] == task and found["scores"] and (place / run / "encoder.pt").is_file()
        assert all(np.isfinite(score["value"]) for score in found["scores"])


def test_a_grid_is_followed_through_a_clip(place: Path):
    assert call("predict", place / "tracker", place / "clip", "--out", place / "grid", "--grid", 5) == 0
    found, flow = tracks.read(place / "grid" / "tracks.csv"), tracks.read(place / "grid" / "klt.csv")
    figures = result(place / "grid")
    assert figures["points"] == 20 and figures["frames"] == COUNT and len(found) == 20 * COUNT
    assert sorted(set(found.frames)) == [f"{n:03d}" for n in range(COUNT)] and found.frames == flow.frames
    assert (found.places >= 0).all() and (found.places <= [WIDTH, HEIGHT]).all()
    assert not (place / "grid" / "masks").exists()
    last = np.array(flow.frames) == f"{COUNT - 1:03d}"
    kept = last & (flow.confidence > 0)
    moved = flow.places[kept] - flow.places[: len(flow) // COUNT][flow.points[kept]]
    np.testing.assert_allclose(moved, np.tile([-STEP * (COUNT - 1), 0], (kept.sum(), 1)), atol=1)
    shown = list(read_video(place / "grid" / "video.mp4"))
    assert len(shown) == COUNT and shown[0].shape[1] == WIDTH and shown[0].shape[0] > HEIGHT


def test_points_and_a_mask_are_followed_in_a_video(place: Path):
    (place / "points.csv").write_text("x,y\n60.5,40.5\n120.25,90\n")
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    mask[40:80, 60:100] = 200
    write_image(place / "mask.png", mask)
    given = ["--points", place / "points.csv", "--mask", place / "mask.png"]
    assert call("predict", place / "tracker", place / "clip.mp4", "--out", place / "both", *given) == 0
    found = tracks.read(place / "both" / "tracks.csv")
    assert len(found) == 2 * COUNT and found.frames[0] == "frame_000000"
    np.testing.assert_allclose(found.places[:2], [[60.5, 40.5], [120.25, 90]], atol=1e-3)
    masks = sorted((place / "both" / "masks").iterdir())
    assert [path.name for path in masks] == [f"frame_{n:06d}.png" for n in range(COUNT)]
    first = cv2.imread(str(masks[0]), cv2.IMREAD_UNCHANGED)
    assert first.shape == (HEIGHT, WIDTH) and set(np.unique(first)) == {0, 200}
    true = mask.numpy() > 0
    assert (true & (first > 0)).sum() / (true | (first > 0)).sum() > 0.8


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("outside.csv", "x,y\n10,10\n170,20\n", "outside of the frame"),
        ("negative.csv", "-1,5\n", "outside of the frame"),
        ("words.csv", "x,y\na,b\n", "row 2"),
    ],
)
def test_points_that_cannot_be_followed_are_refused(place: Path, capsys, name: str, text: str, told: str):
    (place / name).write_text(text)
    assert call("predict", place / "tracker", place / "clip", "--out", place / "no", "--points", place / name) == 2
    assert told in capsys.readouterr().err and not (place / "no").exists()


def test_masks_of_another_size_or_of_nothing_are_refused(place: Path, capsys):
    write_image(place / "small.png", torch.eye(64, dtype=torch.uint8))
    write_image(place / "black.png", torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8))
    for name, told in (("small.png", "64 x 64 pixels"), ("black.png", "one grey level")):
        assert call("predict", place / "tracker", place / "clip", "--out", place / "no", "--mask", place / name) == 2
        assert told in capsys.readouterr().err and not (place / "no").exists()


def test_colours_are_invented_and_said_to_be(place: Path):
    gray = place / "gray"
    gray.mkdir()
    for number, frame in enumerate(frames()[:3]):
        luma = frame.float().mean(-1, keepdim=True).expand(-1, -1, 3).round().byte()
        write_image(gray / f"{number:03d}.png", luma)
    assert call("predict", place / "colourer", gray, "--out", place / "coloured") == 0
    assert "invented" in result(place / "coloured")["colour"]
    made = sorted((place / "coloured" / "colour").iterdir())
    assert [path.name for path in made] == ["000.png", "001.png", "002.png"]
    picture, source = read_image(made[0]), read_image(gray / "000.png")
    assert picture.shape[0] > HEIGHT and picture.shape[1] == WIDTH
    caption = picture[HEIGHT:].float()
    assert float(caption.max()) > 180 and float(caption.std()) > 10  # letters, below the frame
    lightness = cv2.cvtColor(picture[:HEIGHT].numpy(), cv2.COLOR_RGB2LAB)[..., 0].astype(float)
    true = cv2.cvtColor(source.numpy(), cv2.COLOR_RGB2LAB)[..., 0].astype(float)
    assert np.abs(lightness - true).mean() < 3  # what was seen stays; a and b are added
    assert len(list(read_video(place / "coloured" / "video.mp4"))) == 3


def test_gray_and_still_and_short_inputs_are_refused(place: Path, capsys):
    for name, made in {
        "onlygray": [f.float().mean(-1, keepdim=True).expand(-1, -1, 3).round().byte() for f in frames()],
        "still": [frames()[0]] * COUNT,
        "short": frames()[:3],
    }.items():
        (place / name).mkdir()
        for number, frame in enumerate(made):
            write_image(place / name / f"{number:03d}.png", frame)
    for task, name, told in (
        ("colorization", "onlygray", "gray"),
        ("video-colorization", "onlygray", "no colour"),
        ("video-colorization", "still", "shows one picture"),
        ("video-colorization", "short", "4 frames or more"),
    ):
        assert call("pretrain", task, place / name, "--out", place / "no", "--steps", 2) == 2
        assert told in capsys.readouterr().err and not (place / "no").exists()


@pytest.mark.parametrize("wrong", [["--grid", 0], ["--nearest", 0], ["--least-correlation", 2]])
def test_options_are_checked_before_anything_is_read(place: Path, wrong):
    assert call("predict", place / "tracker", place / "nowhere", "--out", place / "no", *wrong) == 2


def test_a_temperature_of_nothing_is_refused(place: Path):
    assert call("predict", place / "colourer", place / "clip", "--out", place / "no", "--temperature", 0) == 2
