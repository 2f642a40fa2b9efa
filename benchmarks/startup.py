"""Waiting times: --help beside a bare Hydra application, and the first training step beside the imports.

python -m benchmarks.startup
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import command_line, keep, ratio, run, take_turns
from segment.report import number_from

BARE = """
import hydra
@hydra.main(version_base="1.3", config_path=None)
def main(config): ...
main()
"""
IMPORTS = "import torch, torchvision, lightning, torchmetrics, hydra"


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=number_from(1), default=5, help="turns of each side")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        application = Path(folder, "bare.py")
        application.write_text(BARE)

        def start(*options: str) -> None:
            subprocess.run([sys.executable, *options], check=True, capture_output=True)

        step = ["-m", "segment.train", "trainer.fast_dev_run=1", f"hydra.run.dir={folder}/run"]
        for title, ours, theirs in (
            ("--help / a bare Hydra application's", ["-m", "segment.train", "--help"], [str(application), "--help"]),
            ("first training step / bare imports", step, ["-c", IMPORTS]),
        ):
            seconds = take_turns(
                {"ours": lambda o=ours: start(*o), "theirs": lambda t=theirs: start(*t)}, arguments.runs
            )
            row = {
                "what": title,
                "ours_s": statistics.median(seconds["ours"]),
                "theirs_s": statistics.median(seconds["theirs"]),
                "ratio": ratio(seconds, "ours", "theirs"),
            }
            rows.append(row)
            print(f"{title:40} {row['ours_s']:6.2f} s / {row['theirs_s']:6.2f} s = {row['ratio']:.2f}", flush=True)
    keep("startup", rows, "hydra-core", "lightning", "torchvision")


if __name__ == "__main__":
    run(main)
