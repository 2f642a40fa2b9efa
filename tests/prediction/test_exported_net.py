"""The check of a program against its net."""

import pytest
import torch

import segment
from segment.errors import SegmentError
from segment.models.decoders.fcn import FCNDecoder
from segment.models.encoders.timm_encoder import TimmEncoder
from segment.models.net import SegmentationNet
from segment.prediction.exported_net import ExportedNet, compare_with_net, trace_net
from tests.test_export import NETS, checkpoint


def test_a_program_that_differs_is_refused(tmp_path):
    net = segment.load(checkpoint(tmp_path, *NETS["fcn"]), "cpu").net
    classes, scores = ExportedNet(net, "classes"), ExportedNet(net, "scores")
    compare_with_net(net.predict, classes)
    compare_with_net(lambda image: net(net.normalize(image)), scores)
    with pytest.raises(SegmentError, match="the exported program's output differs from the net's by"):
        compare_with_net(lambda image: net.predict(image).roll(1, 1), classes)
    with pytest.raises(SegmentError, match="the exported program's output differs from the net's by nan"):
        compare_with_net(lambda image: net(net.normalize(image)) * float("nan"), scores)


@pytest.mark.slow
def test_padding_like_tensorflow_is_constant_in_a_graph(monkeypatch):
    """With padding that depends on the size, the trace of a network of timm's ``tf_`` takes many minutes."""
    net = SegmentationNet(TimmEncoder("tf_mobilenetv3_small_minimal_100", weights=None), FCNDecoder, num_classes=3)
    torch.nn.init.normal_(net.decoder.score["32"].weight)
    monkeypatch.setattr("timm.layers.padding.get_same_padding", lambda *_: pytest.fail("not constant"))
    program = trace_net(ExportedNet(net.eval(), "scores")).module()
    monkeypatch.undo()
    compare_with_net(program, ExportedNet(net, "scores"))
