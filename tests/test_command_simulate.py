import errno
import json
import os
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
import yaml

from depthscope.cli import main
from depthscope.commands.simulate import simulate as verb
from depthscope.errors import BadInputError
from depthscope.formats import camera_file, depth_maps, read_sequence
from depthscope.simulation import anatomy as anatomies
from depthscope.simulation.anatomy import Anatomy, patient
from depthscope.simulation.clip_files import movies
from depthscope.simulation.patients import schedule
from depthscope.simulation.patients.options import light_of
from depthscope.video import video_size


@lru_cache(maxsize=4)
def coarse_patient(*args) -> Anatomy:
    """Anatomy on a coarse mesh, built once: these tests are about files."""
    return patient(*args, spacing_mm=0.8)


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    monkeypatch.setattr(anatomies, "patient", coarse_patient)


def simulated(out: Path, *more: str) -> int:
    options = ["--frames", "4", "--size", "64x48", "--board-frames", "2", "--seed", "2", "--workers", "1"]
    return main(["simulate", "--out", str(out), *options, *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "sim"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anatomies, "patient", coarse_patient)
        assert simulated(out) == 0
    return out


def test_everything_that_the_contract_names_is_there_and_loads(folder):
    person, clip = folder / "patient_00002", folder / "patient_00002" / "clip_00"
    assert (person / "ct.nii.gz").is_file() and (person / "anatomy.ply").is_file()
    landmarks = json.loads((person / "landmarks.json").read_text("utf-8"))
    assert landmarks["frame"] == "LPS" and len(landmarks["landmarks"]) >= 5
    told = yaml.safe_load((person / "patient.yaml").read_text("utf-8"))
    assert told["split"] == "train" and told["subject"]["look"]["contrast"] > 0
    assert video_size(clip / "video.mp4") == (4, (64, 48)) and video_size(clip / "board.mp4")[0] == 2
    depth = [depth_maps.read(p) for p in depth_maps.listed(clip).values()]
    assert len(depth) == 4 and all(float((d > 0).float().mean()) > 0.3 for d in depth)
    for name, count in (("images", 4), ("normals", 4), ("flow", 3), ("masks/highlight", 4), ("masks/shadow", 4)):
        assert len(list((clip / name).glob("*.png"))) == count
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert result["clips"] == ["patient_00002/clip_00"] and result["frames"] == 4


def test_the_sequence_is_ready_and_true(folder):
    clip = folder / "patient_00002" / "clip_00"
    sequence = read_sequence(clip)
    assert len(sequence) == 4 and sequence.cameras[0].model == camera_file.read(clip / "camera.yaml").model == "brown"
    maps = torch.stack([depth_maps.read(p) for p in depth_maps.listed(clip).values()])
    seen, pixels = sequence.observations, sequence.observations.pixels
    assert pixels is not None
    column, row = pixels.long().unbind(-1)
    inside = (column >= 0) & (column < 64) & (row >= 0) & (row < 48)
    truth = maps[seen.frame[inside], row[inside], column[inside]].double()
    error = (sequence.observed_depths[inside] / truth - 1).abs()
    assert float(error[truth > 0].median()) < 0.03


def test_normals_are_those_of_the_depth(folder):
    clip = folder / "patient_00002" / "clip_00"
    normals = cv2.imread(str(clip / "normals" / "0001.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    known = (normals > 0).any(-1)
    length = np.linalg.norm(normals[known] / 65535 * 2 - 1, axis=-1)
    assert abs(length - 1).max() < 1e-3


def test_what_is_there_is_not_done_again_and_more_may_be_asked_for(folder, capsys):
    clip = folder / "patient_00002" / "clip_00"
    before = (clip / "video.mp4").stat().st_mtime_ns
    assert simulated(folder) == 0
    assert (clip / "video.mp4").stat().st_mtime_ns == before
    assert json.loads((folder / "result.json").read_text("utf-8"))["frames_made"] == 0
    assert simulated(folder, "--preset", "hard") == 2
    assert "was made with preset typical" in capsys.readouterr().err


def test_same_bytes_for_any_number_of_workers_and_after_a_lost_clip(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "FRAMES_AT_ONCE", 1)  # other jobs, other order: the same frames
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    shutil.rmtree(again / "patient_00002" / "clip_00")
    assert simulated(again) == 0
    files = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and p.name != "result.json"]
    assert len(files) > 25
    for name in files:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one(tmp_path):
    call = "import sys; from depthscope.cli import main; sys.exit(main())"  # a coarse mesh would not reach the workers
    for workers in ("1", "2"):
        arguments = ["--frames", "8", "--size", "64x48", "--board-frames", "2", "--workers", workers]
        subprocess.run([sys.executable, "-c", call, "simulate", "--out", tmp_path / workers, *arguments], check=True)
    files = [p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*") if p.is_file()]
    for name in files:
        if name.name != "result.json":
            one, two = ((tmp_path / workers / name).read_bytes() for workers in ("1", "2"))
            same = one == two  # not in the assertion: pytest would explain the difference for minutes
            assert same, name


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--patients", "0"), "--patients 0"),
        (("--frames", "1"), "at least 3"),
        (("--size", "big"), "WIDTHxHEIGHT"),
        (("--size", "8x8"), "32 to 8192"),
        (("--variety", "2"), "0 to 1"),
        (("--seed", "9999", "--patients", "2"), "0 to 9999"),
        (("--split", "test", "--seed", "1000"), "0 to 999"),
        (("--size", "65x48"), "even numbers"),
        (("--faults", "smoke=1"), "fault 'smoke'"),
        (("--faults", "fog=1.5"), "severity from 0 to 1"),
        (("--light", "sun"), "one of colonoscope_effective"),
        (("--light", "absent.yaml"), "cannot be read"),
        (("--swelling", "3"), "0 to 1.5 mm"),
        (("--workers", "-1"), "0 or more"),
    ],
)
def test_bad_options_are_told_in_one_line(tmp_path, capsys, options, told):
    assert main(["simulate", "--out", str(tmp_path / "sim"), *options]) == 2
    message = capsys.readouterr().err
    assert told in message and message.count("\n") == 1 and not (tmp_path / "sim").exists()


def test_more_lamps_than_the_model_knows_are_refused(tmp_path, capsys):
    told = {"lamps": [{"position_mm": [1.0, 0.0, 0.0], "spread": 1.5}] * 9, "gamma": 2.2}
    for content, message in ((told, "9 light sources"), ({"lamp": []}, "lamp"), ([1], "scope.yaml")):
        (tmp_path / "scope.yaml").write_text(yaml.safe_dump(content))
        assert main(["simulate", "--out", str(tmp_path / "sim"), "--light", str(tmp_path / "scope.yaml")]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1 and not (tmp_path / "sim").exists()
    (tmp_path / "scope.yaml").write_text(yaml.safe_dump(told | {"lamps": told["lamps"][:8]}))
    found = light_of(str(tmp_path / "scope.yaml"))
    assert found is not None and len(found.lamps) == 8 and found.lamps[0].spread == 1.5


def test_an_unknown_anatomy_is_refused(tmp_path):
    with pytest.raises(SystemExit) as refused:
        main(["simulate", "--out", str(tmp_path / "sim"), "--anatomy", "ear"])
    assert refused.value.code == 2 and not (tmp_path / "sim").exists()


@pytest.mark.slow
def test_a_disk_that_fills_up_on_the_way_is_told_and_leaves_no_drafts(tmp_path, monkeypatch, capsys):
    def full(path, values):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(movies, "write_array", full)
    assert simulated(tmp_path / "sim") == 2
    error = capsys.readouterr().err
    assert "No space left" in error and error.count("\n") == 1
    assert not list((tmp_path / "sim").glob("**/.*"))


@pytest.mark.slow
def test_faults_are_recorded_and_the_camera_file_is_wrong_as_told(tmp_path, capsys):
    out, faults = tmp_path / "sim", "instrument=1,debris=0.5,breathing=0.3,rolling_shutter=1,wrong_focal=0.2,planar=1"
    assert simulated(out, "--faults", faults, "--no-dicom") == 0
    person, clip = out / "patient_00002", out / "patient_00002" / "clip_00"
    record = yaml.safe_load((out / "simulation.yaml").read_text("utf-8"))
    assert record["faults"]["wrong_focal"] == 0.2 and len(record["faults"]) == 6
    assert yaml.safe_load((person / "patient.yaml").read_text("utf-8"))["faults"] == record["faults"]
    assert json.loads((clip / "result.json").read_text("utf-8"))["focal_told_too_long_by"] == 0.2
    told, true = camera_file.read(clip / "camera.yaml").focal_px[0], read_sequence(clip).cameras[0].focal_px[0]
    assert told == pytest.approx(1.2 * true, rel=1e-6)
    for mask in ("instrument", "debris"):
        assert len(list((clip / "masks" / mask).glob("*.png"))) == 4
    assert not (person / "ct_dicom").exists()
    assert simulated(out, "--no-dicom") == 2 and "faults" in capsys.readouterr().err


def test_dicom_series_and_nifti_have_the_same_geometry_for_other_readers(folder):
    person = folder / "patient_00002"
    nifti = SimpleITK.ReadImage(str(person / "ct.nii.gz"))
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(person / "ct_dicom"))
    series = SimpleITK.ReadImage(files)
    assert series.GetSize() == nifti.GetSize()
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(series, name)() == pytest.approx(getattr(nifti, name)(), abs=1e-4), name
    same = bool((SimpleITK.GetArrayFromImage(series) == SimpleITK.GetArrayFromImage(nifti)).all())
    assert same
    first, second = (pydicom.dcmread(path) for path in files[:2])
    assert [float(x) for x in first.ImagePositionPatient] == pytest.approx(nifti.GetOrigin(), abs=1e-3)
    step = float(second.ImagePositionPatient[2]) - float(first.ImagePositionPatient[2])
    assert step == pytest.approx(nifti.GetSpacing()[2], abs=1e-3)
    assert [float(x) for x in first.PixelSpacing] == pytest.approx(nifti.GetSpacing()[1::-1], abs=1e-4)


def test_a_full_disk_and_a_strange_folder_are_told(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep")
    with pytest.raises(BadInputError, match="is no simulation"):
        verb(tmp_path / "mine")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BadInputError, match="GB free"):
        verb(tmp_path / "full", frames=4)


def test_a_patient_that_cannot_be_built_leaves_nothing_half_done(tmp_path, monkeypatch):
    def refuses(*_):
        raise BadInputError("a lumen that is closed", "air")

    monkeypatch.setattr(anatomies, "patient", refuses)
    with pytest.raises(BadInputError, match="closed"):
        verb(tmp_path / "sim", frames=3, workers=1)
    assert not list((tmp_path / "sim").glob("**/.*"))
