"""Nets of other libraries as ONNX programs; an export compares its program with the net at several sizes."""

import pytest
import torch

from segment.data.datasets.shapes import SHAPES
from segment.errors import SegmentError
from segment.models import FCNDecoder, SegmentationNet, SmpNet, TransformersNet, UNetEncoder
from segment.prediction.exported_net import ExportedNet, compare_with_net, export_net
from segment.prediction.segmenter import Segmenter
from tests.models.adapters.test_transformers import SEGFORMER

NUMBER = len(SHAPES)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["DeepLabV3Plus", "transformers"])
def test_nets_of_other_libraries_are_exported(kind):
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    if kind == "transformers":
        net = TransformersNet(NUMBER, config=SEGFORMER)
    else:
        net = SmpNet(kind, "mobilenet_v2", NUMBER, encoder_weights=None)
    assert export_net(Segmenter(net.eval(), SHAPES), "onnx", "scores")


def test_a_program_that_differs_or_fails_at_another_size_is_refused():
    torch.manual_seed(0)
    net = ExportedNet(SegmentationNet(UNetEncoder(4, 2, 3), FCNDecoder, 2).eval(), "scores")
    compare_with_net(net, net)

    def differs(image):
        return net(image) + 1.5 * (image.shape[-1] == 74)

    def fails(image):
        assert image.shape[-1] != 74, "a shape is fixed"
        return net(image)

    with pytest.raises(SegmentError, match=r"^the exported program's output differs .* on an image of 74x130: not wr"):
        compare_with_net(differs, net)
    message = r"^the exported program fails on an image of 74x130: not written \(a shape is fixed"
    with pytest.raises(SegmentError, match=message):
        compare_with_net(fails, net)
