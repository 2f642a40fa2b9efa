"""Contract tests of parts that lie outside this package: a plugin for pytest, and the tests in ``contract.py``.

``python -m pytest -p segment.testing --pyargs segment.testing.contract --segment-encoder mylab.TinyEncoder`` checks
that an encoder does what nets, commands and checkpoints expect of it. Tests of this package itself do not belong here.
"""

from collections.abc import Callable
from typing import Any

CONTRACTS = {
    "encoder": "an encoder, built without arguments",
    "decoder": "a decoder, built from channels and num_classes",
    "net": "a whole net, built from num_classes",
    "loss": "a loss, built without arguments",
}
"""Kinds of parts that can be tested, each with its help text."""


def pytest_addoption(parser: Any) -> None:
    """Add an option for each kind of part, which can be given several times."""
    group = parser.getgroup("segment", "contract tests of segment")
    for kind, text in CONTRACTS.items():
        group.addoption(
            f"--segment-{kind}", action="append", default=[], metavar="PACKAGE.CLASS", help=f"dotted name of {text}"
        )


def pytest_generate_tests(metafunc: Any) -> None:
    """Run each test of a kind with each part of that kind; without one, it is skipped."""
    for kind in CONTRACTS:
        name = f"build_{kind}"
        if name in metafunc.fixturenames:
            targets = metafunc.config.getoption(f"--segment-{kind}")
            metafunc.parametrize(name, [*map(_located, targets)], ids=targets)


def _located(target: str) -> Callable[..., Any]:
    """Return the class or function of a dotted name.

    Raises:
        pytest.UsageError: there is no such part.
    """
    import pytest  # not needed by any command

    from segment.cli.targets import locate
    from segment.errors import SegmentError

    try:
        part = locate(target)
    except SegmentError as error:
        raise pytest.UsageError(str(error)) from None
    if not callable(part):
        raise pytest.UsageError(f"{target} is a {type(part).__name__}, expected a class or a function")
    return part  # type: ignore[no-any-return]  # any callable
