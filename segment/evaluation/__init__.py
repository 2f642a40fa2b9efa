"""Metrics of many images: confusion matrix, boundaries, intervals, and the results that are written and shown.

The prediction of a single image belongs to ``prediction``; comparing runs belongs to ``comparison``.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.evaluation.boundary import BoundaryScores
    from segment.evaluation.evaluator import Evaluation, EvaluationAccumulator, evaluate_split
    from segment.evaluation.intervals import Interval, miou_interval
    from segment.evaluation.metrics import SegmentationScores, confusion_metrics

__getattr__, __dir__, __all__ = public_names(__name__)
