"""Uses of a class map: pure functions that change a picture within a class, cut it out, measure it or watch it.

All take the image uint8 (H,W,3), the class map uint8 (H,W) and the indices of the chosen classes. Reading and writing
of files, and videos, belong to ``segment.prediction``.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.effects.blurring import blur
    from segment.effects.colouring import recolour
    from segment.effects.cutting import cutout
    from segment.effects.measuring import MeasuredRegion, measure
    from segment.effects.selection import select
    from segment.effects.texturing import retexture
    from segment.effects.watching import WatchedPart, alert

__getattr__, __dir__, __all__ = public_names(__name__)
