"""Many runs in one table: they are found on disk, grouped over their seeds, compared, and written as a report.

Reading a single file of a run folder belongs to ``records``.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from segment.comparison.find import find_runs as find_runs
    from segment.comparison.groups import Group as Group
    from segment.comparison.groups import group_runs as group_runs
    from segment.comparison.run import Run as Run
    from segment.comparison.sections import Section as Section
    from segment.comparison.sections import build_sections as build_sections

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "find": ["find_runs"],
        "groups": ["Group", "group_runs"],
        "run": ["Run"],
        "sections": ["Section", "build_sections"],
    },
)
