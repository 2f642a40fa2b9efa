"""VGG encoders against torchvision's."""

import pytest
import torch

from segment.errors import SegmentError
from segment.models.encoders.vgg import VGGEncoder, VGGFullyConvolutional
from tests.models.conftest import classifier_file


@pytest.mark.slow
def test_a_file_gives_torchvisions_features(tmp_path):
    model, path = classifier_file(tmp_path, "vgg11")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(VGGEncoder("vgg11", path).eval()(image)[32], model.features(image))


@pytest.mark.slow
def test_vgg16s_classifier_becomes_convolutions(tmp_path):
    """fc6 and fc7 equal the classifier's at the one place where their window lies inside the image."""
    model, path = classifier_file(tmp_path, "vgg16", unused="none")
    encoder = VGGFullyConvolutional(weights=path).eval()
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = model.classifier[:5](model.features(image).flatten(1))
        torch.testing.assert_close(encoder(image)[32][:, :, 3, 3], expected, rtol=1e-4, atol=1e-5)


def test_another_padding_is_refused():
    with pytest.raises(SegmentError, match=r"model.encoder.padding=2: expected 1, or 100"):
        VGGFullyConvolutional(weights=None, padding=2)
