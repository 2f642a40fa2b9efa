"""Pictures, plots and tables: functions of arrays and rows.

Nothing here reads a file of a run or knows its format.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.display.figures import example_figure, side_by_side
    from segment.display.grid import Grid
    from segment.display.metrics_table import evaluation_table
    from segment.display.pictures import overlay, palette_image
    from segment.display.style import STYLE

__getattr__, __dir__, __all__ = public_names(__name__)
