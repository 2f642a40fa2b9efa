"""What our presets reach beside segmentation_models.pytorch's U-Net with a plain recipe.

Same data, ImageNet weights, epochs and figures; each run is a process of its own, one after the other, seed by seed. A
run that is there already is not repeated.

    python -m benchmarks.quality --data camvid --root DIR --weights mobilenet_v2-b0353104.pth
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.timing import keep

PEER = "smp Unet"


def command(side: str, seed: int, folder: Path, arguments: argparse.Namespace) -> list[str]:
    """What trains a side, and leaves metrics.json in the folder."""
    if side == PEER:
        words = ["benchmarks.plain_recipe", "--data", arguments.data, "--root", arguments.root]
        words += ["--weights", arguments.weights, "--epochs", str(arguments.epochs)]
        return [*words, "--seed", str(seed), "--output", str(folder / "metrics.json")]
    return [
        "segment.train",
        f"experiment={arguments.data}_mobilenet",
        f"model={side}",
        f"data.root={arguments.root}",
        f"model.encoder.weights={arguments.weights}",
        f"trainer.max_epochs={arguments.epochs}",
        f"seed={seed}",
        f"hydra.run.dir={folder}",
        "trainer.enable_progress_bar=false",
        *arguments.words,
    ]


def measure(side: str, seed: int, arguments: argparse.Namespace) -> dict:
    """The figures of one run and the minutes that it took, from start to end."""
    folder = Path(arguments.runs, f"{arguments.data}_{side.replace(' ', '_')}_{arguments.epochs}_seed{seed}")
    done = folder / "quality.json"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{side}, seed {seed}: {folder}", flush=True)
        start = time.perf_counter()
        with (folder / "log.txt").open("w") as log:
            words = [sys.executable, "-W", "ignore", "-m", *command(side, seed, folder, arguments)]
            if subprocess.run(words, stdout=log, stderr=subprocess.STDOUT).returncode:
                sys.exit(f"error: this run failed, see {folder}/log.txt")
        minutes = (time.perf_counter() - start) / 60
        metrics = json.loads((folder / "metrics.json").read_text())
        row = {"what": side, "seed": seed, "mIoU": metrics["mIoU"], "pixel_accuracy": metrics["pixel_accuracy"]}
        done.write_text(json.dumps(row | {"minutes": minutes}) + "\n")
    return json.loads(done.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("camvid", "voc"), default="camvid")
    parser.add_argument("--root", required=True, help="folder of the data set")
    parser.add_argument("--weights", required=True, help="torchvision's mobilenet_v2-*.pth")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sides", nargs="+", default=["fcn8s", "unet", PEER])
    parser.add_argument("--runs", default="runs/quality", help="where the runs lie")
    parser.add_argument("words", nargs="*", help="further words for segment.train")
    arguments = parser.parse_args()
    rows = [measure(side, seed, arguments) for seed in arguments.seeds for side in arguments.sides]
    print(f"{arguments.data}, {arguments.epochs} epochs{'':10}validation mIoU{'':17}pixel accuracy   minutes")
    for side in arguments.sides:
        own = [row for row in rows if row["what"] == side]
        figures = [row["mIoU"] for row in own]
        spread = f" +- {statistics.stdev(figures):.3f}" if len(figures) > 1 else ""
        accuracy, minutes = (statistics.mean(row[key] for row in own) for key in ("pixel_accuracy", "minutes"))
        each = " ".join(f"{figure:.3f}" for figure in figures)
        cells = f"{statistics.mean(figures):.3f}{spread}  ({each})"
        print(f"{side:26} {cells:32} {accuracy:10.3f} {minutes:12.1f}")
    keep(f"quality_{arguments.data}", rows, "torchvision", "segmentation-models-pytorch")


if __name__ == "__main__":
    main()
