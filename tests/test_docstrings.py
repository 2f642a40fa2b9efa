"""The examples in the docstrings of the package run, and each public class has one."""

import doctest
import importlib
import inspect
import pkgutil
import warnings

import pytest

import segment

COMMAND_LINES = {"segment.__main__"}
"""Modules that run when they are imported."""
MODULES = sorted(
    {"segment", *(found.name for found in pkgutil.walk_packages(segment.__path__, "segment."))} - COMMAND_LINES
)
FOLDERS = [name for name in MODULES if name.count(".") == 1 and hasattr(importlib.import_module(name), "__all__")]
LONGEST = 5
"""Lines of the longest example of a class."""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name, tmp_path, monkeypatch):
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        result = doctest.testmod(module, optionflags=doctest.REPORT_NDIFF)
    assert result.failed == 0


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_public_class_has_a_short_example(folder):
    package, parser = importlib.import_module(folder), doctest.DocTestParser()
    for name in package.__all__:
        part = getattr(package, name)
        if inspect.isclass(part):
            lines = [line for one in parser.get_examples(part.__doc__ or "") for line in one.source.splitlines()]
            assert 1 <= len(lines) <= LONGEST, f"{folder}.{name} has an example of {len(lines)} lines"
