"""Frames of a video, segmented one after another, with probabilities that are averaged over time."""

import numpy as np
from PIL import Image
from torch import Tensor

from segment.errors import SegmentError
from segment.models.class_map import argmax_classes
from segment.prediction.inference import whole_255ths
from segment.prediction.segmenter import Segmentation, Segmenter, to_rgb_tensor

CUT = 25.5
"""Change of a cut, in grey levels: a tenth of the range, as in FFmpeg's filter scdet."""
THUMBNAIL = 64
"""Side of the reduced frames that are compared, in pixels."""


def check_smooth(smooth: float) -> float:
    """Return the share of the frames before in an average.

    Raises:
        SegmentError: it is not from 0 to below 1.
    """
    if not 0 <= smooth < 1:
        raise SegmentError(f"smooth={smooth}: expected a share of the frames before, from 0 to below 1")
    return smooth


class FrameSegmenter:
    """Segments frame after frame.

    Args:
        segmenter: the net.
        smooth: share of the frames before, from 0 to below 1, in a frame's averaged probabilities. It is 0 after a cut.

    Raises:
        SegmentError: ``smooth`` is out of range.
    """

    def __init__(self, segmenter: Segmenter, smooth: float = 0.0) -> None:
        self.segmenter, self.smooth = segmenter, check_smooth(smooth)
        self._mean: Tensor | None = None
        self._cuts = CutDetector()

    def predict(self, image: np.ndarray, probabilities: bool = False) -> Segmentation:
        """Return what :meth:`Segmenter.predict` does, for the next frame, uint8 (H,W,3)."""
        if not self.smooth:
            return self.segmenter.predict(image, probabilities)
        pixels = to_rgb_tensor(image, self.segmenter.reading)
        _, found = self.segmenter.inference.run(self.segmenter.net, pixels, lambda whole: whole)
        assert found is not None
        if self._cuts.is_cut(image) or self._mean is None:
            self._mean = found
        else:
            self._mean.mul_(self.smooth).add_(found, alpha=1 - self.smooth)
        kept = whole_255ths(self._mean) if probabilities else None
        return self.segmenter.segmentation(pixels, argmax_classes(self._mean[None])[0], kept)


class CutDetector:
    """Finds the frames that begin another scene, as FFmpeg's filter scdet does, on reduced frames.

    A frame is a cut if it differs much from the one before, and much more than that one from its own predecessor.
    """

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._change = 0.0

    def is_cut(self, image: np.ndarray) -> bool:
        """Return whether the next frame, uint8 (H,W,3), begins another scene."""
        small = Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        now, before, last = np.asarray(small, np.float32), self._before, self._change
        self._before = now
        if before is None:
            return False
        self._change = float(np.abs(now - before).mean())
        return min(self._change, abs(self._change - last)) >= CUT
