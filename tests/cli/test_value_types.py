"""Values are checked against the types that the parts declare, and become those types."""

from typing import Literal

import pytest

from segment.cli.build import instantiate
from segment.cli.config import load_config, plain
from segment.cli.value_types import as_typed, check_arguments, check_seed, check_value, describe_type
from segment.errors import SegmentError


class Own:
    """A user's part, whose declared types are not relied on."""

    def __init__(self, number: int = None, sizes: [int, int] = None, **rest: str) -> None:  # noqa: RUF013  # wrong on purpose
        self.number, self.sizes, self.rest = number, sizes, rest


@pytest.mark.parametrize(
    "override",
    [
        "trainer.devices=[0]",
        "trainer.limit_val_batches=0.5",
        "trainer.max_time=00:00:01:00",
        "trainer.precision=32",
        "trainer.gradient_clip_val=1",
        "trainer.max_steps=1e3",
        "trainer.sync_batchnorm=0",
        "+trainer.profiler=simple",
        "optimizer.lr=1",
        "optimizer.weight_decay=0",
        "scheduler.momentum=null",
        "+callbacks.best.save_top_k=1.0",
        "data.scale=[1,2]",
        "data.colour=0",
        "data.crop_size=null",
        "data.batch_size=1",
        "loss.class_weights=[1,2.5]",
        "model.decoder.skip_strides=[]",
    ],
)
def test_a_value_of_the_declared_type_passes(override):
    check_arguments(plain(load_config([override])))


@pytest.mark.parametrize("value", [None, 2, "a", [1, 2]])
def test_the_types_of_a_user_s_part_are_not_checked(value):
    own = {"_target_": f"{__name__}.Own", "number": value, "sizes": value, "more": value}
    assert instantiate(own).number == value


def test_what_is_checked_is_what_is_built_with():
    config = plain(load_config(["data.batch_size=1e1", "data.crop_size=[6.4e1,32]", "optimizer.lr=1"]))
    checked = check_arguments(config)
    assert checked["data"]["batch_size"] == 10
    assert type(checked["data"]["batch_size"]) is int
    assert list(map(type, checked["data"]["crop_size"])) == [int, int]
    assert type(checked["optimizer"]["lr"]) is float
    assert instantiate(config["data"]).batch_size == 10
    assert check_value("key", 0, bool | None) is False


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (2.5, int, "key=2.5: expected a whole number"),
        (True, int, "key=true: expected a whole number"),
        (2, bool, "key=2: expected true or false"),
        ("1", float, "key=1: expected a number"),
        (3, list[float] | None, r"key=3: expected a list \(each a number\) or null"),
        ([1, "x"], tuple[int, int], r"key=\[1,x\]: expected a list \(each a whole number\)"),
        (None, str, "key=null: expected text"),
        ("c", Literal["a", "b"], "key=c: expected a or b"),
    ],
)
def test_a_value_of_another_type_is_named(value, kind, message):
    with pytest.raises(SegmentError, match=f"^{message}$"):
        check_value("key", value, kind)


def test_a_type_without_a_schema_and_a_nested_part_are_not_checked():
    assert check_value("key", "x", object()) == "x"
    assert check_value("key", {"_target_": "a.b"}, int) == {"_target_": "a.b"}


@pytest.mark.parametrize("seed", ["x", -1, 2**32, 1.0, True, None])
def test_a_seed_is_a_whole_number_of_32_bits(seed):
    check_seed(2**32 - 1)
    with pytest.raises(SegmentError, match=r"^seed=.*: expected a whole number from 0 to 4294967295$"):
        check_seed(seed)


def test_values_and_types_in_plain_english():
    assert as_typed([None, True, 1e-4, "a"]) == "[null,true,0.0001,a]"
    assert describe_type(int | str | None) == "a whole number or text or null"
