"""A training step of nets with ``compile=true`` beside the same nets without it, on a CPU.

    python -m benchmarks.compiled

The seconds of the compilation come once in a run.
"""

import copy
import statistics
import time
from functools import partial

import torch

from benchmarks.models import ours, training_step
from benchmarks.timing import command_line, keep, ratio, run, take_turns
from segment.report import number_from
from segment.training.checks import check_compiler

NETS = {
    "fcn_small": ["model=fcn_small"],
    "fcn8s on mobilenet_v2": ["model=fcn8s", "model/encoder=mobilenet_v2"],
}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=number_from(1), default=5, help="turns of each side")
    parser.add_argument("--side", type=number_from(1), default=192, help="side of the images, four in a batch")
    arguments = parser.parse_args()
    check_compiler("cpu")
    image, rows = torch.randn(4, 3, arguments.side, arguments.side), []
    for name, overrides in NETS.items():
        net = ours(*overrides)
        compiled = copy.deepcopy(net)
        compiled.compile()
        begin = time.perf_counter()
        training_step(compiled, image)
        compilation = time.perf_counter() - begin
        sides = {"compiled": partial(training_step, compiled, image), "eager": partial(training_step, net, image)}
        seconds = take_turns(sides, arguments.runs)
        first, second = (statistics.median(values) for values in seconds.values())
        row = {"what": f"{name}, compiled / eager", "ours_s": first, "theirs_s": second, "compilation_s": compilation}
        rows.append(row | {"ratio": ratio(seconds, "compiled", "eager"), "goal": 1.0})
        print(
            f"{name:24} {first:6.2f} s / {second:6.2f} s = {rows[-1]['ratio']:.2f}, compiled in {compilation:.0f} s",
            flush=True,
        )
    keep("compiled", rows)
    print(f"medians of {arguments.runs} alternating runs, {torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    run(main)
