"""The folder of a run, and the record ``.hydra`` that Hydra writes into it."""

import itertools
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from segment.cli.overrides import ONE_RUN, typed_path
from segment.cli.untrusted_yaml import load_untrusted_yaml
from segment.cli.versions import register_resolver
from segment.errors import SegmentError


def unique_folder(path: str) -> str:
    """Make a folder that no other run has, and return its path: ``path``, or ``path_2``, ``path_3``, ...

    Two runs that begin in the same second get different folders, since a folder is made only once.
    """
    if {argument.partition("=")[0] for argument in sys.argv} & {*ONE_RUN, "--info", "-i"}:
        return path
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            folder = f"{path}_{number}" if number > 1 else path
            with suppress(FileExistsError):
                Path(folder).mkdir()
                return folder
    except OSError as error:  # OmegaConf would put another exception into five lines of its own
        sys.exit(f"error: cannot make {path} ({error.strerror}): choose another folder with hydra.run.dir=")
    raise AssertionError("unreachable")


# Cached, since Hydra resolves hydra.run.dir several times in one run.
register_resolver("unique_folder", unique_folder, use_cache=True, replace=True)


def output_folder() -> Path:
    """Return the absolute path of the output folder that Hydra made for this command."""
    return Path(HydraConfig.get().runtime.output_dir)


def refuse_foreign_record() -> None:
    """Check that Hydra is not going to replace another program's record in ``hydra.run.dir`` or ``hydra.sweep.dir``.

    Raises:
        SegmentError: a folder that the command line gives has such a record.
    """
    for key, record, content in (
        ("hydra.run.dir", ".hydra", ".hydra/config.yaml"),
        ("hydra.sweep.dir", "multirun.yaml", "multirun.yaml"),
    ):
        given = typed_path(key)
        config = load_untrusted_yaml(Path(given, content)) if given else None
        if config and isinstance(config, dict) and "trust" not in config:  # all records of ours have it
            raise SegmentError(f"{Path(given or '', record)} is another program's record: choose another {key}")


def read_hydra_record(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read from ``.hydra`` a run's configuration and the option chosen in each group; empty where unreadable."""
    config, choices = load_untrusted_yaml(folder / "config.yaml"), load_untrusted_yaml(folder / "hydra.yaml")
    for key in ("hydra", "runtime", "choices"):
        choices = choices.get(key) if isinstance(choices, dict) else None
    return _fill_in(config, config) if isinstance(config, dict) else {}, choices if isinstance(choices, dict) else {}


def _fill_in(value: Any, config: Any) -> Any:
    """Replace each ``${KEY}`` by the value of that key, once: no resolver is called, as ``${oc.env:HOME}`` would."""
    if isinstance(value, dict):
        return {key: _fill_in(part, config) for key, part in value.items()}
    if isinstance(value, list):
        return [_fill_in(part, config) for part in value]
    match = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    if match is None:
        return value
    for key in match[1].split("."):
        config = config.get(key) if isinstance(config, dict) else None
    return value if isinstance(config, dict | list | None) else config
