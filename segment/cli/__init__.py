"""The command line: Hydra's overrides, the composed configuration, and the parts that are built from it.

Only this folder, ``sweeps`` and the commands import Hydra. In ``training``, ``trainer`` and ``loggers`` read the
composed configuration, and ``resume`` changes ``sys.argv``. All classes take plain typed arguments.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.cli.build import instantiate
    from segment.cli.config import load_config

__getattr__, __dir__, __all__ = public_names(__name__)
