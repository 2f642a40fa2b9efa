"""Building the parts that a configuration names by ``_target_``."""

import re
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from segment.cli.config import flatten, plain
from segment.cli.suggestions import close_name
from segment.cli.value_types import MISSING, check_arguments
from segment.errors import SegmentError


def instantiate(config: Any, *args: Any, **kwargs: Any) -> Any:
    """Build a part as ``hydra.utils.instantiate`` does, and raise the part's own error in place of Hydra's.

    Raises:
        SegmentError: a value is missing, is of another type than the part declares, or the part does not take it.
    """
    name = config._get_full_key(None) if OmegaConf.is_config(config) else ""
    checked = check_arguments(plain(config), name)
    for key in (f"{name}.{key}".strip(".") for key, value in flatten(checked) if value == MISSING):
        raise SegmentError(f"{key} is missing: give {key}=VALUE on the command line")
    try:
        return hydra.utils.instantiate(checked, *args, **kwargs)
    except InstantiationException as error:
        cause = error.__cause__
        if cause is None or isinstance(cause, InstantiationException):
            raise SegmentError(" ".join(str(error).split())) from error
        if isinstance(cause, TypeError | ValueError | ImportError):  # an argument that the part does not take
            part = str(config.get("_target_", "configuration")).rpartition(".")[2]
            message = f"{part}: {' '.join(str(cause).split())}"
            unknown = re.search(r"unexpected keyword argument '(\w+)'", message)
            known = {key.rpartition(".")[2] for key, _ in flatten(checked)} - {unknown and unknown[1]}
            close = close_name(unknown[1], sorted(known)) if unknown else ""
            raise SegmentError(message + f": did you mean {close}?" * bool(close)) from error
        raise cause from None
