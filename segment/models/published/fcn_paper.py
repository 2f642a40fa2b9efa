"""The decoder of the FCN papers to the letter."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from segment.errors import SegmentError
from segment.models.decoders.fcn import bilinear_convolution, crop, scored_strides, zero_scores

PAPER_CROPS = {16: 5, 8: 9}
"""Where the coarser map begins in the skip's scores, by the skip's stride (voc-fcn8s/net.py)."""
PAPER_OFFSETS = {32: 19, 16: 27, 8: 31}
"""Where the image begins in the enlarged scores, by the finest stride."""
AT_ONCE_SCALES = {16: 0.01, 8: 0.0001}
"""Factors of the features whose scores are trained at once with the deepest ones."""


class PaperFCNDecoder(nn.Module):
    """The decoder of the FCN papers to the letter, for a VGG16 whose first convolution pads by 100.

    Full transposed convolutions without padding enlarge the scores; fixed crops align them (``net.py`` of
    fcn.berkeleyvision.org).

    Args:
        channels: of the encoder's features, by stride.
        num_classes: number of score maps.
        skip_strides: [] for FCN-32s, [16] for FCN-16s, [16, 8] for FCN-8s.
        at_once: scale the skips' features, so that all strides can be trained at once.
        learn_upsampling: whether the transposed convolutions are trained; in the authors' nets they stay bilinear.

    Attributes:
        stride, offset: the scores that come out are at full resolution, and the image begins at this offset.

    Raises:
        SegmentError: other strides than these.
    """

    stride = 1
    stretch = False
    layouts = ("of the FCN papers",)

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
        for coarse, fine in zip(self.strides, [*self.strides[1:], 1], strict=True):
            self.up[f"{coarse}to{fine}"] = bilinear_convolution(num_classes, coarse // fine)
        self.up.requires_grad_(learn_upsampling)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Features by stride to scores at full resolution, of which the image's begin at ``offset``."""
        scores = self.score[str(self.strides[0])](features[self.strides[0]])
        for coarse, fine in zip(self.strides, self.strides[1:], strict=False):
            scores = self.up[f"{coarse}to{fine}"](scores)
            feature = features[fine] * self.scales[fine] if self.scales else features[fine]
            skip = self.score[str(fine)](feature)
            height, width = scores.shape[-2:]
            scores = scores + crop(skip, height, width, PAPER_CROPS[fine])
        return self.up[f"{self.strides[-1]}to1"](scores)
