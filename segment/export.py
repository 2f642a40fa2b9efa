"""A net for other programs: ``python -m segment.export checkpoint=FILE output=net.onnx format=onnx|torch_export``."""

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

from segment.cli.config import entry_point
from segment.errors import SegmentError
from segment.files import user_path

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

    from segment.models.net import SegmentationNet
    from segment.prediction.segmenter import Segmenter

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}
SIZES = ((1, 65, 97), (3, 130, 74))
"""Number, height and width of the images on which what was exported is held against the net."""
TOLERANCE = 1e-3
"""Share of pixels, where two classes are equally likely, or of the highest score, that may differ."""


def export(config: DictConfig) -> None:
    """One program for images of any size: uint8 RGB (N,3,H,W) in, class indices or scores out, at the images' size."""
    import torch

    from segment.prediction.segmenter import load

    writers = {"onnx": write_onnx, "torch_export": write_torch}
    if config.format not in writers or config.answer not in {"classes", "scores"}:
        raise SegmentError(
            f"format={config.format} answer={config.answer}: expected format=onnx or torch_export, "
            "and answer=classes or scores"
        )
    missing = [name for name in ("onnx", "onnxscript") if config.format == "onnx" and find_spec(name) is None]
    if missing:
        raise SegmentError(f"format=onnx wants {' and '.join(missing)}: pip install 'segment-lightning[onnx]'")
    output, suffix = user_path(config.output, "output"), SUFFIXES[config.format]
    if output.suffix != suffix or os.path.isdir(output):
        raise SegmentError(f"output={output}: expected a file's name that ends in {suffix}, for format={config.format}")
    model = load(config.checkpoint, "cpu")
    model.net.to(memory_format=torch.contiguous_format)  # the other one's strides would tie a program to a batch size
    part = output.with_name(f"{output.name}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        run = writers[config.format](trace(model.net, config.answer), part, card(model, config.answer))
        checked = compare(run, model.net, config.answer) if run else "not compared, since onnxruntime is not installed"
        os.replace(part, output)
    except OSError as error:
        raise SegmentError(f"output={output}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    print(f"{output} ({output.stat().st_size / 2**20:.1f} MiB): uint8 RGB (N,3,H,W) to {config.answer}; {checked}")


def trace(net: "SegmentationNet", answer: str) -> "ExportedProgram":
    """The net with its normalisation as one graph, for images of any number and size.

    Raises:
        SegmentError: it has no such graph.
    """
    import torch
    import torch.fx.experimental._config

    from segment.models.published.unet_paper import PaperUNet

    if isinstance(net, PaperUNet):
        raise SegmentError("unet_paper can't be exported: it cuts images into tiles, as many as their size asks for")

    class Answer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, image: "Tensor") -> "Tensor":
            scores = self.net(self.net.normalize(image))
            return scores.argmax(1).to(torch.uint8) if answer == "classes" else scores

    logging.getLogger("torch.fx.experimental.symbolic_shapes").setLevel(logging.ERROR)  # of what it can't prove
    auto = torch.export.Dim.AUTO
    example = torch.zeros(2, 3, 96, 128, dtype=torch.uint8)
    # Otherwise the program refuses images so small that some layer's features are one pixel wide.
    any_size = torch.fx.experimental._config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]  # torch adds it
    with torch.no_grad(), any_size:
        return torch.export.export(Answer().eval(), (example,), dynamic_shapes={"image": {0: auto, 2: auto, 3: auto}})


def card(model: "Segmenter", answer: str) -> dict[str, str]:
    """What a program needs to know of the exported one; each value is JSON."""
    from segment import __version__

    net = model.net
    normalization = {"mean": net.mean.flatten().tolist(), "std": net.deviation.flatten().tolist()}
    content: dict[str, Any] = {
        "classes": model.classes.names,
        "palette": model.classes.palette,
        "normalization": {**normalization, "order": "BGR" if net.bgr else "RGB", "inside": True},
        "input": "image: uint8 (N,3,H,W), RGB",
        "output": {"classes": "classes: uint8 (N,H,W)", "scores": "scores: float32 (N,classes,H,W)"}[answer],
        "segment": __version__,
    }
    return {key: json.dumps(value) for key, value in content.items()}


Run = Callable[["Tensor"], "Tensor"]


def write_torch(program: "ExportedProgram", path: Path, metadata: dict[str, str]) -> Run:
    """The metadata are the archive's extra file ``segment.json``."""
    import torch

    content = json.dumps({key: json.loads(value) for key, value in metadata.items()})
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"segment.json": content})
    with path.open("rb") as file:
        return torch.export.load(file).module()


def write_onnx(program: "ExportedProgram", path: Path, metadata: dict[str, str]) -> Run | None:
    """The metadata are the model's ``metadata_props``. Returns None where there is no onnxruntime to run it."""
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        onnx = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["image"],
            output_names=[metadata["output"][1:].split(":")[0]],
            verbose=False,
        )
    assert onnx is not None
    onnx.model.metadata_props.update(metadata)
    onnx.save(path, external_data=False)
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


def compare(run: Run, net: "SegmentationNet", answer: str) -> str:
    """Hold what was exported against the net, on images of several sizes, one of them the smallest.

    Raises:
        SegmentError: they differ.
    """
    import torch

    generator, differences = torch.Generator().manual_seed(0), []
    smallest = net.encoder.min_size
    for number, height, width in (*SIZES, (1, smallest, smallest)):
        image = torch.randint(0, 256, (number, 3, height, width), dtype=torch.uint8, generator=generator)
        with torch.no_grad():
            found = run(image)
            if answer == "classes":
                differences.append((found != net.predict(image)).float().mean().item())
            else:
                scores = net(net.normalize(image))
                differences.append(((found - scores).abs().max() / scores.abs().max().clamp(min=1e-6)).item())
    for difference in differences:
        if not difference <= TOLERANCE:  # NaN is not
            raise SegmentError(f"what was exported differs from the net by {difference:.2g}, and was not kept")
    return "same as the net on images of several sizes"


if __name__ == "__main__":
    entry_point("export", export)
