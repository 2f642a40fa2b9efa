"""The metric's update beside torchmetrics' JaccardIndex, with its defaults and without its check of the values.

The update of the boundary metrics, which JaccardIndex does not have, is timed separately.

Inputs are class maps (4,512,512) with ignored pixels. "noise" draws each pixel's class independently. "blocks" of
64x64 pixels resemble a net's output more, and are slower to count.

    python -m benchmarks.metric
"""

import statistics
import time
from functools import partial

import torch
from torch import Tensor
from torchmetrics import JaccardIndex, Metric

from benchmarks.timing import command_line, keep, ratio, run, take_turns
from segment.data.classes import IGNORE
from segment.evaluation.boundary import BoundaryScores
from segment.evaluation.metrics import SegmentationScores
from segment.report import number_from

SIZE, BLOCK = 512, 64
UPDATES = 10
"""Updates in one turn, whose mean is taken: a single one would include the time in which threads wake up."""


def class_maps(classes: int, blocks: bool) -> tuple[Tensor, Tensor]:
    """Return predictions and labels int64 (4,512,512): half of the pixels are correct, a twentieth is ignored."""
    generator = torch.Generator().manual_seed(0)

    def draw(high: int) -> Tensor:
        step = BLOCK if blocks else 1
        small = torch.randint(high, (4, SIZE // step, SIZE // step), generator=generator)
        return small.repeat_interleave(step, 1).repeat_interleave(step, 2)

    truth = draw(classes)
    prediction = torch.where(draw(2) == 1, truth, draw(classes))
    return prediction, truth.masked_fill(draw(20) == 0, IGNORE)


def compare(classes: int, blocks: bool, threads: int, runs: int) -> dict[str, float | int | str]:
    """Return the milliseconds of an update, and torchmetrics' time relative to ours, with and without its check."""
    torch.set_num_threads(threads)
    prediction, truth = class_maps(classes, blocks)
    metrics = {
        "ours": SegmentationScores(classes),
        "JaccardIndex": JaccardIndex(task="multiclass", num_classes=classes, ignore_index=IGNORE),
        "unchecked": JaccardIndex(task="multiclass", num_classes=classes, ignore_index=IGNORE, validate_args=False),
    }

    def updates(metric: Metric, count: int = UPDATES) -> float:
        start = time.perf_counter()
        for _ in range(count):
            metric.update(prediction, truth)
        return (time.perf_counter() - start) / count

    seconds = take_turns({name: partial(updates, metric) for name, metric in metrics.items()}, runs)
    seconds |= take_turns({"boundary": partial(updates, BoundaryScores(classes), 1)}, 3)
    row: dict[str, float | int | str] = {
        "classes": classes,
        "maps": "blocks" if blocks else "noise",
        "threads": threads,
    }
    row |= {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    for name in ("JaccardIndex", "unchecked"):
        assert torch.equal(metrics["ours"].confmat, metrics[name].confmat), "all metrics count the same"
        row[f"{name}_times"] = ratio(seconds, name, "ours")
    return row


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=number_from(1), default=10, help="turns of each side")
    parser.add_argument(
        "--threads", type=number_from(1), nargs="+", default=[1, 2], help="numbers of torch threads, measured in turn"
    )
    arguments = parser.parse_args()
    print(f"{'update, ms':34}{'ours':>8}{'JaccardIndex':>14}{'times':>8}{'unchecked':>11}{'times':>8}{'boundary':>10}")
    rows = []
    for threads in arguments.threads:
        for classes in (21, 150):
            for blocks in (False, True):
                row = compare(classes, blocks, threads, arguments.runs)
                name = "{classes} classes, {maps}, {threads} threads".format(**row)
                print(
                    f"{name:34}{{ours:>8.2f}}{{JaccardIndex:>14.1f}}{{JaccardIndex_times:>8.1f}}"
                    "{unchecked:>11.1f}{unchecked_times:>8.1f}{boundary:>10.1f}".format(**row)
                )
                rows.append(row)
    keep("metric", rows, "torchmetrics", "numpy")
    print(f"medians of {arguments.runs} alternating runs, torch {torch.__version__}")


if __name__ == "__main__":
    run(main)
