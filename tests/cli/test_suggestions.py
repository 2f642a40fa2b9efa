"""A misspelt key or option gets a suggestion, and is never ignored."""

import pytest

from segment.cli.config import load_config
from segment.cli.suggestions import check_added_keys, explain_hydra_error
from segment.errors import SegmentError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("modle=fcn8s", "modle= is not known: did you mean model=?"),
        ("trainer.max_epoch=3", "trainer.max_epoch= is not known: did you mean trainer.max_epochs=?"),
        ("data.bach_size=3", "data.bach_size= is not known: did you mean data.batch_size=?"),
        ("ckpt=a", "ckpt= is not known: did you mean checkpoint=?"),
        ("model=fcn8", "model=fcn8: there is no such option: did you mean fcn8s?"),
        ("model/encoder=resnet51", "model/encoder=resnet51: there is no such option: did you mean resnet50?"),
        ("zzz=1", "zzz= is not known; --help lists all keys"),
    ],
)
def test_suggestions(override, message):
    with pytest.raises(Exception) as error:  # noqa: PT011 (Hydra's exceptions are explained below)
        load_config([override])
    assert explain_hydra_error(error.value, "train") == message


@pytest.mark.parametrize("override", ["+modle=fcn8s", "++modle.x=1", "+trainre.max_epochs=3", "+zzz=1"])
def test_an_added_key_of_an_unknown_group_is_refused(override):
    with pytest.raises(SegmentError, match="is not known"):
        check_added_keys([override], "train")


def test_added_keys_of_known_groups():
    check_added_keys(["+trainer.profiler=simple", "+callbacks.mine={}", "model=fcn8s", "+experiment=x"], "train")
