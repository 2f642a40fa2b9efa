"""Export a net for other programs: ``python -m segment.export checkpoint=FILE output=net.onnx``.

``format=`` is ``onnx`` or ``torch_export``.
"""

import json
import logging
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from segment.cli.entry_point import entry_point
from segment.errors import SegmentError
from segment.files import user_path

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

    from segment.models.net import SegmentationNet
    from segment.prediction.segmenter import Segmenter

EXPORT_SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}
OUTPUT_TYPES = {"classes": "classes: uint8 (N,H,W)", "scores": "scores: float32 (N,classes,H,W)"}
"""Values of ``answer=``: each output that a program can return, with its name, type and shape."""
COMPARED_SIZES = ((1, 65, 97), (3, 130, 74))
"""Number, height and width of the images on which the exported program is compared with the net."""
EXPORT_TOLERANCE = 1e-3
"""Largest difference: a share of the pixels, where two classes are equally likely, or of the highest score."""

Program = Callable[["Tensor"], "Tensor"]
"""An exported net, from images to the output that ``answer=`` names."""


def export(config: DictConfig) -> None:
    """Write a program for images of any size: uint8 RGB (N,3,H,W) in, class indices or scores of the same size out.

    Raises:
        SegmentError: a setting is wrong, a package is missing, or the program's output differs from the net's.
    """
    import torch

    from segment.prediction.segmenter import load_segmenter

    output = check_export_options(config)
    segmenter = load_segmenter(config.checkpoint, "cpu")
    net = segmenter.net.to(memory_format=torch.contiguous_format)  # channels last would fix the batch size
    write = {"onnx": write_onnx, "torch_export": write_torch_export}[config.format]
    part = output.with_name(f"{output.name}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        program = write(trace_net(net, config.answer), part, export_metadata(segmenter, config.answer))
        compared = "not compared with the net, since onnxruntime is not installed"
        if program is not None:
            compare_with_net(program, net, config.answer)
            compared = "same as the net on images of several sizes"
        os.replace(part, output)
    except OSError as error:
        raise SegmentError(f"output={output}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    print(f"{output} ({output.stat().st_size / 2**20:.1f} MiB): uint8 RGB (N,3,H,W) to {config.answer}; {compared}")


def check_export_options(config: DictConfig) -> Path:
    """Check the keys ``format``, ``answer`` and ``output``, and return the path of the output.

    Raises:
        SegmentError: one of them is wrong, or a package is missing.
    """
    if config.format not in EXPORT_SUFFIXES or config.answer not in OUTPUT_TYPES:
        raise SegmentError(
            f"format={config.format} answer={config.answer}: expected format={' or '.join(EXPORT_SUFFIXES)}, "
            f"and answer={' or '.join(OUTPUT_TYPES)}"
        )
    missing = [name for name in ("onnx", "onnxscript") if config.format == "onnx" and find_spec(name) is None]
    if missing:
        raise SegmentError(f"format=onnx needs {' and '.join(missing)}: pip install 'segment-lightning[onnx]'")
    output, suffix = user_path(config.output, "output"), EXPORT_SUFFIXES[config.format]
    if output.suffix != suffix or os.path.isdir(output):
        raise SegmentError(f"output={output}: expected a file name that ends in {suffix}, for format={config.format}")
    return output


def trace_net(net: "SegmentationNet", answer: str) -> "ExportedProgram":
    """Return the net with its normalisation as one graph, for images of any number and size.

    Args:
        answer: "classes" or "scores", the output of the graph.

    Raises:
        SegmentError: the net has no such graph.
    """
    import torch
    import torch.fx.experimental._config

    from segment.models.published.unet_paper import PaperUNet

    if isinstance(net, PaperUNet):
        raise SegmentError("unet_paper can't be exported: it cuts an image into tiles, as many as its size needs")

    class ExportedNet(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, image: "Tensor") -> "Tensor":
            scores = self.net(self.net.normalize(image))
            return scores.argmax(1).to(torch.uint8) if answer == "classes" else scores

    logging.getLogger("torch.fx.experimental.symbolic_shapes").setLevel(logging.ERROR)  # it lists what it can't prove
    auto = torch.export.Dim.AUTO
    example = torch.zeros(2, 3, 96, 128, dtype=torch.uint8)
    shapes = {"image": {0: auto, 2: auto, 3: auto}}
    # Without this the program refuses images so small that some layer's features are one pixel wide.
    any_size = torch.fx.experimental._config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]  # torch adds it
    with torch.no_grad(), any_size:
        return torch.export.export(ExportedNet().eval(), (example,), dynamic_shapes=shapes)


def export_metadata(segmenter: "Segmenter", answer: str) -> dict[str, str]:
    """Return what a user of the program needs to know: classes, colours, normalisation, inputs. Each value is JSON."""
    from segment import __version__

    net = segmenter.net
    normalization = {"mean": net.mean.flatten().tolist(), "std": net.deviation.flatten().tolist()}
    content: dict[str, Any] = {
        "classes": segmenter.classes.names,
        "palette": segmenter.classes.palette,
        "normalization": {**normalization, "order": "BGR" if net.bgr else "RGB", "inside": True},
        "input": "image: uint8 (N,3,H,W), RGB",
        "output": OUTPUT_TYPES[answer],
        "segment": __version__,
    }
    return {key: json.dumps(value) for key, value in content.items()}


def write_torch_export(graph: "ExportedProgram", path: Path, metadata: dict[str, str]) -> Program:
    """Write a graph for ``torch.export.load``, with the metadata as extra file ``segment.json``; return it loaded."""
    import torch

    content = json.dumps({key: json.loads(value) for key, value in metadata.items()})
    with path.open("wb") as file:
        torch.export.save(graph, file, extra_files={"segment.json": content})
    with path.open("rb") as file:
        return torch.export.load(file).module()


def write_onnx(graph: "ExportedProgram", path: Path, metadata: dict[str, str]) -> Program | None:
    """Write a graph as ONNX, with the metadata as ``metadata_props``; return it loaded, or None without onnxruntime."""
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    name = json.loads(metadata["output"]).partition(":")[0]
    with warnings.catch_warnings(action="ignore"):
        onnx = torch.onnx.export(graph, dynamo=True, input_names=["image"], output_names=[name], verbose=False)
    assert onnx is not None
    onnx.model.metadata_props.update(metadata)
    onnx.save(path, external_data=False)
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


def compare_with_net(program: Program, net: "SegmentationNet", answer: str) -> None:
    """Check that a program gives the net's output for images of several sizes, the smallest one among them.

    Raises:
        SegmentError: the outputs differ.
    """
    import torch

    generator, smallest = torch.Generator().manual_seed(0), net.encoder.min_size
    for number, height, width in (*COMPARED_SIZES, (1, smallest, smallest)):
        image = torch.randint(0, 256, (number, 3, height, width), dtype=torch.uint8, generator=generator)
        with torch.no_grad():
            found = program(image)
            if answer == "classes":
                difference = (found != net.predict(image)).float().mean().item()
            else:
                scores = net(net.normalize(image))
                difference = ((found - scores).abs().max() / scores.abs().max().clamp(min=1e-6)).item()
        if not difference <= EXPORT_TOLERANCE:  # true for NaN, too
            raise SegmentError(
                f"the exported program's output differs from the net's by {difference:.2g}, more than "
                f"{EXPORT_TOLERANCE:g}: nothing was written"
            )


if __name__ == "__main__":
    entry_point("export", export)
