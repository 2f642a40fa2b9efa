"""An evaluation counts each image once, on one process and on many, and gives the same result as a count by hand."""

import lightning as L
import numpy as np
import pytest
import torch

from segment.data.classes import Classes
from segment.data.datasets.shapes import ShapesDataModule
from segment.errors import SegmentError
from segment.evaluation.evaluator import EvaluationAccumulator, NetPredictor, evaluate_split
from segment.models.decoders.fcn import FCNDecoder
from segment.models.encoders.unet_encoder import UNetEncoder
from segment.models.net import SegmentationNet
from segment.prediction.inference import Inference
from tests.evaluation.counting import metrics_by_hand

CLASSES = Classes(("a", "b", "c"), ((0, 0, 0), (9, 9, 9), (5, 5, 5)))


def make_trainer(folder, **options) -> L.Trainer:
    options |= {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(default_root_dir=folder, enable_model_summary=False, **options)


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = SegmentationNet(UNetEncoder(width=4, first_stride=2, depth=4), FCNDecoder, num_classes=6)
    for parameter in net.decoder.parameters():
        torch.nn.init.normal_(parameter)  # a new decoder scores zero everywhere
    return net.eval()


def test_the_counts_of_two_processes_come_back_in_the_images_order():
    rng = np.random.default_rng(0)
    prediction, truth = torch.from_numpy(rng.integers(0, 3, (2, 3, 4, 5)))
    padding = torch.full((4, 5), 255)  # the mask of the image that fills up the second process
    one, two = EvaluationAccumulator(CLASSES, boundary=True), EvaluationAccumulator(CLASSES, boundary=True)
    for i in range(3):
        one.update(prediction[i][None], truth[i][None])
    for i, mask in ((0, truth[0]), (2, truth[2]), (1, truth[1]), (0, padding)):  # one process after the other
        two.update(prediction[i][None], mask[None])
    expected, found = one.pop_result(world_size=1, images=3), two.pop_result(world_size=2, images=3)
    assert np.array_equal(found.counts, expected.counts)
    assert np.array_equal(found.confusion, expected.confusion)
    assert found.metrics == expected.metrics


def test_a_result_ends_the_count():
    accumulator = EvaluationAccumulator(CLASSES, boundary=True)
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    for _ in range(2):
        accumulator.update(labels, labels)
        found = accumulator.pop_result(world_size=1, images=1)
        assert found.confusion.sum() == 16
        assert len(found.counts) == 1
        assert found.metrics["boundary"]["boundary_IoU"] == 1


def test_a_split_is_evaluated_as_by_hand(net, tmp_path):
    data = ShapesDataModule(train_size=2, val_size=3, num_workers=0)
    dataset = data.dataset("val")
    evaluation = evaluate_split(make_trainer(tmp_path), NetPredictor(net, Inference()), data, "val")
    predictions = [net.predict(dataset[i]["image"][None]).numpy().ravel() for i in range(3)]
    masks = [dataset[i]["mask"].numpy().ravel() for i in range(3)]
    expected = metrics_by_hand(np.concatenate(predictions), np.concatenate(masks), 6)
    assert evaluation.metrics.keys() == expected.keys()
    assert evaluation.metrics["mIoU"] == pytest.approx(expected["mIoU"], rel=1e-12)
    assert evaluation.metrics["per_class_IoU"] == pytest.approx(expected["per_class_IoU"])
    assert np.array_equal(evaluation.counts.sum(0)[1], evaluation.confusion.sum(1))
    assert evaluation.classes == data.classes


class Further:
    """Metrics as FurtherMetrics gives them."""

    updates = 0

    def update(self, prediction, mask):
        assert prediction.shape == mask.shape
        self.updates += 1

    def pop(self):
        return {"updates": float(self.updates), "log": float("-inf")}


def test_further_metrics_are_those_of_all_images(net, tmp_path):
    data = ShapesDataModule(train_size=2, val_size=3, num_workers=0)
    predictor = NetPredictor(net, Inference())
    evaluation = evaluate_split(make_trainer(tmp_path), predictor, data, "val", further=Further())
    assert evaluation.metrics["further_metrics"] == {"updates": 3.0, "log": pytest.approx(np.nan, nan_ok=True)}


def test_no_image_is_no_evaluation(net, tmp_path):
    data = ShapesDataModule(train_size=2, val_size=2, num_workers=0)
    with pytest.raises(SegmentError, match=r"^nothing was evaluated: the split val or trainer.limit_val_batches"):
        evaluate_split(make_trainer(tmp_path, limit_val_batches=0), NetPredictor(net, Inference()), data, "val")
