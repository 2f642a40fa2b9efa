"""torchvision's DeepLabV3 and LR-ASPP against torchvision."""

import pytest
import torch
import torchvision

from segment.errors import SegmentError
from segment.models import LRASPPDecoder, MobileNetV3Encoder
from tests.models.conftest import are_close, build_net

NAMES = ("deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_scores_are_torchvisions(tmp_path, name, capsys):
    options = {} if "lraspp" in name else {"aux_loss": True}
    theirs = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=21, **options).eval()
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    ours = build_net(f"model={name}", "model.encoder.weights=null", f"model.weights={tmp_path / 'net.pth'}")
    printed = capsys.readouterr().out
    assert "left as they were" not in printed
    assert ("not used: aux_classifier.0.weight" in printed) == bool(options)
    for size in ((33, 65), (128, 128)):
        for number in (1, 2):
            image = torch.randn(number, 3, *size)
            assert are_close(ours(image), theirs(image)["out"])


def test_mistakes():
    with pytest.raises(SegmentError, match=r"model.encoder.output_stride=8: expected 16 or 32"):
        MobileNetV3Encoder(None, output_stride=8)
    with pytest.raises(SegmentError, match="needs an encoder with two strides: use model/encoder=mobilenet_v3_dilated"):
        LRASPPDecoder({8: 4}, 2)
