"""Export a net for other programs: ``python -m segment.export checkpoint=FILE output=net.onnx``.

``format=`` is ``onnx``, ``torch_export``, or ``hub`` for a folder that others load with ``segment.load``.
"""

import os
import shlex
from importlib.util import find_spec
from typing import Literal

from omegaconf import DictConfig

from segment.cli.entry_point import entry_point
from segment.cli.value_types import check_value
from segment.errors import SegmentError
from segment.files import user_path, whole_file
from segment.records.folder import checkpoint_path
from segment.records.hub import (
    CARD,
    CONFIG,
    PICTURE,
    SCHEME,
    WEIGHTS,
    check_new_folder,
    check_push,
    push,
    require_hub,
)


def export(config: DictConfig) -> None:
    """Write the net in the chosen format.

    Raises:
        SegmentError: a setting is wrong, a package is missing, or the program's output differs from the net's.
    """
    check_value("format", config.format, Literal["onnx", "torch_export", "hub"])
    check_value("output_type", config.output_type, Literal["classes", "scores"])
    for key in ("push", "license"):
        if check_value(key, config[key], str | None) is not None and config.format != "hub":
            raise SegmentError(f"{key}={config[key]} is for format=hub, and this is format={config.format}")
    if config.format == "hub":
        export_folder(config)
    else:
        export_program(config)


def export_program(config: DictConfig) -> None:
    """Write a program for images of any size: uint8 RGB (N,3,H,W) in, class indices or scores of the same size out."""
    if config.format == "onnx" and not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        raise SegmentError("format=onnx needs onnx, onnxscript and onnxruntime: pip install 'segment-lightning[onnx]'")
    output, suffix = user_path(config.output, "output"), {"onnx": ".onnx", "torch_export": ".pt2"}[config.format]
    if output.suffix != suffix or output.is_dir():
        raise SegmentError(f"output={output}: expected a file name that ends in {suffix}, for format={config.format}")
    if os.path.lexists(output):
        raise SegmentError(f"output={output} is there already: name another file, or delete it")
    checkpoint = checkpoint_path(config.checkpoint)  # before torch, which takes seconds, is imported
    from segment.prediction.exported_net import export_net
    from segment.prediction.segmenter import load_segmenter

    content = export_net(load_segmenter(checkpoint, "cpu", trust=config.trust), config.format, config.output_type)
    try:
        with whole_file(output, "wb") as file:
            file.write(content)
    except OSError as error:
        raise SegmentError(f"output={output}: {error.strerror or error}") from None
    size = f"{len(content) / 2**20:.1f} MiB"
    print(f"{output} ({size}): uint8 RGB (N,3,H,W) to {config.output_type}; same as the net on images of several sizes")


def export_folder(config: DictConfig) -> None:
    """Write a folder to share the net in, and upload it if that is wanted."""
    output, repository = user_path(config.output, "output"), config.push
    require_hub()
    check_new_folder(output)
    if config.output_type != "classes":
        raise SegmentError("output_type=scores is for onnx and torch_export: a shared net gives both")
    if repository is not None:
        check_push(repository)
    checkpoint = checkpoint_path(config.checkpoint)  # before torch, which takes seconds, is imported
    from segment.models.state_dicts import METADATA
    from segment.records.checkpoint import load_checkpoint, load_net
    from segment.records.hub_folder import public_metadata, write_hub_folder
    from segment.records.model_card import model_card, read_card_facts
    from segment.records.trust import read_trust

    content = load_checkpoint(checkpoint)
    metadata = public_metadata(content[METADATA])
    net = load_net({**content, METADATA: metadata}, checkpoint, read_trust(config.trust))  # as others will build it
    facts = read_card_facts(checkpoint)
    title = repository.partition("/")[2] if repository else output.resolve().name
    address = f"{SCHEME}{repository}" if repository else title
    card = model_card(title, address, metadata, facts, config.license)
    write_hub_folder(output, net, metadata, card, picture=facts[2])
    print(
        f"{output}: {WEIGHTS}, {CONFIG}, {CARD}{f' and {PICTURE}, which shows one of your images' if facts[2] else ''}"
    )
    if not facts[0]:
        print("note: the card has no metrics, since the checkpoint's run folder has none of this checkpoint")
    if config.license is None:
        print("note: the card states no licence of the weights; license=cc-by-4.0 states one")
    if repository is None:
        return
    try:
        print(f"uploaded as {push(output, repository)}")
    except SegmentError as error:
        again = shlex.join(["hf", "upload", repository, str(output), "--private"])
        raise SegmentError(f"{error}; the folder is complete, and `{again}` tries again") from None


if __name__ == "__main__":
    entry_point("export", export)
