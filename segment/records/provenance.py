"""Where a run's figures come from: provenance.json, and what it says against another run."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import segment
from segment.cli.config import CONF_DIR
from segment.errors import SegmentError
from segment.files import whole_file

NAME = "provenance.json"
PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "torchmetrics", "timm", "numpy")
PLACES = (str(Path(segment.__file__).parent), CONF_DIR)
"""Where our own code and configuration lie."""


def read(folder: Path) -> dict[str, Any] | None:
    """The provenance.json of a run directory; None if it has none.

    Raises:
        SegmentError: it is damaged.
    """
    path = folder / NAME
    try:
        return json.loads(path.read_text()) if path.is_file() else None
    except ValueError as error:
        raise SegmentError(f"{path} is damaged: {error}") from None


def collect(**facts: Any) -> dict[str, Any]:
    """All of provenance.json but its ``starts``: ``facts`` of the caller's, and what can be found out from here."""
    return {**facts, "git": code(), "versions": versions(), "platform": platform.platform()}


def write(folder: Path, record: Mapping[str, Any], step: int, earlier: Mapping[str, Any] | None) -> None:
    """Write provenance.json, and the changes to the code that no commit has to ``.hydra/git.diff``.

    Args:
        record: see :func:`collect`.
        step: that this start goes on from.
        earlier: the file of the run that goes on; its starts are kept.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    starts = [*(earlier or {}).get("starts", []), {"time": time, "step": step, "commit": record["git"]["commit"]}]
    patch = folder / ".hydra" / "git.diff"
    patch.unlink(missing_ok=True)
    if record["git"]["changes"] and (diff := uncommitted()):
        with whole_file(patch) as file:
            file.write(diff)
    with whole_file(folder / NAME) as file:
        file.write(json.dumps({**record, "starts": starts}, indent=2) + "\n")


def code() -> dict[str, Any]:
    """The commit of our own code, a hash of what was changed since, and new files; None where it is no checkout."""
    new, changed = git("ls-files", "--others", "--exclude-standard", "--full-name", "--", *PLACES), uncommitted()
    return {
        "commit": (git("rev-parse", "HEAD") or "").strip() or None,
        "changes": hashlib.sha256(changed.encode()).hexdigest()[:16] if changed else None,
        "new_files": (new or "").splitlines(),
    }


def uncommitted() -> str | None:
    """Our own code against its commit, as a diff."""
    return git("diff", "HEAD", "--", *PLACES)


def git(*words: str) -> str | None:
    """What git says of the checkout that our own code is; None where it is none."""
    command = ["git", "-C", PLACES[0]]
    try:  # first whether it is a package that was installed below another checkout
        subprocess.run([*command, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=True)
        return subprocess.run([*command, *words], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Of Python, of this package, and of those that figures depend on."""
    own = {"python": platform.python_version(), "segment": segment.__version__}
    return {**own, **{name: version(name) for name in PACKAGES}}


def flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a nested dictionary by dotted key."""
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from flat(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], config


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys in which two nested dictionaries differ, as "key: then -> now"."""
    old, new = dict(flat(then)), dict(flat(now))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return [f"{key}: {_short(old.get(key))} -> {_short(new.get(key))}" for key in keys]


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What may give other figures from the same configuration: code, packages, device, processes, data."""
    keys = ("git", "versions", "device", "world_size", "data")
    return changes({key: then.get(key) for key in keys}, {key: now.get(key) for key in keys})
