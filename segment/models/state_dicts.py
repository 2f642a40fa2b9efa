"""Weights for whole nets: our checkpoints, and the state dicts that others have published."""

import re
from collections.abc import Mapping
from typing import Any

from lightning.fabric.utilities import rank_zero_only
from torch import Tensor, nn

from segment.errors import SegmentError
from segment.models.weights import load_file, misfits, some

CARD = "segment"
"""Key of a checkpoint under which lies all that rebuilding the net and reading its answers takes."""

VGG16_CONVOLUTIONS = {
    f"features.{index}": f"conv{block}_{number}"
    for index, (block, number) in zip(
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        ((b, n) for b, count in enumerate((2, 2, 3, 3, 3), start=1) for n in range(1, count + 1)),
        strict=True,
    )
}
"""torchvision's names of VGG16's convolutions, and their names in the papers."""

TORCHFCN = {
    "fc6": "encoder.stages.4.1",
    "fc7": "encoder.stages.4.4",
    "score_fr": "decoder.score.32",
    "score_pool4": "decoder.score.16",
    "score_pool3": "decoder.score.8",
    "upscore": "decoder.up.32to1",
    "upscore2": "decoder.up.32to16",
    "upscore16": "decoder.up.16to1",
    "upscore_pool4": "decoder.up.16to8",
    "upscore8": "decoder.up.8to1",
}
FCN_RESNET = {
    "backbone.conv1.": "encoder.stages.0.0.",
    "backbone.bn1.": "encoder.stages.0.1.",
    "backbone.layer1.": "encoder.stages.1.1.",
    "backbone.layer2.": "encoder.stages.2.",
    "backbone.layer3.": "encoder.stages.3.",
    "backbone.layer4.": "encoder.stages.4.",
    "classifier.0.": "decoder.mix.0.",
    "classifier.1.": "decoder.mix.1.",
    "classifier.4.": "decoder.score.",
}


def load_published(net: nn.Module, path: str) -> Any:
    """Put a file's weights into a net with ``encoder`` and ``decoder``, and say what was left as it was.

    The file is a checkpoint of ``segment.train``, or a state dict of torchfcn's FCNs, of torchvision's VGG16 (for the
    encoder alone) or ``fcn_resnet50|101``, of milesial's U-Net, or of the net itself. All of the encoder has to fit.
    Of the decoder what fits is taken: the score layers of another number of classes, and skips that the weights'
    net did not have, stay as they are.

    Returns:
        What pixels the file's net was trained on, where it is a checkpoint that says so, see
        :class:`segment.models.net.SegmentationNet`; else None.

    Raises:
        SegmentError: the file can't be read, or its encoder is another one.
    """
    content = load_file(path)
    state = {key: value for key, value in translate(content).items() if isinstance(value, Tensor)}
    have = net.state_dict()
    fits = {key: value for key, value in state.items() if key in have and value.shape == have[key].shape}
    wanted = [key for key in have if key not in fits and not key.endswith("num_batches_tracked")]
    wrong = [key for key in wanted if not key.startswith("decoder.")]
    extra = [key for key in state if key not in have]
    if wrong or not fits:
        other = [key for key in wrong if key in state]
        missing = [key for key in wrong if key not in state]
        kinds = (("missing from the file", missing), ("of another shape there", other), ("unknown to the net", extra))
        raise SegmentError(f"{path} does not fit this net: tensors {misfits(*kinds)}")
    net.load_state_dict(fits, strict=False)
    report = f"weights: {len(fits)} tensors of {path}"
    if wanted:
        report += f"; left as they were: {', '.join(wanted)}"
    dropped = [*extra, *(key for key in content if key.startswith("aux_classifier."))]
    if dropped:
        report += f"; not used: {some(dropped)}"
    names = in_card(content, "classes", "names")
    if isinstance(names, list):
        report += f"; a net for the classes {some(list(map(str, names)))}"
    rank_zero_only(print)(report)
    return in_card(content, "model", "normalization")


def in_card(checkpoint: Mapping[str, Any], *keys: str) -> Any:
    """A value of a checkpoint's card, which may be missing or damaged: None if it is not there."""
    value: Any = checkpoint
    for key in (CARD, *keys):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def translate(content: Mapping[str, Any]) -> dict[str, Any]:
    """A file's content under our nets' own names."""
    if "state_dict" in content:  # a checkpoint; Lightning's names begin with the attribute's
        return {key.removeprefix("net."): value for key, value in content["state_dict"].items()}
    state = {key.removeprefix("module."): value for key, value in content.items()}
    if "conv1_1.weight" in state:
        return {_torchfcn(key): value for key, value in state.items()}
    if "features.0.weight" in state and "classifier.0.weight" in state:
        return _vgg16(state)
    if "backbone.conv1.weight" in state:
        kept = {key: value for key, value in state.items() if not key.startswith("aux_classifier.")}
        return {_replaced(key, FCN_RESNET): value for key, value in kept.items()}
    if "inc.double_conv.0.weight" in state:
        return {_milesial(key): value for key, value in state.items()}
    return state


def _torchfcn(key: str) -> str:
    name, _, kind = key.rpartition(".")
    block = re.fullmatch(r"conv(\d)_(\d)", name)
    if block is None:
        return f"{TORCHFCN.get(name, name)}.{kind}"
    stage, number = int(block[1]) - 1, 2 * (int(block[2]) - 1)
    return f"encoder.stages.{stage}.{'0.' if stage == 4 else ''}{number}.{kind}"


def _vgg16(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The classifier's first two layers become convolutions of 7x7 and 1x1, the third is left out."""
    result = {}
    for key, value in state.items():
        name, _, kind = key.rpartition(".")
        if name in VGG16_CONVOLUTIONS:
            result[_torchfcn(f"{VGG16_CONVOLUTIONS[name]}.{kind}")] = value
        elif name in {"classifier.0", "classifier.3"}:
            layer, size = ("fc6", 7) if name == "classifier.0" else ("fc7", 1)
            result[_torchfcn(f"{layer}.{kind}")] = value if kind == "bias" else value.view(4096, -1, size, size)
    return result


def _replaced(key: str, names: Mapping[str, str]) -> str:
    return next((new + key[len(old) :] for old, new in names.items() if key.startswith(old)), key)


def _milesial(key: str) -> str:
    key = re.sub(r"^inc\.double_conv\.", "encoder.stages.0.", key)
    key = re.sub(
        r"^down(\d)\.maxpool_conv\.1\.double_conv\.(\d)", lambda m: f"encoder.stages.{m[1]}.{int(m[2]) + 1}", key
    )
    key = re.sub(r"^up(\d)\.up\.", lambda m: f"decoder.up.{int(m[1]) - 1}.", key)
    key = re.sub(r"^up(\d)\.conv\.double_conv\.", lambda m: f"decoder.convolve.{int(m[1]) - 1}.", key)
    return key.replace("outc.conv.", "decoder.score.")
