"""Overrides of the command line: facts about keys, and the quoting that Hydra's grammar needs."""

import itertools
import os
import re
import sys
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from segment.errors import SegmentError

LITERAL_PATHS = (
    "input", "output", "checkpoint", "predictions.folder", "resume", "repeat",
    "effect.texture", "effect.background",
)  # fmt: skip
"""Keys whose value is a path as it stands: a comma in it is no sweep."""
SWEPT_PATHS = ("data.root", "model.weights", "model.encoder.weights", "model.encoder_weights", "model.name")
"""Keys whose value is a path or a sweep over paths; it is quoted only where Hydra cannot read it (``~/voc``)."""
NAMES = (
    "hydra.run.dir", "hydra.sweep.dir", "data.images", "data.masks", "data.image_name", "data.mask_name", "data.url",
    "data.groups.pattern", "data.groups.file", "effect.colour",
    "logger.wandb.name", "logger.wandb.project", "logger.wandb.group",
    "logger.tensorboard.name", "logger.tensorboard.version",
)  # fmt: skip
"""Further keys whose value is a name or a path; it is quoted only where Hydra cannot read it."""
RUN_LENGTH = r"trainer\.max_(epochs|steps|time)"
"""Keys that set how long a run trains."""
UNREADABLE_NAME = r"[^\s,:\[\]{}'\"](?:[^,:\[\]{}'\"]*[^\s,:\[\]{}'\"])?"
QUOTED = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
"""Patterns of a name in a list or table of classes: without quotes and the spaces around it, and in quotes."""
WITHOUT_EFFECT = (
    r"resume|repeat|trust|tune(\..*)?|hydra(\..*)?|checkpoint(\..*)?|logger(\..*)?"
    r"|callbacks(\.(?!(best|ema|early_stopping|stop_hopeless)(\.|$)).*)?"
    r"|data\.(root|num_workers|download|url|checksum|groups\..*)"
    r"|trainer\.(enable_.*|log_every_n_steps|num_sanity_val_steps|fast_dev_run|default_root_dir)"
    r"|trainer\.(profiler|logger|callbacks)(\..*)?"
)
"""Keys that do not change what a run learns: places, logging, loading."""
ROUNDING = r"compile|channels_last|trainer\.(accelerator|strategy|plugins|benchmark|deterministic)(\..*)?"
"""Keys that change the hardware or the order of operations, and with it the rounding of the results."""
REPEATED = r"(data\.)?seed|data\.fold"
"""Keys of the random numbers and of the fold that is held out: runs that differ in nothing else are one net's."""
FLAGS_WITH_VALUE = {
    "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--cfg", "-c", "--package", "-p",
    "--experimental-rerun",
}  # fmt: skip
"""Hydra's flags whose value may be the next argument."""

MODES = {"-m": "--multirun", "-r": "--run", "-c": "--cfg", "-i": "--info", "-sc": "--shell-completion"}
"""Flags of which Hydra takes one, by their short names."""
HELP = {"--help", "-h"}
"""Flags that ask for help."""
ONE_RUN = {"--cfg", "-c", *HELP}
"""Flags that show the configuration of one run."""
FLAGS = {*FLAGS_WITH_VALUE, *MODES, *MODES.values(), *HELP, "--hydra-help", "--version", "--resolve"}
"""All of Hydra's flags."""


def matches_key(key: str, *patterns: str) -> bool:
    """Return whether a dotted key belongs to one of the sets of keys above."""
    return any(re.fullmatch(pattern, key, re.DOTALL) for pattern in patterns)


def override_key(override: str) -> str:
    """Return the key of ``KEY=VALUE``."""
    return override.partition("=")[0]


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into flags with their values, and overrides: Hydra wants all overrides together."""
    flags, overrides = [], []
    waiting = iter(arguments)
    for argument in waiting:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flags.append(argument)
        if argument in FLAGS_WITH_VALUE:
            flags += [value for value in [next(waiting, None)] if value is not None]
    return flags, overrides


def config_dirs(flags: Sequence[str]) -> list[str]:
    """Return the folders that ``--config-dir`` names."""
    pairs = itertools.pairwise(flags)
    joined = [flag.partition("=")[2] for flag in flags if flag.startswith(("--config-dir=", "-cd="))]
    return joined + [value for flag, value in pairs if flag in {"--config-dir", "-cd"}]


def typed_list(key: str, arguments: Sequence[str] | None = None) -> list[str]:
    """Return the list that the command line gives for a key, as ``trust=[mylab]``; empty if there is none.

    Args:
        key: the key.
        arguments: the command line, by default this process's.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    given = [argument for argument in arguments if override_key(argument).lstrip("+") == key]
    value = OverridesParser.create().parse_override(given[-1]).value() if given else None
    return [] if value is None else [str(item) for item in (value if isinstance(value, list) else [value])]


def quote(value: str) -> str:
    """Quote a string for Hydra's grammar, whatever characters it holds."""
    escaped = re.sub(r"(\\*)(\$\{|'|$)", lambda m: m[1] * 2 + ("\\" if m[2] else "") + m[2], value)
    return f"'{escaped}'"


def quote_path(override: str) -> str:
    """Return ``input=a (1).jpg`` as ``input='a (1).jpg'``; other overrides are returned as they are.

    Hydra makes its own folders, and would call one of them ``~``: this is expanded.

    Raises:
        SegmentError: a table of classes has a key that Hydra cannot read.
    """
    key, equals, value = override.partition("=")
    if key in {"hydra.run.dir", "hydra.sweep.dir"} and value.startswith("~"):
        value = os.path.expanduser(value)
        override = f"{key}{equals}{value}"
    if value in {"", "null", "???"} or _is_quoted(value):
        return override
    if key in LITERAL_PATHS:
        return f"{key}{equals}{quote(value)}"
    name = key.lstrip("+")
    if (name not in {*SWEPT_PATHS, *NAMES, "data.classes"}) or _is_readable(override):
        return override
    if name == "data.classes":  # a list or a table: quote each name that Hydra cannot read
        quoted = f"{key}{equals}{re.sub(f'{QUOTED}|({UNREADABLE_NAME})', _quote_bare, value)}"
        if not _is_readable(quoted) and re.search(r"['\"]\s*:", quoted):
            raise SegmentError(
                f"{override}: on the command line, what stands before a colon is of ASCII letters, digits, spaces, - "
                "and /: write the table into a YAML file, for --config-dir"
            )
        return quoted
    quoted = quote(value)
    return f"{key}{equals}{quoted.replace(chr(92) + '${', '${') if name.startswith('hydra.') else quoted}"


def _quote_bare(found: re.Match[str]) -> str:
    """Quote a name unless Hydra reads it as it is: the keys of a table, such as 255, must not be quoted."""
    return quote(found[1]) if found[1] and not _is_readable(f"name={found[1]}") else found[0]


def typed_path(key: str, arguments: Sequence[str] | None = None) -> str | None:
    """Return the path that the command line gives for a key, before Hydra reads it; None if there is none.

    Args:
        key: one of :data:`LITERAL_PATHS` or :data:`NAMES`.
        arguments: the command line, by default this process's.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    given = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{key}=")]
    if not given or given[-1] in {"null", ""}:
        return None
    value = OverridesParser.create().parse_override(f"key={given[-1]}").value() if _is_quoted(given[-1]) else given[-1]
    return str(value).replace("\\${", "${")  # OmegaConf undoes this escape later


def _is_quoted(value: str) -> bool:
    return re.fullmatch(r"(['\"]).*\1", value) is not None


def _is_readable(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True
