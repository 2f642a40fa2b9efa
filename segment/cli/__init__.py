"""The command line: Hydra's overrides, the composed configuration, and the parts that are built from it.

Only this folder, ``sweeps`` and the commands know Hydra. Everything else takes plain typed arguments.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from segment.cli.build import instantiate as instantiate
    from segment.cli.config import load_config as load_config

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"build": ["instantiate"], "config": ["load_config"]}
)
