"""Nets as the tests build them, and comparisons with other implementations."""

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.models.net import SegmentationNet


def build_net(*overrides: str, num_classes: int = 21) -> SegmentationNet:
    """Build a net in evaluation mode, always with the same initial weights."""
    torch.manual_seed(0)
    return instantiate(load_config(overrides).model, num_classes=num_classes).eval()


def build_scoring_net(*overrides: str, num_classes: int = 5) -> SegmentationNet:
    """Build a net from scratch whose scores are not zero, as those of FCNs are at first."""
    net = build_net(*overrides, "model.encoder.weights=null", num_classes=num_classes)
    for parameter in net.decoder.score.parameters():
        nn.init.normal_(parameter, std=0.1)
    return net


def are_close(found: Tensor, expected: Tensor) -> bool:
    """Return whether two tensors have one shape, and values that differ by less than 1e-4 of the largest."""
    return found.shape == expected.shape and bool((found - expected).abs().max() < 1e-4 * expected.abs().max())


def classifier_file(folder: Path, name: str, unused: str = "classifier") -> tuple[nn.Module, str]:
    """Save the weights of a random torchvision classifier without its head; return the classifier and the file."""
    model = torchvision.models.get_model(name, weights=None).eval()
    path = folder / f"{name}.pth"
    torch.save({key: value for key, value in model.state_dict().items() if not key.startswith(unused)}, path)
    return model, str(path)
