"""The images that are shown of an evaluation: spread over the split, or the worst and the best ones."""

import numpy as np
import torch

from segment.data.datasets.shapes import ShapesDataModule
from segment.evaluation.examples import predict_examples, spread_indices, worst_and_best
from segment.models.decoders.fcn import FCNDecoder
from segment.models.encoders.unet_encoder import UNetEncoder
from segment.models.net import SegmentationNet
from segment.prediction.inference import Inference


def test_indices_are_spread_from_the_first_image_to_the_last():
    assert spread_indices(100, 3) == [0, 49, 99]
    assert spread_indices(3) == [0, 1, 2]
    assert spread_indices(1, 4) == [0]


def counts(*scores: float) -> np.ndarray:
    """Return counts (N,3,1) of images with these IoUs; none is counted of an image with NaN."""
    return np.array([[[0]] * 3 if score != score else [[100 * score], [100], [100 * score]] for score in scores])


def test_worst_and_best_images_are_named_by_rank():
    dataset = ShapesDataModule(val_size=5).dataset("val")
    found = worst_and_best(counts(0.5, 0.1, float("nan"), 0.9, 0.3), dataset, count=4)
    assert found == {"worst_1_00001": 1, "worst_2_00004": 4, "best_1_00003": 3, "best_2_00000": 0}


def test_no_image_is_both_worst_and_best():
    dataset = ShapesDataModule(val_size=3).dataset("val")
    assert worst_and_best(counts(0.5, 0.1, 0.7), dataset) == {
        "worst_1_00001": 1,
        "worst_2_00000": 0,
        "best_1_00002": 2,
    }
    assert worst_and_best(counts(float("nan")), dataset) == {}


def test_examples_are_predicted_in_evaluation_mode_and_the_mode_stays():
    torch.manual_seed(0)
    net = SegmentationNet(UNetEncoder(width=4, first_stride=2, depth=4), FCNDecoder, num_classes=6).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    dataset = ShapesDataModule(val_size=3).dataset("val")
    (example,) = predict_examples(net, Inference(), dataset, [2])
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())  # no batch norm moved
    assert example.id == dataset.id(2)
    assert np.array_equal(example.image, dataset[2]["image"].permute(1, 2, 0).numpy())
    assert np.array_equal(example.truth, dataset[2]["mask"].numpy())
    assert np.array_equal(example.prediction, net.eval().predict(dataset[2]["image"][None])[0].numpy())
