"""Names of the folders of sweeps and jobs, which are identified by their overrides."""

import hashlib
import re
from collections.abc import Sequence

from segment.cli.overrides import override_key
from segment.cli.versions import register_resolver


def overrides_hash(overrides: Sequence[str]) -> str:
    """Return eight digits that identify a job, or a sweep, by its overrides in any order."""
    return hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]


def folder_name(overrides: Sequence[str], shown: Sequence[str]) -> str:
    """Return a name for a folder: some overrides in readable form, then the hash of all.

    Args:
        overrides: overrides that identify the job or the sweep.
        shown: overrides that the name shows.
    """
    parts = []
    for override in shown:
        key, _, value = override.partition("=")
        key = re.split(r"[./@]", key)[-1]
        part = value if key == "sweep" else f"{key}-{value}"
        parts.append(re.sub(r"[^\w.]+", "-", part, flags=re.ASCII).strip("-."))
    return f"{'_'.join(parts)[:80]}_{overrides_hash(overrides)}".lstrip("_")


def folder_of_overrides(overrides: Sequence[str]) -> str:
    """Return the name of a folder for a command line; it shows the overrides of groups and of keys without a dot."""
    return folder_name(overrides, sorted(one for one in overrides if "." not in override_key(one)))


# For conf/train.yaml. The sweep's name is cached, as Hydra caches ${now:}: a job has overrides of its own.
register_resolver("sweep_name", folder_of_overrides, use_cache=True, replace=True)
register_resolver("job_name", folder_of_overrides, replace=True)
