"""The loggers of a run: metrics.csv, and those that the user chooses."""

import os
from typing import Any

from segment.cli.build import instantiate
from segment.cli.config import plain
from segment.errors import SegmentError
from segment.records.metrics_csv import MetricsFile, read_rows
from segment.training.resume import RunStart


def build_loggers(config: Any, start: RunStart, loggers: list) -> None:
    """Build and start the logger of metrics.csv and those that ``logger=`` names.

    A resumed run keeps its rows up to the checkpoint, and its id in wandb.

    Args:
        config: the configuration of ``segment.train``.
        start: how the run begins.
        loggers: gets each logger before the next one is built, so that all are ended if one fails.

    Raises:
        SegmentError: a logger cannot start.
    """
    folder = start.folder
    # First in the list: ModelCheckpoint without a dirpath saves below the first logger, which must be the run folder.
    loggers.append(MetricsFile(folder.path, read_rows(folder.metrics_csv, start.step)))
    ids = (start.record or {}).get("loggers", {})
    for name, part in (config.get("logger") or {}).items():
        own = {"id": ids[name]} if name in ids and "id" in part and part.id is None else {}
        loggers.append(instantiate(part, save_dir=str(folder.path), **own))
    os.environ.setdefault("WANDB_INIT_TIMEOUT", "30")  # seconds; wandb's own limit is longer
    for logger in [*loggers]:
        try:
            logger.log_hyperparams(plain(config))
        except Exception as error:
            loggers.remove(logger)
            reason = " ".join(str(error.__cause__ or error).split())[:150]
            if "wandb" not in type(error).__module__ + type(logger).__module__:  # its settings raise pydantic's errors
                raise SegmentError(f"the {type(logger).__name__} cannot start: {reason}") from error
            raise SegmentError(
                f"logger=wandb cannot start ({reason}): log in with `wandb login`, or set the environment variable "
                "WANDB_MODE=offline"
            ) from None
