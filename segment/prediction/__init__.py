"""From one image to its class map.

This folder holds the inference protocols, the trained net with its classes, and the files that are read and written for
single images. Metrics over many images belong in ``segment.evaluation``, the files of a run in ``segment.records``.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from segment.prediction.inference import Inference as Inference
    from segment.prediction.segmenter import Segmentation as Segmentation
    from segment.prediction.segmenter import Segmenter as Segmenter
    from segment.prediction.segmenter import load_segmenter as load_segmenter

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"inference": ["Inference"], "segmenter": ["Segmentation", "Segmenter", "load_segmenter"]},
)
