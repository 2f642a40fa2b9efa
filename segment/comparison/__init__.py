"""Many runs in one table: they are found on disk, grouped over their seeds, compared, and written as a report.

Reading a single file of a run folder belongs to ``records``.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.comparison.find import find_runs
    from segment.comparison.groups import Group, group_runs
    from segment.comparison.run import Run
    from segment.comparison.sections import Section, build_sections

__getattr__, __dir__, __all__ = public_names(__name__)
