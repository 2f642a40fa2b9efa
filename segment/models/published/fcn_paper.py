"""The decoder of the FCN papers exactly as published (``net.py`` of fcn.berkeleyvision.org)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from segment.errors import SegmentError
from segment.models.decoders.fcn import bilinear_convolution, crop, scored_strides, zero_scores

PAPER_CROPS = {16: 5, 8: 9}
"""Row and column of the skip's scores at which the coarser scores begin, by the skip's stride (voc-fcn8s/net.py)."""
PAPER_OFFSETS = {32: 19, 16: 27, 8: 31}
"""Row and column of the upsampled scores at which the image begins, by the finest stride."""
AT_ONCE_SCALES = {16: 0.01, 8: 0.0001}
"""Factors of the skips' features where all strides are trained at once."""


class PaperFCNDecoder(nn.Module):
    """The decoder of the FCN papers, for a VGG16 whose first convolution pads by 100.

    Transposed convolutions without padding upsample the scores; fixed crops align them.

    Args:
        channels: number of channels of the encoder's features, by stride.
        num_classes: number of score maps.
        skip_strides: [] for FCN-32s, [16] for FCN-16s, [16, 8] for FCN-8s.
        at_once: whether the skips' features are scaled, so that all strides can be trained at once.
        learn_upsampling: whether the transposed convolutions are trained; in the authors' nets they stay bilinear.

    Attributes:
        stride: 1, since the scores are at full resolution.
        offset: row and column of the scores at which the image begins.

    Raises:
        SegmentError: the strides are other ones.

    Example:
        >>> PaperFCNDecoder(channels={8: 8, 16: 8, 32: 8}, num_classes=2, skip_strides=[16, 8]).offset
        31
    """

    stride = 1
    resize_to_image = False
    layouts = ("FCN paper",)

    def __init__(
        self,
        channels: Mapping[int, int],
        num_classes: int,
        skip_strides: Sequence[int] = (),
        at_once: bool = False,
        learn_upsampling: bool = False,
    ) -> None:
        super().__init__()
        self.strides = scored_strides(channels, skip_strides)
        if self.strides not in ([32], [32, 16], [32, 16, 8]):
            raise SegmentError(f"model.decoder.skip_strides={list(skip_strides)}: the paper's are [], [16] and [16,8]")
        self.offset = PAPER_OFFSETS[self.strides[-1]]
        self.scales = AT_ONCE_SCALES if at_once else {}
        self.score = zero_scores(channels, self.strides, num_classes)
        self.up = nn.ModuleDict()
        for coarse, fine in pairwise([*self.strides, 1]):
            self.up[f"{coarse}to{fine}"] = bilinear_convolution(num_classes, coarse // fine)
        self.up.requires_grad_(learn_upsampling)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Map features keyed by stride to scores at full resolution, in which the image begins at ``offset``."""
        scores = self.score[str(self.strides[0])](features[self.strides[0]])
        for coarse, fine in pairwise(self.strides):
            scores = self.up[f"{coarse}to{fine}"](scores)
            feature = features[fine] * self.scales[fine] if self.scales else features[fine]
            skip = self.score[str(fine)](feature)
            height, width = scores.shape[-2:]
            scores = scores + crop(skip, height, width, PAPER_CROPS[fine])
        return self.up[f"{self.strides[-1]}to1"](scores)
