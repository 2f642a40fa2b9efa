"""The notebooks are committed without outputs, and name what exists. They run when the site is built."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request):
    return json.loads(request.param.read_text("utf-8"))["cells"]


def python_of(cells: list[dict]) -> str:
    """Return the code of a notebook without its magics and shell cells."""
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return re.sub(r"^%.*", "", "\n".join(one for one in code if not one.startswith("%%")), flags=re.MULTILINE)


def test_nothing_is_committed_but_the_source(cells):
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    pages = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    titles = [title for page in pages for title in re.findall(r"^# .*", page, re.MULTILINE)]
    assert titles == ["".join(cells[0]["source"]).splitlines()[0]]  # the page's name in the site


def test_imported_names_exist(cells):
    names = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(python_of(cells)))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("segment")
        for alias in node.names
    ]
    assert [f"{home}.{name}" for home, name in names if not hasattr(importlib.import_module(home), name)] == []


def test_nothing_is_downloaded(cells):
    """The site's build has no network, but a file in a cache would hide a download."""
    code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert re.findall(r"https?://|hf://|download=true|weights=imagenet", code) == []
