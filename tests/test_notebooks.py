"""The notebooks run, and what is stored with them are outputs of theirs."""

import importlib.util
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text("utf-8"))["cells"]


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_outputs_without_errors_and_is_small(source):
    stored = source.with_suffix(".ipynb")
    assert stored.stat().st_size < 500_000
    outputs = [output for cell in cells(stored) for output in cell.get("outputs", ())]
    assert outputs and not any(output["output_type"] == "error" for output in outputs)


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_stored_notebook_has_the_code_of_its_source(source):
    import jupytext

    code = [cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"]
    stored = ["".join(cell["source"]) for cell in cells(source.with_suffix(".ipynb")) if cell["cell_type"] == "code"]
    assert stored == code, "run `make notebooks`"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(source):
    path = source.parents[1] / "tools/notebooks.py"
    spec = importlib.util.spec_from_file_location("notebooks_tool", path)
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.executed(source)  # raises what a cell raises
