"""Suggestions for keys and options of the command line that are misspelt."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

import yaml
from omegaconf import OmegaConf

from segment.cli.config import CONF_DIR, flatten, load_config
from segment.cli.overrides import override_key
from segment.errors import SegmentError

SYNONYMS = {
    "ckpt": "checkpoint", "epochs": "trainer.max_epochs", "batch_size": "data.batch_size", "lr": "optimizer.lr",
    "data.mask_suffix": "data.mask_name",
}  # fmt: skip
"""Keys of other programs or of earlier versions, and the keys that mean the same here."""


def check_added_keys(overrides: Sequence[str], command: str) -> None:
    """Check the top level of keys that are added by ``+KEY=VALUE``: a misspelt group would be ignored.

    Args:
        overrides: overrides of the command line.
        command: name of the command.

    Raises:
        SegmentError: the command has no such key or group.
    """
    added = [override_key(override) for override in overrides if override.startswith("+")]
    if not added:
        return
    known = {*yaml.safe_load(Path(CONF_DIR, f"{command}.yaml").read_text(encoding="utf-8"))}
    known |= {path.name for path in Path(CONF_DIR).iterdir() if path.is_dir()}
    for key in added:
        top = re.split(r"[./@]", key.lstrip("+"))[0]
        if top not in known:
            raise SegmentError(f"{key}= is not known{suggestion(top, known)}")


def explain_hydra_error(error: Exception, command: str) -> str:
    """Return Hydra's error as one line, with a suggestion for a misspelt key or option.

    Args:
        error: raised while Hydra composed the configuration.
        command: name of the command.
    """
    text = str(error).removeprefix("error: ")
    if match := re.search(r"Could not override '([^']+)'", text):
        return f"{match[1]}= is not known{suggestion(match[1], _all_keys(command))}"
    if match := re.search(r"Could not (?:find|load) '([^']+)/([^/']+)'", text):
        options = re.findall(r"^\s+(\S+)$", text.partition("Available options")[2], re.MULTILINE)
        return f"{match[1]}={match[2]}: there is no such option{suggestion(match[2], options, '')}"
    return " ".join(text.partition("\nSee ")[0].split())


def suggestion(name: str, known: Iterable[str], equals: str = "=") -> str:
    """Return ": did you mean NAME=?" for the closest known name, or all names if none is close."""
    known = sorted(known)
    close = [SYNONYMS[name]] if name in SYNONYMS else get_close_matches(name, known, 1, 0.7)
    close = close or [key for key in known if key.rpartition(".")[2] == name][:1]
    if close:
        return f": did you mean {close[0]}{equals}?"
    return f"; known are {', '.join(known)}" if len(known) <= 40 else "; --help lists all keys"


def _all_keys(command: str) -> list[str]:
    """Return the groups of options, and the dotted keys of a command's configuration with the tables that hold them."""
    groups = [path.relative_to(CONF_DIR).as_posix() for path in Path(CONF_DIR).rglob("*") if path.is_dir()]
    parts = [key.split(".") for key, _ in flatten(OmegaConf.to_container(load_config([], command)))]
    return [*groups, *{".".join(names[:end]) for names in parts for end in range(1, len(names) + 1)}]
