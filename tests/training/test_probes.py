"""Losses and metrics of the user's own are tried before a run, and further metrics are values of all images."""

import pytest
import torch
from torch import nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from segment.cli.build import build_metrics
from segment.errors import SegmentError
from segment.training.losses import BorderWeightedCrossEntropy, CrossEntropy
from segment.training.probes import FurtherMetrics, check_loss


class OwnLoss(nn.Module):
    """A loss that returns a value of a kind."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.calls = 0
        if kind == "parameters":
            self.weight = nn.Parameter(torch.ones(()))

    def forward(self, scores, labels):
        assert labels.dtype == torch.int64
        self.calls += 1
        value = scores[labels[:, None].expand_as(scores) != 255].square().mean()
        kinds = {
            "vector": value[None].repeat(2), "dict": {"loss": value}, "float": value.item(), "one axis": value[None],
            "argmax": scores.argmax(1).float().mean(),
        }  # fmt: skip
        return kinds.get(self.kind, value)


def test_losses_of_all_kinds_pass():
    for loss in (CrossEntropy(), BorderWeightedCrossEntropy(), nn.CrossEntropyLoss(ignore_index=255), OwnLoss("plain")):
        check_loss(loss, 3)
    assert loss.calls == 0  # a copy was tried


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (OwnLoss("vector"), r"OwnLoss returns a tensor of shape \(2,\), expected one number"),
        (OwnLoss("one axis"), r"a tensor of shape \(1,\)"),
        (OwnLoss("dict"), "returns a dict"),
        (OwnLoss("float"), "returns a float"),
        (OwnLoss("argmax"), "a number without a gradient"),
        (OwnLoss("parameters"), "has parameters, which no optimiser trains"),
        (
            nn.CrossEntropyLoss(),
            r"fails on scores \(3, 2, 32, 32\) and labels int64 .* 255 is ignored: IndexError: Targ",
        ),
        (nn.CrossEntropyLoss(ignore_index=255, reduction="none"), r"a tensor of shape \(3, 32, 32\)"),
        (nn.MSELoss(), r"MSELoss fails on scores"),  # of one image, or of as many as classes, it would broadcast
        (nn.CrossEntropyLoss, "loss builds a type, expected a torch.nn.Module"),
    ],
)
def test_a_loss_that_cannot_train_is_refused_in_one_line(loss, message):
    with pytest.raises(SegmentError, match=message) as error:
        check_loss(loss, 2)
    assert "\n" not in str(error.value)


class OwnMetric(Metric):
    """A metric whose value has a form."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction, labels):
        self.total += (labels != 255).sum()

    def compute(self):
        if self.form == "fails":
            raise ZeroDivisionError("no pixel")
        forms = {"vector": self.total.repeat(3), "text": "much", "dict": {"a": self.total, "b": self.total.repeat(3)}}
        return forms.get(self.form, self.total)


def test_values_are_those_of_all_updates_since_the_last():
    f1, accuracy = MulticlassF1Score(3, average="macro", ignore_index=255), MulticlassAccuracy(3, ignore_index=255)
    metrics = FurtherMetrics({"f1": f1, "both": MetricCollection({"own": OwnMetric("number"), "top": accuracy})})
    prediction, labels = torch.randint(0, 3, (2, 4, 6, 8)), torch.randint(0, 3, (2, 4, 6, 8)).to(torch.uint8)
    labels[:, :, 0] = 255
    for one in zip(prediction, labels, strict=True):
        metrics.update(*one)
    expected = MulticlassF1Score(3, average="macro", ignore_index=255)
    found = metrics.pop()
    assert found["f1"] == pytest.approx(float(expected(prediction.flatten(0, 1), labels.flatten(0, 1).long())))
    assert found["both/own"] == 2 * 4 * 5 * 8
    assert found.keys() == {"f1", "both/own", "both/top"}
    metrics.update(prediction[0], labels[0])
    assert metrics.pop()["both/own"] == 4 * 5 * 8
    assert not metrics.state_dict()


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (
            {"own": OwnMetric("vector")},
            r"^metrics\.own gives a tensor of shape \(3,\), expected one number.*average=macro",
        ),
        ({"own": OwnMetric("dict")}, r"^metrics\.own/b gives a tensor"),
        ({"own": OwnMetric("text")}, r"^metrics\.own gives a str"),
        ({"own": OwnMetric("fails")}, r"^metrics\.own: OwnMetric has no value: ZeroDivisionError: no pixel"),
        ({"own": nn.Identity()}, r"^metrics\.own is a Identity, expected a torchmetrics\.Metric"),
        ({"mIoU": OwnMetric("number")}, r"^metrics\.mIoU has the name of a metric of this package"),
        ({"auc": MulticlassAccuracy(3, top_k=2)}, r"^metrics\.auc: MulticlassAccuracy fails on class indices"),
    ],
)
def test_a_metric_that_cannot_be_logged_is_refused_in_one_line(metrics, message):
    with pytest.raises(SegmentError, match=message) as error:
        FurtherMetrics(metrics)
    assert "\n" not in str(error.value)


def test_metrics_are_built_with_the_number_of_classes():
    f1 = {"_target_": "torchmetrics.classification.MulticlassF1Score", "average": "macro", "ignore_index": 255}
    found = build_metrics({"f1": f1, "own": {"_target_": f"{__name__}.OwnMetric", "form": "x"}, "none": None}, 5)
    assert (found["f1"].num_classes, found.keys()) == (5, {"f1", "own"})
    assert build_metrics({"f1": {**f1, "num_classes": 4}}, 5)["f1"].num_classes == 4
    assert build_metrics(None, 5) == {}
    with pytest.raises(SegmentError, match=r"metrics\.f1 is no metric: expected a table with _target_"):
        build_metrics({"f1": "dice"}, 5)
    with pytest.raises(SegmentError, match=r"^MulticlassF1Score: Expected argument `average` .* but got foo$"):
        build_metrics({"f1": {**f1, "average": "foo", "validate_args": False}}, 5)
