"""The MobileNetV2 encoder against torchvision's."""

import torch

from segment.models.encoders.mobilenet import MobileNetV2Encoder
from tests.conftest import SHARED, needs_shared
from tests.models.conftest import classifier_file


def test_a_file_gives_torchvisions_features(tmp_path):
    model, path = classifier_file(tmp_path, "mobilenet_v2")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(MobileNetV2Encoder(path).eval()(image)[32], model.features(image))


@needs_shared
def test_published_weights_load():
    encoder = MobileNetV2Encoder(str(SHARED / "weights" / "mobilenet_v2-b0353104.pth"))
    assert encoder.channels[32] == 1280
