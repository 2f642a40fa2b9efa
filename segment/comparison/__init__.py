"""Comparison of many runs: finding them on disk, grouping them over their seeds, and the tables of a report.

Reading a single file of a run folder belongs to ``records``, drawing tables and plots to ``display``.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.comparison.find import find_runs
    from segment.comparison.groups import Group, group_runs
    from segment.comparison.run import Run
    from segment.comparison.sections import Section, build_sections

__getattr__, __dir__, __all__ = public_names(__name__)
