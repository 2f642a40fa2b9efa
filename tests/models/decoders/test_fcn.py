"""The FCN decoder against the paper's formulas."""

import pytest
import torch
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.models.decoders.fcn import FCNDecoder, bilinear_kernel, crop, upsample


def test_skips_fuse_as_in_the_paper():
    """In FCN-8s each skip's score is added to the upsampled scores of the coarser strides."""
    torch.manual_seed(0)
    decoder = FCNDecoder({8: 3, 16: 4, 32: 5}, 2, [16, 8])
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter)
    features = {8: torch.randn(1, 3, 7, 9), 16: torch.randn(1, 4, 4, 5), 32: torch.randn(1, 5, 2, 3)}
    score = {stride: decoder.score[str(stride)](feature) for stride, feature in features.items()}
    at16 = F.interpolate(score[32], scale_factor=2, mode="bilinear")[..., :4, :5] + score[16]
    expected = F.interpolate(at16, scale_factor=2, mode="bilinear")[..., :7, :9] + score[8]
    torch.testing.assert_close(decoder(features), expected)


def test_nearest_upsampling_repeats_each_score():
    decoder = FCNDecoder({8: 3, 32: 5}, 2, [8], upsampling="nearest")
    torch.nn.init.normal_(decoder.score["32"].weight)
    features = {8: torch.randn(1, 3, 7, 9), 32: torch.randn(1, 5, 2, 3)}
    expected = decoder.score["32"](features[32]).repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :7, :9]
    assert torch.equal(decoder(features), expected)
    assert decoder.state_dict().keys() == FCNDecoder({8: 3, 32: 5}, 2, [8]).state_dict().keys()


def test_skips_start_from_zero():
    assert not FCNDecoder({16: 4, 32: 5}, 2, [16])({16: torch.randn(1, 4, 2, 2), 32: torch.randn(1, 5, 1, 1)}).any()


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_transposed_convolution_starts_bilinear(factor):
    scores = torch.randn(1, 3, 6, 7)
    kernel = bilinear_kernel(3, factor)
    found = F.conv_transpose2d(scores, kernel, stride=factor, padding=factor // 2)
    inside = (..., slice(factor, -factor), slice(factor, -factor))  # beyond the borders: zeros here, repeated there
    torch.testing.assert_close(found[inside], upsample(scores, factor)[inside])


def test_crop_is_the_same_when_exported(monkeypatch):
    scores = torch.randn(1, 2, 9, 11)
    expected = crop(scores, 4, 5, 3)
    assert torch.equal(expected, scores[..., 3:7, 3:8])
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert torch.equal(crop(scores, 4, 5, 3), expected)


def test_wrong_arguments():
    with pytest.raises(SegmentError, match=r"no feature at stride 64; this encoder has 32, 16"):
        FCNDecoder({16: 4, 32: 5}, 5, skip_strides=[64])
    with pytest.raises(SegmentError, match=r"model.decoder.upsampling=cubic: expected nearest, bilinear or transposed"):
        FCNDecoder({16: 4, 32: 5}, 5, upsampling="cubic")
