"""Where the configuration lies, and what the command lines of all entry points share."""

import functools
import logging
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException, HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

from segment.cli.value_types import check_arguments
from segment.errors import SegmentError
from segment.files import printable

_INSTALLED = Path(__file__).parents[1] / "conf"
CONF_DIR = str(_INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "conf")
"""``conf/``: inside the package when installed from a wheel, beside it in a checkout."""

# Hydra copies its repository, and this singleton with it, for each group it looks into: half the time of --help.
ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]  # it has none of its own

PATHS = ("input", "output", "checkpoint", "resume", "repeat")
"""Keys whose values are paths, whatever characters they hold: a comma in them is no sweep."""
PATHS_OR_SWEEPS = ("data.root", "model.encoder.weights")
"""Keys whose values are paths where Hydra's grammar can't read them otherwise (``~/voc``, ``my data``)."""


def load_config(overrides: Sequence[str] = (), name: str = "train") -> DictConfig:
    """The composed configuration of an entry point, as its command line would have it.

    Args:
        overrides: words of a command line, such as ``["model=fcn8s", "data=voc"]``.
        name: train, evaluate or predict.

    Raises:
        hydra.errors.HydraException: unknown group, option or key.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(CONF_DIR, version_base="1.3"):
        return hydra.compose(name, overrides=[quote_path(word) for word in overrides])


def options(group: str) -> list[str]:
    """The names that a group has, such as "model" or "model/encoder"."""
    return sorted(path.stem for path in Path(CONF_DIR, group).glob("*.yaml"))


def instantiate(config: Any, *args: Any, **kwargs: Any) -> Any:
    """``hydra.utils.instantiate`` with the part's own error in place of Hydra's account of it.

    Raises:
        SegmentError: a value is of another type than the part declares, or the part does not take it.
    """
    check_arguments(plain(config), config._get_full_key(None) if OmegaConf.is_config(config) else "")
    try:
        return hydra.utils.instantiate(config, *args, **kwargs)
    except InstantiationException as error:
        cause = error.__cause__
        if cause is None or isinstance(cause, InstantiationException):
            raise SegmentError(" ".join(str(error).split())) from error
        if isinstance(cause, TypeError | ValueError | ImportError):  # an argument that the part does not take
            part = str(config.get("_target_", "configuration")).rpartition(".")[2]
            raise SegmentError(f"{part}: {cause}") from error
        raise cause from None


def plain(config: Any) -> Any:
    """A configuration as dictionaries, lists and values, all interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def read_record(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What Hydra wrote down of a run: its configuration, and the option of each group.

    Empty where there is no record that can be read.
    """
    found: list[Any] = []
    for name, key in (("config", ""), ("hydra", "hydra.runtime.choices")):
        try:
            content = OmegaConf.load(folder / ".hydra" / f"{name}.yaml")
            found.append(plain(OmegaConf.select(content, key) if key else content))
        except (OSError, ValueError, YAMLError, OmegaConfBaseException):
            found.append(None)
    config, choices = (part if isinstance(part, dict) else {} for part in found)
    return config, choices


def quote(value: str) -> str:
    """A string as Hydra's grammar wants it, whatever characters it holds."""
    escaped = re.sub(r"(\\*)(\$\{|'|$)", lambda m: m[1] * 2 + ("\\" if m[2] else "") + m[2], value)
    return f"'{escaped}'"


def _is_quoted(value: str) -> bool:
    return re.fullmatch(r"(['\"]).*\1", value) is not None


def _is_readable(word: str) -> bool:
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


def quote_path(word: str) -> str:
    """``input=a (1).jpg`` as Hydra's grammar wants it, ``input='a (1).jpg'``; any other word as it is."""
    key, equals, value = word.partition("=")
    if value in {"", "null", "???"} or _is_quoted(value):
        return word
    if key in PATHS or (key.lstrip("+") in PATHS_OR_SWEEPS and not _is_readable(word)):
        return f"{key}{equals}{quote(value)}"
    return word


def value_of(key: str) -> str | None:
    """The value that the command line gives a path's key, before Hydra reads it; None if it gives none."""
    given = [word.partition("=")[2] for word in sys.argv[1:] if word.startswith(f"{key}=")]
    if not given or given[-1] in {"null", ""}:
        return None
    value = OverridesParser.create().parse_override(f"key={given[-1]}").value() if _is_quoted(given[-1]) else given[-1]
    return str(value).replace("\\${", "${")  # OmegaConf undoes this one, later


def run_folder() -> Path:
    """The run's output directory (Hydra's), as an absolute path."""
    return Path(HydraConfig.get().runtime.output_dir)


def quiet() -> None:
    """Keep Lightning's advertisements and known false alarms off a user's screen; call it after its import."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in (
        ".*isinstance.treespec, LeafSpec.*",  # lightning 2.6 on torch 2.15
        "Experiment logs directory .* exists and is not empty",  # Hydra made it; a resumed run carries its rows over
        "The '.*_dataloader' does not have many workers",  # the number of workers is the user's choice
        "The number of training batches .* is smaller than the logging interval",
        "Checkpoint directory .* exists and is not empty",
        "Found .* in eval mode at the start of training",  # model.frozen_stages, model.frozen_batch_norm
        "You're resuming from a checkpoint that ended before the epoch ended",  # the sampler goes on where it was
        "It is recommended to use .*sync_dist=True",  # all processes have the figures of all images
    ):
        warnings.filterwarnings("ignore", text)


def entry_point(name: str, run: Callable[[DictConfig], None], prepare: Callable[[], None] | None = None) -> None:
    """Run ``run`` with the configuration ``name`` and the command line; a user's mistake is one message.

    Args:
        prepare: called before Hydra reads the command line; it may change ``sys.argv``.
    """

    @functools.wraps(run)
    def job(config: DictConfig) -> None:
        try:
            run(config)
        except Exception as error:
            message = _message(error)
            if message is None:
                raise
            if HydraConfig.get().mode is RunMode.MULTIRUN:  # an exit would end the whole sweep
                raise CompactHydraException(f"error: {message}") from None
            sys.exit(f"error: {message}")

    try:
        if prepare is not None:
            prepare()
    except SegmentError as error:
        sys.exit(f"error: {error}")
    sys.argv[1:] = [quote_path(word) for word in sys.argv[1:]]
    hydra.main(version_base="1.3", config_path=CONF_DIR, config_name=name)(job)()


def _message(error: Exception) -> str | None:
    """What to tell the user of a mistake of theirs; None where the mistake is ours."""
    if isinstance(error, SegmentError):
        return printable(str(error))
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is missing: give {error.full_key}=VALUE on the command line"
    if isinstance(error, InterpolationKeyError):
        return str(error).splitlines()[0]
    if type(error).__name__ == "MisconfigurationException":  # Lightning's, of its own arguments
        return " ".join(str(error).split())
    if isinstance(error, ValueError) and "val_check_interval" in str(error):  # Lightning's, too
        return "trainer." + str(error).partition(". If")[0].replace("`", "").strip()
    return None
