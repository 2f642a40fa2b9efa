"""Notebooks are stored without outputs; the quickstart runs from its first cell to its last, and its net learns.

The other notebooks run when the documentation is built.
"""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_has_no_outputs_and_begins_with_its_title(path):
    cells = nbformat.read(path, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), "commit it without outputs"
    assert cells[0].cell_type == "markdown"
    titles = [line for cell in cells if cell.cell_type == "markdown" for line in re.findall("^# .*", cell.source, re.M)]
    assert titles == [cells[0].source.splitlines()[0]]  # the page's name in the site


@pytest.mark.slow
def test_quickstart(tmp_path):
    notebook = nbformat.read(NOTEBOOKS / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert float(re.search(r"'val/mIoU': ([0-9.]+)", text)[1]) > 0.2
    shown = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(shown) == 3
