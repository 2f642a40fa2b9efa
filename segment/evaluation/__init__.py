"""Metrics of many images: confusion matrix, outlines, intervals, and the results that are written and shown.

The prediction of a single image belongs to ``prediction``; comparing runs belongs to ``comparison``.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from segment.evaluation.boundary import BoundaryScores as BoundaryScores
    from segment.evaluation.evaluator import Evaluation as Evaluation
    from segment.evaluation.evaluator import EvaluationAccumulator as EvaluationAccumulator
    from segment.evaluation.evaluator import evaluate_split as evaluate_split
    from segment.evaluation.intervals import Interval as Interval
    from segment.evaluation.intervals import miou_interval as miou_interval
    from segment.evaluation.metrics import SegmentationScores as SegmentationScores
    from segment.evaluation.metrics import confusion_metrics as confusion_metrics

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "boundary": ["BoundaryScores"],
        "evaluator": ["Evaluation", "EvaluationAccumulator", "evaluate_split"],
        "intervals": ["Interval", "miou_interval"],
        "metrics": ["SegmentationScores", "confusion_metrics"],
    },
)
