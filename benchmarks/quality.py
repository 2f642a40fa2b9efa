"""Scores of our presets beside segmentation_models.pytorch's U-Net with a plain recipe.

Data, ImageNet weights, epochs and metrics are the same; scores are those of the last epoch. Each run is a process of
its own. The runs follow each other, seed by seed. Minutes are from start to end; our runs also validate after each
epoch and draw pictures. The peer has a plain recipe such as its users write; ours is the preset, which was tuned on
CamVid's validation split. Finished runs are not repeated, and the table shows all of them.

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
METRICS = ("mIoU", "pixel_accuracy")


def command(side: str, seed: int, folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Return the command that trains a side and writes metrics.json into the folder."""
    if side == PEER:
        options = ["--data", arguments.data, "--root", arguments.root]
        options += ["--weights", arguments.weights, "--epochs", str(arguments.epochs)]
        return ["benchmarks.plain_recipe", *options, "--seed", str(seed), "--output", str(folder / "metrics.json")]
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


def last_epoch_metrics(side: str, folder: Path) -> dict[str, float]:
    """Return the metrics of the last epoch, which need not be the best one."""
    if side == PEER:
        return json.loads((folder / "metrics.json").read_text())
    with (folder / "metrics.csv").open(newline="") as file:
        last = [row for row in csv.DictReader(file) if row["val/mIoU"]][-1]
    return {key: float(last[f"val/{key}"]) for key in METRICS}


def measure(side: str, seed: int, arguments: argparse.Namespace) -> None:
    """Do one run and write quality.json, with its metrics and its minutes from start to end."""
    folder = Path(arguments.runs, f"{arguments.data}_{side.replace(' ', '_')}_{arguments.epochs}_seed{seed}")
    done, job = folder / "quality.json", command(side, seed, folder, arguments)
    if done.is_file() and json.loads(done.read_text())["command"] != job:
        sys.exit(f"error: {folder} holds a run of another command: choose another folder with --runs")
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{side}, seed {seed}: {folder}", flush=True)
        start = time.perf_counter()
        with (folder / "log.txt").open("w") as log:
            start_command = [sys.executable, "-W", "ignore", "-m", *job]
            if subprocess.run(start_command, stdout=log, stderr=subprocess.STDOUT).returncode:
                lines = (folder / "log.txt").read_text().strip().splitlines()
                sys.exit(f"error: this run failed, see {folder}/log.txt: {lines[-1] if lines else 'no output'}")
        minutes = (time.perf_counter() - start) / 60
        found = last_epoch_metrics(side, folder)
        row = {
            "what": side,
            "seed": seed,
            **{key: found[key] for key in METRICS},
            "minutes": minutes,
            "command": job,
        }
        done.write_text(json.dumps(row) + "\n")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--data", choices=("camvid", "voc"), default="camvid")
    parser.add_argument("--root", required=True, help="folder of the data set")
    parser.add_argument("--weights", required=True, help="torchvision's mobilenet_v2-*.pth")
    parser.add_argument("--epochs", type=number_from(1), default=12, help="epochs of each run")
    parser.add_argument("--seeds", type=number_from(0), nargs="+", default=[0, 1, 2], help="seeds, one run each")
    sides, three = [*group_options("model"), PEER], ["fcn8s", "unet", PEER]
    parser.add_argument(
        "--sides", nargs="+", choices=sides, default=three, metavar="SIDE", help="options of model=, or the peer"
    )
    parser.add_argument("--runs", default="runs/quality", help="folder of the runs")
    arguments = parser.parse_args()
    if not Path(arguments.root).is_dir() or not Path(arguments.weights).is_file():
        parser.error("expected --root to be a folder and --weights a file")
    for seed in arguments.seeds:
        for side in arguments.sides:
            measure(side, seed, arguments)
    records = sorted(Path(arguments.runs).glob(f"{arguments.data}_*_{arguments.epochs}_seed*/quality.json"))
    found = [(path.parent, json.loads(path.read_text())) for path in records]
    rows = [row for at, row in found if row["command"] == command(row["what"], row["seed"], at, arguments)]
    if len(rows) < len(found):
        print(f"left out {len(found) - len(rows)} runs of other commands")
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
