"""The page of ``segment.app``: photos that a visitor gives, and what the nets find in them.

``layout`` and ``visits`` alone know gradio, which is an extra. Nets and effects come from the folders below.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.page.layout import build_page
    from segment.page.photos import SegmentedPhoto, check_photo, segment_photo

__getattr__, __dir__, __all__ = public_names(__name__)
