"""The public names of segment.data."""

import ast
from pathlib import Path

import segment.data


def test_the_imports_for_type_checkers_are_the_public_names():
    tree = ast.parse(Path(segment.data.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    assert sorted(alias.name for line in block.body for alias in line.names) == sorted(segment.data.__all__)


def test_every_public_name_can_be_imported():
    for name in segment.data.__all__:
        assert getattr(segment.data, name) is not None
