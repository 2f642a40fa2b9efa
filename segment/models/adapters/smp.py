"""Nets of segmentation_models_pytorch ("smp"), the extra ``smp``."""

import difflib
import json
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Literal

import timm
from torch import Tensor, nn

from segment.console import print_once
from segment.errors import SegmentError
from segment.files import user_path
from segment.models.adapters.any_size import AdaptedNet
from segment.models.adapters.hub_cache import cached_if_unreachable
from segment.models.encoders.timm_encoder import check_timm_state
from segment.models.normalization import NORMALIZATIONS, Normalization
from segment.models.weights import IMAGENET, load_file

Architecture = Literal[
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet",
    "Segformer", "DPT",
]  # fmt: skip
"""The architectures, by smp's names."""
TIMM = "tu-"
"""Beginning of smp's names of timm's encoders."""


class SmpNet(AdaptedNet):
    """A net of segmentation_models_pytorch.

    Args:
        architecture: its class.
        encoder: one of smp's names, such as "mobilenet_v2", or "tu-" and a name of timm's. DPT takes vision
            transformers of timm's, such as "tu-vit_small_patch16_224".
        num_classes: number of score maps.
        encoder_weights: "imagenet" or another name that smp has for the encoder, a file with the encoder's state dict
            (as of smp, or of the library that smp has the encoder from), or None.
        normalization, weights: see :class:`segment.models.SegmentationNet`. The default normalisation is that of the
            encoder's weights.

    Raises:
        SegmentError: smp is missing or has no such net, the weights cannot be loaded, or the net takes images of some
            sizes only.

    Example:
        >>> import torch
        >>> net = SmpNet("FPN", "mobilenet_v2", num_classes=2, encoder_weights=None)
        >>> net(torch.zeros(1, 3, 33, 65)).shape
        torch.Size([1, 2, 33, 65])
    """

    sources = ("encoder_weights",)

    def __init__(
        self,
        architecture: Architecture,
        encoder: str,
        num_classes: int,
        encoder_weights: str | None = IMAGENET,
        normalization: str | Mapping[str, Any] | None = None,
        weights: str | None = None,
    ) -> None:
        if not find_spec("segmentation_models_pytorch"):
            raise SegmentError("model=smp needs segmentation-models-pytorch: pip install 'segment-lightning[smp]'")
        check_encoder(encoder)
        net = build_architecture(architecture, encoder, encoder_weights, num_classes)
        stride = int(net.encoder.output_stride)
        super().__init__(
            net,
            num_classes,
            encoder_normalization(encoder, encoder_weights),
            normalization,
            weights,
            trunk="encoder",
            pretrained=encoder_weights is not None,
            multiple=stride if net.requires_divisible_input_shape else 1,
            stride=stride,
            name=f"smp's {architecture} with the encoder {encoder}",
        )


def check_encoder(name: str) -> None:
    """Check that smp has an encoder, without the network: timm would look up names such as ``hf-hub:x``.

    Raises:
        SegmentError: it has none of this name.
    """
    import segmentation_models_pytorch as smp

    known = smp.encoders.get_encoder_names()
    if name in known or (name.startswith(TIMM) and timm.is_model(name.removeprefix(TIMM))):
        return
    names = [*known, *(TIMM + one for one in timm.list_models())]
    close = " or ".join(difflib.get_close_matches(name, names, 3)) or "resnet34, mobilenet_v2 or tu-convnext_tiny"
    raise SegmentError(f"model.encoder={name}: smp has no such encoder: did you mean {close}?")


def weight_names(encoder: str) -> list[str]:
    """Return the names of the weights that smp downloads for an encoder."""
    import segmentation_models_pytorch as smp

    return [IMAGENET] if encoder.startswith(TIMM) else list(smp.encoders.encoders[encoder]["pretrained_settings"])


def build_architecture(architecture: str, encoder: str, weights: str | None, num_classes: int) -> Any:
    """Build a net of smp, with its encoder's weights.

    Raises:
        SegmentError: the architecture does not take the encoder, or the weights cannot be loaded.
    """
    import segmentation_models_pytorch as smp

    named = weights in weight_names(encoder)
    options: dict[str, Any] = {"encoder_weights": weights if named else None, "classes": num_classes}
    if weights is not None and not named:
        state = _read_encoder(encoder, weights)
        if encoder.startswith(TIMM):  # timm fits its file to the part of the network that smp takes
            options |= {"encoder_weights": IMAGENET, "pretrained_cfg_overlay": {"state_dict": state}}
    make = getattr(smp, architecture)
    try:
        with cached_if_unreachable(), warnings.catch_warnings(action="ignore"):
            net: Any = _make_dynamic(make, encoder, options) if encoder.startswith(TIMM) else make(encoder, **options)
        if weights is not None and not named and not encoder.startswith(TIMM):
            net.encoder.load_state_dict(state)
    except Exception as error:  # smp raises whatever its hub, its files and its networks raise
        raise SegmentError(_reason(architecture, encoder, weights, named, error)) from None
    return net


def _make_dynamic(make: Callable[..., nn.Module], encoder: str, options: dict[str, Any]) -> nn.Module:
    """Build a net with an encoder of timm's, with timm's option for images of any size where it has that."""
    try:
        return make(encoder, dynamic_img_size=True, **options)
    except TypeError:
        return make(encoder, **options)


def _read_encoder(encoder: str, file: str) -> dict[str, Tensor]:
    """Read an encoder's state dict from a file of torch or of safetensors.

    Raises:
        SegmentError: the file is missing or damaged, or does not fit timm's network.
    """
    if not user_path(file, "model.encoder_weights").exists():
        names = ", ".join(weight_names(encoder)) or "no weights"
        raise SegmentError(f"model.encoder_weights={file}: smp has {names} for {encoder}, and there is no such file")
    state = load_file(file)
    if encoder.startswith(TIMM):
        check_timm_state(encoder.removeprefix(TIMM), state, file)
    return state


def _reason(architecture: str, encoder: str, weights: str | None, named: bool, error: Exception) -> str:
    """Explain in one line why a net could not be built."""
    import segmentation_models_pytorch as smp

    detail = " ".join(str(error).split())[:200] or type(error).__name__
    if weights is None or isinstance(error, ValueError | TypeError | NotImplementedError):
        return f"smp cannot build {architecture} with the encoder {encoder}: {detail}"
    if not named:
        return f"{weights} does not fit smp's encoder {encoder}: {detail}"
    way = "use model.encoder_weights=FILE"
    if not encoder.startswith(TIMM):
        repository = smp.encoders.encoders[encoder]["pretrained_settings"][weights]["repo_id"]
        way += f", such as model.safetensors of https://huggingface.co/{repository}"
    return (
        f"could not get smp's weights {weights} of {encoder} ({detail}): {way}, or model.encoder_weights=null to train "
        "from scratch"
    )


def encoder_normalization(encoder: str, weights: str | None) -> Normalization:
    """Return the normalisation that an encoder's weights were trained with, as far as it is known.

    It is known for timm's networks, for smp's own weights, and for a file that has smp's ``config.json`` beside it.
    Otherwise it is ImageNet's.
    """
    import segmentation_models_pytorch as smp

    if encoder.startswith(TIMM):
        cfg = timm.get_pretrained_cfg(encoder.removeprefix(TIMM))
        settings = {"mean": cfg.mean, "std": cfg.std} if cfg else {}
    elif weights is None:
        settings = {}
    elif weights in weight_names(encoder):
        with cached_if_unreachable():  # it lies beside the weights, which were downloaded
            settings = smp.encoders.get_preprocessing_params(encoder, weights)
    else:
        settings = _settings_beside(weights)
        if not settings:
            print_once(
                f"weights: the encoder's are those of {weights}, without smp's config.json beside it, and the "
                "normalisation is ImageNet's unless model.normalization is given"
            )
    if not settings:
        return NORMALIZATIONS["imagenet"]
    scale = 255 if max(settings.get("input_range") or [1]) <= 1 else 1
    mean, std = (tuple(scale * float(value) for value in settings[key]) for key in ("mean", "std"))
    return Normalization(mean, std, settings.get("input_space") == "BGR")


def _settings_beside(file: str) -> dict[str, Any]:
    """Return the content of the ``config.json`` of smp beside a file of weights; empty where there is none."""
    try:
        content = json.loads(user_path(file, "file").with_name("config.json").read_text(encoding="utf-8"))
        return content if {"mean", "std"} <= content.keys() else {}
    except (OSError, ValueError, AttributeError):
        return {}
