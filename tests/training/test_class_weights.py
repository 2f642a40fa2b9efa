"""``loss.class_weights=auto``: the numbers, and that they are counted once."""

from types import SimpleNamespace

import pytest
import torch

from segment.errors import SegmentError
from segment.training.class_weights import count_class_weights, fill_in, find_class_weights


class Masks(list):
    """A data set of masks alone."""

    def load(self, index):
        return None, self[index]


MASKS = Masks([torch.tensor([[0, 0, 0, 255]], dtype=torch.uint8), torch.tensor([[2, 255]], dtype=torch.uint8)])
AUTO = {"parts": {"a": {"class_weights": "auto"}}, "terms": ["a"]}


def data_of(masks, files="same"):
    hashes = {"train": files, "val": "v"}
    return SimpleNamespace(
        classes="abc", train_split="train", dataset=lambda split, augment: masks, listing_hashes=lambda: hashes
    )


def test_weights_are_one_by_the_root_of_the_share():
    assert count_class_weights(MASKS, 3) == pytest.approx([(4 / 3) ** 0.5, 0, 2])


def test_a_split_without_a_label_has_no_weights():
    with pytest.raises(SegmentError, match=r"no pixel of the training split is labelled; see segment.check$"):
        count_class_weights(Masks([torch.full((2, 2), 255, dtype=torch.uint8)]), 3)


def test_only_a_loss_that_asks_is_counted_for():
    assert find_class_weights({"class_weights": [1, 2], "normalize": "auto"}, None, None, None) is None
    assert find_class_weights(AUTO, data_of(MASKS), None, None)[2] == 2
    assert fill_in([AUTO, 3], [1.0]) == [{"parts": {"a": {"class_weights": [1.0]}}, "terms": ["a"]}, 3]


def test_a_resumed_run_keeps_its_weights_and_a_repeated_one_those_of_the_same_files():
    record = {"class_weights": [1.0, 2.0, 3.0], "data": {"train": "same", "val": "v"}}
    assert find_class_weights(AUTO, data_of(MASKS, "other"), record, None) == [1, 2, 3]
    assert find_class_weights(AUTO, data_of(MASKS), None, record) == [1, 2, 3]
    assert find_class_weights(AUTO, data_of(MASKS, "other"), None, record)[2] == 2
    assert find_class_weights(AUTO, data_of(MASKS), {"class_weights": None, "data": None}, None)[2] == 2
