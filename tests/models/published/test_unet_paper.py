"""The U-Net paper's net: sizes, tiles and mirrored borders."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.models.published.unet_paper import PaperUNet, PaperUNetDecoder, PaperUNetEncoder, mirrored_indices
from tests.models.conftest import build_net


def small_paper_unet(tile: int = 384) -> PaperUNet:
    torch.manual_seed(0)
    return PaperUNet(PaperUNetEncoder(width=4), PaperUNetDecoder, num_classes=3, tile=tile).eval()


def test_unet_papers_core_maps_572_to_388():
    net = small_paper_unet()
    with torch.no_grad():
        assert net.core(torch.rand(1, 3, 572, 572)).shape == (1, 3, 388, 388)
        assert net.core(torch.rand(1, 3, 188, 204)).shape == (1, 3, 4, 20)


@pytest.mark.slow
def test_tiles_fit_together_and_borders_are_mirrored():
    net, tiled = small_paper_unet(), small_paper_unet(tile=48)
    image = torch.rand(1, 3, 100, 150)
    with torch.no_grad():
        whole = net(image)
        assert whole.shape == (1, 3, 100, 150)
        assert torch.allclose(tiled(image), whole, atol=1e-5)
        rows, columns = F.pad(torch.arange(100.0)[None, None], (92, 92), "reflect"), mirrored_indices(-92, 192, 100)
        assert torch.equal(rows[0, 0].long(), columns)
    for size in ((1, 1), (33, 65)):
        assert net(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_unet_papers_size():
    """Twenty-three convolutional layers with 31.0M parameters, as the caffe release of the authors has."""
    net = build_net("model=unet_paper", num_classes=2)
    assert sum(p.numel() for p in net.parameters()) == 31031810
    assert sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in net.modules()) == 23


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model/encoder=unet_small"], "needs an encoder with layout 'U-Net paper' .*: use model/encoder=unet_paper"),
        (["model.tile=100"], r"model.tile=100: expected a multiple of 16"),
        (["model.encoder.weights=x"], "use model.weights=FILE"),
    ],
)
def test_wrong_arguments(overrides, message):
    with pytest.raises(SegmentError, match=message):
        build_net("model=unet_paper", *overrides)
