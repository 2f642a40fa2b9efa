"""The check of a program against its net."""

import pytest

import segment
from segment.errors import SegmentError
from segment.prediction.exported_net import ExportedNet, compare_with_net
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
