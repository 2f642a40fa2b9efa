"""From scores at stride 8 to a class map of 1024x1024, beside ``F.interpolate`` and ``argmax``.

There are two kinds of scores. "noise" is the worst case: several classes compete at every pixel. "segments" resembles
the output of a net. Both are measured contiguous, which is torch's default, and channels last, as our nets return them.
The sides alternate, and times are medians. Memory is the peak of a fresh process above what it held with the scores.

    python -m benchmarks.class_map
"""

import itertools
import multiprocessing
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.timing import command_line, keep, ratio, run, take_turns
from segment.models.class_map import class_map
from segment.report import number_from

SIZE, STRIDE = 1024, 8


def ours(scores: Tensor) -> Tensor:
    return class_map(scores, *(STRIDE * side for side in scores.shape[2:]), STRIDE)


def theirs(scores: Tensor) -> Tensor:
    return F.interpolate(scores, scale_factor=STRIDE, mode="bilinear", align_corners=False).argmax(1)


LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
SIDES: dict[str, Callable[[Tensor], Tensor]] = {"ours": ours, "theirs": theirs}


def make_scores(kind: str, layout: str, classes: int, cells: int = SIZE // STRIDE) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(1, classes, cells, cells, generator=generator)
    if kind == "segments":
        coarse = torch.randn(1, classes, cells // 16, cells // 16, generator=generator)
        scores = F.interpolate(coarse, (cells, cells), mode="bicubic") + 0.05 * scores
    return scores.contiguous(memory_format=LAYOUTS[layout])


def peak(side: str, kind: str, layout: str, classes: int, threads: int) -> int:
    """Return the peak memory in bytes; call it in a fresh process."""
    torch.set_num_threads(threads)
    scores = make_scores(kind, layout, classes)
    SIDES[side](make_scores(kind, layout, classes, 16))  # memory that the libraries keep from their first use on
    before = held("VmRSS")
    SIDES[side](scores)
    return held("VmHWM") - before


def held(key: str) -> int:
    """Return the bytes that this process holds (VmRSS) or held at its peak (VmHWM), as Linux reports them."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(f"{key}:")[1].split()[0])


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=number_from(1), default=7, help="turns of each side")
    parser.add_argument("--threads", type=number_from(1), default=torch.get_num_threads(), help="torch threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{'classes':>7}  {'scores':23}  {'ms, ours / theirs':>28}  {'MiB, ours / theirs':>28}  pixels that differ")
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload(["benchmarks.class_map"])  # imported once, before anything was computed
    rows = []
    for classes in (150, 21):
        for kind, layout in itertools.product(("noise", "segments"), LAYOUTS):
            scores = make_scores(kind, layout, classes)
            differ = int((ours(scores) != theirs(scores)).sum())
            seconds = take_turns({side: partial(work, scores) for side, work in SIDES.items()}, arguments.runs)
            with fresh.Pool(1, maxtasksperchild=1) as pool:
                tasks = [(side, kind, layout, classes, arguments.threads) for side in SIDES]
                memory = [value / 2**20 for value in pool.starmap(peak, tasks, chunksize=1)]
            first, second = (1e3 * statistics.median(values) for values in seconds.values())
            times = ratio(seconds, "theirs", "ours")
            cells = [f"{first:.0f} / {second:.0f}, 1/{times:.1f}", f"{memory[0]:.0f} / {memory[1]:.0f}"]
            cells[1] += f", 1/{memory[1] / memory[0]:.0f}"
            row = {"classes": classes, "scores": kind, "layout": layout, "differ": differ, "times": times}
            row |= {"ours_ms": first, "theirs_ms": second, "ours_MiB": memory[0], "theirs_MiB": memory[1]}
            rows.append(row)
            print(f"{classes:7}  {kind + ', ' + layout:23}  {cells[0]:>28}  {cells[1]:>28}  {differ}", flush=True)
    keep("class_map", rows)
    print(f"medians of {arguments.runs} alternating runs, {arguments.threads} threads, torch {torch.__version__}")


if __name__ == "__main__":
    run(main)
