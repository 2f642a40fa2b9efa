"""Limits for untrusted files: the classes that are built, and the overrides that are used.

A checkpoint and a record of a run name classes by ``_target_``, and building a class runs its code. Only public classes
of this package, classes of torch, torchvision and Lightning of a few kinds, and torchmetrics' metrics are built without
being asked for. The user trusts further packages by name, on the command line or as an argument alone:
``trust=[mylab]``. A name in such a package may still refer to something from elsewhere, as ``mylab.os.system`` does,
and is refused then.
"""

import importlib
import json
import re
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segment.cli.overrides import override_key
from segment.cli.targets import is_dotted_name, locate, real_name
from segment.cli.untrusted_yaml import is_bounded_yaml
from segment.errors import SegmentError

FOLDERS = ("segment.data", "segment.models", "segment.prediction", "segment.training")
"""Folders whose public names a configuration may name."""
MODELS = "segment.models"
"""The one of them whose classes a checkpoint's net may have."""
KINDS = (
    "torch.optim.Optimizer",
    "torch.optim.lr_scheduler.LRScheduler",
    "torch.nn.Module",
    "lightning.pytorch.callbacks.Callback",
    "lightning.pytorch.loggers.Logger",
    "lightning.pytorch.strategies.Strategy",
    "lightning.pytorch.plugins.precision.Precision",
    "lightning.Trainer",
    "torchvision.transforms.v2.Transform",
)
"""Base classes of what may be built from torch, torchvision, Lightning and torchmetrics."""
CALLERS = ("torchvision.transforms.v2.Lambda",)
"""Classes among them that call any function."""
CHECKED_PACKAGES = ("segment", "torch", "torchvision", "lightning", "torchmetrics")
"""Packages that a refusal does not advise to trust: the parts of theirs that are harmless pass without it."""
METRICS = ("torchmetrics.classification", "torchmetrics.segmentation")
"""Packages of torchmetrics that may be used; classes of others download nets."""
DOWNLOAD_KEYS = {"download", "url", "checksum"}
PATH_KEYS = {"dirpath", "save_dir", "default_root_dir"}
"""Keys by which Lightning's classes write into folders of their own."""
NAME_KEYS = ("filename", "name", "version", "sub_dir")
"""Keys of callbacks and loggers whose values become parts of a path."""
LOGGER_KEYS = {
    "_target_", "name", "version", "project", "group", "tags", "offline", "id", "prefix", "sub_dir", "log_graph",
    "default_hp_metric", "flush_logs_every_n_steps",
}  # fmt: skip
"""Keys of loggers that may come from a file. Others send the metrics, and the user's key, to an address of its own."""
REFUSED_KEYS = r"hydra([./@].*)?|trust|data\.(download|url|checksum)|(.*[./])?(dirpath|save_dir|default_root_dir)"
"""Keys that no recorded override may set: they run code, download, or write elsewhere."""


def check_stranger_config(
    config: Any, source: str, folders: Sequence[str] = FOLDERS, trust: Sequence[str] = ()
) -> None:
    """Check a configuration that comes from a file, before anything is built from it.

    Args:
        config: plain data.
        source: name of the file, for the error message.
        folders: folders whose public names may be built.
        trust: names of further packages.

    Raises:
        SegmentError: the configuration names another class, has positional arguments, an interpolation or a value that
            is not plain, or asks for a download below its first level.
    """
    if not isinstance(config, Mapping):
        raise SegmentError(f"{source}: refused, its configuration is a {type(config).__name__}, expected a table")
    for depth, key, value in _walk(config):
        if key == "_target_":
            _check_target(value, source, folders, trust)
        elif key is None and value in ("_args_", "_recursive_"):
            raise SegmentError(f"{source}: refused, its configuration has {value}, expected named arguments only")
        elif key in DOWNLOAD_KEYS and depth and value not in (None, False):
            raise SegmentError(f"{source}: refused, its configuration asks for a download ({key}={value!r:.100})")
        elif key in PATH_KEYS and value is not None:
            raise SegmentError(f"{source}: refused, it writes into another folder ({key}={value!r:.100})")
        elif isinstance(value, str) and "${" in value:
            raise SegmentError(f"{source}: refused, it has the interpolation {value!r:.100}, expected plain values")
        elif not isinstance(value, str | int | float | None):
            raise SegmentError(f"{source}: refused, its configuration holds a {type(value).__name__}")


def check_file_names(config: Mapping[str, Any], source: str) -> None:
    """Check that the callbacks and loggers of a run write into its folder alone.

    A run whose configuration comes from a file has to; any other run, so that it can be resumed.

    Raises:
        SegmentError: a name that becomes a part of a path holds a slash or two dots.
    """
    for group in ("callbacks", "logger"):
        parts = config.get(group)
        for part in parts.values() if isinstance(parts, Mapping) else ():
            for key in NAME_KEYS if isinstance(part, Mapping) else ():
                value = str(part.get(key))  # a list or table becomes a part of a path, too
                if part.get("auto_insert_metric_name") is False:  # then Lightning writes the metric's value alone
                    value = re.sub(r"\{[\w/]+(:[\d.]*[defg]?)?\}", "", value)
                shown = key == "name" and "WandbLogger" in str(part.get("_target_"))  # on wandb's pages alone
                if re.search(r"/|\.\.", value) and not shown:
                    raise SegmentError(f"{source}: refused, {key}={value:.100} in {group} is no plain file name")


def check_loggers(config: Mapping[str, Any], source: str, typed: Container[str]) -> None:
    """Check that a configuration from a file does not choose where loggers send what they log.

    Args:
        typed: keys that the user typed.

    Raises:
        SegmentError: a logger has another key than :data:`LOGGER_KEYS`.
    """
    loggers = config.get("logger")
    for name, part in loggers.items() if isinstance(loggers, Mapping) else ():
        for key in part if isinstance(part, Mapping) else ():
            full = f"logger.{name}.{key}"
            if key not in LOGGER_KEYS and part[key] is not None and full not in typed and f"+{full}" not in typed:
                raise SegmentError(f"{source}: refused, {full:.100}= is not used from a file: type +{full:.100}=")


def check_recorded_overrides(overrides: Sequence[Any], source: str) -> None:
    """Check the overrides of a recorded run, before Hydra reads them.

    Raises:
        SegmentError: an override could run code, download a file, or write outside of the run folder.
    """
    for override in overrides:
        if not isinstance(override, str) or override.startswith("-"):
            raise SegmentError(f"{source}: refused, {override!r:.100} is no override")
        key = override_key(override).lstrip("+~")
        if re.fullmatch(REFUSED_KEYS, key) or "${oc.env" in override:
            raise SegmentError(f"{source}: refused, the recorded override {override!r:.100} is not used from a file")


def check_recorded_yaml(folder: str, source: str) -> None:
    """Check that the YAML files of a record's config folder are small, also when their aliases are written out.

    Raises:
        SegmentError: a file is too large, nested deeply, or no regular one.
    """
    for path in (path for depth in ("*", "*/*", "*/*/*") for path in Path(folder).glob(f"{depth}.yaml")):
        if not is_bounded_yaml(path):
            raise SegmentError(f"{source}: refused, {str(path)!r:.150} is too large or nested too deep to be read")


def read_trust(trust: Any) -> list[str]:
    """Return the names of the packages that the user trusts.

    Args:
        trust: a name, a list of names, or None.

    Raises:
        SegmentError: it holds anything but names of packages.
    """
    names = [] if trust is None else [trust] if isinstance(trust, str) else [*trust]
    for name in names:
        if not is_dotted_name(name):
            raise SegmentError(f"trust={name!s:.100}: expected names of packages, such as trust=[mylab]")
    return names


def needed_trust(config: Any, folders: Sequence[str] = FOLDERS) -> list[str]:
    """Return the packages that have to be trusted before the classes of a configuration are built from a file."""
    targets = {value for _, key, value in _walk(config) if key == "_target_" and isinstance(value, str)}
    return sorted({target.partition(".")[0] for target in targets if not _is_known(target, folders)})


def trust_override(packages: Sequence[str]) -> str:
    """Return the override by which packages are trusted, as the command line takes it."""
    return f"trust=[{','.join(packages)}]"


def _check_target(target: Any, source: str, folders: Sequence[str], trust: Sequence[str]) -> None:
    if isinstance(target, str) and _is_known(target, folders):
        return
    package = target.partition(".")[0] if isinstance(target, str) else ""
    if is_dotted_name(target) and _is_trusted(target, trust):
        if _is_trusted(name := real_name(locate(target)), trust):
            return
        within = trust_override(trust)
        raise SegmentError(f"{source}: refused, {target:.100} is {name or 'no class':.100}, which {within} leaves out")
    advice = ""
    if is_dotted_name(package) and package not in {*sys.stdlib_module_names, *CHECKED_PACKAGES}:
        needed = [*(one for one in trust if one.partition(".")[0] != package), package]
        advice = f"; if you trust that package, add {trust_override(needed)} (in Python: trust={json.dumps(needed)})"
    raise SegmentError(
        f"{source}: refused, it names {str(target)[:100]!r}, expected a public class of {' or '.join(folders)}{advice}"
    )


def _is_known(target: str, folders: Sequence[str]) -> bool:
    """Return whether a name may be built without being trusted."""
    return _is_public(target, folders) or (folders == FOLDERS and _is_standard_part(target))


def _is_trusted(target: str, trust: Sequence[str]) -> bool:
    """Return whether a name lies in a trusted package: ``mylab`` covers ``mylab.nets``, not ``mylabel``."""
    return any(target == package or target.startswith(f"{package}.") for package in trust)


def _is_public(target: str, folders: Sequence[str]) -> bool:
    """Return whether a name is a public class, or a public function of ``training`` (schedules are functions)."""
    folder, _, name = target.rpartition(".")
    if folder not in folders or name not in (module := importlib.import_module(folder)).__all__:
        return False
    return isinstance(getattr(module, name), type) or folder == "segment.training"


def _is_standard_part(target: str) -> bool:
    """Return whether a name is a class of torch, torchvision, Lightning or torchmetrics of one of :data:`KINDS`."""
    if not re.fullmatch(r"(torch|torchvision|lightning|torchmetrics)(\.\w+)+", target):
        return False
    try:
        part = locate(target)
    except SegmentError:
        return False
    kinds, callers = (tuple(map(locate, names)) for names in (KINDS, CALLERS))
    if not isinstance(part, type) or not issubclass(part, kinds) or issubclass(part, callers):
        return False
    return not target.startswith("torchmetrics.") or _is_trusted(real_name(part), METRICS)


def _walk(config: Any, depth: int = 0, key: Any = None) -> Iterator[tuple[int, Any, Any]]:
    """Yield depth, key and value of everything in tables and lists. A key is also yielded, as a value with key None."""
    if isinstance(config, Mapping) and key != "_target_":
        for name, value in config.items():
            yield depth, None, name
            yield from _walk(value, depth + (key is not None), name)
    elif isinstance(config, list | tuple) and key != "_target_":
        for value in config:
            yield from _walk(value, depth + 1, "")
    else:
        yield depth, key, config
