"""Train, compare and use networks for semantic segmentation.

How data flows, from the commands down to the ground floor::

    conf/*.yaml --> train  evaluate  predict  export  check  summary  report  submission     commands
                        |  the commands, cli and sweeps know Hydra; everything below takes plain typed arguments
       data ------------+                         models
       files -> batches |                         batches -> scores
                        v                            v
                    training      loss and metrics -> weights
                    prediction    one image -> class map
                    evaluation    many images -> metrics
                    records       a run on disk: a module for each file of a run folder
                    comparison    many runs -> one table
                    sweeps        many commands -> many runs
                    display       pictures, plots and tables for the eye

Each folder says in its ``__init__.py`` what belongs there, and gives its public names.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from segment.prediction.inference import Inference
    from segment.prediction.segmenter import Segmenter

__version__ = "0.1.0"


def load(checkpoint: "str | Path", device: str | None = None, inference: "Inference | None" = None) -> "Segmenter":
    """Load a trained net that predicts: see :func:`segment.prediction.load_segmenter`, imported only when called."""
    from segment.prediction.segmenter import load_segmenter

    return load_segmenter(checkpoint, device, inference)
