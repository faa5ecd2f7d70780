"""Long work says how far it is: lines where there is no terminal, and in the log of a case."""

import pytest

from depthscope import progress
from depthscope.case import Case, Stage


@pytest.fixture
def always(monkeypatch):
    """A line for every step, whatever the clock says."""
    monkeypatch.setattr(progress, "EVERY_S", 0.0)


def test_items_come_through_and_are_counted(always, capsys):
    assert list(progress.track(iter("abc"), "fuse", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().out.splitlines()[:3] == ["fuse 1/3", "fuse 2/3", "fuse 3/3"]


def test_short_work_says_nothing(capsys):
    assert list(progress.track(range(3), "fuse", 3)) == [0, 1, 2]
    assert capsys.readouterr().out == ""


def test_a_total_that_is_not_known_is_left_out(always, capsys):
    progress.Lines(shown=True).update("frames", 12)
    assert capsys.readouterr().out == "frames 12\n"


def test_the_log_of_a_case_grows_while_a_stage_works(always, tmp_path):
    seen = []

    def work(folder, resume):
        for _ in progress.track(range(2), "fuse", 2):
            seen.append((tmp_path / "case" / progress.LOG_FILE).read_text("utf-8"))
        (folder / "result.json").write_text("{}")

    stage = Stage(
        "surface", "one surface", lambda folder, resume: (folder.mkdir(exist_ok=True), work(folder, resume))[1]
    )
    Case(tmp_path / "case").walk([stage], lambda line: None)
    assert "one surface: begins" in seen[0] and "fuse 1/2" in seen[1] and "fuse 1/2" not in seen[0]
    assert "one surface: done in" in (tmp_path / "case" / progress.LOG_FILE).read_text("utf-8")


def test_the_log_of_a_case_says_what_ended_a_stage(tmp_path):
    def work(folder, resume):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Case(tmp_path / "case").walk([Stage("surface", "one surface", work)], lambda line: None)
    assert "s by KeyboardInterrupt" in (tmp_path / "case" / progress.LOG_FILE).read_text("utf-8")


def test_a_log_that_cannot_be_written_does_not_end_the_work(always, tmp_path):
    with progress.logging_to(tmp_path / "missing" / "log.txt"):
        assert list(progress.track(range(2), "fuse", 2)) == [0, 1]


def test_the_next_command_is_named_unless_the_case_goes_on_by_itself(tmp_path, capsys):
    progress.suggest("depthscope train clip --out RUN")
    with progress.logging_to(tmp_path / progress.LOG_FILE):
        progress.suggest("depthscope predict RUN clip --out PREDICTION")
    assert capsys.readouterr().out == "next: depthscope train clip --out RUN\n"
