"""The effect of an FCN's skips: FCN-32s, 16s and 8s, trained in the same way on drawn shapes with several seeds.

    python -m benchmarks.strides

Each run is an ordinary ``python -m segment.train``. Runs that are already finished are not repeated.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import command_line, keep, run
from segment.report import number_from

NETS = {"FCN-32s": "[]", "FCN-16s": "[16]", "FCN-8s": "[16,8]"}


def measure(folder: Path, skips: str, seed: int, epochs: int) -> float:
    """Return the validation mIoU of one run."""
    metrics = folder / "metrics.json"
    if not metrics.is_file():
        overrides = [f"model.decoder.skip_strides={skips}", f"seed={seed}", f"trainer.max_epochs={epochs}"]
        overrides += [f"hydra.run.dir={folder}", "trainer.enable_progress_bar=false"]
        subprocess.run([sys.executable, "-m", "segment.train", *overrides], check=True, stdout=subprocess.DEVNULL)
    return json.loads(metrics.read_text())["mIoU"]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=number_from(1), default=3, help="number of seeds")
    parser.add_argument("--epochs", type=number_from(1), default=3, help="epochs of each run")
    parser.add_argument("--runs", default="runs/strides", help="folder of the runs")
    arguments = parser.parse_args()
    scores: dict[str, list[float]] = {net: [] for net in NETS}
    for seed in range(arguments.seeds):
        for net, skips in NETS.items():
            folder = Path(arguments.runs, f"{net}_epochs{arguments.epochs}_seed{seed}")
            scores[net].append(measure(folder, skips, seed, arguments.epochs))
    print(f"validation mIoU on shapes, {arguments.epochs} epochs, seeds 0 to {arguments.seeds - 1}")
    for net, values in scores.items():
        each = "  ".join(f"{value:.3f}" for value in values)
        print(f"{net:8}  mean {statistics.mean(values):.3f}   each {each}")
    keep("strides", [{"what": net, "epochs": arguments.epochs, "mIoU": values} for net, values in scores.items()])


if __name__ == "__main__":
    run(main)
