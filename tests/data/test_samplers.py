"""The order of images, shared out to processes."""

import numpy as np
import pytest

from segment.data.datasets.shapes import ShapesDataModule
from segment.data.samplers import EvalSampler, TrainSampler, in_order


def test_training_order_is_shared_out_without_repeats():
    per_rank = []
    for rank in range(2):
        sampler = TrainSampler(21, batch_size=5, seed=0, rank=rank, world_size=2)
        sampler.set_epoch(3)
        assert len(list(sampler)) == len(sampler) == 10
        per_rank.append([draw.sample for draw in sampler])
    assert len({*per_rank[0], *per_rank[1]}) == 20
    sampler.set_epoch(4)
    assert [draw.sample for draw in sampler] != per_rank[1]


def test_a_resumed_run_skips_the_batches_of_its_first_epoch_alone():
    whole, resumed = TrainSampler(20, 4, seed=0), TrainSampler(20, 4, seed=0, start=(3, 2))
    for epoch, skipped in ((3, 8), (4, 0)):
        whole.set_epoch(epoch)
        resumed.set_epoch(epoch)
        assert list(resumed) == list(whole)[skipped:]


def test_a_data_set_smaller_than_a_batch_is_repeated():
    assert [draw.sample for draw in TrainSampler(2, batch_size=4, seed=0)].count(0) == 2
    data = ShapesDataModule(train_size=2, batch_size=8, crop_size=(24, 24), num_workers=0)
    images = next(iter(data.train_dataloader()))["image"]
    assert len({image.numpy().tobytes() for image in images}) == 8  # each repetition is cropped anew


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_counts_each_image_once(world_size):
    draws = [list(EvalSampler(5, rank, world_size)) for rank in range(world_size)]
    assert len({len(share) for share in draws}) == 1
    assert sorted(d.sample for share in draws for d in share if not d.padding) == list(range(5))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_results_of_all_ranks_in_the_order_of_the_images(world_size):
    draws = [draw.sample for rank in range(world_size) for draw in EvalSampler(5, rank, world_size)]
    assert in_order(np.array(draws), world_size, 5).tolist() == list(range(5))
