"""Interpolations such as ``${oc.env:HOME}`` while a stranger's configuration is composed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from omegaconf.resolvers import oc

from segment.cli.run_folder import unique_folder
from segment.cli.versions import register_resolver
from segment.errors import SegmentError


@contextmanager
def guarded_resolvers(typed: Sequence[str], source: str) -> Iterator[None]:
    """Let a recorded configuration read no variable of the environment, however it is spelled, and make no folder.

    Slurm's variables are read, and those that the user's own arguments name.

    Args:
        typed: arguments of the user's own.
        source: the run folder, for the error message.
    """

    def read_variable(key: str, *default: Any) -> Any:
        if key.startswith("SLURM_") or any(key in argument for argument in typed):
            return oc.env(key, *default)
        raise SegmentError(f"{source}: refused, its configuration reads the environment variable {key!r:.100}")

    def refuse_folder(path: str) -> str:
        raise SegmentError(f"{source}: refused, its configuration makes the folder {path!r:.100}")

    register_resolver("oc.env", read_variable, replace=True)
    register_resolver("unique_folder", refuse_folder, replace=True)
    try:
        yield
    finally:
        register_resolver("oc.env", oc.env, replace=True)
        register_resolver("unique_folder", unique_folder, use_cache=True, replace=True)
