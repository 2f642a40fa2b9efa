"""Semantic segmentation: train, compare and use the classic networks with one line.

How data flows::

    conf/*.yaml --> train, evaluate, predict, export, check, summary .py      (only these and config.py know Hydra)
                        | instantiate(...): plain typed arguments from here on
       data/ -----------+                          models/
       labels > dataset > transforms > datamodule      encoders > fcn, unet > net
       voc, camvid, ade20k, folder, shapes                 |
                        |                                  |
                        +------------> module.py <---------+
                        SegmentationModule: net + loss + metrics + optimiser
                                        |
                                lightning.Trainer --> loggers, checkpoints, pictures, metrics.json
                                                            |
    report.py (no Hydra): comparison/ runs > groups > sections <--+ --> tables, plot, pictures
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
