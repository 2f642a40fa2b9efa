"""The contract tests pass for parts that keep the contract, and find those that do not."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from segment.models import SegmentationNet, UNetDecoder, UNetEncoder
from segment.testing import contract
from segment.training import BorderWeightedCrossEntropy, CrossEntropy

ROOT = Path(__file__).parents[2]
LOSSES = [getattr(contract, name) for name in dir(contract) if name.startswith("test_loss")]


class Small(UNetEncoder):
    """An encoder that is built without arguments, in a moment."""

    def __init__(self) -> None:
        super().__init__(width=2, depth=3)


class Flooring(Small):
    """An encoder that loses the last pixel of an odd side."""

    def forward(self, image):
        return super().forward(image[..., : image.shape[-2] // 4 * 4, : image.shape[-1] // 4 * 4])


class Mixing(Small):
    """An encoder whose features depend on the other images of the batch."""

    def forward(self, image):
        return {stride: feature - feature.mean() for stride, feature in super().forward(image).items()}


class Unused(Small):
    """An encoder with a layer that it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(2, 2)


class CountsVoid(nn.Module):
    """A loss that counts ignored pixels, too."""

    def forward(self, scores, labels):
        return nn.functional.cross_entropy(scores, labels.where(labels != 255, 0))


class Unstable(nn.Module):
    """A loss that is NaN where every pixel is ignored, and for large scores."""

    def forward(self, scores, labels):
        counted = labels != 255
        share = scores.exp() / scores.exp().sum(1, keepdim=True)
        return -share.gather(1, labels.where(counted, 0)[:, None])[counted[:, None]].log().mean()


@pytest.mark.parametrize("loss", [CrossEntropy, BorderWeightedCrossEntropy])
@pytest.mark.parametrize("test", LOSSES, ids=lambda test: test.__name__)
def test_the_losses_of_this_package_keep_the_contract(test, loss):
    test(loss)


@pytest.mark.parametrize(
    ("test", "part"),
    [
        (contract.test_loss_ignores_pixels_with_label_255, CountsVoid),
        (contract.test_loss_is_finite_where_every_pixel_is_ignored, Unstable),
        (contract.test_loss_is_finite_where_every_pixel_is_ignored, lambda: nn.CrossEntropyLoss(ignore_index=255)),
        (contract.test_loss_takes_scores_of_large_values, Unstable),
        (contract.test_encoder_treats_each_image_alone, Mixing),
        (contract.test_encoder_works_in_a_net, Unused),
        (lambda part: contract.test_encoder_gives_the_features_that_it_declares(part, 33, 65, 2), Flooring),
    ],
)
def test_a_breach_is_found(test, part):
    with pytest.raises(AssertionError):
        test(part)


@pytest.mark.slow
def test_parts_of_this_package_keep_the_contract():
    contract.test_encoder_declares_its_facts(Small)
    contract.test_encoder_gives_the_features_that_it_declares(Small, 33, 65, 2)
    contract.test_encoder_treats_each_image_alone(Small)
    contract.test_encoder_works_in_a_net(Small)
    contract.test_decoder_works_in_a_net(UNetDecoder)
    contract.test_decoder_takes_other_channels(UNetDecoder)
    torch.manual_seed(0)
    contract.test_net_has_the_number_of_classes_that_is_asked_for(
        lambda num_classes: SegmentationNet(Small(), UNetDecoder, num_classes)
    )


@pytest.mark.slow
def test_the_plugin_runs_the_tests_of_the_parts_that_are_named(tmp_path):
    command = [sys.executable, "-m", "pytest", "-p", "segment.testing", "--pyargs", "segment.testing.contract", "-q"]
    options = {"cwd": tmp_path, "env": {"PYTHONPATH": str(ROOT)}, "capture_output": True, "text": True}
    done = subprocess.run([*command, "--segment-loss", "segment.training.CrossEntropy"], **options)
    assert done.returncode == 0, done.stdout
    assert "5 passed, 13 skipped" in done.stdout
    missing = subprocess.run([*command, "--segment-net", "mylab.Net"], **options)
    assert "cannot import mylab.Net (ModuleNotFoundError" in missing.stdout + missing.stderr
