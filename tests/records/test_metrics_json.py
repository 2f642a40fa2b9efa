"""metrics.json is strict JSON, and a file of another program is refused."""

import json
import math

import pytest

from segment.errors import SegmentError
from segment.records.metrics_json import none_if_nan, read_metrics, write_metrics

NAN = float("nan")


def test_nan_becomes_null_at_any_depth(tmp_path):
    metrics = {"mIoU": NAN, "per_class_IoU": {"a": 0.5, "b": NAN}, "mIoU_interval": [0.1, NAN], "split": "val"}
    write_metrics(metrics, tmp_path / "metrics.json")
    expected = {"mIoU": None, "per_class_IoU": {"a": 0.5, "b": None}, "mIoU_interval": [0.1, None], "split": "val"}
    assert read_metrics(tmp_path / "metrics.json") == expected
    assert math.isnan(metrics["mIoU"])
    assert none_if_nan(0.0) == 0.0


def test_infinity_is_no_metric(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_metrics({"mIoU": float("inf")}, tmp_path / "metrics.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read .*metrics.json"),
        ("[" * 100_000, "cannot read .*metrics.json"),
        ("[1]", "cannot read .*metrics.json: Input should be"),
        ("{}", "metrics.json: mIoU: Field required"),
        (json.dumps({"mIoU": 0.5}), "per_class_IoU: Field required"),
        (json.dumps({"mIoU": "high", "per_class_IoU": {}}), "mIoU: Input should be a valid number"),
        (json.dumps({"mIoU": NAN, "per_class_IoU": {}}), "mIoU: Input should be"),
        (json.dumps({"mIoU": 0.5, "per_class_IoU": {"a": [1]}}), "per_class_IoU.a: Input"),
        (json.dumps({"mIoU": 0.5, "per_class_IoU": {}, "images": "many"}), "images: Input"),
        (json.dumps({"mIoU": 0.5, "per_class_IoU": {}, "data": ["voc"]}), "data: Input"),
        ("9" * 10_000, "Exceeds the limit"),
        (json.dumps({"mIoU": 0.5, "per_class_IoU": [0.5]}), "per_class_IoU: Input"),
    ],
)
def test_another_file_is_refused(tmp_path, content, message):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(SegmentError, match=message):
        read_metrics(tmp_path / "metrics.json")


def test_a_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(SegmentError, match=r"^cannot read .*metrics.json: No such file"):
        read_metrics(tmp_path / "metrics.json")
