"""From one image to its class map.

This folder holds the inference protocols, the trained net with its classes, and the files that are read and written for
single images. Metrics over many images belong in ``segment.evaluation``, the files of a run in ``segment.records``.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.prediction.inference import Inference
    from segment.prediction.segmenter import Segmentation, Segmenter, load_segmenter

__getattr__, __dir__, __all__ = public_names(__name__)
