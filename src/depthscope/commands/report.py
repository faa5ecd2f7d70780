"""``depthscope report CASE [--out FILE.html]``."""

import time
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.errors import BadInputError
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


def report(case: Annotated[Positional[Path], arg(metavar="CASE")], /, out: Path | None = None) -> int:
    """One HTML page of a case: the verdict in plain words, pictures, figures with their files, how it was made.

    It carries all it shows and loads nothing from anywhere. What is missing in the case is named in the page. Beside
    it, in downloads/, lie the surface (PLY, STL, GLB, NIfTI), the camera path and all figures (CSV).

    Args:
        case: Folder that depthscope run or demo wrote, also where it did not end.
        out: The page alone, in this file, without downloads; by default CASE/report/index.html.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if out is not None and (out.is_dir() or out.suffix.lower() not in (".html", ".htm")):
        raise BadInputError(f"--out {out}", "a file that ends in .html", "leave it away, or name a file")
    place = write_report(case, lambda line: console.print(line, markup=False)) if out is None else write_page(case, out)
    console.print(f"report: {place}", markup=False)
    return 0


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
