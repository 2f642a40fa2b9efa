"""The metric's update beside that of torchmetrics' JaccardIndex with its defaults, and what boundary figures cost.

Same class maps (4,512,512) with ignored pixels, alternating sides, medians. Run it as

    python -m benchmarks.metric --threads 2

Noise has a new class at every pixel; blocks of 64 x 64 are more like what a net says, and slower to count.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import JaccardIndex

from segment.boundary import BoundaryScores
from segment.data.classes import IGNORE
from segment.metrics import SegmentationScores

SIZE, BLOCK = 512, 64


def class_maps(classes: int, blocks: bool) -> tuple[Tensor, Tensor]:
    """Predictions and labels int64 (4,512,512): half of the pixels right, a twentieth ignored."""
    generator = torch.Generator().manual_seed(0)

    def draw(high: int) -> Tensor:
        step = BLOCK if blocks else 1
        small = torch.randint(high, (4, SIZE // step, SIZE // step), generator=generator)
        return small.repeat_interleave(step, 1).repeat_interleave(step, 2)

    truth = draw(classes)
    prediction = torch.where(draw(2) == 1, truth, draw(classes))
    return prediction, truth.masked_fill(draw(20) == 0, IGNORE)


def milliseconds(sides: list[Callable[[], None]], runs: int) -> list[list[float]]:
    """Of each side, in turns."""
    times: list[list[float]] = [[] for _ in sides]
    for run in range(runs + 2):
        for seconds, work in zip(times, sides, strict=True):
            start = time.perf_counter()
            work()
            if run >= 2:
                seconds.append(1000 * (time.perf_counter() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{'update, ms':24}{'ours':>8}{'JaccardIndex':>14}{'ratio':>8}{'boundary':>10}")
    for classes in (21, 150):
        for blocks in (False, True):
            prediction, truth = class_maps(classes, blocks)
            ours, boundary = SegmentationScores(classes), BoundaryScores(classes)
            theirs = JaccardIndex(task="multiclass", num_classes=classes, ignore_index=IGNORE)
            sides = [lambda m=metric: m.update(prediction, truth) for metric in (ours, theirs, boundary)]  # noqa: B023
            times = milliseconds(sides, arguments.runs)
            assert torch.equal(ours.confmat, theirs.confmat), "both count the same"
            ratio = statistics.median(b / a for a, b in zip(times[0], times[1], strict=True))
            first, second, third = map(statistics.median, times)
            kind = f"{classes} classes, {'blocks' if blocks else 'noise'}"
            print(f"{kind:24}{first:>8.2f}{second:>14.1f}{ratio:>8.1f}{third:>10.1f}", flush=True)
    print(f"medians of {arguments.runs} alternating runs, {arguments.threads} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
