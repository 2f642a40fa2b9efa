"""The public names of every folder, and the names that YAML files use."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import segment
from segment.cli.config import CONF_DIR

FOLDERS = [module.name for module in pkgutil.iter_modules(segment.__path__, "segment.") if module.ispkg]
TARGETS = {
    target
    for path in Path(CONF_DIR).rglob("*.yaml")
    for target in re.findall(r"_target_: (segment\.\S+)", path.read_text(encoding="utf-8"))
}


def imports_for_type_checkers(package) -> list[str]:
    """Return the names that a folder's ``__init__.py`` imports below ``if TYPE_CHECKING:``."""
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return [alias.asname or alias.name for block in blocks for line in block.body for alias in line.names]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_public_names_of_a_folder(folder):
    package = importlib.import_module(folder)
    names = getattr(package, "__all__", [])
    assert sorted(names) == sorted(imports_for_type_checkers(package))
    assert all(getattr(package, name) is not None for name in names)
    assert not {*names} & {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert package.__doc__


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_from_modules_and_not_from_its_own_init(folder):
    for path in Path(importlib.import_module(folder).__file__).parent.rglob("*.py"):
        assert not re.search(rf"^\s*from {re.escape(folder)} import ", path.read_text(encoding="utf-8"), re.M), path


def test_yaml_files_name_public_names():
    assert len(TARGETS) > 25
    for target in TARGETS:
        folder, _, name = target.rpartition(".")
        assert name in importlib.import_module(folder).__all__, target


def test_a_name_means_one_thing_in_the_whole_package():
    """Compare the top-level names that do not begin with an underscore."""
    homes: dict[str, list[str]] = {}
    for path in Path(segment.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for name in defined_names(node):
                homes.setdefault(name, []).append(path.name)
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def defined_names(node: ast.stmt) -> list[str]:
    """Return the public names that a top-level statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        names = [node.name]
    else:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names = [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
    return [name for name in names if not name.startswith("_")]
