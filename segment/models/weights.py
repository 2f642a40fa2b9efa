"""Weights from files and downloads, with errors that say which file was expected and what did not fit."""

import urllib.error
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from segment.errors import SegmentError
from segment.files import user_path

IMAGENET = "imagenet"


def he_initialise(module: nn.Module) -> None:
    """He et al. (2015), section 2.2: what keeps the signal's variance through layers followed by a ReLU.

    At torch's default a VGG16 without batch norm is dead: all images give the same pool5.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def load_file(path: str | Path) -> dict[str, Any]:
    """Read a file that ``torch.save`` wrote, as plain data only.

    Raises:
        SegmentError: the file is missing or may not be read, is none of ``torch.save``'s, or wants to run code.
    """
    path = user_path(path, "checkpoint")
    try:
        if not path.is_file():
            raise SegmentError(
                f"the file {path} does not exist" if not path.exists() else f"{path} is a folder, not a file"
            )
        path.open("rb").close()
    except OSError as error:
        raise SegmentError(f"cannot read the file {path}: {error.strerror}") from None
    try:
        # Mapped, what nobody asks for, such as an optimiser's gigabyte, is not read.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception:  # a file of another kind may raise anything
        raise SegmentError(f"{path} is not a file of weights: torch.load(weights_only=True) cannot read it") from None
    if not isinstance(content, dict):
        raise SegmentError(f"{path} holds a {type(content).__name__}; expected a dictionary of tensors")
    return content


def some(names: Sequence[str], limit: int = 3) -> str:
    """The first few names."""
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def misfits(*found: tuple[str, Sequence[str]]) -> str:
    """Kinds of keys that do not fit as "2 missing (a, b); 1 unknown (c)", without kinds that have none."""
    return "; ".join(f"{len(names)} {what} ({some(names)})" for what, names in found if names)


def load_state(module: nn.Module, state: Mapping[str, Tensor], source: str, unused: tuple[str, ...] = ()) -> None:
    """Load every tensor, or say which do not fit.

    Args:
        source: what the error calls the weights.
        unused: prefixes of keys that are passed over on both sides (a classifier's, say).

    Raises:
        SegmentError: naming keys that are missing, unknown or of another shape.
    """
    have = {k: v for k, v in module.state_dict().items() if not k.startswith(unused)}
    given = {k: v for k, v in state.items() if not k.startswith(unused)}
    # Files from before torch 0.4.1 do not count the batches of their batch norms.
    missing = [k for k in have if k not in given and not k.endswith("num_batches_tracked")]
    unknown = [k for k in given if k not in have]
    shapes = [
        f"{k} {tuple(given[k].shape)} instead of {tuple(have[k].shape)}"
        for k in have
        if k in given and getattr(given[k], "shape", None) != have[k].shape
    ]
    problems = misfits(("missing", missing), ("unknown", unknown), ("of another shape", shapes))
    if problems and "pytorch-lightning_version" in state:
        raise SegmentError(f"{source} is a run's checkpoint: give it as model.weights, which takes whole nets")
    if problems:
        raise SegmentError(f"{source} does not fit {type(module).__name__}: keys {problems}")
    module.load_state_dict(given, strict=False)


def torchvision_model(
    name: str, weights: str | None, family: type[nn.Module], unused: tuple[str, ...], **options: Any
) -> Any:
    """A torchvision classifier with ImageNet's weights (version 1), a file's, or none.

    Args:
        name: as in ``torchvision.models.list_models()``.
        weights: "imagenet", a file in torchvision's layout, or None.
        family: the class that it has to be of.
        unused: prefixes of what is not needed of it.

    Raises:
        SegmentError: unknown name, failed download, or a file that does not fit.
    """
    try:
        model = get_model(name, weights=None, **options)
    except (ValueError, TypeError) as error:
        raise SegmentError(f"encoder {name!r}: {error}") from None
    if not isinstance(model, family):
        raise SegmentError(f"model.encoder.name={name}: expected a {family.__name__} of torchvision")
    if weights == IMAGENET:
        source = get_model_weights(name)["IMAGENET1K_V1"]
        state = _download(source.get_state_dict, source.url)
        load_state(model, state, source.url)
    elif weights is not None:
        load_state(model, load_file(weights), weights, unused)
    return model


def _download(get: Callable[..., Mapping[str, Tensor]], url: str) -> Mapping[str, Tensor]:
    try:
        return get(progress=True, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
        raise SegmentError(
            f"could not download {url} ({error}): put that file at {place}, "
            "or use model.encoder.weights=FILE, or model.encoder.weights=null to train from scratch"
        ) from None
