"""The composed configuration: where the YAML files lie, and how to compose and read a configuration."""

import gc
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from segment.cli.overrides import config_dirs, quote, quote_path, split_flags
from segment.cli.untrusted_yaml import LOADER
from segment.cli.versions import VERSION_BASE
from segment.errors import SegmentError

_INSTALLED = Path(__file__).parents[1] / "conf"
CONF_DIR = str(_INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "conf")
"""Folder of the YAML files: inside the package when installed from a wheel, beside it in a checkout."""

NUMBER = re.compile(r"(?<![^\[, ])([-+]?\.?\d[\w.+-]*|true|false)(?=[\],]|$)", re.IGNORECASE)
"""Value, or item of a list, that Hydra reads as a number or as true or false."""
YAML_ERRORS = (yaml.YAMLError, UnicodeDecodeError)
"""Errors of a YAML file that is damaged."""
LONG_NUMBER = "a number of the command line or of a YAML file has more than 4300 digits"


def is_long_number(error: Exception) -> bool:
    """Return whether Python refused to read a number of thousands of digits, which takes it long."""
    return "integer string conversion" in str(error)


@contextmanager
def fast_composition() -> Iterator[None]:
    """Let Hydra share its ``ConfigStore`` while it composes, without Python's garbage collector.

    Hydra copies its repository, and this singleton with it, for each group: half the time of ``--help``. The collector
    would search Hydra's many objects again and again, a tenth of the time.
    """
    if "__deepcopy__" in vars(ConfigStore):  # within another composition
        yield
        return
    ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]  # the class has none of its own
    gc.disable()
    try:
        yield
    finally:
        end_fast_composition()


def end_fast_composition() -> None:
    """Let Hydra copy its ``ConfigStore``, and the collector work, again."""
    if "__deepcopy__" in vars(ConfigStore):
        del ConfigStore.__deepcopy__  # type: ignore[attr-defined]  # set above, for a time
        gc.enable()


def compose(arguments: Sequence[str], name: str) -> DictConfig:
    """Compose a command line as Hydra will, with Hydra's own settings below ``hydra``, without building anything.

    Args:
        arguments: overrides such as ``model=fcn8s``, and flags such as ``--config-dir``.
        name: the command: train, evaluate, predict, ...

    Raises:
        hydra.errors.HydraException: unknown group, option or key.
        SegmentError: a YAML file is damaged.
    """
    _, overrides = split_flags(arguments)
    folders = ",".join(quote(f"file://{Path(folder).absolute()}") for folder in search_path(arguments)[1:])
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(CONF_DIR, **VERSION_BASE), fast_composition():
        quoted = [quote_option(quote_path(one), arguments) for one in overrides]
        searched = [*quoted, *([f"hydra.searchpath=[{folders}]"] if folders else [])]
        try:
            return hydra.compose(name, searched, return_hydra_config=True)
        except YAML_ERRORS as error:
            raise damaged_yaml(error) from None
        except ValueError as error:
            if is_long_number(error):
                raise SegmentError(LONG_NUMBER) from None
            raise


def damaged_yaml(error: Exception) -> SegmentError:
    """Return the error for a YAML file that Hydra cannot read, one of :data:`YAML_ERRORS`."""
    return SegmentError(f"cannot read the YAML files: {' '.join(str(error).split())[:300]}")


def load_config(arguments: Sequence[str] = (), name: str = "train") -> DictConfig:
    """Compose the configuration of a command, see :func:`compose`, without Hydra's own settings."""
    return _without_settings(compose(arguments, name))


def compose_command(arguments: Sequence[str], name: str = "train") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration of a command as plain data, and Hydra's own settings without resolved interpolations.

    Raises:
        SegmentError: unknown group, option or key.
    """
    try:
        config = compose(arguments, name)
        settings: Any = OmegaConf.to_container(config.hydra)
        return plain(_without_settings(config)), settings
    except (HydraException, OmegaConfBaseException) as error:
        line = str(error).partition("\n")[0].removeprefix("SegmentError raised while resolving interpolation: ")
        raise SegmentError(line[:300]) from None


def _without_settings(config: DictConfig) -> DictConfig:
    """Take Hydra's own settings out of a composed configuration, and return it."""
    with open_dict(config):
        del config["hydra"]
    return config


def search_path(arguments: Sequence[str]) -> list[str]:
    """Return the folders of the YAML files: this package's, and those of ``--config-dir``."""
    return [CONF_DIR, *config_dirs(split_flags(arguments)[0])]


def group_options(group: str, arguments: Sequence[str] = ()) -> list[str]:
    """Return the names of a group's options; a group is "model" or "model/encoder".

    Args:
        arguments: a command line, whose ``--config-dir`` adds options.
    """
    return sorted({path.stem for folder in search_path(arguments) for path in Path(folder, group).glob("*.yaml")})


def quote_option(override: str, arguments: Sequence[str] = ()) -> str:
    """Return ``data=3`` as ``data='3'``: the name of an option is text, and Hydra fails on a number.

    Args:
        arguments: see :func:`group_options`.
    """
    key, equals, value = override.partition("=")
    if not NUMBER.search(value) or not group_options(key.lstrip("+"), arguments):
        return override
    return f"{key}{equals}{NUMBER.sub(lambda match: quote(match[0]), value)}"


def refuse_null_options(arguments: Sequence[str]) -> None:
    """Check that no group has the option ``null``, at which Hydra fails.

    Raises:
        SegmentError: one has, as in ``logger=null``.
    """
    for override in split_flags(arguments)[1]:
        group, _, option = override.partition("=")
        if "null" in re.split(r"[\[\],]", option) and (options := group_options(group.lstrip("+"), arguments)):
            raise SegmentError(
                f"{override}: expected one of {', '.join(options)}; leave it out, or ~{group.lstrip('+')} for none"
            )


def default_options(command: str) -> dict[str, Any]:
    """Return the groups of a command with the options that its YAML file chooses.

    Groups that give another group's keys, as ``loading@data``, are no choice of the user's.
    """
    pairs = [pair for item in _command_yaml(command)["defaults"] if isinstance(item, dict) for pair in item.items()]
    return {group: option for group, option in pairs if not group.startswith("override ") and "@" not in group}


def command_keys(command: str) -> set[str]:
    """Return the keys and groups of a command at the first level."""
    return {*_command_yaml(command), *default_options(command)} - {"defaults", "hydra"}


def _command_yaml(command: str) -> Any:
    return yaml.load(Path(CONF_DIR, f"{command}.yaml").read_text(encoding="utf-8"), LOADER)


def plain(config: Any) -> Any:
    """Return a configuration as dictionaries, lists and values, with all interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def flatten(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested dictionary by dotted key."""
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from flatten(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], config
