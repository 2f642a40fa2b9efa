"""Names of parts: what they refer to, and the keys that belong to another class."""

import pytest
from torch import nn

from segment.cli.config import load_config, plain
from segment.cli.targets import argument_names, drop_foreign_keys, drop_preset_keys, locate, real_name
from segment.errors import SegmentError


class OwnLoss(nn.Module):
    """A loss with a key of the default loss and any others."""

    def __init__(self, label_smoothing: float = 0.5, **further: float) -> None:
        super().__init__()


class Narrower(OwnLoss):
    """A loss that passes its options on."""

    def __init__(self, width: int, **options: float) -> None:
        super().__init__(**options)


def test_an_attribute_counts_before_a_module_of_the_same_name():
    assert locate("segment.train.train").__name__ == "train"
    assert real_name(locate("torch.nn.Conv2d")) == "torch.nn.modules.conv.Conv2d"
    with pytest.raises(SegmentError, match=r"^cannot import segment\.Nothing \(.*install it$") as error:
        locate("segment.Nothing")
    assert "\n" not in str(error.value)


def test_arguments_of_a_class_and_its_bases():
    assert argument_names(f"{__name__}.Narrower") == {"width", "label_smoothing"}
    assert argument_names("segment.training.one_cycle") >= {"optimizer", "total_steps", "momentum"}
    assert argument_names("builtins.dict") == set()


@pytest.mark.parametrize(
    ("overrides", "table", "left"),
    [
        ([f"loss._target_={__name__}.OwnLoss"], "loss", {"label_smoothing": 0.0}),
        ([f"loss._target_={__name__}.OwnLoss", "+loss.gamma=2", "loss.reduction=sum"], "loss",
         {"label_smoothing": 0.0, "gamma": 2, "reduction": "sum"}),
        ([f"model._target_={__name__}.OwnLoss", "model.encoder.width=8"], "model", {"encoder": {"width": 8}}),
        (["optimizer.algorithm._target_=torch.optim.RMSprop"], "optimizer.algorithm", {"_partial_": True}),
    ],
)  # fmt: skip
def test_keys_of_another_class_are_dropped_except_those_that_were_typed(overrides, table, left):
    config = load_config(overrides)
    drop_foreign_keys(config, overrides)
    found = plain(config)
    for name in table.split("."):
        found = found[name]
    found.pop("_target_")
    if table == "model":
        found["encoder"] = {"width": found["encoder"]["width"]}
    assert found == left


@pytest.mark.parametrize(
    ("options", "further", "dropped"),
    [
        (["loss=dice"], [], ["loss.reduction"]),
        (["loss=dice"], ["++loss.reduction=mean"], []),  # typed: building it says that Dice takes none
        (["loss=border_weighted", "optimizer=sgd"], [], []),  # both take the preset's keys
    ],
)
def test_keys_of_a_preset_are_dropped_where_another_option_does_not_take_them(options, further, dropped):
    overrides = ["experiment=voc_fcn32s_heavy", *options, *further]
    config = load_config(overrides)
    before = plain(config)
    assert drop_preset_keys(config, load_config(options), overrides) == dropped
    for name in dropped:
        del before[name.partition(".")[0]][name.partition(".")[2]]
    assert plain(config) == before
