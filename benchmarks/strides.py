"""What the skips of an FCN are worth: FCN-32s, 16s and 8s, trained alike on drawn shapes with several seeds.

    python -m benchmarks.strides            # a table, and docs/strides.png

Each run is an ordinary ``python -m segment.train``; a run that is there already is not repeated.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure

from segment.visualize import save

NETS = {"FCN-32s": "[]", "FCN-16s": "[16]", "FCN-8s": "[16,8]"}


def measure(folder: Path, skips: str, seed: int, epochs: int) -> float:
    """Validation mIoU of one run."""
    metrics = folder / "metrics.json"
    if not metrics.is_file():
        words = [f"model.decoder.skip_strides={skips}", f"seed={seed}", f"trainer.max_epochs={epochs}"]
        words += [f"hydra.run.dir={folder}", "trainer.enable_progress_bar=false"]
        subprocess.run([sys.executable, "-m", "segment.train", *words], check=True, stdout=subprocess.DEVNULL)
    return json.loads(metrics.read_text())["mIoU"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--runs", default="runs/strides", help="where the runs lie")
    parser.add_argument("--figure", default="docs/strides.png")
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
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.bar(list(scores), [statistics.mean(values) for values in scores.values()], color="tab:blue", alpha=0.6)
    for position, values in enumerate(scores.values()):
        axis.plot([position] * len(values), values, "o", color="black", markersize=4)
    axis.set_ylabel("validation mIoU (bars: mean, dots: seeds)")
    axis.set_ylim(0, 1)
    axis.set_title("shapes: skips at strides 16 and 8")
    save(figure, Path(arguments.figure))


if __name__ == "__main__":
    main()
