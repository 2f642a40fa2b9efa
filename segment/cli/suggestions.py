"""Suggestions for keys, options and flags of the command line that are misspelt."""

import re
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import yaml
from hydra.conf import HydraConf
from omegaconf import OmegaConf

from segment.cli.config import CONF_DIR, command_keys, default_options, flatten, group_options
from segment.cli.overrides import FLAGS, FLAGS_WITH_VALUE, MODES, NAMES, ONE_RUN, SWEPT_PATHS, config_dirs, override_key
from segment.cli.untrusted_yaml import LOADER
from segment.errors import SegmentError

SYNONYMS = {
    "ckpt": "checkpoint", "epochs": "trainer.max_epochs", "batch_size": "data.batch_size", "lr": "optimizer.lr",
    "learning_rate": "optimizer.lr", "data.mask_suffix": "data.mask_name", "dataset": "data", "gpus": "trainer.devices",
    "trainer.gpus": "trainer.devices", "devices": "trainer.devices", "net": "model", "network": "model",
}  # fmt: skip
"""Keys of other programs, and the keys that mean the same here."""

PATHS = {*SWEPT_PATHS, *NAMES}
"""Keys whose value is one path or name, which may hold a comma."""
PLUGINS = {"optuna": "search", "submitit_slurm": "slurm"}
"""Options of Hydra's plugins, and the extra that has the plugin."""
TYPES = {"Integer": "a whole number", "Float": "a number"}
"""OmegaConf's names of types, and the words for them."""


def check_flags(flags: Sequence[str]) -> None:
    """Check the names of flags: Hydra answers an unknown one with its whole usage.

    Raises:
        SegmentError: there is no such flag, two of them exclude each other, several folders of YAML are given, or a
            file would never be read.
    """
    names = [override_key(flag) for flag in flags if flag.startswith("-")]
    for name in names:
        if name not in FLAGS:
            raise SegmentError(f"{name} is not known{suggestion(name, FLAGS, '')}")
    if flags and flags[-1] in FLAGS_WITH_VALUE:
        raise SegmentError(f"{flags[-1]} needs a value{', such as job' * (flags[-1] in ONE_RUN)}")
    if "--resolve" in names and not ONE_RUN.intersection(names):
        raise SegmentError("--resolve shows a configuration: expected --cfg job beside it")
    if len(modes := sorted({MODES.get(name, name) for name in names}.intersection(MODES.values()))) > 1:
        raise SegmentError(f"{' and '.join(modes)} are given: expected one of them (--cfg shows one job of a sweep)")
    if len(folders := config_dirs(flags)) > 1:
        raise SegmentError(f"--config-dir is given {len(folders)} times, and Hydra reads one folder: give one")
    for folder in folders:
        if not Path(folder).is_dir():
            raise SegmentError(f"--config-dir {folder} is no folder")
        twins = [Path(folder, path.relative_to(CONF_DIR)) for path in Path(CONF_DIR).rglob("*.yaml")]
        if (found := [str(path) for path in twins if path.is_file()]) and not Path(folder).samefile(CONF_DIR):
            raise SegmentError(f"{found[0]} has the name of a file of this package, which Hydra takes first: rename it")


def check_overrides(overrides: Sequence[str], command: str, groups: Container[str]) -> None:
    """Check what Hydra accepts, and would have no effect or fail later: misspelt groups in ``+KEY=VALUE``.

    Args:
        overrides: of the command line.
        command: name of the command.
        groups: groups that an option is chosen from; ``model.encoder`` is text where it is none of them.

    Raises:
        SegmentError: the command has no such key or group, or an option is given to a table.
    """
    known = command_keys(command)
    for override in overrides:
        key, _, value = override.partition("=")
        if key.startswith("+") and re.split(r"[./@]", key.lstrip("+"))[0] not in known:
            raise SegmentError(f"{key}= is not known{suggestion(key.lstrip('+'), known)}")
        group = key.replace(".", "/")
        if "." in key and group in groups and value in group_options(group):
            raise SegmentError(f"{key}= is a table of keys: did you mean {group}={value}?")


def explain_hydra_error(error: Exception, command: str) -> str:
    """Return Hydra's error as one line, with a suggestion for a misspelt key or option.

    Args:
        error: raised while Hydra composed the configuration.
        command: name of the command.
    """
    text = str(error).removeprefix("error: ")
    if match := re.match(r"Ambiguous value for argument '([^=]+)=(.+)'\n", text):
        is_group = "/" in match[1] or match[1] in default_options(command)
        as_list = "" if is_group else f", or write {match[1]}=[{match[2]}] for a list"
        if match[1] in PATHS:
            as_list = f""", or write "{match[1]}='{match[2]}'" for one path"""
        way = "--cfg and --help show one run, so give one value" if ONE_RUN.intersection(sys.argv[1:]) else "add -m"
        return f"{match[1]}={match[2]}: several values are a sweep: {way}{as_list}"
    if re.search("Could not override 'model/encoder'|Invalid Defaults List override '/model/encoder:", text):
        return _explain_encoder(text)  # in the words of Hydra 1.3 or 1.4
    if match := re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text):
        known = _known_keys(command)
        if files := known.get(match[1]):
            named = ", ".join(files[:3]) + ", ..." * (len(files) > 3)
            hint = f"if the class that is chosen takes it, +{match[1]}= adds it"
            return f"{match[1]}= is a key of {named}, which is not chosen: {hint}"
        return f"{match[1]}= is not known{suggestion(match[1], known)}"
    if match := re.match(r"Error merging override (.+)", text):
        reason = str(error.__cause__).partition("\n")[0]
        expected = TYPES.get(reason.rpartition("could not be converted to ")[2])
        if reason.endswith("is not Optional"):
            expected = "a value"
        return f"{match[1]}: {f'expected {expected}' if expected else reason}"
    if match := re.search(r"Could not (?:find|load) '([^']+)/([^/']+)'", text):
        if extra := PLUGINS.get(match[2]):
            return f"{match[1]}={match[2]} needs an extra: pip install 'segment-lightning[{extra}]'"
        options = group_options(match[1], sys.argv[1:])
        return f"{match[1]}={match[2]}: there is no such option{suggestion(match[2], options, '')}"
    if "loading@data appears more than once" in text:
        return "the YAML file of data has /loading in its defaults: leave that line out, every data set gets these keys"
    return " ".join(text.partition("\nSee ")[0].split())


def _explain_encoder(text: str) -> str:
    """Return the message for an encoder that is chosen for a net without such a choice."""
    reason = "the chosen model has no choice of encoder, it brings its own"
    if match := re.match(r"In 'experiment/([^']+)'", text):
        others = "camvid or voc" if match[1].startswith(("camvid", "voc")) else "one without an encoder"
        return f"experiment={match[1]} sets model/encoder, and {reason}: use another experiment, such as {others}"
    return f"model/encoder=: {reason}; --help lists the keys of model, such as model.encoder= of model=smp"


def suggestion(name: str, known: Iterable[str], equals: str = "=") -> str:
    """Return ": did you mean NAME=?" for the closest known name, or all names if none is close."""
    known = sorted(known)
    if close := close_name(name, known):
        return f": did you mean {close}{equals}?"
    return f"; known are {', '.join(known)}" if len(known) <= 40 else "; --help lists all keys"


def close_name(name: str, known: Sequence[str]) -> str:
    """Return the known name that is meant by a misspelt one; empty if none is close."""
    if name in SYNONYMS:
        return SYNONYMS[name]
    inside = [key for key in known if re.split("[./]", key)[-1] == name]
    return next(iter([*get_close_matches(name, known, 1, 0.7), *inside, *get_close_matches(name, known, 1, 0.6)]), "")


def _known_keys(command: str) -> dict[str, list[str]]:
    """Return the groups of a command and the keys of all their options, each with the YAML files that have it.

    The files are read one by one: to compose them takes ten times as long.
    """
    of_hydra = flatten({"hydra": OmegaConf.to_container(OmegaConf.structured(HydraConf))})
    known: dict[str, list[str]] = {key: [] for key, _ in of_hydra}
    chosen = {*default_options(command), "hydra"}
    groups = [path for path in sorted(Path(CONF_DIR).rglob("*")) if path.is_dir() and _inside(path).parts[0] in chosen]
    others = [folder for folder in groups if _inside(folder).parts[0] != "experiment"]  # which has keys of the others
    options = [path for folder in others for path in sorted(folder.glob("*.yaml"))]
    for path in [Path(CONF_DIR, f"{command}.yaml"), *options]:
        parts = [key.split(".") for key in _file_keys(path, ".".join(_inside(path.parent).parts))]
        for key in {".".join(names[:end]) for names in parts for end in range(1, len(names) + 1)}:
            known.setdefault(key, []).append(str(_inside(path)))
    return known | {str(_inside(folder)): [] for folder in groups}


def _inside(path: Path) -> Path:
    return path.relative_to(CONF_DIR)


def _file_keys(path: Path, package: str) -> Iterator[str]:
    """Yield the dotted keys that a YAML file adds to the configuration, also by ``/GROUP@PACKAGE: OPTION``."""
    text = path.read_text(encoding="utf-8")
    content = yaml.load(text, LOADER) or {}
    prefix = f"{package}." if package and not text.startswith("# @package _global_") else ""
    for item in content.pop("defaults", []):
        for name, option in item.items() if isinstance(item, dict) else ():
            group, at, place = name.partition("@")
            if at:
                inner = f"{prefix}{place}".replace("_here_", "").strip(".")
                yield from _file_keys(Path(CONF_DIR, group.strip("/"), f"{option}.yaml"), inner)
    yield from (f"{prefix}{key}" for key, _ in flatten(content) if key)
