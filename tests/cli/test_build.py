"""Parts are built as Hydra builds them, and a mistake in a part is one clear message."""

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.errors import SegmentError


def fail(kind: str) -> None:
    """Raise an error of a kind, as a user's part may do."""
    raise {"os": OSError, "value": ValueError, "segment": SegmentError}[kind](f"the part's own {kind}")


def part(kind: str) -> dict[str, str]:
    return {"_target_": f"{__name__}.fail", "kind": kind}


def test_hydra_s_own_instantiate_builds_the_net():
    config = load_config(["model=fcn8s", "data=voc", "model/encoder=mobilenet_v2", "model.encoder.weights=null"])
    net = hydra.utils.instantiate(config.model, num_classes=21)
    assert net(torch.randn(2, 3, 40, 50)).shape == (2, 21, 40, 50)


def test_the_error_of_a_part_replaces_hydra_s():
    with pytest.raises(SegmentError, match=r"^the part's own segment$"):
        instantiate(part("segment"))
    with pytest.raises(SegmentError, match=r"^fail: the part's own value$"):
        instantiate(part("value"))
    for table in (part("os"), {"_target_": "builtins.dict", "inside": part("os")}):
        with pytest.raises(OSError, match=r"^the part's own os\b") as error:
            instantiate(table)
        assert error.value.__notes__[-1] == f"error: {__name__}.fail fails while it is built, see above"


def test_an_unknown_target_or_argument_is_one_line():
    with pytest.raises(SegmentError, match=r"segment.models.Nothing") as error:
        instantiate({"_target_": "segment.models.Nothing"})
    assert "\n" not in str(error.value)
    with pytest.raises(SegmentError, match=r"^Throughput: .*unexpected keyword argument 'x'"):
        instantiate({"_target_": "segment.training.Throughput", "x": 1})


def test_a_wrong_type_is_named_by_its_full_key():
    config = load_config(["model.encoder.width=x"])
    with pytest.raises(SegmentError, match=r"^model\.encoder\.width=x: expected a whole number$"):
        instantiate(config.model, num_classes=2)


def test_a_missing_key_is_named_as_it_is_typed():
    config = OmegaConf.create({"data": {"_target_": "segment.data.FolderDataModule", "root": "???"}})
    with pytest.raises(SegmentError, match=r"^data\.root is missing: give data\.root=VALUE on the command line$"):
        instantiate(config.data)
