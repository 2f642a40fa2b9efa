"""A folder to share a net in: ``model.safetensors``, ``config.json``, a model card and a picture.

``config.json`` has the metadata of a checkpoint as plain JSON and a hash of the weights, so that files of different
exports are never taken for one net. It is written last: a folder without it is not complete.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Required

import torch
from typing_extensions import TypedDict

from segment import __version__
from segment.errors import SegmentError
from segment.files import readable_file, whole_file
from segment.models.file_checks import check_content
from segment.models.net import SegmentationNet
from segment.models.state_dicts import METADATA
from segment.records.hub import CARD, CONFIG, MAX_FILE_BYTES, PICTURE, WEIGHTS, require_hub
from segment.records.json_file import read_json

SECRETS = {"url", "checksum"}
"""Keys of a data set that are not published: an address may hold a password."""
NO_PATHS = {"classes", "pattern"}
"""Keys whose text may begin with a slash and is no path."""


class HubConfig(TypedDict, total=False):
    """The keys of a shared folder's ``config.json``; the first four are those of a checkpoint's metadata.

    Example:
        >>> config: HubConfig = {"model": {}, "data": {}, "classes": {}, "images": [], "weights_sha256": "0" * 64}
    """

    __pydantic_config__ = {"extra": "allow"}  # type: ignore[misc]

    model: Required[dict[str, Any]]
    data: Required[dict[str, Any]]
    classes: Required[dict[str, Any]]
    images: Required[list[str]]
    weights_sha256: Required[str]


def public_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's metadata as it comes back from JSON, without addresses and folders of this machine.

    Raises:
        SegmentError: JSON has no form for a value.
    """
    shared = {key: without_folders(metadata[key]) for key in ("model", "data", "classes")}
    images = [str(image) for image in metadata.get("images") or ()]
    try:
        result: dict[str, Any] = json.loads(json.dumps({**shared, "images": images}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SegmentError(f"the checkpoint's configuration has no form in JSON: {error}") from None
    return result


def without_folders(value: Any) -> Any:
    """Return a configuration whose absolute paths, which may name a user, are cut to their last part."""
    if isinstance(value, Mapping):
        kept = {key: None if key in SECRETS else part for key, part in value.items()}
        return {key: part if key in NO_PATHS else without_folders(part) for key, part in kept.items()}
    if isinstance(value, list | tuple):
        return [without_folders(part) for part in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value


def write_hub_folder(
    folder: Path, net: SegmentationNet, metadata: Mapping[str, Any], card: str, picture: Path | None
) -> None:
    """Write a shared folder, ``config.json`` last.

    Args:
        metadata: see :func:`public_metadata`.
        card: the model card, Markdown.
        picture: a PNG that the card shows.

    Raises:
        SegmentError: a file cannot be written.
    """
    from safetensors.torch import save

    # Each tensor a copy of its own in row-major order: safetensors takes no shared ones, and no channels last.
    tensors = {
        key: value.detach().clone(memory_format=torch.contiguous_format) for key, value in net.state_dict().items()
    }
    weights = save(tensors)
    images = metadata["images"]
    config = {"segment": __version__, **metadata, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    text = json.dumps({**{key: config[key] for key in config if key != "images"}, "images": images}, indent=2)
    files = {WEIGHTS: weights, CARD: card.encode(), PICTURE: picture and picture.read_bytes(), CONFIG: text.encode()}
    try:
        for name, content in files.items():
            if content is not None:
                with whole_file(folder / name, "wb") as file:
                    file.write(content)
    except OSError as error:
        raise SegmentError(f"output={folder}: {error.strerror or error}") from None


def read_hub_folder(config: Path) -> dict[str, Any]:
    """Read a shared folder as the content of a checkpoint; it may be a stranger's.

    Args:
        config: path of its ``config.json``.

    Raises:
        SegmentError: a file is missing, damaged, too large or of another kind, or the two do not belong together.
    """
    try:
        metadata = read_json(
            readable_file(config, "checkpoint"),
            HubConfig,
            MAX_FILE_BYTES[CONFIG],
            parse_constant=_refuse,
            parse_float=_finite,
        )
    except SegmentError as error:
        raise SegmentError(f"{error}; expected a folder that segment.export format=hub wrote") from None
    check_content(metadata, config)
    state = _read_weights(config.with_name(WEIGHTS), metadata["weights_sha256"])
    return {METADATA: metadata, "state_dict": {f"net.{key}": value for key, value in state.items()}}


def _read_weights(path: Path, digest: str) -> dict[str, Any]:
    require_hub()
    from safetensors.torch import load_file

    with readable_file(path, "checkpoint").open("rb") as file:
        if (size := path.stat().st_size) > MAX_FILE_BYTES[WEIGHTS]:
            raise SegmentError(f"{path}: refused, it has {size:,} bytes, expected up to {MAX_FILE_BYTES[WEIGHTS]:,}")
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise SegmentError(
                f"{path} is not the file that its {CONFIG} was written with: it is damaged, cut off, a pointer of "
                "git-lfs, or from another export"
            )
    try:
        return load_file(path)
    except Exception as error:  # a file of another kind may raise anything
        raise SegmentError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:50]} is too large for a number")
    return value
