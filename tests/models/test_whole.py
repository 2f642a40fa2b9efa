"""Any module from images to scores is a net with all that the commands need."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segment.cli.build import build_net
from segment.errors import SegmentError
from segment.models import WholeNet
from segment.models.costs.computed import compute_cost
from segment.models.state_dicts import METADATA
from segment.training.optim import parameter_groups


class Halved(nn.Module):
    """A net that halves the sides and doubles them again: it needs even sides."""

    def __init__(self, num_classes: int, width: int = 4, **options: int) -> None:
        super().__init__()
        self.options = options
        self.down, self.up = nn.Conv2d(3, width, 2, stride=2), nn.ConvTranspose2d(width, num_classes, 2, stride=2)

    def forward(self, image):
        return self.up(self.down(image).relu())


class Even(Halved):
    """The same with facts, one of which is of another kind."""

    size_divisor = 2
    normalization = "unit"
    stride = (2, 2)


class Skipping(Halved):
    """A net with a skip connection, which fails at odd sides."""

    def forward(self, image):
        return super().forward(image) + image.mean(1, keepdim=True)


class Returning(nn.Module):
    """A net that returns something else."""

    def __init__(self, num_classes: int, kind: str) -> None:
        super().__init__()
        self.kind, self.num_classes = kind, num_classes

    def forward(self, image):
        scores = image[:, :1].expand(-1, self.num_classes, -1, -1)
        kinds = {"dict": {"out": scores}, "list": [scores], "quarter": scores[..., ::2, ::2], "one": scores[:, :1]}
        return kinds[self.kind]


def own(part: type, **arguments):
    return {"_target_": f"{__name__}.{part.__name__}", **arguments}


def test_a_bare_module_gets_defaults():
    net = build_net(own(Halved, width=2, alpha=3), 5).eval()
    assert isinstance(net, WholeNet)
    assert net.decoder.net.options == {"alpha": 3}
    assert (net.encoder.size_divisor, net.encoder.min_size, [*net.encoder.channels]) == (1, 1, [32])
    assert net.normalization == build_net({"encoder": own_encoder(), "decoder": DECODER}, 5).normalization
    image = torch.randint(0, 256, (2, 3, 6, 8), dtype=torch.uint8)
    expected = net.decoder.net(net.normalize(image))
    assert torch.equal(net(net.normalize(image)), expected)
    assert torch.equal(net.predict(image), expected.argmax(1))


def own_encoder():
    return {"_target_": "segment.models.UNetEncoder", "width": 4, "depth": 3, "first_stride": 2}


DECODER = {"_target_": "segment.models.UNetDecoder"}


def test_declared_facts_and_those_of_the_configuration():
    net = build_net(own(Even), 2)
    assert (net.encoder.size_divisor, [*net.encoder.channels]) == (2, [32])
    assert net.normalization["std"] == [255.0] * 3
    image = torch.rand(1, 3, 5, 7)
    padded = F.pad(image, (0, 1, 0, 1))
    assert torch.equal(net(image), net.decoder.net(padded)[..., :5, :7])
    net = build_net(own(Even, normalization="caffe", size_divisor=4, min_size=8, stride=16), 2)
    assert net.bgr
    assert (net.encoder.size_divisor, [*net.encoder.channels]) == (4, [16])
    with pytest.raises(SegmentError, match="needs 8 pixels or more"):
        net(image)


def test_a_misspelt_normalization_of_the_class_is_refused():
    """ImageNet's would be used in its place, and nobody would notice."""
    net = nn.Conv2d(3, 2, 1)
    net.normalization = "caffee"
    with pytest.raises(SegmentError, match=r"^Conv2d.normalization='caffee': did you mean 'caffe'\?$"):
        WholeNet(net, 2)
    assert WholeNet(net, 2, normalization="unit").normalization["std"] == [255.0] * 3


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_the_module_or_of_the_net_around_it(tmp_path, wrapped):
    trained = build_net(own(Halved), 2)
    state = (trained if wrapped else trained.decoder.net).state_dict()
    torch.save(state, tmp_path / "own.pth")
    net = build_net(own(Halved, weights=str(tmp_path / "own.pth")), 2)
    assert net.encoder.pretrained
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in trained.state_dict().items())


@pytest.mark.parametrize("value", [np.zeros(3), torch.zeros(3), "batch", ["unit"]])
def test_an_attribute_of_another_kind_is_no_normalization(value):
    net = nn.Conv2d(3, 2, 1)
    net.normalization = value
    assert WholeNet(net, 2).normalization == WholeNet(nn.Conv2d(3, 2, 1), 2).normalization


@pytest.mark.parametrize("key", ["size_divisor", "min_size", "stride"])
@pytest.mark.parametrize("value", [0, -2, 1.5, "x"])
def test_wrong_facts_are_refused(key, value):
    with pytest.raises(SegmentError, match=rf"^model\.{key}={value}: expected a whole number"):
        build_net(own(Halved, **{key: value}), 2)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("dict", "a dict"),
        ("list", "a list"),
        ("quarter", r"a tensor \(1, 2, 3, 4\)"),
        ("one", r"a tensor \(1, 1, 6, 8\)"),
    ],
)
def test_other_outputs_are_refused_in_one_line(kind, found):
    net = build_net(own(Returning, kind=kind), 2)
    with pytest.raises(
        SegmentError, match=rf"^Returning, with images of 8x6 pixels, returns {found}, expected .*1, 2, 6, 8"
    ):
        net(torch.rand(1, 3, 6, 8))


def test_sides_that_a_net_cannot_take_are_explained():
    for part in (Halved, Skipping):
        with pytest.raises(SegmentError, match=r"images of 7x5 pixels") as error:
            build_net(own(part), 2)(torch.rand(1, 3, 5, 7))
        assert "\n" not in str(error.value)
    assert "size_divisor" in str(error.value)


def test_what_is_no_net_is_refused():
    with pytest.raises(SegmentError, match=r"builds a dict, expected a torch\.nn\.Module"):
        build_net({"_target_": "builtins.dict"}, 2)
    with pytest.raises(SegmentError, match="unexpected keyword argument 'num_classes'"):
        build_net({"_target_": "torch.nn.ReLU"}, 2)
    encoder = {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 1}
    with pytest.raises(SegmentError, match=r"Conv2d lacks the attributes channels, .*segment\.models\.Encoder"):
        build_net({"encoder": encoder, "decoder": DECODER}, 2)
    with pytest.raises(SegmentError, match=r"decoder: Scores lacks the attributes stride, offset.*every decoder"):
        build_net({"encoder": own_encoder(), "decoder": own(Scores)}, 2)


class Scores(nn.Module):
    """A decoder that declares nothing."""

    def __init__(self, channels, num_classes) -> None:
        super().__init__()


def test_weights_of_another_number_of_classes_keep_what_fits(tmp_path, capsys):
    first = build_net(own(Halved), 2)
    content = {METADATA: {}, "state_dict": {f"net.{key}": value for key, value in first.state_dict().items()}}
    torch.save(content, tmp_path / "a.ckpt")
    net = build_net(own(Halved, weights=str(tmp_path / "a.ckpt")), 5)
    assert torch.equal(net.decoder.net.down.weight, first.decoder.net.down.weight)
    assert "left as they were: decoder.net.up.weight" in capsys.readouterr().out
    assert {group["lr"] for group in parameter_groups(net, 0.1, 0.0)} == {0.1}


def test_costs_without_an_encoder():
    cost = compute_cost(build_net(own(Even), 2), 32, 32)
    assert (cost.strides, cost.receptive_field) == ([], None)
    assert cost.parameters == 3 * 4 * 4 + 4 + 4 * 2 * 4 + 2
