"""An evaluation, from the first image read to the last metric, beside the net's bare forward passes.

The net is FCN-8s on MobileNetV2 for CamVid's 11 classes. The bare side passes normalised images of the same size, made
in advance, through the net. Ours reads the images and masks of CamVid's validation split, and computes class maps, the
confusion matrix, all metrics and their interval; then also the metrics of boundaries. There is one process with one
thread. Score layers are drawn at random: zero ones, as at the start of a training, would predict a single class.

    python -m benchmarks.evaluation --root DIR --weights mobilenet_v2-b0353104.pth     # DIR holds val.txt
"""

import contextlib
import io
import statistics
import tempfile
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
import torch

from benchmarks.loader import draw_photo
from benchmarks.timing import command_line, keep, ratio, run, take_turns
from segment.cli.entry_point import silence_known_warnings
from segment.data.datasets.camvid import CamVidDataModule
from segment.evaluation.evaluator import NetPredictor, evaluate_split
from segment.evaluation.results import all_metrics
from segment.models.decoders.fcn import FCNDecoder
from segment.models.encoders.mobilenet import MobileNetV2Encoder
from segment.models.net import SegmentationNet
from segment.prediction.inference import Inference
from segment.report import number_from

SIDES = {"evaluation": (False, 1.1), "evaluation with boundaries": (True, 1.3)}
"""Whether boundaries are measured, and the largest ratio that is the goal."""


def draw(root: Path, count: int) -> None:
    """Write pairs of CamVid's size and layout: blurred noise, and masks of blocks of classes, void among them."""
    rng = np.random.default_rng(0)
    for folder in ("val", "valannot"):
        (root / folder).mkdir()
    for i in range(count):
        image, mask = draw_photo(rng, (480, 360), range(12))
        image.save(root / f"val/{i}.jpg", quality=95)
        mask.save(root / f"valannot/{i}.png")
    (root / "val.txt").write_text("\n".join(f"val/{i}.jpg valannot/{i}.png" for i in range(count)))


def build_net(weights: str | None) -> SegmentationNet:
    torch.manual_seed(0)
    net = SegmentationNet(MobileNetV2Encoder(weights), FCNDecoder, num_classes=11)
    for layer in net.get_submodule("decoder.score").children():
        torch.nn.init.normal_(layer.get_parameter("weight"), std=0.01)
    return net.eval()


def evaluate(trainer: L.Trainer, predictor: NetPredictor, data: CamVidDataModule, boundary: bool) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        all_metrics(evaluate_split(trainer, predictor, data, "val", boundary))


def compare(root: str, weights: str | None, images: int | None, runs: int) -> None:
    """Measure all sides and print the table."""
    data = CamVidDataModule(root, num_workers=0)
    dataset = data.dataset("val")
    dataset.samples = dataset.samples[:images]
    net = build_net(weights)
    ready = [net.normalize(dataset[i]["image"][None]) for i in range(min(8, len(dataset)))]
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    predictor = NetPredictor(net, Inference())

    def bare() -> None:
        with torch.inference_mode():
            for i in range(len(dataset)):
                net(ready[i % len(ready)])

    ours = {name: partial(evaluate, trainer, predictor, data, boundary) for name, (boundary, _) in SIDES.items()}
    seconds = take_turns({"bare": bare, **ours}, runs)
    each = statistics.median(seconds["bare"]) / len(dataset)
    print(f"bare forward passes: {1e3 * each:.1f} ms an image")
    rows = []
    for name, (_, goal) in SIDES.items():
        found = ratio(seconds, name, "bare")
        rows.append({"what": f"{name} / bare forward passes", "ratio": found, "goal": goal})
        print(f"{name} takes {found:.2f} times as long; the goal is at most {goal:.2f}")
    keep("evaluation", rows, "lightning", "torchmetrics")
    print(f"medians of {runs} runs of {len(dataset)} images, one core, torch {torch.__version__}")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--root", help="folder that holds CamVid's val.txt; by default, pairs of its size are drawn")
    parser.add_argument("--weights", help="file of MobileNetV2's ImageNet weights; by default they are random")
    parser.add_argument("--images", type=number_from(1), help="images of a run; by default all of the split")
    parser.add_argument("--runs", type=number_from(1), default=5, help="runs of each side")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    silence_known_warnings()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.root is None:
            draw(Path(folder), arguments.images or 101)
        compare(arguments.root or folder, arguments.weights, arguments.images, arguments.runs)


if __name__ == "__main__":
    run(main)
