"""Files of weights: the errors name the file and the keys."""

import urllib.error

import pytest
import torch
import torchvision
from torch import nn

from segment.errors import SegmentError
from segment.models.encoders.mobilenet import MobileNetV2Encoder
from segment.models.encoders.resnet import ResNetEncoder
from segment.models.weights import he_initialise, load_file, load_state, mismatched_keys


def test_weights_that_do_not_fit_are_named(tmp_path):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "r18.pth")
    with pytest.raises(SegmentError, match=r"r18.pth does not fit MobileNetV2: keys \d+ missing \(features"):
        MobileNetV2Encoder(str(tmp_path / "r18.pth"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(SegmentError, match=r"text.pth is not a file of weights"):
        ResNetEncoder("resnet18", str(tmp_path / "text.pth"))
    with pytest.raises(SegmentError, match=r"none.pth does not exist"):
        ResNetEncoder("resnet18", str(tmp_path / "none.pth"))
    torch.save({"pytorch-lightning_version": "2", "state_dict": {}}, tmp_path / "own.ckpt")
    with pytest.raises(SegmentError, match=r"own.ckpt is the checkpoint of a whole net: use model.weights=.*own.ckpt"):
        ResNetEncoder("resnet18", str(tmp_path / "own.ckpt"))


def test_a_file_must_be_a_dictionary(tmp_path):
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(SegmentError, match=r"list.pth holds a list; expected a dictionary of tensors"):
        load_file(tmp_path / "list.pth")
    with pytest.raises(SegmentError, match="is a folder, not a file"):
        load_file(tmp_path)


def test_a_failed_download_says_where_to_put_the_file(monkeypatch):
    def fail(*_, **__):
        raise urllib.error.URLError("offline")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(SegmentError, match=r"could not download .*: put that file at .*/mobilenet_v2-\w+.pth, or use"):
        MobileNetV2Encoder("imagenet")


def test_mismatches_by_kind():
    layer = nn.Linear(2, 3)
    message = r"1 missing \(bias\); 1 unknown \(x\); 1 of another shape \(weight \(1,\) instead of \(3, 2\)\)"
    with pytest.raises(SegmentError, match=message):
        load_state(layer, {"weight": torch.zeros(1), "x": torch.zeros(1)}, "a file")
    with pytest.raises(
        SegmentError, match=r"1 missing \(bias\); 1 of another shape \(weight torch.int64 \(3, 2\) instead"
    ):
        load_state(layer, {"weight": torch.zeros(3, 2, dtype=torch.int64), "bias": 5}, "a file")
    with pytest.raises(SegmentError) as error:
        load_state(layer, {"k" * 10**6: torch.zeros(1)}, "a file")
    assert len(str(error.value)) <= 300
    assert mismatched_keys(("missing", ["a", "b", "c", "d"]), ("unknown", [])) == "4 missing (a, b, c, ...)"


def test_initial_weights_keep_the_variance():
    """At the end of 20 layers the signal is neither lost nor has it exploded."""
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()) for _ in range(20)))
    he_initialise(net)
    assert not any(layer[0].bias.any() for layer in net)
    with torch.no_grad():
        assert 0.1 < net(torch.randn(1, 32, 32, 32)).std() < 3
