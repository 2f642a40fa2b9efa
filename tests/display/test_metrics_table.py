"""The table of an evaluation."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from segment.display.metrics_table import MANY, evaluation_table, percent


def lines_of(**metrics: Any) -> list[str]:
    """Return the printed table of metrics that differ from the defaults below."""
    known = {"images": 3, "split": "val", "mIoU": 0.5, "pixel_accuracy": 0.9, "mean_accuracy": 0.8}
    known |= {"frequency_weighted_IoU": None, "mIoU_interval": [0.4, 0.6]}
    known["per_class_IoU"] = {"cat": 0.25, "[red]dog": None, "\x1b[31m:cat:": None}
    known |= {"per_class_precision": {**known["per_class_IoU"], "cat": 0.8}, "per_class_Dice": known["per_class_IoU"]}
    known["per_class_recall"] = {**known["per_class_IoU"], "cat": 1.0}
    file = io.StringIO()
    Console(file=file, width=80).print(evaluation_table(known | metrics))
    assert "…" not in file.getvalue()
    return [line.strip("│ ") for line in file.getvalue().splitlines()]


def test_classes_then_metrics():
    lines = lines_of()
    assert lines[0] == "IoU on the val split, 3 images, per cent"
    assert any(line.startswith("cat ") and line.endswith("25.0 │  80.0 │  100.0 │ 25.0 │ █████") for line in lines)
    assert any(line.startswith("[red]dog ") and line.endswith("- │ absent") for line in lines)
    assert any(line.startswith(r"\x1b[31m:cat: ") for line in lines)
    [line] = [line for line in lines if line.startswith("mean IoU")]
    assert re.search(r"50.0 [ │]+ 40.0 to 60.0 \(95 %\)$", line)
    assert any(re.fullmatch("freq. weighted IoU [ │]+-[ │]*", line) for line in lines)


def test_no_interval_and_one_image():
    lines = lines_of(mIoU_interval=None, images=1)
    assert lines[0] == "IoU on the val split, 1 image, per cent"
    assert not any("95 %" in line for line in lines)


def test_many_classes_have_two_columns_and_no_bars():
    lines = lines_of(per_class_IoU={f"class{i}": 0.5 for i in range(MANY + 1)})
    [line] = [line for line in lines if line.startswith("class0 ")]
    assert [cell.strip() for cell in line.split("│")] == ["class0", "50.0", "class21", "50.0"]
    assert not any("█" in line for line in lines)


def test_metrics_of_boundaries():
    lines = lines_of(boundary={"boundary_IoU": 0.3, "trimap": {"4": {"mIoU": 0.2}}})
    assert any(line.startswith("boundary IoU") and "30.0" in line for line in lines)
    assert any(
        line.startswith("mean IoU within 4 px") and re.search("20.0 [ │]+ of a true boundary", line) for line in lines
    )


def test_further_metrics_are_no_shares():
    lines = lines_of(further_metrics={"kappa": -0.25, "undefined": None})
    assert any(re.search("^kappa [ │]+-0.25[ │]*$", line) for line in lines)
    assert any(re.search("^undefined [ │]+-[ │]*$", line) for line in lines)


def test_calibration():
    lines = lines_of(calibration={"expected_calibration_error": 0.123})
    assert any(re.search("^calibration error [ │]+12.3 [ │]+ of the confidence$", line) for line in lines)


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (float("nan"), "-"), (0.0, "0.0"), (0.12345, "12.3")])
def test_percent(value, text):
    assert percent(value) == text
