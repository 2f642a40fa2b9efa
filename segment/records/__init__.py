"""A run on disk: one module for each file of a run folder, with its writer and its reader.

``folder.py`` names every path. How a run is trained, evaluated or compared belongs to other folders.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from segment.records.checkpoint import load_checkpoint as load_checkpoint
    from segment.records.folder import RunFolder as RunFolder
    from segment.records.job_status import JobRecord as JobRecord
    from segment.records.metrics_json import read_metrics as read_metrics
    from segment.records.per_image import ImageCounts as ImageCounts
    from segment.records.per_image import read_image_counts as read_image_counts

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoint": ["load_checkpoint"],
        "folder": ["RunFolder"],
        "job_status": ["JobRecord"],
        "metrics_json": ["read_metrics"],
        "per_image": ["ImageCounts", "read_image_counts"],
    },
)
