"""Pictures, plots and tables for the eye: functions of arrays and rows.

They know no run folder and no file format of ours.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from segment.display.grid import Grid as Grid
    from segment.display.metrics_table import evaluation_table as evaluation_table
    from segment.display.pictures import example_figure as example_figure
    from segment.display.pictures import overlay as overlay
    from segment.display.pictures import palette_image as palette_image
    from segment.display.pictures import side_by_side as side_by_side

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "grid": ["Grid"],
        "metrics_table": ["evaluation_table"],
        "pictures": ["example_figure", "overlay", "palette_image", "side_by_side"],
    },
)
