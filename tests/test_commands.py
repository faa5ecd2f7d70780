"""The command contract: exit codes, files and fields, and one line for everything that can be wrong."""

import errno
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

import depthscope.supervision.store as store_module
from depthscope import cli
from depthscope.cli import VERBS, main, overview
from depthscope.errors import BadInputError
from depthscope.evaluation.frame_names import same_frames
from depthscope.formats import camera_file, depth_maps, read_sequence, write_sequence
from depthscope.recipes import to_yaml
from depthscope.training import BEST, LAST, load_checkpoint, save_checkpoint
from depthscope.workspace import writing_folder
from tiny_runs import Wall, tiny, tube_clip, wall_run


@dataclass(frozen=True)
class Stages:
    """Folders that the verbs left; never changed by a test."""

    clip: Path
    config: Path
    run: Path
    prediction: Path
    at_points: Path
    at_pixels: Path


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    place = tmp_path_factory.mktemp("stages")
    clip, config, run, prediction = place / "clip", place / "tiny.yaml", place / "run", place / "prediction"
    tube_clip(clip)
    config.write_text(to_yaml(tiny(steps=6)))
    for arguments in (
        ["train", clip, "--out", run, "--config", config],
        ["predict", run, clip, "--out", prediction, "--sequence", clip, "--clouds", 3],
        ["evaluate", prediction, clip, "--out", place / "points", "--gap", 2, "--run", run],
        ["evaluate", prediction, clip / "depth", "--out", place / "pixels"],
    ):
        assert main([str(argument) for argument in arguments]) == 0
    return Stages(clip, config, run, prediction, place / "points", place / "pixels")


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text("utf-8"))


def call(*arguments) -> int:
    """The exit code, also where the parser of options ends the process itself."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


# --- what the verbs leave


def test_train_leaves_what_the_contract_says(stages):
    found = result(stages.run)
    assert found["steps"] == 6 and found["seconds"] > 0 and found["pairs_per_second"] > 0
    assert 0 <= found["data_wait"] < 1 and found["precision"] == "fp32"
    assert set(found["validation"]) >= {"score", "abs_rel", "median", "scale_drift"}
    assert found["recipe"] == "tiny" and found["sequences"] == ["clip"]
    names = {path.name for path in stages.run.iterdir()}
    assert names == {
        *(LAST, BEST, "recipe.yaml", "result.json", "provenance.yaml"),
        *("log.csv", "validation.csv", "speed.csv", "tensorboard", "store"),
    }
    assert list((stages.run / "tensorboard").iterdir())


def test_predict_leaves_what_the_contract_says(stages):
    found = result(stages.prediction)
    assert found["frames"] == 8 and found["seconds"] > 0 and found["unit"] == "sfm"
    assert found["frames_per_second"] == pytest.approx(8 / found["seconds"])
    assert found["undistorted"] is False and found["depth"] == "z"
    camera = camera_file.read(stages.prediction / "camera.yaml")
    assert list(camera.size_px) == found["size_px"] and camera.model == "pinhole"
    names = [f"{number:04d}" for number in range(8)]
    assert sorted(path.name for path in (stages.prediction / "depth").iterdir()) == [f"{n}.tiff" for n in names]
    assert sorted(path.name for path in (stages.prediction / "preview").iterdir()) == [f"{n}.png" for n in names]
    assert sorted(path.name for path in (stages.prediction / "cloud").iterdir()) == [
        "0000.ply",
        "0003.ply",
        "0006.ply",
    ]
    assert sorted(path.name for path in (stages.prediction / "std").iterdir()) == [f"{n}.tiff" for n in names]
    std = cv2.imread(str(stages.prediction / "std" / "0000.tiff"), cv2.IMREAD_UNCHANGED)
    stored = cv2.imread(str(stages.prediction / "depth" / "0000.tiff"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.float32 and list(stored.shape[::-1]) == found["size_px"]
    assert std.shape == stored.shape and ((std > 0) == (stored > 0)).all() and (std <= stored).all()
    assert found["size_px"][0] / found["size_px"][1] == pytest.approx(96 / 80, abs=0.6 / 70)  # whole pixels
    assert (stages.prediction / "video.mp4").stat().st_size > 1000


def test_evaluate_leaves_what_the_contract_says(stages):
    metrics = {"abs_rel", "sq_rel", "rmse", "rmse_log", "delta1", "delta2", "delta3"}
    for folder, protocol in ((stages.at_points, "sfm-points-1"), (stages.at_pixels, "dense-1")):
        found = result(folder)
        assert set(found["alignment"]) == {"per_frame_median", "per_sequence"}
        assert all(set(values) == metrics for values in found["alignment"].values())
        assert found["protocol"] == protocol and found["frames"] == 8 and found["scale_drift"] >= 0
        assert len((folder / "frames.csv").read_text("utf-8").splitlines()) == 9
    assert result(stages.at_points)["points"] == "kept from training"
    assert result(stages.at_points)["cross_view"]["gap"] == 2
    assert 0 < result(stages.at_points)["cross_view"]["mean_relative_difference"] < 1


def test_every_result_says_where_it_comes_from(stages):
    for folder in (
        stages.run,
        stages.prediction,
        stages.at_points,
        stages.at_pixels,
    ):
        record = yaml.safe_load((folder / "provenance.yaml").read_text("utf-8"))
        assert set(record) == {"command", "options", "inputs", "versions", "machine", "finished", "seconds"}
        assert all(len(value) == 64 for value in record["inputs"].values())
        assert record["versions"]["torch"] == torch.__version__
    record = yaml.safe_load((stages.run / "provenance.yaml").read_text("utf-8"))
    assert record["options"]["training"]["steps"] == 6


def test_predict_without_a_sequence_is_relative_and_may_say_its_deviation(stages, tmp_path):
    run = wall_run(tmp_path / "run", Wall(log_std=-2.0), (64, 56))
    assert call("predict", run, stages.clip / "images", "--out", tmp_path / "out", "--no-video") == 0
    assert result(tmp_path / "out")["unit"] == "relative"
    assert not (tmp_path / "out" / "cloud").exists() and not (tmp_path / "out" / "video.mp4").exists()
    depth, std = (depth_maps.read(tmp_path / "out" / name / "0003.tiff") for name in ("depth", "std"))
    torch.testing.assert_close(std, depth * np.exp(-2.0), rtol=1e-5, atol=0)  # single precision


def test_a_new_prediction_replaces_an_older_one_whole(stages, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(stages.prediction, out)
    (out / "depth" / "old.tiff").write_bytes(b"old")
    assert call("predict", stages.run, stages.clip, "--out", out, "--clouds", 0, "--no-video") == 0
    assert not (out / "depth" / "old.tiff").exists() and not (out / "cloud").exists()


def test_a_finished_run_that_is_resumed_is_still_finished(stages, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(stages.run, run)
    assert call("train", stages.clip, "--out", run, "--resume") == 0
    assert result(run)["steps"] == 6
    assert result(run)["validation"] == result(stages.run)["validation"]
    before, after = (load_checkpoint(place / LAST)["network"] for place in (stages.run, run))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_evaluate_where_a_frame_has_no_points(stages, tmp_path):
    clip = read_sequence(stages.clip)
    write_sequence(clip.with_observations(clip.observations.frame != 3), tmp_path / "clip", "colmap")
    assert call("evaluate", stages.prediction, tmp_path / "clip", "--out", tmp_path / "out", "--gap", 2) == 0
    assert result(tmp_path / "out")["skipped"] == ["0003"] and result(tmp_path / "out")["frames"] == 7


def test_the_overview_names_every_verb_and_every_verb_exists(capsys):
    assert main([]) == main(["--help"]) == 0
    assert capsys.readouterr().out == 2 * (overview() + "\n")
    for verb, summary in VERBS.items():
        assert f"  {verb} " in overview() and summary in overview()
        module = importlib.import_module(f"depthscope.commands.{verb}")
        assert hasattr(module, "parse") or callable(getattr(module, verb))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    assert call(verb, "--help") == 0
    told = capsys.readouterr().out
    assert f"depthscope {verb}" in told and "--out" in told or verb == "convert"


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("depthscope 0.")


def test_an_unknown_verb_or_option_has_exit_code_2(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err.startswith("error: no verb 'trian'; expected one of demo, ")
    for arguments in (
        ["train", "clip", "--out", "run", "--stpes", "3"],
        ["predict", "run"],
        ["evaluate", "--gap", "x"],
    ):
        assert call(*arguments) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_the_package_is_the_command_too():
    done = subprocess.run([sys.executable, "-m", "depthscope", "no-such"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no verb 'no-such'" in done.stderr


def test_the_overview_loads_nothing_heavy():
    """Each of these alone takes longer than the 0.3 s that --help may take."""
    code = (
        "import sys; from depthscope.cli import main; main(['--help']);"
        "heavy = {'torch', 'numpy', 'tyro', 'cv2', 'yaml', 'rich'};"
        "print(*heavy.intersection(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == ""
    assert done.stdout.startswith("usage: depthscope")


def test_verbose_shows_where_an_error_came_from(tmp_path):
    from depthscope.errors import BadInputError

    with pytest.raises(BadInputError):
        main(["inspect", str(tmp_path / "nothing"), "--verbose"])


# --- bad input: exit code 2, one line, nothing half-written


def short(stages, tmp_path):
    """One frame is left: COLMAP text with the first image only."""
    clip = tmp_path / "short"
    write_sequence(read_sequence(stages.clip), clip, "colmap-text")
    images, points = next(clip.rglob("images.txt")), next(clip.rglob("points3D.txt"))
    lines = [line for line in images.read_text("utf-8").splitlines() if not line.startswith("#")]
    images.write_text("\n".join(lines[:2]) + "\n")
    first, kept = lines[0].split()[0], []
    for line in points.read_text("utf-8").splitlines():
        words = line.split()
        tracks = [words[n : n + 2] for n in range(8, len(words), 2) if words[n] == first]
        if tracks and not line.startswith("#"):
            kept.append(" ".join([*words[:8], *tracks[0]]))
    points.write_text("\n".join(kept) + "\n")
    return clip


def changed_clip(stages, tmp_path, change):
    clip = tmp_path / "changed"
    shutil.copytree(stages.clip, clip)
    change(clip)
    return clip


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def train_on(clip, stages, tmp_path, *more):
    return ["train", clip, "--out", tmp_path / "out", "--config", stages.config, *more]


def predict_on(source, stages, tmp_path, *more):
    return ["predict", stages.run, source, "--out", tmp_path / "out", *more]


def with_mask(stages, tmp_path, *, hidden: bool) -> Path:
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), np.full((80, 96), 0 if hidden else 255, np.uint8))
    return path


def black_mask_clip(stages, tmp_path):
    return changed_clip(
        stages, tmp_path, lambda clip: cv2.imwrite(str(clip / "mask.png"), np.zeros((80, 96), np.uint8))
    )


def copy_of_run(stages, tmp_path):
    shutil.copytree(stages.run, tmp_path / "out")
    return tmp_path / "out"


def damaged_run(stages, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(stages.run / BEST, run / BEST)
    truncate(run / BEST)
    return run


def a_file(tmp_path) -> Path:
    (tmp_path / "file").write_text("not a folder")
    return tmp_path / "file"


BAD_INPUT = {
    "sequence missing": (lambda r, t: train_on(t / "nowhere", r, t), "does not exist"),
    "no sequence": (lambda r, t: train_on(r.clip / "images", r, t), "8 images and no structure from motion"),
    "no sequences": (lambda r, t: ["train", "--out", t / "out", "--config", r.config], "no sequences"),
    "the same twice": (
        lambda r, t: ["train", r.clip, r.clip, "--out", t / "out", "--config", r.config],
        "two sequences called",
    ),
    "config missing": (
        lambda r, t: ["train", r.clip, "--out", t / "out", "--config", t / "no.yaml"],
        "no.yaml is missing",
    ),
    "unknown recipe": (lambda r, t: train_on(r.clip, r, t, "--recipe", "best"), "no recipe 'best'"),
    "one frame": (lambda r, t: train_on(short(r, t), r, t), "1 registered frames"),
    "no common points": (
        lambda r, t: train_on(r.clip, r, t, "--supervision.pairs.min-points", "5000"),
        "no two frames see enough of the same points",
    ),
    "image missing": (
        lambda r, t: train_on(changed_clip(r, t, lambda c: (c / "images" / "0003.png").unlink()), r, t),
        "0003.png",
    ),
    "image cut short": (
        lambda r, t: train_on(changed_clip(r, t, lambda c: truncate(c / "images" / "0003.png")), r, t),
        "0003.png",
    ),
    "mask hides everything": (lambda r, t: train_on(black_mask_clip(r, t), r, t), "hides everything"),
    "mask too small": (
        lambda r, t: train_on(r.clip, r, t, "--supervision.erosion-px", "60"),
        "after the mask was shrunk",
    ),
    "steps": (lambda r, t: train_on(r.clip, r, t, "--steps", "0"), "training.steps 0"),
    "batch": (lambda r, t: train_on(r.clip, r, t, "--training.batch", "-1"), "training.batch -1"),
    "learning rate": (
        lambda r, t: train_on(r.clip, r, t, "--training.optimiser.learning-rate", "50"),
        "learning rate of 50",
    ),
    "size": (lambda r, t: train_on(r.clip, r, t, "--supervision.size-px", "60", "50"), "multiples of 8"),
    "network width": (lambda r, t: train_on(r.clip, r, t, "--network.width", "7"), "network.width 7"),
    "run exists": (
        lambda r, t: ["train", r.clip, "--out", copy_of_run(r, t), "--config", r.config],
        "holds a run already",
    ),
    "nothing to resume": (lambda r, t: train_on(r.clip, r, t, "--resume"), "is missing"),
    "resumed with another recipe": (
        lambda r, t: ["train", r.clip, "--out", copy_of_run(r, t), "--resume", "--recipe", "paper-2018"],
        "trained with another recipe",
    ),
    "resumed with another option": (
        lambda r, t: ["train", r.clip, "--out", copy_of_run(r, t), "--resume", "--training.seed", "4"],
        "'seed: 0' to 'seed: 4'",
    ),
    "train below a file": (
        lambda r, t: ["train", r.clip, "--out", a_file(t) / "run", "--config", r.config],
        "cannot write",
    ),
    "train in a file": (lambda r, t: ["train", r.clip, "--out", a_file(t), "--config", r.config], "cannot write"),
    "run missing": (lambda r, t: ["predict", t / "nowhere", r.clip, "--out", t / "out"], "is missing"),
    "run damaged": (lambda r, t: ["predict", damaged_run(r, t), r.clip, "--out", t / "out"], "cannot be read"),
    "input missing": (lambda r, t: predict_on(t / "nowhere", r, t), "is missing"),
    "input of another kind": (lambda r, t: predict_on(a_file(t), r, t), "no folder, image or video"),
    "frame cut short": (
        lambda r, t: predict_on(changed_clip(r, t, lambda c: truncate(c / "images" / "0005.png")) / "images", r, t),
        "0005.png",
    ),
    "mask hides every frame": (
        lambda r, t: predict_on(r.clip / "images", r, t, "--mask", with_mask(r, t, hidden=True)),
        "hides everything",
    ),
    "camera missing": (lambda r, t: predict_on(r.clip / "images", r, t, "--camera", t / "camera.yaml"), "camera.yaml"),
    "batch of frames": (lambda r, t: predict_on(r.clip, r, t, "--batch", "0"), "--batch 0"),
    "predict below a file": (lambda r, t: ["predict", r.run, r.clip, "--out", a_file(t) / "out"], "cannot write"),
    "predict in a file": (lambda r, t: ["predict", r.run, r.clip, "--out", a_file(t)], "is a file"),
    "no predictions": (lambda r, t: ["evaluate", t, r.clip, "--out", t / "out"], "holds no depth maps"),
    "no truth": (lambda r, t: ["evaluate", r.prediction, t / "nowhere", "--out", t / "out"], "nowhere is missing"),
    "gap": (lambda r, t: ["evaluate", r.prediction, r.clip, "--out", t / "out", "--gap", "0"], "--gap 0"),
    "run without held-out points": (
        lambda r, t: ["evaluate", r.prediction, r.clip, "--out", t / "out", "--run", t / "nowhere"],
        "is missing",
    ),
    "evaluate below a file": (
        lambda r, t: ["evaluate", r.prediction, r.clip, "--out", a_file(t) / "out"],
        "cannot write",
    ),
    "demo of no steps": (lambda r, t: ["demo", "--out", t / "out", "--steps", "0"], "training.steps 0"),
    "demo of two frames": (lambda r, t: ["demo", "--out", t / "out", "--frames", "2"], "--frames 2"),
    "nothing to inspect": (lambda r, t: ["inspect", t / "nowhere"], "does not exist"),
    "nothing to convert": (lambda r, t: ["convert", t / "nowhere", t / "out", "--to", "jhu"], "does not exist"),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


def assert_told_in_one_line(code: int, error: str, told: str) -> None:
    assert code == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and error.endswith("\n"), error
    assert told in error


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(case, stages, tmp_path, capsys):
    arguments, told = BAD_INPUT[case]
    given = arguments(stages, tmp_path)
    before = contents(tmp_path)
    capsys.readouterr()
    code = call(*given)
    assert_told_in_one_line(code, capsys.readouterr().err, told)
    assert contents(tmp_path) == before


@pytest.fixture
def full_disk(monkeypatch):
    """A disk on which nothing more can be written by the function that is named."""

    def no_space(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda place, name: monkeypatch.setattr(place, name, no_space)


def test_a_disk_full_of_frames(stages, tmp_path, capsys, full_disk):
    full_disk(store_module.json, "dumps")  # at the end of writing the store
    code = call(*train_on(stages.clip, stages, tmp_path))
    assert_told_in_one_line(code, capsys.readouterr().err, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_full_at_the_checkpoint(stages, tmp_path, capsys, full_disk):
    full_disk(torch, "save")
    code = call(*train_on(stages.clip, stages, tmp_path))
    error = capsys.readouterr().err
    assert_told_in_one_line(code, error, "No space left on device")
    assert list(tmp_path.iterdir()) == [] and "give the call again" in error  # as there is nothing to resume


def test_a_full_disk_is_told_in_the_words_of_the_system(tmp_path, monkeypatch):
    """PyTorch tells of an "enforce fail" where the file it writes to cannot grow."""

    class Full(io.BytesIO):
        def write(self, content):
            if self.tell() > 1000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(content)

    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *a, **k: Full() if path.parent == tmp_path else opened(path, *a, **k)
    )
    with pytest.raises(BadInputError, match=r"\(No space left on device\).*; free space and give the call again"):
        save_checkpoint(tmp_path / LAST, {"weights": torch.zeros(10_000)})


def test_a_disk_full_while_resuming_spares_the_run(stages, tmp_path, capsys, full_disk, monkeypatch):
    run = tmp_path / "run"
    monkeypatch.setattr("depthscope.training.loop._any_process", lambda fabric, stop: True)
    assert call("train", stages.clip, "--out", run, "--config", stages.config) == 130
    monkeypatch.undo()
    left = (run / LAST).read_bytes()
    full_disk(torch, "save")
    capsys.readouterr()
    code = call("train", stages.clip, "--out", run, "--resume")
    assert_told_in_one_line(code, capsys.readouterr().err, "free space and give the call again")
    assert (run / LAST).read_bytes() == left
    monkeypatch.undo()
    assert call("train", stages.clip, "--out", run, "--resume") == 0


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_a_disk_full_at_the_end(verb, stages, tmp_path, capsys, full_disk):
    full_disk(importlib.import_module("depthscope.workspace"), "write_provenance")
    first, second = (stages.run, stages.clip) if verb == "predict" else (stages.prediction, stages.clip)
    code = call(verb, first, second, "--out", tmp_path / "out")
    assert_told_in_one_line(code, capsys.readouterr().err, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_termination_leaves_no_half_written_folder(tmp_path, monkeypatch, capsys):
    def work(verb, arguments):
        with writing_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("of it")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli, "run", work)
    assert cli.main(["predict"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    "truths, maps, expected",
    [
        (["0001", "0002"], ["0002", "0003"], {"0002": "0002"}),
        (["0000", "0001", "0007"], ["frame_000001", "frame_000000"], {"0000": "frame_000000", "0001": "frame_000001"}),
    ],
)
def test_frames_are_matched_by_name_or_else_by_number(truths, maps, expected):
    assert same_frames(truths, maps) == expected


@pytest.mark.parametrize("truths, maps", [(["a"], ["b"]), (["1"], ["x_1", "y_1"]), (["x_1", "y_01"], ["z_1"])])
def test_frames_that_cannot_be_told_apart_are_not_matched(truths, maps):
    with pytest.raises(BadInputError, match="has a prediction"):
        same_frames(truths, maps)
