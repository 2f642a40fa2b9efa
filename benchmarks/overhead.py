"""Overhead of the framework: a training step by the Trainer beside a bare PyTorch loop.

Net, weights, batches, optimiser and schedule are the same. The Trainer also logs to a file, logs learning rate and
throughput, and draws its progress bar. Checkpoints and validation come between epochs and are left out.

    python -m benchmarks.overhead
    python -m benchmarks.overhead --device cuda model=fcn8s data.crop_size=[500,500] data.batch_size=8
"""

import contextlib
import copy
import inspect
import io
import statistics
import time
import warnings
from pathlib import Path

import lightning as L
import torch

from benchmarks.timing import command_line, keep, ratio, run, take_turns
from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.cli.entry_point import silence_known_warnings
from segment.errors import SegmentError
from segment.records.metrics_csv import MetricsFile
from segment.report import number_from
from segment.training.last_checkpoint import LastCheckpoint
from segment.training.module import SegmentationModule
from segment.training.trainer import PROGRESS_RATE


def settled(device: torch.device) -> float:
    """Return the time at which a device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class Batches(torch.utils.data.Dataset):
    """Batches made in advance, so that loading takes no time on either side."""

    def __init__(self, batches: list) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict:
        return self.batches[index]


class NeverSaved(LastCheckpoint):
    """Check for signals at each step, as in a run, but write no file at the end of the epoch, which is not timed."""

    def save(self, trainer) -> None:
        pass


class Clock(L.Callback):
    """Measure the seconds from the end of the first training step to the end of the last one."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        if batch_idx == 0:
            self.start = settled(module.device)
        elif batch_idx == trainer.num_training_batches - 1:
            self.seconds = settled(module.device) - self.start


def framework(config, net, loader, classes) -> float:
    """Return the seconds per step by SegmentationModule and Trainer, with everything that a run does at each step."""
    clock = Clock()
    module = SegmentationModule(
        net, classes, instantiate(config.loss), instantiate(config.optimizer), instantiate(config.scheduler)
    )
    trainer = instantiate(
        config.trainer,
        max_epochs=1,
        limit_val_batches=0,
        logger=MetricsFile(Path("runs/bench"), []),
        callbacks=[
            clock,
            L.pytorch.callbacks.RichProgressBar(PROGRESS_RATE, console_kwargs={"force_terminal": True}),
            *(instantiate(config.callbacks[name]) for name in ("learning_rate", "throughput")),
            NeverSaved(Path("runs/bench/last.ckpt")),
        ],
    )
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):  # the progress bar
        trainer.fit(module, loader)
    return clock.seconds / (len(loader) - 1)


def bare(config, net, loader, classes) -> float:
    """Return the seconds per step of a loop written by hand."""
    device = torch.device("cuda" if config.trainer.accelerator == "gpu" else "cpu")
    loss_function, optimizer = instantiate(config.loss), instantiate(config.optimizer)(net.to(device))
    schedule = instantiate(config.scheduler)
    plan = {"total_steps": len(loader)} if "total_steps" in inspect.signature(schedule).parameters else {}
    scheduler = schedule(optimizer, **plan)
    net.train()
    for step, batch in enumerate(loader):
        image, mask = (batch[key].to(device) for key in ("image", "mask"))
        loss = loss_function(net(net.normalize(image)), mask.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step == 0:
            start = settled(device)
    return (settled(device) - start) / (len(loader) - 1)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--steps", type=number_from(2), default=60, help="steps in each run")
    parser.add_argument("--runs", type=number_from(1), default=9, help="runs of each side")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of both sides")
    parser.add_argument("overrides", nargs="*", help="overrides of segment.train, except trainer.*")
    arguments = parser.parse_args()
    for override in arguments.overrides:
        if override.lstrip("+~").startswith(("trainer", "compile", "channels_last")):
            raise SegmentError(f"{override}: both sides run on --device in 32 bits for --steps steps: leave it out")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU that torch can use: leave out --device")
    silence_known_warnings()
    warnings.filterwarnings("ignore", "You defined a `validation_step` but have no")
    config = load_config(
        [
            f"trainer.accelerator={'cpu' if arguments.device == 'cpu' else 'gpu'}",
            "data.num_workers=0",
            *arguments.overrides,
        ]
    )
    data = instantiate(config.data)
    data.setup("fit")
    drawn = iter(data.train_dataloader())
    few = [next(drawn) for _ in range(4)]
    loader = torch.utils.data.DataLoader(Batches([few[i % 4] for i in range(arguments.steps)]), batch_size=None)
    net = instantiate(config.model, num_classes=len(data.classes))
    sides = {
        side.__name__: lambda side=side: side(config, copy.deepcopy(net), loader, data.classes)
        for side in (bare, framework)
    }
    seconds = take_turns(sides, arguments.runs)
    by_hand = statistics.median(seconds["bare"]) * 1e3
    added = statistics.median(a - b for a, b in zip(seconds["framework"], seconds["bare"], strict=True)) * 1e3
    share = ratio(seconds, "framework", "bare") - 1
    keep("overhead", [{"bare_ms": by_hand, "added_ms": added, "ratio": share + 1}], "lightning")
    print(f"bare loop {by_hand:.1f} ms a step; the framework adds {added:+.1f} ms ({share:+.1%})")
    print(f"medians of {arguments.runs} alternating runs of {arguments.steps} steps, torch {torch.__version__}")


if __name__ == "__main__":
    run(main)
