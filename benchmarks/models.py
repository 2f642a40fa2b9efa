"""Forward pass, training step and memory of our nets beside those of torchfcn, smp and torchvision.

Inputs and threads are the same, and runs alternate. Ratios are ours to theirs: below 1, ours is faster. Nets keep the
memory format that their makers chose, for ours channels last; in the pairs named so, and with --channels-last, the
peers use it too. FCN-8s pads by 1. torchfcn's pads by 100 like the paper and fcn8s_paper, which is 1.7 times the
arithmetic. On a ResNet, our U-Net's scores have stride 2. smp's have stride 1, and at stride 2 its last block is left
out.

    python -m benchmarks.models

A peer that is not installed is left out; benchmarks/peers.txt lists all of them.
"""

import statistics
import sys
import types
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from benchmarks.timing import command_line, keep, ratio, run, take_turns
from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.models.state_dicts import translate
from segment.report import number_from


def ours(*overrides: str) -> nn.Module:
    return instantiate(load_config([*overrides, "model.encoder.weights=null"]).model, num_classes=21)


def torchfcn() -> nn.Module:
    """Return torchfcn's FCN8s; its transposed convolutions are fixed, as in the paper and in ours."""
    if "torchfcn" not in sys.modules:
        # Its __init__ imports a trainer with further requirements. Its models import a module that only downloads.
        found = find_spec("torchfcn")
        if found is None:
            raise ImportError("torchfcn is not installed")
        package = types.ModuleType("torchfcn")
        package.__path__ = list(found.submodule_search_locations or ())
        sys.modules["torchfcn"], sys.modules["fcn"] = package, types.ModuleType("fcn")
    from torchfcn.models import FCN8s

    net = FCN8s(21)
    for layer in net.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            layer.requires_grad_(False)
    return net


def smp() -> nn.Module:
    import segmentation_models_pytorch

    return segmentation_models_pytorch.Unet("resnet34", encoder_weights=None, classes=21)


def smp_at_stride_2() -> nn.Module:
    """Return smp's U-Net without its last block, which upsamples to the image's size; the scores are upsampled."""
    from segmentation_models_pytorch.base import SegmentationHead

    net: Any = smp()
    net.decoder.blocks = net.decoder.blocks[:-1]
    net.segmentation_head = SegmentationHead(32, 21, kernel_size=3, upsampling=2)
    return net


def fcn_resnet50() -> nn.Module:
    return torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=21)


class Pair(NamedTuple):
    """Two nets that are compared.

    Attributes:
        ours, theirs: functions that build them.
        side: side of the image, in pixels.
        train: whether a training step is measured, too; that of a VGG16 takes gigabytes.
        channels_last: whether the peer's net is brought to our memory format.
        goal: the highest ratio of the forward passes that we want.
    """

    ours: Callable[[], nn.Module]
    theirs: Callable[[], nn.Module]
    side: int
    train: bool = False
    channels_last: bool = False
    goal: float | None = None


OURS = {
    "paper": partial(ours, "model=fcn8s_paper"),
    "resnet": partial(ours, "model=fcn_resnet50"),
    "unet": partial(ours, "model=unet", "model/encoder=resnet34"),
}
PAIRS = {
    "fcn8s_paper / torchfcn FCN8s": Pair(OURS["paper"], torchfcn, 500),
    "fcn8s_paper / torchfcn, channels last": Pair(OURS["paper"], torchfcn, 500, channels_last=True, goal=1.02),
    "fcn8s, padding 1 / torchfcn FCN8s": Pair(partial(ours, "model=fcn8s"), torchfcn, 500),
    "fcn_resnet50 / torchvision": Pair(OURS["resnet"], fcn_resnet50, 512, train=True),
    "fcn_resnet50 / torchvision, channels last": Pair(OURS["resnet"], fcn_resnet50, 512, channels_last=True, goal=1.02),
    "unet resnet34 / smp Unet resnet34": Pair(OURS["unet"], smp, 512, train=True, goal=0.9),
    "unet / smp at stride 2, channels last": Pair(OURS["unet"], smp_at_stride_2, 512, channels_last=True, goal=1.0),
}


def pair(name: str) -> dict[str, nn.Module]:
    """Return our net and, where it is installed, theirs, with similar weights: a net's time depends on them."""
    nets = {"ours": PAIRS[name].ours()}
    try:
        nets["theirs"] = PAIRS[name].theirs()
    except ImportError as error:
        print(f"{name}: without the peer: {error}")
    for net in nets.values():
        for layer in net.modules():  # layers that start as zeros would make all gradients before them zero
            if isinstance(layer, nn.Conv2d) and not layer.weight.any():
                nn.init.kaiming_normal_(layer.weight)
    if "torchfcn" in name and "theirs" in nets:
        state = {k: v for k, v in translate(nets["theirs"].state_dict()).items() if ".up." not in k}
        nets["ours"].load_state_dict(state, strict=False)
    return nets


def chosen(only: str) -> list[str]:
    """Return the names of the pairs that contain ``only``; end the script if there is none."""
    names = [name for name in PAIRS if only in name]
    if not names:
        sys.exit(f"error: --only {only}: no pair has a name with this in it; expected part of: {', '.join(PAIRS)}")
    return names


def forward(net: nn.Module, image: torch.Tensor) -> None:
    with torch.inference_mode():
        net.eval()(image)


def training_step(net: nn.Module, image: torch.Tensor) -> None:
    scores = net.train()(image)
    scores = scores["out"] if isinstance(scores, dict) else scores
    target = torch.zeros(len(image), *scores.shape[-2:], dtype=torch.int64)
    F.cross_entropy(scores, target).backward()
    net.zero_grad(set_to_none=True)


def kept(net: nn.Module, image: torch.Tensor) -> int:
    """Return the bytes that a training step keeps for the backward pass."""
    held: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, nn.Parameter):
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scores = net.train()(image)
    del scores
    return sum(held.values())


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=number_from(1), default=5, help="turns of each side")
    parser.add_argument("--only", default="", help="measure only pairs whose name contains this")
    parser.add_argument("--channels-last", action="store_true", help="use channels last for the peers' nets too")
    arguments = parser.parse_args()
    rows, names = [], chosen(arguments.only)
    print(f"{'':42}{'forward, s':>22}{'training step, s':>22}{'kept, GB':>16}")
    for name in names:
        _, _, side, train, channels_last, goal = PAIRS[name]
        nets = pair(name)
        if len(nets) < 2:
            continue
        if channels_last or arguments.channels_last:
            nets = {who: net.to(memory_format=torch.channels_last) for who, net in nets.items()}
        cells, row = [], {"what": name, "side": side}
        for work, batch in ((forward, 1), (training_step, 2)):
            if work is training_step and not train:
                cells.append("")
                continue
            image = torch.randn(batch, 3, side, side)
            sides = {who: partial(work, net, image) for who, net in nets.items()}
            seconds = take_turns(sides, arguments.runs)
            first, second = (statistics.median(values) for values in seconds.values())
            row |= {work.__name__: {"ours_s": first, "theirs_s": second, "ratio": ratio(seconds, "ours", "theirs")}}
            cells.append(f"{first:.2f} / {second:.2f} = {row[work.__name__]['ratio']:.2f}")
        memory = [kept(net, torch.randn(2, 3, side, side)) / 1e9 for net in nets.values()] if train else []
        cells.append(f"{memory[0]:.2f} / {memory[1]:.2f}" if memory else "")
        row |= {"kept_gb": memory, "peer_channels_last": channels_last or arguments.channels_last}
        rows.append(row | ({"ratio": row["forward"]["ratio"], "goal": goal} if goal else {}))
        print(f"{name:42}{cells[0]:>22}{cells[1]:>22}{cells[2]:>16}", flush=True)
    keep("models_part" if arguments.only else "models", rows, "torchvision", "segmentation-models-pytorch", "torchfcn")
    print(f"medians of {arguments.runs} alternating runs, {torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    run(main)
