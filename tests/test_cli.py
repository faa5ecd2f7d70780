"""The net under every verb: what no reader has explained is one line too, with a code that says whose fault it is."""

import errno

import pytest

from depthscope import cli
from depthscope.errors import BadInputError


def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, error: BaseException) -> tuple[int, str]:
    def fail(verb: str, arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "run", fail)
    code = cli.main(["report", "case"])
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return code, told


def test_a_mistake_of_ours_is_called_one(monkeypatch, capsys) -> None:
    code, told = ended(monkeypatch, capsys, TypeError("unsupported operand\n of many\n lines"))
    assert code == cli.INTERNAL_ERROR == 70
    assert told.startswith("internal error: TypeError: unsupported operand of many lines") and "report" in told


@pytest.mark.parametrize("number", [errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENOSPC, errno.EIO])
def test_what_the_system_refuses_names_its_file(monkeypatch, capsys, number: int) -> None:
    code, told = ended(monkeypatch, capsys, OSError(number, "refused", "frames/x.png"))
    assert code == BadInputError.exit_code and told.startswith("error: frames/x.png")


def test_memory_that_ran_out_is_said(monkeypatch, capsys) -> None:
    code, told = ended(monkeypatch, capsys, MemoryError())
    assert code == 2 and "out of memory" in told


def test_errors_are_one_line_whatever_a_file_holds() -> None:
    told = str(BadInputError("model \x1b[2J\n" + "x" * 10_000 + "\udcff", "a\nb", "c"))
    assert told.isprintable() and len(told) < 1100 and told.endswith("; expected a b; c")


def test_verbose_shows_the_traceback(monkeypatch) -> None:
    def fail(verb: str, arguments: list[str]) -> int:
        raise TypeError("x")

    monkeypatch.setattr(cli, "run", fail)
    with pytest.raises(TypeError):
        cli.main(["report", "case", "--verbose"])
