"""The writer of checkpoints. Their reader is ``checkpoint.py``, which does without Lightning."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from segment.files import whole_file


class WholeCheckpoints(TorchCheckpointIO):
    """Write each checkpoint completely or not at all.

    Lightning writes below /tmp and then moves, which is a copy where /tmp is another file system.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with whole_file(Path(path), "wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's writer replaces the OSError of a full disk by its own error
                raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None
