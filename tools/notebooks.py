"""Runs the notebooks (``notebooks/*.py``, jupytext's percent format) and writes them with their outputs.

python tools/notebooks.py [NAME...]     all, or those whose file names begin so (``make notebooks``)
"""

import sys
from pathlib import Path

import jupytext
import nbclient
import nbformat

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"

SECONDS = 600
"""Limit for a cell."""


def executed(source: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, without what changes from run to run."""
    notebook = jupytext.read(source)
    nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3").execute()
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        cell["metadata"] = {}
        for output in cell.get("outputs", ()):
            output.get("metadata", {}).clear()
            if "image/jpeg" in output.get("data", {}):  # Pillow gives both, and the other is five times as large
                output["data"].pop("image/png", None)
    return notebook


def main() -> int:
    """Runs and writes them."""
    names = tuple(sys.argv[1:]) or ("",)
    for source in sorted(NOTEBOOKS.glob("*.py")):
        if source.name.startswith(names):
            nbformat.write(executed(source), source.with_suffix(".ipynb"))
            print(source.with_suffix(".ipynb"), source.with_suffix(".ipynb").stat().st_size // 1000, "kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
