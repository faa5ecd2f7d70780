"""The page on view synthesis quotes the line of every equation; they must be there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^\| (?P<equation>.+) \| `(?P<file>[\w/]+\.py)` \| `(?P<line>.+)` \|$")


def test_every_quoted_line_is_in_its_file():
    rows = [
        match for line in (ROOT / "docs/photometric.md").read_text("utf-8").splitlines() if (match := ROW.match(line))
    ]
    assert len(rows) > 25
    for row in rows:
        lines = [line.strip() for line in (ROOT / "src/depthscope" / row["file"]).read_text("utf-8").splitlines()]
        assert row["line"] in lines, f"{row['equation']}: not in {row['file']}: {row['line']}"
