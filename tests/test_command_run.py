"""``depthscope run`` and ``demo``: the whole pipeline in one case folder, nothing twice, and refusals that say why."""

import json
import os
import shutil

import pytest
import torch

from depthscope.case import RECORD
from depthscope.cli import main
from depthscope.errors import NoAnswerError
from depthscope.formats import colmap, ply, read_sequence
from depthscope.pipeline.cases import sequence_of
from depthscope.recipes import to_yaml
from depthscope.sequence import Sequence
from tiny_runs import tiny, tube_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A clip that carries the verdict of an earlier call: refused."""
    folder = tmp_path_factory.mktemp("run") / "clip"
    tube_clip(folder)
    stored = {"accepted": False, "outcome": "refused", "reasons": ["the path jumps"]}
    (folder / "result.json").write_text(json.dumps(stored))
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(to_yaml(tiny(steps=4)))
    return path


@pytest.fixture(scope="module")
def case(clip, config, tmp_path_factory):
    out = tmp_path_factory.mktemp("case") / "case"
    assert main(["run", str(clip), "--out", str(out), "--config", str(config), "--accept-rejected"]) == 0
    return out


def test_a_sequence_becomes_a_surface(case, clip):
    assert {path.name for path in case.iterdir()} == {
        RECORD,
        "log.txt",
        "sequence",
        "run",
        "prediction",
        "surface",
        "report",
    }
    surface = ply.read(case / "surface" / "surface.ply")
    assert len(surface.points) > 300 and surface.unit == read_sequence(clip).unit
    assert json.loads((case / "prediction" / "result.json").read_text("utf-8"))["frames"] == len(read_sequence(clip))


def test_accept_rejected_goes_on_after_a_stored_refusal(case, clip):
    assert json.loads((clip / "result.json").read_text("utf-8"))["accepted"] is False
    assert json.loads((case / "run" / "result.json").read_text("utf-8"))["steps"] >= 4
    assert (case / "surface" / "result.json").is_file()


def refusing(outcome, registered):
    """In the place of `depthscope reconstruct`: writes what it says of a clip that is not accepted."""

    def reconstruct(source, folder, camera, masks=None):
        folder.mkdir(parents=True)
        said = {"accepted": False, "outcome": outcome, "reasons": ["no parallax: move"], "registered": registered}
        (folder / "result.json").write_text(json.dumps(said))
        return 3

    return reconstruct


@pytest.mark.parametrize(("outcome", "word"), [("refused", "was refused"), ("cannot tell", "cannot be confirmed")])
def test_a_reconstruction_that_is_not_accepted_ends_the_run_in_its_own_words(tmp_path, monkeypatch, outcome, word):
    monkeypatch.setattr("depthscope.pipeline.reconstruction.reconstruct_folder", refusing(outcome, 30))
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(NoAnswerError, match=f"{word}: no parallax: move; .*--accept-rejected"):
        sequence_of(tmp_path / "clip.mp4", None, tmp_path / "out", accept_rejected=False)
    sequence_of(tmp_path / "clip.mp4", None, tmp_path / "again", accept_rejected=True)  # goes on


def test_without_any_placed_frame_there_is_nothing_to_go_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr("depthscope.pipeline.reconstruction.reconstruct_folder", refusing("refused", 0))
    with pytest.raises(NoAnswerError) as caught:
        sequence_of(tmp_path / "clip.mp4", None, tmp_path / "out", accept_rejected=True)
    assert "--accept-rejected" not in str(caught.value)


def test_a_second_call_does_nothing_and_other_steps_redo_what_depends_on_them(case, clip, config, capsys):
    before = {path: path.stat().st_mtime_ns for path in case.glob("*/result.json")}
    again = ["run", str(clip), "--out", str(case), "--config", str(config), "--accept-rejected"]
    assert main(again) == 0
    assert capsys.readouterr().out.count("up to date") == 5
    assert {path: path.stat().st_mtime_ns for path in case.glob("*/result.json")} == before
    assert main([*again, "--steps", "5"]) == 0
    told = capsys.readouterr().out
    assert told.count("up to date") == 1 and "[2/5] train" in told
    assert json.loads((case / "run" / "result.json").read_text("utf-8"))["steps"] == 5


def shuffled(clip, folder) -> Sequence:
    """The clip with the poses of other frames."""
    sequence = read_sequence(clip)
    shutil.copytree(clip / "images", folder / "images")
    order = torch.randperm(len(sequence), generator=torch.Generator().manual_seed(1))
    broken = Sequence(
        name="shuffled",
        images=tuple(folder / "images" / path.name for path in sequence.images),
        cameras=sequence.cameras,
        camera_from_world=sequence.camera_from_world[order],
        points=sequence.points,
        observations=sequence.observations,
    )
    colmap.write(broken, folder)
    return broken


def test_a_refused_sequence_ends_the_run_with_its_reasons(clip, config, tmp_path, capsys):
    shuffled(clip, tmp_path / "clip")
    out = tmp_path / "case"
    assert main(["run", str(tmp_path / "clip"), "--out", str(out), "--config", str(config)]) == 3
    told = capsys.readouterr().err
    assert told.startswith("error: the structure from motion of") and "was refused" in told and told.count("\n") == 1
    assert json.loads((out / "sequence" / "result.json").read_text("utf-8"))["accepted"] is False
    assert not (out / "run").exists()
    assert "was refused" in (out / "report" / "index.html").read_text("utf-8")


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["run", "nowhere", "--out", "case"], "nowhere is missing"),
        (["run", "{clip}", "--out", "case", "--camera", "camera.yaml"], "a sequence has its own"),
        (["run", "{clip}", "--out", "case", "--recipe", "slow"], "no recipe 'slow'"),
        (["run", "{clip}", "--out", "{clip}"], "is no case"),
    ],
)
def test_bad_input_is_one_line(clip, tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "camera.yaml").touch()
    assert main([argument.format(clip=clip) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif("DEPTHSCOPE_DEMO" not in os.environ, reason="seven minutes alone: `make demo` walks it too")
@pytest.mark.timeout(1500)
def test_the_demo_brings_a_patient_to_a_surface_in_mm(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--steps", "200"]) == 0
    told = capsys.readouterr().out
    assert "mm from the true one in the median" in told
    found = json.loads((out / "surface_error" / "result.json").read_text("utf-8"))
    assert found["surface"]["accuracy"]["median"] < 1.0
    assert found["path"]["ate_of_extent"] < 0.1 and found["path"]["rotation_deg"] < 10
    depth = json.loads((out / "depth_error" / "result.json").read_text("utf-8"))["alignment"]
    assert depth["per_frame_median"]["abs_rel"] < 0.12
    assert main(["demo", "--out", str(out), "--steps", "200"]) == 0
    assert "8 stages were up to date" in capsys.readouterr().out
