"""Weights for whole nets: our own checkpoints, and the state dicts that other projects published."""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from segment.console import print_once
from segment.errors import SegmentError
from segment.files import first_names
from segment.models.encoders.mobilenet_v3 import CUTS
from segment.models.file_checks import check_finite
from segment.models.weights import first_keys, load_file, mismatched_keys

METADATA = "segment"
"""Key of a checkpoint under which everything lies that is needed to rebuild its net and to read its predictions."""

VGG16_CONVOLUTIONS = {
    f"features.{index}": f"conv{block}_{number}"
    for index, (block, number) in zip(
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        ((b, n) for b, count in enumerate((2, 2, 3, 3, 3), start=1) for n in range(1, count + 1)),
        strict=True,
    )
}
"""Names of VGG16's convolutions: torchvision's, and those in the papers."""

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
"""Names of layers: torchfcn's, and ours. The convolutions, ``conv1_1`` and so on, are translated by their numbers."""
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
"""Beginnings of keys: those of torchvision's ``fcn_resnet50`` and ``fcn_resnet101``, and ours."""


def load_published(net: nn.Module, path: str) -> Any:
    """Load a file's weights into a net with ``encoder`` and ``decoder``, and print what was not loaded.

    The file is a checkpoint of ``segment.train``, or a state dict: of the net itself, or of another library's net that
    it wraps; of torchfcn's FCNs; of torchvision's VGG16 (for the encoder alone), FCN, DeepLabV3 or LR-ASPP; or of
    milesial's U-Net. The whole encoder must fit. The decoder need not: score layers for another number of classes, and
    skips that the file's net does not have, keep their values.

    Returns:
        The normalisation of the file's net as a checkpoint records it, or None where the file records none.

    Raises:
        SegmentError: the file cannot be read, or belongs to another encoder.
    """
    content = load_file(path)
    named = translate(content, getattr(net, "inside", ""))
    state = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    expected = net.state_dict()
    fitting = {key: value for key, value in state.items() if key in expected and value.shape == expected[key].shape}
    lacking = [key for key in expected if key not in fitting and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in expected]
    wrong = [
        key for key in lacking if key.startswith(getattr(net, "trunk", "encoder.")) or not key.startswith("decoder.")
    ]
    if wrong or not fitting:
        missing = [key for key in wrong if key not in state]
        shapes = [key for key in wrong if key in state]
        kinds = (
            ("missing from the file", missing),
            ("of another shape there", shapes),
            ("unknown to the net", unknown),
        )
        raise SegmentError(f"{path} does not fit this net: tensors {mismatched_keys(*kinds)}")
    check_finite(fitting, path)
    net.load_state_dict(fitting, strict=False)
    unused = [*unknown, *(key for key in content if key.startswith("aux_classifier."))]
    names = metadata_value(content, "classes", "names")
    print_once(_report(f"{len(fitting)} tensors of {path}", lacking, unused, names))
    return metadata_value(content, "model", "normalization")


def _report(loaded: str, kept: Sequence[str], unused: Sequence[str], names: Any) -> str:
    """Say in one line which weights were loaded and which were not, and the class names of the file's net."""
    report = f"weights: {loaded}"
    if kept:
        report += f"; left as they were: {first_names(kept, 10)}"
    if unused:
        report += f"; not used: {first_keys(unused)}"
    if isinstance(names, list):
        report += f"; trained for the classes {first_keys(list(map(str, names)))}"
    return report


def metadata_value(checkpoint: Mapping[str, Any], *keys: str) -> Any:
    """Return a value of a checkpoint's metadata, or None where it is missing or damaged."""
    value: Any = checkpoint
    for key in (METADATA, *keys):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def translate(content: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """Rename the keys of a file's content to those of our nets.

    Args:
        inside: beginning of the keys of a module that the net wraps; the file may be of the module or of the net.
    """
    if "state_dict" in content:  # a checkpoint of Lightning, whose keys begin with the module's attribute
        return {key.removeprefix("net."): value for key, value in content["state_dict"].items()}
    state = {key.removeprefix("module."): value for key, value in content.items()}
    if inside:
        is_whole = all(key.startswith(inside) for key in state)
        return state if is_whole else {f"{inside}{key}": value for key, value in state.items()}
    if "conv1_1.weight" in state:
        return {_from_torchfcn(key): value for key, value in state.items()}
    if "features.0.weight" in state and "classifier.0.weight" in state:
        return _from_vgg16(state)
    if "backbone.conv1.weight" in state or "backbone.0.0.weight" in state:
        kept = {key: value for key, value in state.items() if not key.startswith("aux_classifier.")}
        whole_head = "classifier.0.weight" not in kept  # that of DeepLabV3 or LR-ASPP
        return {_from_torchvision(key, whole_head): value for key, value in kept.items()}
    if "inc.double_conv.0.weight" in state:
        return {_from_milesial(key): value for key, value in state.items()}
    return state


def _from_torchfcn(key: str) -> str:
    name, _, kind = key.rpartition(".")
    block = re.fullmatch(r"conv(\d)_(\d)", name)
    if block is None:
        return f"{TORCHFCN.get(name, name)}.{kind}"
    stage, number = int(block[1]) - 1, 2 * (int(block[2]) - 1)
    return f"encoder.stages.{stage}.{'0.' if stage == 4 else ''}{number}.{kind}"


def _from_vgg16(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the classifier's first two layers into convolutions of 7x7 and 1x1, and drop the third."""
    result = {}
    for key, value in state.items():
        name, _, kind = key.rpartition(".")
        if name in VGG16_CONVOLUTIONS:
            result[_from_torchfcn(f"{VGG16_CONVOLUTIONS[name]}.{kind}")] = value
        elif name in {"classifier.0", "classifier.3"}:
            layer, size = ("fc6", 7) if name == "classifier.0" else ("fc7", 1)
            result[_from_torchfcn(f"{layer}.{kind}")] = value if kind == "bias" else value.view(4096, -1, size, size)
    return result


def _from_torchvision(key: str, whole_head: bool) -> str:
    if whole_head and key.startswith("classifier."):
        return f"decoder.head.{key.removeprefix('classifier.')}"
    if layer := re.match(r"backbone\.(\d+)\.", key):  # MobileNetV3's
        return f"encoder.stages.{bisect_right(CUTS, int(layer[1]))}.{key.removeprefix('backbone.')}"
    return next((ours + key[len(theirs) :] for theirs, ours in FCN_RESNET.items() if key.startswith(theirs)), key)


def _from_milesial(key: str) -> str:
    key = re.sub(r"^inc\.double_conv\.", "encoder.stages.0.", key)
    key = re.sub(
        r"^down(\d)\.maxpool_conv\.1\.double_conv\.(\d)", lambda m: f"encoder.stages.{m[1]}.{int(m[2]) + 1}", key
    )
    key = re.sub(r"^up(\d)\.up\.", lambda m: f"decoder.up.{int(m[1]) - 1}.", key)
    key = re.sub(r"^up(\d)\.conv\.double_conv\.", lambda m: f"decoder.convolve.{int(m[1]) - 1}.", key)
    return key.replace("outc.conv.", "decoder.score.")
