"""The frame of every command: Hydra composes the configuration, and a user's mistake is one message."""

import functools
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    InterpolationKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from segment.cli.config import (
    CONF_DIR,
    LONG_NUMBER,
    YAML_ERRORS,
    damaged_yaml,
    end_fast_composition,
    fast_composition,
    is_long_number,
    load_config,
    quote_option,
    refuse_null_options,
)
from segment.cli.help import print_help
from segment.cli.overrides import HELP, override_key, quote_path, split_flags
from segment.cli.run_folder import refuse_foreign_record
from segment.cli.suggestions import check_flags, check_overrides, explain_hydra_error
from segment.cli.targets import drop_foreign_keys, drop_preset_keys
from segment.cli.versions import VERSION_BASE
from segment.errors import SegmentError
from segment.files import printable, printable_lines

OWN_ERRORS = "SEGMENT_OWN_ERRORS"
"""Environment variable: marks that this package, not the user, set HYDRA_FULL_ERROR; child processes read it."""


def exit_cleanly(run: Callable[[], None]) -> None:
    """Run a command; Ctrl-C and a closed pipe (``| head -1``) end it without a traceback."""
    try:
        try:
            run()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):  # rich raises such
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        sys.exit(128 + signal.SIGPIPE)


def entry_point(name: str, run: Callable[[DictConfig], Any], prepare: Callable[[], None] | None = None) -> None:
    """Compose the configuration ``name`` with the command line and run a command with it.

    Args:
        name: name of the command and of its YAML file.
        run: called with the configuration; Hydra's sweepers read what it returns.
        prepare: called before Hydra reads the command line; it may change ``sys.argv``.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns when there is no home folder
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # a damaged file is an error of ours, or a skipped image
    warnings.filterwarnings("ignore", module="PIL")
    exit_cleanly(functools.partial(_compose_and_run, name, run, prepare))


def _compose_and_run(name: str, run: Callable[[DictConfig], Any], prepare: Callable[[], None] | None) -> None:
    composed = False

    @functools.wraps(run)
    def job(config: DictConfig) -> Any:  # pickled by other launchers: it must hold no context manager
        nonlocal composed
        composed = True
        end_fast_composition()
        if OWN_ERRORS in os.environ:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        try:
            if HydraConfig.get().job.chdir:
                raise SegmentError("hydra.job.chdir=true: relative paths need the folder you are in; leave it out")
            check_overrides(HydraConfig.get().overrides.task, name, HydraConfig.get().runtime.choices)
            drop_foreign_keys(config, HydraConfig.get().overrides.task)
            _drop_preset_keys(name, config)
            return run(config)
        except Exception as error:
            message = explain_hydra_error(error, name) if isinstance(error, HydraException) else _message(error)
            if message is None:
                raise
            if HydraConfig.get().mode is RunMode.MULTIRUN:  # an exit would end the whole sweep
                raise CompactHydraException(f"error: {message}") from None
            sys.exit(f"error: {message}")

    if not _prepare_arguments(name, prepare):
        return
    try:
        with fast_composition():
            hydra.main(config_path=CONF_DIR, config_name=name, **VERSION_BASE)(job)()
    except (HydraException, OmegaConfBaseException, OSError, SegmentError) as error:
        of_hydra = isinstance(error, HydraException | OmegaConfBaseException)
        message = explain_hydra_error(error, name) if of_hydra else _message(error)
        if OWN_ERRORS not in os.environ or message is None:  # the user asked for the traceback
            raise
        sys.exit(f"error: {message}")
    except YAML_ERRORS as error:
        if composed:
            raise
        sys.exit(f"error: {printable(str(damaged_yaml(error)))}")
    except (ValueError, AssertionError, RuntimeError) as error:
        if is_long_number(error):
            sys.exit(f"error: {LONG_NUMBER}")
        if _is_raised_by(error, "submitit"):
            sys.exit(f"error: hydra/launcher=slurm: {printable(' '.join(str(error).split()))}")
        if not _is_raised_by(error, "optuna", "hydra_plugins.hydra_optuna_sweeper"):
            raise
        reason = " ".join(str(error).split()) or "expected choice(), interval(), range() or values, got another range"
        sys.exit(f"error: the settings of the search: {printable(reason)}")


def _prepare_arguments(name: str, prepare: Callable[[], None] | None) -> bool:
    """Check and quote the arguments for Hydra; return False if they ask for help, which is printed then."""
    try:
        check_flags(split_flags(sys.argv[1:])[0])
        if HELP.intersection(sys.argv):
            print_help(name, [one for one in sys.argv[1:] if one not in HELP])
            return False
        refuse_null_options(sys.argv[1:])
        if prepare is not None:
            prepare()
        flags, overrides = split_flags(sys.argv[1:])
        sys.argv[1:] = [*flags, *(quote_option(quote_path(one), sys.argv[1:]) for one in overrides)]
        refuse_foreign_record()
    except SegmentError as error:
        sys.exit(f"error: {printable(str(error))}")
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {explain_hydra_error(error, name)}")
    if "HYDRA_FULL_ERROR" not in os.environ:
        os.environ[OWN_ERRORS] = "1"
    if OWN_ERRORS in os.environ:  # with this variable Hydra raises its errors, instead of printing them
        os.environ["HYDRA_FULL_ERROR"] = "1"
    return True


def _drop_preset_keys(name: str, config: DictConfig) -> None:
    """Drop keys of ``experiment=`` that belong to an option which the command line replaces, and say so."""
    overrides, choices = list(HydraConfig.get().overrides.task), HydraConfig.get().runtime.choices
    bare = [one for one in overrides if override_key(one) in set(config) & set(choices)]  # loss=dice, model=unet
    if not (choices.get("experiment") and bare):
        return
    folders = [one.path for one in HydraConfig.get().runtime.config_sources if one.provider == "command-line"]
    flags = [flag for folder in folders for flag in ("--config-dir", folder)]
    if dropped := drop_preset_keys(config, load_config([*flags, *bare], name), overrides):
        from segment.console import print_once  # imports torch

        print_once(f"left out {', '.join(dropped)} of the experiment: the chosen option does not take it")


def _message(error: Exception) -> str | None:
    """Return the message for a user's mistake; None where the fault is in this package."""
    if isinstance(error, SegmentError):
        return printable_lines(str(error))
    if isinstance(error, OSError) and error.filename is not None:
        return printable(f"{error.filename}: {error.strerror}")
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is missing: give {error.full_key}=VALUE on the command line"
    if isinstance(error, InterpolationKeyError):
        return str(error).splitlines()[0]
    if isinstance(error, ConfigAttributeError) and (removed := [one for one in sys.argv[1:] if one.startswith("~")]):
        return f"{error.full_key} is missing: {printable(removed[0])} leaves out what this command needs"
    if type(error).__name__ == "MisconfigurationException":  # raised by Lightning for its arguments
        return " ".join(str(error).split())
    if isinstance(error, ValueError) and "val_check_interval" in str(error):  # likewise
        text = str(error).partition(". If")[0].replace("`", "").strip()
        return f"trainer.{text}, or set trainer.check_val_every_n_epoch=null to count across epochs"
    return None


def _is_raised_by(error: Exception, *packages: str) -> bool:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith(tuple(f"{package}." for package in packages))


def silence_known_warnings() -> None:
    """Hide Lightning's advertisements and known false alarms; call it after Lightning is imported."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # +trainer.profiler=simple prints a table
    for text in (
        ".*isinstance.treespec, LeafSpec.*",  # lightning 2.6 on torch 2.15
        "Experiment logs directory .* exists and is not empty",  # Hydra made it; a resumed run keeps its rows
        "The '.*_dataloader' does not have many workers",  # the number of workers is the user's choice
        "The number of training batches .* is smaller than the logging interval",
        "Checkpoint directory .* exists and is not empty",
        "Found .* in eval mode at the start of training",  # model.frozen_stages, model.frozen_batch_norm
        "You're resuming from a checkpoint that ended before the epoch ended",  # the sampler continues where it was
        "It is recommended to use .*sync_dist=True",  # every process has the metrics of all images
    ):
        warnings.filterwarnings("ignore", text)
