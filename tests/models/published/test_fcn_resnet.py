"""torchvision's fcn_resnet50 and fcn_resnet101 against torchvision."""

import pytest
import torch
import torchvision

from segment.models.published.fcn_resnet import FCNHead
from tests.models.conftest import are_close, build_net


def test_the_head_is_torchvisions():
    theirs = torchvision.models.segmentation.fcn.FCNHead(16, 3).eval()
    ours = FCNHead({4: 8, 8: 16}, 3).eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    feature = torch.randn(2, 16, 5, 6)
    assert torch.equal(ours({8: feature}), theirs(feature))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [50, 101])
def test_torchvisions_fcn_resnet(tmp_path, depth, capsys):
    build_theirs = getattr(torchvision.models.segmentation, f"fcn_resnet{depth}")
    theirs = build_theirs(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).eval()
    torch.save(theirs.state_dict(), tmp_path / "fcn.pth")
    ours = build_net(f"model=fcn_resnet{depth}", "model.encoder.weights=null", f"model.weights={tmp_path / 'fcn.pth'}")
    assert "not used: aux_classifier.0.weight" in capsys.readouterr().out
    for size in ((65, 97), (64, 64), (33, 1)):
        image = torch.randn(1, 3, *size)
        with torch.no_grad():
            assert are_close(ours(image), theirs(image)["out"])
    picture = torch.randint(0, 256, (1, 3, 65, 97), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(ours.predict(picture), theirs(ours.normalize(picture))["out"].argmax(1))
