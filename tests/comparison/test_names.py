"""Nets are called as in the literature."""

import pytest

from segment.cli.config import flatten, load_config, plain
from segment.comparison.names import net_name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["model=fcn32s"], "FCN-32s"),
        (["model=fcn16s_paper"], "FCN-16s"),
        (["model=fcn8s_atonce_paper"], "FCN-8s at once"),
        (["model=fcn_small"], "FCN-4s"),
        (["model=fcn_small", "model.decoder.skip_strides=[]"], "FCN-32s"),
        (["model=fcn_small", "model.decoder.skip_strides=[8]"], "FCN-8s (skips 8)"),
        (["model=fcn32s", "model/encoder=resnet50_dilated"], "FCN-8s"),
        (["model=fcn32s", "model/encoder=unet"], "FCN-16s"),
        (["model=unet"], "U-Net"),
        (["model=unet_paper"], "U-Net"),
        (["model=segnet_small"], "SegNet"),
        (["model=fcn_resnet50"], ""),  # called by its option, as torchvision calls it
    ],
)
def test_name_by_architecture(overrides, name):
    assert net_name(dict(flatten(plain(load_config(overrides))))) == name


@pytest.mark.parametrize("skips", [None, "16", [[1]], ["a"]])
def test_damaged_skips_have_no_name(skips):
    assert net_name({"model.decoder.skip_strides": skips}) == ""
