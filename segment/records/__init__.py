"""A run on disk: one module for each file of a run folder, with its writer and its reader.

``folder.py`` names every path. How a run is trained, evaluated or compared belongs to other folders.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.records.checkpoint import load_checkpoint
    from segment.records.folder import RunFolder
    from segment.records.job_status import JobRecord
    from segment.records.metrics_json import read_metrics
    from segment.records.per_image import ImageCounts, read_image_counts

__getattr__, __dir__, __all__ = public_names(__name__)
