"""From frames to masks by two commands, and what the masks are good for."""

import json
from pathlib import Path

import pytest
import torch

from depthscope import cli
from depthscope.video import is_video, read_image, video_size
from depthscope.video.class_masks import read_mask_folder, write_mask
from drawn_scenes import scene_folder

QUICK = ("--encoder.width", "8", "--encoder.widest", "16", "--training.batch", "4", "--frames.size-px", "64", "64")


def call(*arguments: object) -> int:
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def test_two_commands_lead_to_masks(tmp_path: Path, capsys):
    truth = scene_folder(tmp_path / "clip", 8, 96)
    (tmp_path / "drawn").mkdir()
    for number in range(0, 8, 2):
        write_mask(tmp_path / "drawn" / f"{number:03d}.png", truth[number])
    run, out = tmp_path / "run", tmp_path / "masks"
    options = ("--labels", tmp_path / "drawn", "--rounds", 1, "--round-steps", 2, "--steps", 3, *QUICK)
    assert call("pretrain", "error-boosting", tmp_path / "clip", "--out", run, *options) == 0
    assert "depthscope predict" in capsys.readouterr().out and (run / "encoder.pt").is_file()
    assert call("predict", run, tmp_path / "clip", "--out", out) == 0
    told = json.loads((out / "result.json").read_text("utf-8"))
    assert told["frames"] == 8 and told["learned_from"] == "masks" and sum(told["shares"].values()) == pytest.approx(1)
    masks = read_mask_folder(out)
    assert sorted(masks.files) == [f"{number:03d}" for number in range(8)]
    assert masks.ids("003", (96, 96)).shape == (96, 96) and "lumen" in masks.classes.names
    assert is_video(out / "video.mp4") and video_size(out / "video.mp4") == (8, (96, 96))
    assert "reconstruct" in capsys.readouterr().out


def test_labels_that_do_not_fit_leave_no_run(tmp_path: Path, capsys):
    scene_folder(tmp_path / "clip", 4, 96)
    (tmp_path / "drawn").mkdir()
    write_mask(tmp_path / "drawn" / "031.png", torch.zeros(96, 96, dtype=torch.uint8))
    code = call(
        "pretrain",
        "error-boosting",
        tmp_path / "clip",
        "--out",
        tmp_path / "run",
        "--labels",
        tmp_path / "drawn",
        *QUICK,
    )
    assert code == 2 and "the mask of no frame" in capsys.readouterr().err and not (tmp_path / "run").exists()
    assert read_image(tmp_path / "clip" / "000.png").shape == (96, 96, 3)
