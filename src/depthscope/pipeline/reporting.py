"""The page of a case as a file."""

import time
from pathlib import Path

from rich.console import Console

from depthscope.report import open_case, page, write_downloads
from depthscope.workspace import (
    sweep,
    telling_write_errors,
    write_provenance,
    write_result,
    write_text,
    writing_folder,
)

REPORT = "report"
"""Folder of the page in a case."""


PAGE = "index.html"
"""Its file."""


def write_report(case: Path, told=print) -> Path:
    """The page in the case's own folder, with its downloads and its provenance.

    Args:
        case: Folder of the case.
        told: Is given a line where the page shows less than it could.
    """
    start = time.perf_counter()
    found = open_case(case)
    with writing_folder(case / REPORT) as folder:
        downloads = write_downloads(found, folder)
        text = page(found, told, downloads=downloads).encode()
        (folder / PAGE).write_bytes(text)
        stages = [name for name, results in found.stages.items() if results]
        figures = {"page": PAGE, "bytes": len(text), "stages": stages, "missing": found.missing}
        figures["downloads"] = [file.address for file in downloads]
        write_result(folder, {**figures, "clips": [clip.name for clip in found.clips if clip.name]})
        write_provenance(folder, options={}, inputs={}, seconds=time.perf_counter() - start)
    return case / REPORT / PAGE


def write_page(case: Path, out: Path) -> Path:
    """The page alone."""
    text = page(open_case(case))
    with telling_write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        sweep(out.parent, deep=False)
        write_text(out, text)
    return out


def tell_report(case: Path, console: Console) -> None:
    """Writes the page of a case that ended early, and prints where it is."""
    console.print(f"report: {write_report(case)}", markup=False)
