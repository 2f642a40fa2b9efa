"""A net with its normalisation as a program for other software, by ONNX or ``torch.export``."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import torch
import torch.fx.experimental._config
from torch import Tensor, nn
from torch.export import ExportedProgram

from segment import __version__
from segment.errors import SegmentError
from segment.models.net import SegmentationNet
from segment.models.published.unet_paper import PaperUNet
from segment.prediction.segmenter import Segmenter

EXPORT_TOLERANCE = 1e-3
"""Tolerance: fraction of pixels with another class, or score difference relative to the highest score."""
OUTPUT_TYPES = {"classes": "classes: uint8 (N,H,W)", "scores": "scores: float32 (N,classes,H,W)"}
"""Name, type and shape of each output that a program can have."""
AXES = {0: "batch", 2: "height", 3: "width"}
"""Names of the axes of any size, by position; those of the input and of the output."""
Program = Callable[[Tensor], Tensor]


class ExportedNet(nn.Module):
    """A net that takes images as uint8 RGB (N,3,H,W) and normalises them itself.

    Args:
        net: a net in evaluation mode.
        output: "classes" or "scores", see :data:`OUTPUT_TYPES`.
    """

    def __init__(self, net: SegmentationNet, output: str) -> None:
        super().__init__()
        self.net, self.output = net, output

    def forward(self, image: Tensor) -> Tensor:
        scores = self.net(self.net.normalize(image))
        return scores.argmax(1).to(torch.uint8) if self.output == "classes" else scores


def export_net(segmenter: Segmenter, format: str, output: str) -> bytes:
    """Return the content of the exported file, whose program was compared with the net.

    Args:
        format: "onnx" or "torch_export".
        output: "classes" or "scores".

    Raises:
        SegmentError: the net cannot be exported, or the program's output differs from the net's.
    """
    net, convert = ExportedNet(segmenter.net, output), {"onnx": to_onnx, "torch_export": to_torch_export}[format]
    print("tracing the net, up to some minutes", flush=True)
    graph = trace_net(net)
    print(f"writing it as {format}, as long again", flush=True)
    content, program = convert(graph, export_metadata(segmenter, output))
    print("comparing the program with the net", flush=True)
    compare_with_net(program, net)
    return content


def trace_net(net: ExportedNet) -> ExportedProgram:
    """Return a net as one graph, for images of any number and size.

    Raises:
        SegmentError: the net has no such graph.
    """
    if isinstance(net.net, PaperUNet):
        raise SegmentError("unet_paper cannot be exported: it cuts an image into tiles, as many as its size needs")
    net.eval().to(memory_format=torch.contiguous_format)  # channels last would fix the batch size
    logging.getLogger("torch.fx.experimental.symbolic_shapes").setLevel(logging.ERROR)  # it lists unproven constraints
    example, sizes = torch.zeros(2, 3, 96, 128, dtype=torch.uint8), dict.fromkeys(AXES, torch.export.Dim.AUTO)
    # Without this the program refuses images so small that some layer's features are one pixel wide.
    any_size = torch.fx.experimental._config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]  # torch adds it
    with torch.no_grad(), any_size, one_line("this net has no graph for images of any size"):
        return torch.export.export(net, (example,), dynamic_shapes={"image": sizes})


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turn any error of torch or onnxruntime, which may take pages, into one line.

    Raises:
        SegmentError: anything was raised.
    """
    try:
        yield
    except SegmentError:
        raise
    except Exception as error:  # another library's net, or its program, may raise anything
        raise SegmentError(f"{what}: not written ({' '.join(str(error).split())[:200]})") from error


def export_metadata(segmenter: Segmenter, output: str) -> dict[str, Any]:
    """Return the facts that a user of the program needs: classes, colours, normalisation, inputs."""
    return {
        "classes": segmenter.classes.names,
        "palette": segmenter.classes.palette,
        "normalization": {**segmenter.net.normalization, "inside": True},
        "input": "image: uint8 (N,3,H,W), RGB",
        "output": OUTPUT_TYPES[output],
        "segment": __version__,
    }


def to_torch_export(graph: ExportedProgram, metadata: dict[str, Any]) -> tuple[bytes, Program]:
    """Return a file for ``torch.export.load``, with the metadata as extra file ``segment.json``, and the program."""
    file = BytesIO()
    torch.export.save(graph, file, extra_files={"segment.json": json.dumps(metadata)})
    return file.getvalue(), torch.export.load(BytesIO(file.getvalue())).module()


def to_onnx(graph: ExportedProgram, metadata: dict[str, Any]) -> tuple[bytes, Program]:
    """Return a file for ONNX, with the metadata as its ``metadata_props``, and the program."""
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    name = metadata["output"].partition(":")[0]
    with warnings.catch_warnings(action="ignore"), one_line("this net cannot be written as onnx"):
        onnx = torch.onnx.export(
            graph,
            dynamo=True,
            input_names=["image"],
            output_names=[name],
            dynamic_shapes={"image": AXES},
            verbose=False,
        )
    assert onnx is not None
    onnx.model.metadata_props.update({key: json.dumps(value) for key, value in metadata.items()})
    content = onnx.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


@torch.no_grad()
def compare_with_net(program: Program, net: ExportedNet) -> None:
    """Check that a program gives the net's output for images of several sizes, the smallest one among them.

    Raises:
        SegmentError: the outputs differ.
    """
    generator, smallest = torch.Generator().manual_seed(0), net.net.encoder.min_size
    for number, height, width in ((1, 65, 97), (3, 130, 74), (1, smallest, smallest)):
        image = torch.randint(0, 256, (number, 3, height, width), dtype=torch.uint8, generator=generator)
        expected = net(image)
        with one_line(f"the exported program fails on an image of {width}x{height}"):
            found = program(image)
        if net.output == "classes":
            difference = (found != expected).float().mean().item()
        else:
            difference = ((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6)).item()
        if not difference <= EXPORT_TOLERANCE:  # true for NaN, too
            raise SegmentError(
                f"the exported program's output differs from the net's by {difference:.2g} on an image of "
                f"{width}x{height}: not written"
            )
