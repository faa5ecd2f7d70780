"""Frames of a finished case, packed with the depth that was found for them."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthscope.cli import main
from depthscope.formats import camera_file, depth_maps, read_sequence
from depthscope.networks import DepthPrediction
from depthscope.networks.ray_channels import ray_channels
from depthscope.pipeline.clip_stills import fitted
from depthscope.prediction import Recording, load_model, predict
from depthscope.simulation.still_store import CONTENT, FOREIGN, StillStore
from depthscope.supervised import StillBatch, TrueDepthLoss
from depthscope.workspace import read_result, write_result
from miniatures.dataset_folders import write_c3vd
from test_formats_mistakes import INTRINSICS, OMNI
from tiny_runs import Wall, tube_clip, wall_run

SIZE = (72, 60)
"""The frames of the tube are 96 x 80: the same shape."""


def case(folder: Path, wall: Wall, *, accepted: bool = True) -> Path:
    """A case as `run` leaves it: a tube with its points, and a network that sees a wall."""
    tube_clip(folder / "sequence")
    wall_run(folder / "run", wall, SIZE)
    write_result(folder / "run", {})
    write_result(folder / "sequence", {"accepted": accepted})
    return folder


def pack(folder: Path, out: Path, *more: str) -> int:
    return main(["stills", "--out", str(out), "--size", f"{SIZE[0]}x{SIZE[1]}", "--cases", str(folder), *more])


def test_frames_are_packed_with_the_depth_that_was_found(tmp_path):
    folder = case(tmp_path / "patient", Wall(across=0.5, log_std=math.log(0.05)))
    assert pack(folder, tmp_path / "store", "--frames", "3") == 0
    frames = StillStore.read([tmp_path / "store"])
    sequence = read_sequence(folder / "sequence")
    maps = list(predict(load_model(folder / "run"), Recording.of_sequence(sequence), scaled=True))
    assert len(frames) == 3 and len(maps) == 8  # the first, the middle and the last
    for packed, found in zip((frames[0], frames[2]), (maps[0], maps[-1]), strict=True):
        known = packed.depth > 0
        assert known.mean() > 0.1 and (packed.labels == CONTENT)[known].all()
        ratio = packed.depth[known].astype(float) / found.depth.numpy()[known]
        np.testing.assert_allclose(ratio, 20 / sequence.median_depth, rtol=2e-3)
        np.testing.assert_array_equal(packed.image, found.image.numpy())
        np.testing.assert_allclose(packed.rays, ray_channels(found.camera.rays).numpy(), atol=1e-3)
        assert not packed.metric


def test_nothing_is_learned_where_the_network_doubts_itself(tmp_path):
    assert pack(case(tmp_path / "patient", Wall(log_std=math.log(0.5))), tmp_path / "store") == 0
    assert (StillStore.read([tmp_path / "store"])[0].depth == 0).all()


def test_a_case_that_is_not_trusted_teaches_nothing(tmp_path, capsys):
    refused = case(tmp_path / "refused", Wall(), accepted=False)
    assert pack(refused, tmp_path / "store") == 2
    assert "was not accepted" in capsys.readouterr().err
    (refused / "run" / "result.json").unlink()
    assert pack(refused, tmp_path / "store") == 2
    assert "has no run/result.json" in capsys.readouterr().err
    assert not (tmp_path / "store" / "refused").exists()


def test_a_second_call_keeps_what_is_packed(tmp_path, capsys):
    folder = case(tmp_path / "patient", Wall())
    assert pack(folder, tmp_path / "store") == 0
    before = (tmp_path / "store" / "patient" / "images.npy").stat().st_mtime_ns
    assert pack(folder, tmp_path / "store") == 0
    assert "1 clips, 0 frames of 0 packed now" in capsys.readouterr().out.replace("\n", " ")
    assert (tmp_path / "store" / "patient" / "images.npy").stat().st_mtime_ns == before
    assert read_result(tmp_path / "store" / "patient")["metric"] is False


def test_a_clip_with_true_depth_is_packed(tmp_path):
    clip = tmp_path / "tubes" / "one"
    sequence = tube_clip(clip)
    camera_file.write(sequence.cameras[0], clip / "camera.yaml")
    arguments = ["stills", "--out", str(tmp_path / "store"), "--size", "72x60", "--frames", "4"]
    assert main([*arguments, "--clips", str(tmp_path / "tubes")]) == 0
    assert [path.name for path in (tmp_path / "store").iterdir() if path.is_dir()] == ["tubes_one"]
    frames, truth = StillStore.read([tmp_path / "store"]), depth_maps.true_maps(clip)
    assert len(frames) == 4
    expected = truth[sequence.frame_names[0]].numpy()  # 96 x 80, of which 72 x 60 are three quarters
    known = frames[0].depth > 0
    middle = cv2.resize(expected, (72, 60), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_allclose(frames[0].depth[known], middle[known], rtol=2e-3)
    assert known.mean() > 0.7 and not (frames[0].labels & FOREIGN).any()
    rays = sequence.cameras[0].resized((72, 60)).rays
    np.testing.assert_allclose(frames[0].rays, ray_channels(rays).numpy(), atol=5e-3)


def test_simulated_patients_keep_their_number(tmp_path, capsys):
    clip = tmp_path / "colon" / "patient_00007" / "clip_00"
    camera_file.write(tube_clip(clip).cameras[0], clip / "camera.yaml")
    (clip.parent / "patient.yaml").write_text("seed: 7\nanatomy: colon\n")
    assert (
        main(["stills", "--out", str(tmp_path / "store"), "--size", "72x60", "--clips", str(tmp_path / "colon")]) == 0
    )
    (patient,) = StillStore.read([tmp_path / "store"]).patients
    assert (patient.anatomy, patient.seed) == ("colon", 7)
    (tmp_path / "empty").mkdir()
    assert main(["stills", "--out", str(tmp_path / "other"), "--clips", str(tmp_path / "empty")]) == 2
    assert "holds no clip with true depth" in capsys.readouterr().err


def test_a_dataset_with_depth_alone_is_packed(tmp_path):
    folder = tmp_path / "c3vd"
    folder.mkdir()
    truth = write_c3vd(folder, OMNI, INTRINSICS)
    assert main(["stills", "--out", str(tmp_path / "store"), "--size", "80x64", "--clips", str(folder)]) == 0
    (patient,) = StillStore.read([tmp_path / "store"]).patients
    assert (patient.anatomy, patient.frames, patient.metric) == ("clip", len(truth.images), True)
    known = patient.depth[0] > 0
    assert known.any() and patient.depth[0][known].max() <= truth.depth[0].max() * 1.01


def test_a_frame_of_another_shape_is_not_stretched():
    tall = np.full((40, 10, 3), 7, np.uint8)
    laid = fitted(tall, (30, 20), 1)
    assert laid.shape == (20, 30, 3)
    across = np.flatnonzero(laid.any((0, 2)))
    assert len(across) == 5 and abs(across.mean() - 14.5) < 1 and laid.any((1, 2)).all()


def test_a_clip_of_unknown_scale_teaches_shape_alone():
    depth = torch.full((2, 8, 8), 20.0)
    depth[:, 4:] = 30.0
    twice = DepthPrediction((2 * depth / 20.0).log())
    known = TrueDepthLoss()(twice, depth, torch.tensor([True, True]))
    half = TrueDepthLoss()(twice, depth, torch.tensor([True, False]))
    none = TrueDepthLoss()(twice, depth, torch.tensor([False, False]))
    assert float(known["scale"]) == pytest.approx(math.log(2), rel=1e-2)
    assert float(half["scale"]) == pytest.approx(float(known["scale"]) / 2) and float(none["loss"]) < 1e-5


def test_a_batch_knows_whose_scale_is_known():
    plain = torch.zeros(2, 3, 4, 4)
    batch = StillBatch(plain, plain[:, 0], plain[:, :2], plain[:, 0] > 0, torch.arange(2), torch.tensor([True, False]))
    assert batch.to("cpu").metric.tolist() == [True, False] and len(replace(batch, images=plain)) == 2
