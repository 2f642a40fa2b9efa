"""Train, compare and use networks for semantic segmentation.

The flow of data, from the commands down::

    conf/*.yaml --> train  evaluate  predict  apply  app  convert  export  check  summary  report  submission  commands
                        |  the commands, cli and sweeps import Hydra; the other folders do not
       data ------------+                         models
       files -> batches |                         batches -> scores
                        v                            v
                    training      loss and metrics -> weights
                    prediction    one image -> class map
                    effects       class map -> another picture, a table
                    page          the page of segment.app
                    evaluation    many images -> metrics
                    records       a run on disk: a module for each file of a run folder
                    comparison    many runs -> one table
                    sweeps        many commands -> many runs
                    display       pictures, plots and tables
                    testing       contract tests of parts that lie outside

The classes take plain typed arguments. Three modules of ``training`` are closer to the command: ``trainer`` and
``loggers`` build parts from the configuration, and ``resume`` extends the command line by recorded overrides.

Each folder says in its ``__init__.py`` what belongs there, and gives its public names.
"""

import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import lazy_loader

if TYPE_CHECKING:
    from segment.prediction.inference import Inference
    from segment.prediction.segmenter import Segmenter

__version__ = "0.1.0"


def _print_without_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"] and any(argument.startswith("segment") for argument in sys.orig_argv):
    # Python is looking for a command, python -m segment.NAME. Imports take a second before it handles Ctrl-C.
    sys.excepthook = _print_without_traceback


def load(
    checkpoint: str | Path,
    device: str | None = None,
    inference: "Inference | None" = None,
    trust: str | Sequence[str] | None = None,
) -> "Segmenter":
    """Load a trained net that predicts: see :func:`segment.prediction.load_segmenter`, imported only when called."""
    from segment.prediction.segmenter import load_segmenter

    return load_segmenter(checkpoint, device, inference, trust)


def public_names(package: str) -> tuple[Any, Any, list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a folder, which import its public names on first use.

    Args:
        package: name of the folder; its ``__init__.py`` imports the public names below ``if TYPE_CHECKING:``.
    """
    tree = ast.parse(Path(str(sys.modules[package].__file__)).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    homes = {str(node.module): [alias.name for alias in node.names] for node in imports}
    inside = f"{package}."
    names = {module.removeprefix(inside): found for module, found in homes.items() if module.startswith(inside)}
    return lazy_loader.attach(package, submod_attrs=names)
