"""What our presets reach beside segmentation_models.pytorch's U-Net with a plain recipe.

Same data, ImageNet weights, epochs and figures, those of the last epoch; each run is a process of its own, one after
the other, seed by seed, and its minutes are from start to end: ours validate after each epoch and draw pictures, too.
The peer has a recipe that its users would write; ours is the preset, which was tuned on CamVid's validation split. A
run that is there already is not repeated, and the table has all that are there.

    python -m benchmarks.quality --data camvid --root DIR --weights mobilenet_v2-b0353104.pth
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.timing import command_line, keep
from segment.cli.config import group_options
from segment.report import number_from

PEER = "smp Unet"
FIGURES = ("mIoU", "pixel_accuracy")


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
    ]


def figures(side: str, folder: Path) -> dict[str, float]:
    """Of the last epoch, whether or not it was the best one."""
    if side == PEER:
        return json.loads((folder / "metrics.json").read_text())
    with (folder / "metrics.csv").open(newline="") as file:
        last = [row for row in csv.DictReader(file) if row["val/mIoU"]][-1]
    return {key: float(last[f"val/{key}"]) for key in FIGURES}


def measure(side: str, seed: int, arguments: argparse.Namespace) -> None:
    """Write quality.json: the figures of one run and the minutes that it took, from start to end."""
    folder = Path(arguments.runs, f"{arguments.data}_{side.replace(' ', '_')}_{arguments.epochs}_seed{seed}")
    done, words = folder / "quality.json", command(side, seed, folder, arguments)
    if done.is_file() and json.loads(done.read_text())["command"] != words:
        sys.exit(f"error: {folder} is of another command: choose another folder with --runs")
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{side}, seed {seed}: {folder}", flush=True)
        start = time.perf_counter()
        with (folder / "log.txt").open("w") as log:
            start_words = [sys.executable, "-W", "ignore", "-m", *words]
            if subprocess.run(start_words, stdout=log, stderr=subprocess.STDOUT).returncode:
                said = (folder / "log.txt").read_text().strip().splitlines()
                sys.exit(f"error: this run failed, see {folder}/log.txt: {said[-1] if said else 'it said nothing'}")
        minutes = (time.perf_counter() - start) / 60
        found = figures(side, folder)
        row = {"what": side, "seed": seed, **{key: found[key] for key in FIGURES}, "minutes": minutes, "command": words}
        done.write_text(json.dumps(row) + "\n")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--data", choices=("camvid", "voc"), default="camvid")
    parser.add_argument("--root", required=True, help="folder of the data set")
    parser.add_argument("--weights", required=True, help="torchvision's mobilenet_v2-*.pth")
    parser.add_argument("--epochs", type=number_from(1), default=12, help="of each run")
    parser.add_argument("--seeds", type=number_from(0), nargs="+", default=[0, 1, 2], help="one or several")
    sides, three = [*group_options("model"), PEER], ["fcn8s", "unet", PEER]
    parser.add_argument("--sides", nargs="+", choices=sides, default=three, metavar="SIDE", help="of model=; the peer")
    parser.add_argument("--runs", default="runs/quality", help="where the runs lie")
    arguments = parser.parse_args()
    if not Path(arguments.root).is_dir() or not Path(arguments.weights).is_file():
        parser.error("--root has to be a folder, --weights a file")
    for seed in arguments.seeds:
        for side in arguments.sides:
            measure(side, seed, arguments)
    there = sorted(Path(arguments.runs).glob(f"{arguments.data}_*_{arguments.epochs}_seed*/quality.json"))
    found = [(path.parent, json.loads(path.read_text())) for path in there]
    rows = [row for at, row in found if row["command"] == command(row["what"], row["seed"], at, arguments)]
    if len(rows) < len(found):
        print(f"{len(found) - len(rows)} runs of other commands are left out")
    print(f"{arguments.data}, {arguments.epochs} epochs{'':10}validation mIoU{'':17}pixel accuracy   minutes")
    for side in dict.fromkeys(row["what"] for row in rows):
        own = [row for row in rows if row["what"] == side]
        values = [row["mIoU"] for row in own]
        spread = f" +- {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        accuracy, minutes = (statistics.mean(row[key] for row in own) for key in ("pixel_accuracy", "minutes"))
        each = " ".join(f"{value:.3f}" for value in values)
        cells = f"{statistics.mean(values):.3f}{spread}  ({each})"
        print(f"{side:26} {cells:32} {accuracy:10.3f} {minutes:12.1f}")
    keep(f"quality_{arguments.data}_{arguments.epochs}", rows, "torchvision", "segmentation-models-pytorch")


if __name__ == "__main__":
    main()
