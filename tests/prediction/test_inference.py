"""Inference protocols: windows, scales, flips and memory, each against a plain computation of the same."""

import copy
import re

import pytest
import torch
from torch.nn import functional as F

from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.errors import SegmentError
from segment.models.costs.memory import bytes_per_pixel
from segment.prediction.inference import Inference, highest, whole_255ths
from segment.prediction.parts import window_weights


@pytest.fixture(scope="module")
def net():
    """A net whose receptive field reaches 60 pixels to each side."""
    torch.manual_seed(0)
    overrides = ["model=fcn_small", "model.encoder.width=8", "model.encoder.depth=4"]
    net = instantiate(load_config(overrides).model, num_classes=5).eval()
    for layer in net.decoder.score.values():
        torch.nn.init.normal_(layer.weight)
    return net


@pytest.fixture(scope="module")
def image():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 90, 133), dtype=torch.uint8, generator=generator)


def probabilities(net, image, size=None):
    with torch.no_grad():
        scores = net(image)
    return (scores if size is None else F.interpolate(scores, size, mode="bilinear")).softmax(1)


def test_by_default_it_is_the_net_s_own_prediction(net, image):
    assert torch.equal(Inference().class_map(net, image), net.predict(image[None])[0])
    expected = probabilities(net, net.normalize(image[None]))[0]
    classes, whole = Inference().run(net, image, whole_255ths)
    assert torch.equal(classes, expected.argmax(0))
    assert (whole / 255 - expected).abs().max() <= 0.5001 / 255
    torch.testing.assert_close(Inference().run(net, image, highest)[1][0], expected.amax(0))


def test_windows_cover_the_image_and_are_blended(net, image):
    inference = Inference(window=[40, 64], stride=[30, 50])
    normalised, weight = net.normalize(image[None]), window_weights(40, 64)
    total, weights = torch.zeros(5, 90, 133), torch.zeros(90, 133)
    for top in (0, 30, 50):  # the last one ends where the image does
        for left in (0, 50, 69):
            part = probabilities(net, normalised[..., top : top + 40, left : left + 64])[0]
            total[:, top : top + 40, left : left + 64] += weight * part
            weights[top : top + 40, left : left + 64] += weight
    torch.testing.assert_close(inference._average(net, image), total / weights)
    assert torch.equal(inference.class_map(net, image), (total / weights).argmax(0))
    # An image smaller than the window is one window; two thirds are the default stride.
    torch.testing.assert_close(Inference(window=[200, 200])._average(net, image), Inference()._average(net, image))
    assert Inference(window=[512, 384]).stride == (341, 256)


def test_windows_are_added_up_in_32_bits(net, image):
    """In 16 bits the weight at a window's corner, 1e-7, would be lost."""
    pixels = net.normalize(image[None]).bfloat16()
    small = copy.deepcopy(net).bfloat16()
    with torch.no_grad():
        assert Inference(window=[64, 64])._softmax(small, pixels, image.shape[-2:]).dtype == torch.float32


def test_scales_and_flips_are_averaged_at_the_image_s_size(net, image):
    normalised, found = net.normalize(image[None]), []
    for size in ((45, 66), (90, 133), (135, 200)):
        scaled = F.interpolate(normalised, size, mode="bilinear", antialias=True) if size != (90, 133) else normalised
        found += [probabilities(net, scaled, (90, 133)), probabilities(net, scaled.flip(-1), (90, 133)).flip(-1)]
    inference = Inference(scales=[0.5, 1, 1.5], flip=True)
    torch.testing.assert_close(inference._average(net, image), torch.cat(found).mean(0))
    mirrored = inference._average(net, image.flip(-1)).flip(-1)
    torch.testing.assert_close(mirrored, inference._average(net, image))


def test_scales_of_a_net_in_16_bits(net, image):
    small, inference = copy.deepcopy(net).bfloat16(), Inference(scales=[0.5])
    difference = inference._average(small, image) - inference._average(net, image)
    assert difference.abs().max() < 0.05


def test_a_large_image_in_parts_gives_the_result_of_the_whole(net):
    """The overlap of the parts is wider than the net's receptive field, so the result is the same."""
    image = torch.randint(0, 256, (3, 430, 600), dtype=torch.uint8)
    for settings, copies in (({}, 3), ({"flip": True}, 5)):
        needed = bytes_per_pixel(net) + copies * 4 * 5  # so many copies of all classes' scores
        cut = Inference(**settings, max_memory=430 * 600 * (20 + 5 + 0.9 * needed) / 2**30)
        spans = cut._parts(net, image, False)
        assert len(spans) > 1
        assert all(y.seen.start % 16 == x.seen.start % 16 == 0 for y, x in spans)
        whole = Inference(**settings).class_map(net, image)
        assert whole.unique().numel() > 2
        assert (cut.class_map(net, image) != whole).sum() <= 3  # rounding may decide where two classes meet
    assert torch.equal(Inference(max_memory=1).class_map(net, image), net.predict(image[None])[0])
    with pytest.raises(SegmentError, match=r"max_memory=0.001: an image of 600x430 needs 0\.\d+ GiB with this net"):
        Inference(max_memory=0.001).class_map(net, image)


@pytest.mark.parametrize(("settings", "copies"), [({}, 3), ({"flip": True}, 5)])
def test_the_classes_do_not_depend_on_what_is_written(net, settings, copies):
    """The image is cut in the same places with and without probabilities, and the classes come from the same scores."""
    image = torch.randint(0, 256, (3, 400, 330), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    cost = bytes_per_pixel(net) + copies * 4 * 5
    counts = []
    for share in (0.85, 1.1):
        inference = Inference(**settings, max_memory=400 * 330 * (20 + 5 + share * cost) / 2**30)
        classes, probabilities = inference.run(net, image, whole_255ths)
        assert torch.equal(classes, inference.class_map(net, image))
        assert probabilities.dtype == torch.uint8
        counts.append(len(inference._parts(net, image, False)))
    assert counts[0] > counts[-1] == 1


def test_room_for_probabilities_is_given_up_only_where_they_are_not_wanted(net):
    image = torch.zeros(3, 300, 300, dtype=torch.uint8)
    least = Inference(max_memory=1)._memory(net, 300 * 300) + 300 * 300 * 20 / 2**30
    tight = Inference(max_memory=1.001 * least)
    assert len(tight._parts(net, image, False)) == 1
    with pytest.raises(SegmentError, match="an image of 300x300 with its probabilities needs"):
        tight.run(net, image, whole_255ths)


def test_the_protocol_is_described():
    assert Inference().describe() == "single scale, whole images"
    assert Inference(window=[512, 512], scales=[0.5, 1, 1.5], flip=True).describe() == (
        "windows of 512x512, stride 341x341, Gaussian blend, scales 0.5 1 1.5, flipped"
    )
    assert "in overlapping parts where it would take more than 2 GiB" in Inference(max_memory=2).describe()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": [512]}, r"inference.window=\[512\]: expected \[HEIGHT,WIDTH\]"),
        ({"window": [64, 64], "stride": [65, 1]}, r"from 1 to the window's \[64, 64\]"),
        ({"stride": [64, 64]}, "give inference.window"),
        ({"scales": [float("nan")]}, "expected factors above 0"),
        ({"scales": []}, "expected factors above 0"),
        ({"scales": [1, 0]}, "expected factors above 0"),
        ({"max_memory": 0}, "expected GiB above 0"),
    ],
)
def test_values_out_of_range(settings, message):
    with pytest.raises(SegmentError, match=message):
        Inference(**settings)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("window=[32.5,32]", r"a list \(each a whole number\) or null"),
        ("window=5", r"a list \(each a whole number\) or null"),
        ("stride=ab", r"a list \(each a whole number\) or null"),
        ("scales=1", r"a list \(each a number\)"),
        ("scales=[a]", r"a list \(each a number\)"),
        ("flip=maybe", "true or false"),
        ("max_memory=abc", "a number or null"),
    ],
)
def test_values_of_another_type(override, expected):
    with pytest.raises(SegmentError, match=re.escape(f"inference.{override}: expected ") + expected):
        instantiate(load_config([f"inference.{override}"], "predict").inference)
