"""From a video with sound to maps, a table and a video with sound, by two commands."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from depthscope import cli
from depthscope.formats import depth_maps
from depthscope.video import video_size
from depthscope.video.sound import loudness, read_sound
from sounding_videos import beeps, moving_frames, video_with

QUICK = (
    "--encoder.width", "8", "--encoder.widest", "16", "--training.batch", "4", "--localisation.batch", "4",
    "--localisation.steps", "2", "--steps", "2", "--audio-width", "4", "--frames.size-px", "64", "64",
)  # fmt: skip


def call(*arguments: object) -> int:
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def test_two_commands_lead_to_maps_with_sound(tmp_path: Path, capsys):
    video, run, out = tmp_path / "clip.mp4", tmp_path / "run", tmp_path / "out"
    video_with(video, beeps(12.0, every_s=1.7, length_s=0.6), seconds=12.0, size=64, frames=moving_frames)
    assert call("pretrain", "audio-visual", video, "--out", run, *QUICK) == 0
    assert "one microphone" in capsys.readouterr().out
    assert call("predict", run, video, "--out", out, "--every-s", 0.5, "--query-time", 2.0) == 0
    rows = list(csv.DictReader((out / "sound.csv").open()))
    told = json.loads((out / "result.json").read_text("utf-8"))
    assert len(rows) == told["moments"] == 24 and float(rows[3]["time_s"]) == pytest.approx(1.5)
    heat = depth_maps.read(out / "heat" / f"{rows[3]['frame']}.tiff")
    assert heat.shape == (64, 64) and float(heat.min()) >= 0 and float(heat.max()) <= 1
    best = float(rows[3]["correspondence"])  # of a place; between places the map is bilinear
    assert 0.8 * best <= float(heat.max()) <= best + 1e-3
    assert heat[int(float(rows[3]["peak_y_px"])), int(float(rows[3]["peak_x_px"]))] >= 0.9 * heat.max()
    assert video_size(out / "video.mp4") == (24, (64, 64))
    sound = read_sound(out / "video.mp4")
    assert sound.duration_s == pytest.approx(12.0, abs=0.1) and loudness(sound) > 0.05
    near = list(csv.DictReader((out / "neighbours.csv").open()))
    assert {row["of"] for row in near} == {"frame of this sound", "sound of this frame"}
    assert [float(r["distance"]) for r in near[:24]] == sorted(float(r["distance"]) for r in near[:24])
    assert call("predict", run, video, "--out", out, "--query-time", 99) == 2
    assert call("predict", run, video_with(tmp_path / "mute.mp4", None), "--out", tmp_path / "mute") == 2
    assert "has no sound track" in capsys.readouterr().err and not (tmp_path / "mute").exists()


def test_a_silent_video_leaves_no_run(tmp_path: Path, capsys):
    video = video_with(tmp_path / "clip.mp4", np.zeros(48_000 * 4), size=64)
    assert call("pretrain", "audio-visual", video, "--out", tmp_path / "run", *QUICK) == 2
    said = capsys.readouterr().err
    assert "silent" in said and said.count("\n") == 1 and not (tmp_path / "run").exists()


def test_what_is_fused_is_not_asked_for_neighbours_across_senses(tmp_path: Path, capsys):
    video, run = tmp_path / "clip.mp4", tmp_path / "run"
    video_with(video, beeps(6.0, every_s=1.7, length_s=0.6), seconds=6.0, size=64, frames=moving_frames)
    assert call("pretrain", "audio-visual", video, "--out", run, *QUICK, "--fused") == 0
    assert call("predict", run, video, "--out", tmp_path / "out", "--query-time", 2.0) == 2
    assert "train again without --fused" in capsys.readouterr().err
    assert call("predict", run, video, "--out", tmp_path / "out", "--every-s", 1, "--no-video") == 0
