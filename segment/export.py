"""Export a net for other programs: ``python -m segment.export checkpoint=FILE output=net.onnx``.

``format=`` is ``onnx`` or ``torch_export``.
"""

from importlib.util import find_spec
from typing import Literal

from omegaconf import DictConfig

from segment.cli.entry_point import entry_point
from segment.cli.value_types import check_value
from segment.errors import SegmentError
from segment.files import user_path, whole_file
from segment.records.folder import checkpoint_path


def export(config: DictConfig) -> None:
    """Write a program for images of any size: uint8 RGB (N,3,H,W) in, class indices or scores of the same size out.

    Raises:
        SegmentError: a setting is wrong, a package is missing, or the program's output differs from the net's.
    """
    check_value("format", config.format, Literal["onnx", "torch_export"])
    check_value("output_type", config.output_type, Literal["classes", "scores"])
    if config.format == "onnx" and not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        raise SegmentError("format=onnx needs onnx, onnxscript and onnxruntime: pip install 'segment-lightning[onnx]'")
    output, suffix = user_path(config.output, "output"), {"onnx": ".onnx", "torch_export": ".pt2"}[config.format]
    if output.suffix != suffix or output.is_dir():
        raise SegmentError(f"output={output}: expected a file name that ends in {suffix}, for format={config.format}")
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


if __name__ == "__main__":
    entry_point("export", export)
