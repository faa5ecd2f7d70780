"""``depthscope report CASE [--out FILE.html] [--pdf]``."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.errors import BadInputError
from depthscope.pipeline.reporting import write_page, write_report


def report(
    case: Annotated[Positional[Path], arg(metavar="CASE")], /, out: Path | None = None, pdf: bool = False
) -> int:
    """One HTML page of a case: the verdict in plain words, pictures, figures with their files, how it was made.

    It carries all it shows and loads nothing from anywhere. What is missing in the case is named in the page. Beside
    it, in downloads/, lie the surface (PLY, STL, GLB, NIfTI), the camera path and all figures (CSV).

    Args:
        case: Folder that depthscope run or demo wrote, also where it did not end.
        out: The page alone, in this file, without downloads; by default CASE/report/index.html.
        pdf: Also as a PDF beside it, printed by the Chromium, Chrome or Edge that is installed.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if out is not None and (out.is_dir() or out.suffix.lower() not in (".html", ".htm")):
        raise BadInputError(f"--out {out}", "a file that ends in .html", "leave it away, or name a file")
    place = write_report(case, lambda line: console.print(line, markup=False)) if out is None else write_page(case, out)
    console.print(f"report: {place}", markup=False)
    if pdf:
        from depthscope.report.pdf import write_pdf

        printed = place.with_name("report.pdf") if out is None else place.with_suffix(".pdf")
        console.print(f"printed: {printed}, {write_pdf(place, printed)} sheets of A4", markup=False)
    return 0
