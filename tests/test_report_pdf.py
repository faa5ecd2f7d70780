"""The report on paper."""

import shutil
import sys
from pathlib import Path

import pytest

from depthscope.errors import BadInputError
from depthscope.report import pdf
from depthscope.report.pdf import sheets, write_pdf

PDF = b"%PDF-1.4\n1 0 obj <</Type /Pages /Count 2>>\n2 0 obj <</Type /Page\n>>\n3 0 obj <</Type/Page>>\n"

unix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for a browser is a shell script")


def browser(folder: Path, script: str) -> str:
    """A program in place of a browser; $target is where the PDF is to be."""
    program = folder / "browser"
    find = 'for a in "$@"; do case "$a" in --print-to-pdf=*) target="${a#--print-to-pdf=}";; esac; last="$a"; done\n'
    program.write_text(f"#!/bin/sh\n{find}{script}\n")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def page(tmp_path) -> Path:
    place = tmp_path / "a page.html"
    place.write_text("<p>depth</p>")
    return place


def test_sheets_are_counted():
    assert sheets(PDF) == 2


@unix
def test_what_the_browser_prints_is_kept(tmp_path, page):
    (tmp_path / "made.pdf").write_bytes(PDF)
    program = browser(tmp_path, f'cp "{tmp_path}/made.pdf" "$target"; echo "$last" > "{tmp_path}/asked"')
    assert write_pdf(page, tmp_path / "out.pdf", program) == 2
    assert (tmp_path / "out.pdf").read_bytes() == PDF
    assert (tmp_path / "asked").read_text().strip() == page.as_uri()


@unix
@pytest.mark.parametrize("script", ["echo no display >&2; exit 3", 'echo "<html>" > "$target"', "exit 0"])
def test_a_browser_that_prints_nothing_is_told(tmp_path, page, script):
    with pytest.raises(BadInputError, match="made no PDF"):
        write_pdf(page, tmp_path / "out.pdf", browser(tmp_path, script))
    assert not (tmp_path / "out.pdf").exists()


@unix
def test_a_browser_that_hangs_is_stopped(tmp_path, page):
    with pytest.raises(BadInputError, match="took more than 0.5 s"):
        write_pdf(page, tmp_path / "out.pdf", browser(tmp_path, "exec sleep 60"), patience_s=0.5)


def test_without_a_browser_the_way_out_is_told(tmp_path, page, monkeypatch):
    monkeypatch.setattr(pdf, "BROWSERS", ("depthscope-has-no-such-browser",))
    with pytest.raises(BadInputError, match="print .*a page.html yourself"):
        write_pdf(page, tmp_path / "out.pdf")
    assert shutil.which("depthscope-has-no-such-browser") is None
