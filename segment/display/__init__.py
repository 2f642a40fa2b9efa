"""Pictures, plots and tables for the eye: functions of arrays and rows.

They know no run folder and no file format of ours.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.display.grid import Grid
    from segment.display.metrics_table import evaluation_table
    from segment.display.pictures import example_figure, overlay, palette_image, side_by_side

__getattr__, __dir__, __all__ = public_names(__name__)
