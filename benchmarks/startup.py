"""Waiting times: --help and an error of the command line, the first training step and one photo beside the imports.

python -m benchmarks.startup
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image

from benchmarks.timing import command_line, keep, ratio, run, take_turns
from segment.cli.build import instantiate
from segment.cli.config import load_config, plain
from segment.models.state_dicts import METADATA
from segment.records.checkpoint import make_metadata
from segment.report import number_from

BARE = """
import hydra
@hydra.main(version_base="1.3", config_path=None)
def main(config): ...
main()
"""
IMPORTS = "import torch, torchvision, lightning, torchmetrics, hydra"
FEWER_IMPORTS = "import torch, torchvision"
MISSPELT = "modle=x"
NET = ["model=fcn8s", "model/encoder=mobilenet_v2", "model.encoder.weights=null"]


def write_inputs(folder: Path) -> list[str]:
    """Write an untrained net and a photo of VOC's size, and return the options of segment.predict for them."""
    config = load_config(NET)
    data = instantiate(config.data)
    state = instantiate(config.model, num_classes=len(data.classes)).state_dict()
    metadata = make_metadata(plain(config.model), plain(config.data), data.classes)
    torch.save(
        {METADATA: metadata, "state_dict": {f"net.{key}": value for key, value in state.items()}}, folder / "net"
    )
    Image.effect_mandelbrot((500, 375), (-2, -1, 1, 1), 50).convert("RGB").save(folder / "photo.jpg")
    return [f"checkpoint={folder / 'net'}", f"input={folder / 'photo.jpg'}"]


def start(*options: str) -> None:
    """Run Python with these options, and end the script where it fails; the misspelt key has to fail."""
    done = subprocess.run([sys.executable, *options], capture_output=True)
    if (done.returncode == 0) == (MISSPELT in options):
        raise subprocess.CalledProcessError(done.returncode, [sys.executable, *options], stderr=done.stderr)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=number_from(1), default=5, help="turns of each side")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        application = Path(folder, "bare.py")
        application.write_text(BARE)
        bare_help, step = [str(application), "--help"], ["trainer.fast_dev_run=1", f"hydra.run.dir={folder}/run"]
        photo = ["-m", "segment.predict", "device=cpu", *write_inputs(Path(folder))]
        for title, ours, theirs, goal in (
            ("--help / a bare Hydra application's", ["-m", "segment.train", "--help"], bare_help, {"seconds": 0.5}),
            ("a misspelt key / the bare --help", ["-m", "segment.train", MISSPELT], bare_help, {"seconds": 0.5}),
            ("first training step / bare imports", ["-m", "segment.train", *step], ["-c", IMPORTS], {}),
            ("predict one photo / imports of torch, torchvision", photo, ["-c", FEWER_IMPORTS], {"ratio": 1.25}),
        ):
            seconds = take_turns(
                {
                    "ours": lambda o=ours: start(*o, *[f"output={tempfile.mkdtemp(dir=folder)}"] * (o is photo)),
                    "theirs": lambda t=theirs: start(*t),
                },
                arguments.runs,
            )
            first, second = (statistics.median(values) for values in seconds.values())
            row = {"what": title, "ours_s": first, "theirs_s": second, "ratio": ratio(seconds, "ours", "theirs")}
            print(f"{title:50} {first:6.2f} s / {second:6.2f} s = {row['ratio']:.2f}", flush=True)
            rows.append(row | ({"goal": goal["ratio"]} if "ratio" in goal else {}))
            if "seconds" in goal:
                rows.append({"what": title.partition(" /")[0], "seconds": first, "goal": goal["seconds"]})
    keep("startup", rows, "hydra-core", "lightning", "torchvision")


if __name__ == "__main__":
    run(main)
