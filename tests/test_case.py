"""A case does each stage once, again when something before it changed, and goes on where it was interrupted."""

import json
from dataclasses import replace

import pytest

from depthscope.case import RECORD, Case, Stage
from depthscope.errors import BadInputError


class Work:
    """Counts its calls and writes a result."""

    def __init__(self, fails: int = 0) -> None:
        self.calls: list[bool] = []
        self.fails = fails

    def __call__(self, folder, resume):
        self.calls.append(resume)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "half").touch()
        if self.fails:
            self.fails -= 1
            raise KeyboardInterrupt
        (folder / "result.json").write_text("{}")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "video.bin"
    path.write_bytes(b"frames")
    return path


def case_stages(source, **works):
    return [
        Stage("sequence", "reconstruct", works.setdefault("sequence", Work()), files=(source,)),
        Stage("run", "train", works.setdefault("run", Work()), {"steps": 5}, after=("sequence",)),
        Stage("prediction", "predict", works.setdefault("prediction", Work()), after=("sequence", "run")),
    ]


def test_a_second_walk_does_nothing(tmp_path, source):
    told = []
    stages = case_stages(source)
    first = Case(tmp_path / "case").walk(stages, told.append)
    again = Case(tmp_path / "case").walk(stages, told.append)
    assert first.done == ("sequence", "run", "prediction") and first.kept == ()
    assert again.done == () and again.kept == ("sequence", "run", "prediction")
    assert [len(stage.work.calls) for stage in stages] == [1, 1, 1]
    assert told[0] == "[1/3] reconstruct" and told[3] == "[1/3] reconstruct: up to date"


def test_another_option_redoes_its_stage_and_what_follows(tmp_path, source):
    stages = case_stages(source)
    Case(tmp_path / "case").walk(stages, str)
    (tmp_path / "case" / "run" / "old").touch()
    stages[1] = replace(stages[1], options={"steps": 6})
    assert Case(tmp_path / "case").walk(stages, str).done == ("run", "prediction")
    assert not (tmp_path / "case" / "run" / "old").exists()
    assert [stage.work.calls for stage in stages] == [[False], [False, False], [False, False]]


def test_another_input_redoes_all(tmp_path, source):
    stages = case_stages(source)
    Case(tmp_path / "case").walk(stages, str)
    source.write_bytes(b"other frames")
    assert Case(tmp_path / "case").walk(stages, str).kept == ()


def test_a_result_that_was_removed_is_made_again(tmp_path, source):
    stages = case_stages(source)
    Case(tmp_path / "case").walk(stages, str)
    (tmp_path / "case" / "prediction" / "result.json").unlink()
    assert Case(tmp_path / "case").walk(stages, str).done == ("prediction",)


def test_an_interrupted_stage_goes_on_with_what_it_left(tmp_path, source):
    stages = case_stages(source, run=Work(fails=1))
    with pytest.raises(KeyboardInterrupt):
        Case(tmp_path / "case").walk(stages, str)
    told = []
    assert Case(tmp_path / "case").walk(stages, told.append).done == ("run", "prediction")
    assert stages[1].work.calls == [False, True] and stages[0].work.calls == [False]
    assert told[1] == "[2/3] train (goes on)"


def test_an_interrupted_stage_with_other_options_starts_afresh(tmp_path, source):
    stages = case_stages(source, run=Work(fails=1))
    with pytest.raises(KeyboardInterrupt):
        Case(tmp_path / "case").walk(stages, str)
    stages[1] = replace(stages[1], options={"steps": 9})
    Case(tmp_path / "case").walk(stages, str)
    assert stages[1].work.calls == [False, False]


def test_a_case_that_could_not_begin_leaves_nothing(tmp_path, source):
    def refuse(folder, resume):
        raise BadInputError("two frames", "three")

    stages = [Stage("sequence", "reconstruct", refuse, files=(source,))]
    with pytest.raises(BadInputError):
        Case(tmp_path / "case").walk(stages, str)
    assert not (tmp_path / "case").exists()


def test_the_last_duration_is_told(tmp_path, source):
    stages, told = case_stages(source), []
    Case(tmp_path / "case").walk(stages, str)
    record = json.loads((tmp_path / "case" / RECORD).read_text("utf-8"))
    record["run"]["seconds"] = 300.0
    (tmp_path / "case" / RECORD).write_text(json.dumps(record))
    stages[1] = replace(stages[1], options={"steps": 6})
    Case(tmp_path / "case").walk(stages, told.append)
    assert told[1] == "[2/3] train, 5 min last time"


def test_folders_that_are_no_case(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BadInputError, match="is no case"):
        Case(tmp_path)
    with pytest.raises(BadInputError, match="is a file"):
        Case(tmp_path / "notes.txt")
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / RECORD).write_text("{")
    with pytest.raises(BadInputError, match="is damaged"):
        Case(tmp_path / "case")
