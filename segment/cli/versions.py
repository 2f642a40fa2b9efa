"""Differences between Hydra 1.3 and 1.4, and the versions of OmegaConf that they bring."""

import inspect
from typing import Any

import hydra
from omegaconf import OmegaConf

VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__ < "1.4" else {}
"""Argument of Hydra 1.3 that chooses the defaults of that version; those of 1.4 are the same."""
HAS_WHITELIST = "_execution_whitelist_" in inspect.signature(hydra.utils.instantiate).parameters
"""True if ``instantiate`` wants the names of what it may build: it warns without them, and Hydra 1.5 will refuse."""
register_resolver = getattr(OmegaConf, "register_resolver" if HAS_WHITELIST else "register_new_resolver")
