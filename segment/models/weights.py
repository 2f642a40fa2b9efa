"""Weights of modules: initial ones, files and downloads, with errors that name the file and the keys."""

import math
import urllib.error
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from segment.errors import SegmentError
from segment.files import first_names, readable_file
from segment.models.file_checks import check_content, check_file, check_finite

IMAGENET = "imagenet"


def he_initialise(module: nn.Module) -> None:
    """Initialise convolutions so that the variance stays the same through layers with a ReLU (He et al., 2015, 2.2).

    With torch's default a VGG16 without batch norm is dead: all images give the same pool5.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def as_convolution(linear: nn.Linear, channels: int, padding: int = 0) -> nn.Conv2d:
    """Return a linear layer as the convolution that gives its outputs for a square of features (channels,k,k)."""
    size = math.isqrt(linear.in_features // channels)
    convolution = nn.Conv2d(channels, linear.out_features, size, padding=padding)
    weight = linear.weight.detach().view_as(convolution.weight)
    convolution.load_state_dict({"weight": weight, "bias": linear.bias.detach()})
    return convolution


def load_file(path: str | Path) -> dict[str, Any]:
    """Read a file that ``torch.save`` wrote, as plain data only, or one whose name ends in ``.safetensors``.

    Raises:
        SegmentError: the file is missing, damaged, of another kind, or would run code.
    """
    path = readable_file(path, "checkpoint")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    zipped = check_file(path)
    try:
        # Memory-mapped, so that unused content such as an optimiser's gigabyte takes no memory.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception:  # a file of another kind can raise anything
        raise SegmentError(f"{path} is not a file of weights: torch.load(weights_only=True) cannot read it") from None
    if not isinstance(content, dict):
        raise SegmentError(f"{path} holds a {type(content).__name__}; expected a dictionary of tensors")
    check_content(content, path)
    return content


def _load_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors.torch import load_file as load_safetensors
    except ImportError:
        raise SegmentError(f"{path} needs safetensors: pip install 'segment-lightning[hub]'") from None
    try:
        return load_safetensors(path)
    except Exception as error:  # a damaged file can raise anything
        raise SegmentError(f"{path} is no file of safetensors: {' '.join(str(error).split())[:150]}") from None


def first_keys(keys: Sequence[str]) -> str:
    """Join the first few keys, each cut at 100 letters: a file's keys are untrusted."""
    return first_names([key[:100] for key in keys])


def mismatched_keys(*kinds: tuple[str, Sequence[str]]) -> str:
    """Describe keys by kind, such as "2 missing (a, b); 1 unknown (c)", in at most 230 letters."""
    text = "; ".join(f"{len(keys)} {kind} ({first_keys(keys)})" for kind, keys in kinds if keys)
    return text if len(text) <= 230 else f"{text[:227]}..."


def tensor_form(tensor: Tensor) -> str:
    """Return a tensor's shape, with its type unless that is one of floating point, as text."""
    return f"{'' if tensor.is_floating_point() else f'{tensor.dtype} '}{tuple(tensor.shape)}"


def load_state(module: nn.Module, state: Mapping[str, Tensor], source: str, unused: tuple[str, ...] = ()) -> None:
    """Load all tensors of a state dict.

    Args:
        source: name of the weights in error messages.
        unused: prefixes of keys that are ignored in the module and in the state dict, such as a classifier's.

    Raises:
        SegmentError: keys are missing, unknown or of another shape; the message names them.
    """
    expected = {k: v for k, v in module.state_dict().items() if not k.startswith(unused)}
    given = {str(k): v for k, v in state.items() if isinstance(v, Tensor) and not str(k).startswith(unused)}
    # Files from before torch 0.4.1 do not count the batches of their batch norms.
    missing = [k for k in expected if k not in given and not k.endswith("num_batches_tracked")]
    unknown = [k for k in given if k not in expected]
    forms = {k: (tensor_form(given[k]), tensor_form(expected[k])) for k in expected if k in given}
    wrong = [f"{k} {found} instead of {wanted}" for k, (found, wanted) in forms.items() if found != wanted]
    mismatches = mismatched_keys(("missing", missing), ("unknown", unknown), ("of another shape", wrong))
    if mismatches and "pytorch-lightning_version" in state:
        raise SegmentError(f"{source} is the checkpoint of a whole net: use model.weights={source}")
    if mismatches:
        raise SegmentError(f"{source} does not fit {type(module).__name__}: keys {mismatches}")
    check_finite(given, source)
    module.load_state_dict(given, strict=False)


def torchvision_model(
    name: str, weights: str | None, family: type[nn.Module], unused: tuple[str, ...], **options: Any
) -> Any:
    """Build a torchvision classifier with its ImageNet weights (version 1), those of a file, or none.

    Args:
        name: a name from ``torchvision.models.list_models()``.
        weights: "imagenet", a file in torchvision's layout, or None.
        family: the class that the classifier must have.
        unused: prefixes of keys that a file may lack, or have in another shape.
        options: further arguments of the classifier.

    Raises:
        SegmentError: the name is unknown or of another family, the download fails, or the file does not fit.
    """
    try:
        model = get_model(name, weights=None, **options)
    except (ValueError, TypeError) as error:
        raise SegmentError(f"encoder {name!r}: {error}") from None
    if not isinstance(model, family):
        raise SegmentError(f"model.encoder.name={name}: expected a {family.__name__} of torchvision")
    if weights == IMAGENET:
        source = get_model_weights(name)["IMAGENET1K_V1"]
        load_state(model, _download_weights(source.get_state_dict, source.url), source.url)
    elif weights is not None:
        load_state(model, load_file(weights), weights, unused)
    return model


def _download_weights(get: Callable[..., Mapping[str, Tensor]], url: str) -> Mapping[str, Tensor]:
    try:
        return get(progress=True, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
        raise SegmentError(
            f"could not download {url} ({error}): put that file at {path}, "
            "or use model.encoder.weights=FILE, or model.encoder.weights=null to train from scratch"
        ) from None
