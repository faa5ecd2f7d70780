"""The report as a PDF: the page in its own print layout, on at most six sheets of A4, by a browser that is there."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.workspace import atomic_file

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
"""Programs that print a page without a window, in the order in which they are tried."""

PATIENCE_S = 180.0
"""How long a browser may take; a page of a case takes a few seconds."""


def write_pdf(page: Path, out: Path, browser: str | None = None, patience_s: float = PATIENCE_S) -> int:
    """Prints a page.

    Args:
        page: The HTML file.
        out: The PDF; it is written whole or not at all.
        browser: A program of the Chromium family; by default the first of `BROWSERS` that is installed.
        patience_s: Longest time that it may take.

    Returns:
        How many sheets it has.

    Raises:
        BadInputError: There is no such browser, or it made no PDF.
    """
    program = browser or next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        raise BadInputError(
            "no Chromium, Chrome or Edge to print with",
            "one of them on the PATH",
            f"install one, or print {page} yourself",
        )
    with tempfile.TemporaryDirectory(prefix="depthscope-print-") as profile, atomic_file(out) as draft:
        line = [program, "--headless=new", "--disable-gpu", f"--user-data-dir={profile}", "--no-first-run"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:  # Chromium has no sandbox for root, as in a container
            line.append("--no-sandbox")
        line += ["--no-pdf-header-footer", f"--print-to-pdf={draft.resolve()}", page.resolve().as_uri()]
        try:
            done = subprocess.run(line, capture_output=True, timeout=patience_s, check=False)
        except subprocess.TimeoutExpired as error:
            raise _not_printed(program, f"it took more than {patience_s:g} s", page) from error
        except OSError as error:
            raise _not_printed(program, str(error), page) from error
        if not draft.is_file() or not draft.read_bytes().startswith(b"%PDF"):
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise _not_printed(program, lines[-1] if lines else f"it ended with {done.returncode}", page)
        return sheets(draft.read_bytes())


def sheets(pdf: bytes) -> int:
    """How many pages a PDF of a browser has (its page objects are not compressed)."""
    return len(re.findall(rb"/Type\s*/Page(?![a-zA-Z])", pdf))


def _not_printed(program: str, why: str, page: Path) -> BadInputError:
    return BadInputError(
        f"{program} made no PDF ({why[:200]})", "a page printed", f"print {page} from a browser yourself"
    )
