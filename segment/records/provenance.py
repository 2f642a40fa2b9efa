"""``provenance.json``: everything that the metrics of a run depend on, and the comparison with another run."""

import hashlib
import importlib.util
import json
import platform
import shlex
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import (
    Any,
    Required,  # pydantic takes typing's from Python 3.12 on
)

from typing_extensions import TypedDict

from segment import __version__
from segment.cli.config import CONF_DIR, flatten
from segment.errors import SegmentError
from segment.files import shown, whole_file
from segment.records.folder import RunFolder
from segment.records.json_file import read_json
from segment.records.trust import needed_trust, trust_override

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "torchmetrics", "timm", "numpy")
"""Distributions whose versions are recorded."""
SOURCES = (str(Path(__file__).parents[1]), CONF_DIR)
"""Folders of this package's code and configuration."""


class Provenance(TypedDict, total=False):
    """The keys of ``provenance.json`` that are read.

    Example:
        >>> record: Provenance = {"overrides": ["seed=1"], "config_dirs": [], "directory": "/", "config": {"seed": 1}}
    """

    __pydantic_config__ = {"extra": "allow"}  # type: ignore[misc]

    overrides: Required[list[str]]
    config_dirs: Required[list[str]]
    directory: Required[str]
    config: Required[dict[str, Any]]
    choices: Required[dict[str, Any]]
    starts: list[dict[str, Any]]
    data: dict[str, Any] | None
    world_size: int
    loggers: dict[str, Any]
    class_weights: list[float] | None


def read_provenance(folder: RunFolder) -> dict[str, Any] | None:
    """Read the ``provenance.json`` of a run folder; None if there is none.

    Raises:
        SegmentError: the file is damaged, or lacks the overrides or the configuration of a run.
    """
    return read_json(folder.provenance, Provenance) if folder.provenance.is_file() else None


def resume_overrides(folder: RunFolder) -> str:
    """Return the overrides by which a run is continued, with the trust that its classes need."""
    with suppress(SegmentError):  # a damaged record needs no trust: it cannot be continued
        record = read_provenance(folder)
        if trust := needed_trust(record["config"]) if record else []:
            return shlex.join([f"resume={shown(folder.path)}", trust_override(trust)])
    return shlex.quote(f"resume={shown(folder.path)}")


def way_on(folder: RunFolder) -> str:
    """Return the words by which an interrupted run can be continued."""
    if not folder.last_checkpoint.is_file():
        return "nothing was saved yet, so start it again"
    return f"{resume_overrides(folder)} continues from its last checkpoint"


def collect_provenance(**facts: Any) -> dict[str, Any]:
    """Return the record of a run without its ``starts``: the caller's facts, code, versions and platform."""
    own = {name: sources_hash(name) for name in needed_trust(facts["config"])}
    code = {"git": code_version(), "own_code": own, "versions": package_versions()}
    return {**facts, **code, "platform": platform.platform()}


def write_provenance(
    folder: RunFolder, record: Mapping[str, Any], step: int, earlier: Mapping[str, Any] | None
) -> None:
    """Write ``provenance.json``, and uncommitted changes of the code to ``.hydra/git.diff``.

    Args:
        folder: the run's folder.
        record: see :func:`collect_provenance`.
        step: the optimiser step at which this start begins.
        earlier: the record of the run that is resumed; its starts are kept.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    starts = [*(earlier or {}).get("starts", []), {"time": time, "step": step, "commit": record["git"]["commit"]}]
    folder.git_diff.unlink(missing_ok=True)
    if record["git"]["changes"] and (diff := uncommitted_changes()):
        with whole_file(folder.git_diff) as file:
            file.write(diff)
    with whole_file(folder.provenance) as file:
        file.write(json.dumps({**record, "starts": starts}, indent=2) + "\n")


def code_version() -> dict[str, Any]:
    """Return the commit of this package, a hash of later changes, and new files; None outside of a checkout."""
    new = git("ls-files", "--others", "--exclude-standard", "--full-name", "--", *SOURCES)
    changed = uncommitted_changes()
    return {
        "commit": (git("rev-parse", "HEAD") or "").strip() or None,
        "changes": hashlib.sha256(changed.encode()).hexdigest()[:16] if changed else None,
        "new_files": (new or "").splitlines(),
    }


def uncommitted_changes() -> str | None:
    """Return this package's changes since its commit, as a diff."""
    return git("diff", "HEAD", "--", *SOURCES)


def git(*arguments: str) -> str | None:
    """Run git in the checkout of this package and return its output; None outside of a checkout."""
    command = ["git", "-C", SOURCES[0]]
    try:  # a package that is installed below somebody else's checkout is not part of it
        subprocess.run([*command, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=True)
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def sources_hash(package: str) -> str | None:
    """Return a hash of the Python files of a package, such as one of the user's own; None if there is none."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    files = [
        (path, path.relative_to(folder))
        for folder in spec.submodule_search_locations or ()
        for path in Path(folder).rglob("*.py")
    ]
    if not files and spec.has_location and spec.origin:
        files = [(Path(spec.origin), Path(package))]  # a module of one file
    digest = hashlib.sha256()
    for path, name in sorted(files, key=itemgetter(1)):
        digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that metrics depend on."""
    from importlib.metadata import version  # here and not above: --help need not wait for it

    own = {"python": platform.python_version(), "segment": __version__}
    return {**own, **{name: version(name) for name in PACKAGES}}


def changed_keys(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return the dotted keys in which two nested dictionaries differ, each with a line "key: then -> now"."""
    old, new = dict(flatten(then)), dict(flatten(now))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return {key: f"{key}: {_shortened(old.get(key))} -> {_shortened(new.get(key))}" for key in keys}


def _shortened(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def environment_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the changes of code, packages, devices and data, which may change the metrics of a configuration."""
    keys = ("git", "own_code", "versions", "device", "world_size", "data")
    return [*changed_keys({key: then.get(key) for key in keys}, {key: now.get(key) for key in keys}).values()]
