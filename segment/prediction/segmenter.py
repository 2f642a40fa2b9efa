"""A trained net as one uses it: ``segment.load(checkpoint).predict(image)``."""

import base64
import html
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segment.data.classes import Classes
from segment.data.images import check_header, read_image, to_rgb
from segment.display.pictures import overlay, palette_image
from segment.errors import SegmentError
from segment.files import user_path, whole_file
from segment.models.net import SegmentationNet
from segment.prediction.inference import Inference
from segment.records.checkpoint import classes_of, load_checkpoint, load_net

SHOWN = 800
"""Pixels on the longer side of what a notebook shows."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a net sees in an image; it shows itself in a notebook.

    Attributes:
        image: uint8 (H,W,3) RGB, upright.
        mask: class indices uint8 (H,W).
        classes: what they stand for.
        probabilities: uint8 (classes,H,W), whole 255ths; None where they were not asked for.
    """

    image: np.ndarray
    mask: np.ndarray
    classes: Classes
    probabilities: np.ndarray | None = None

    def __repr__(self) -> str:
        found = Counter({name: count for name, count in self.counts().items() if count})
        shown = ", ".join(f"{name} {100 * n / self.mask.size:.1f} %" for name, n in found.most_common(5))
        shown += ", ..." * (len(found) > 5)
        return f"Segmentation({self.mask.shape[1]}x{self.mask.shape[0]}: {shown})"

    def counts(self) -> dict[str, int]:
        """Number of pixels by class name, of all classes."""
        found = np.bincount(self.mask.ravel(), minlength=len(self.classes))
        return dict(zip(self.classes.names, found.tolist(), strict=True))

    def overlay(self, opacity: float = 0.55) -> Image.Image:
        """The classes' colours over the image."""
        return Image.fromarray(overlay(self.image, self.mask, self.classes, opacity))

    def palette_image(self) -> Image.Image:
        """The mask as an image of class indices (mode P) with the classes' colours."""
        return palette_image(self.mask, self.classes)

    def save(self, path: str | Path) -> None:
        """Write the mask as a palette PNG.

        Raises:
            SegmentError: the file's name ends otherwise, or it can't be written.
        """
        path = user_path(path, "path")
        if path.suffix.lower() != ".png":
            raise SegmentError(f"{path}: masks are PNGs, which change no label: expected a name that ends in .png")
        try:
            with whole_file(path, "wb") as file:
                self.palette_image().save(file, "PNG")
        except OSError as error:
            raise SegmentError(f"cannot write {path}: {error.strerror or error}") from None

    def _repr_png_(self) -> bytes:
        picture = self.overlay()
        picture.thumbnail((SHOWN, SHOWN))
        content = io.BytesIO()
        picture.save(content, "PNG")
        return content.getvalue()

    def _repr_html_(self) -> str:
        """The overlay above the classes that occur, with their shares."""
        legend = []
        for (name, count), colour in zip(self.counts().items(), self.classes.palette, strict=True):
            if count:
                box = f"background:rgb{colour};display:inline-block;width:1em;height:1em;border:1px solid grey"
                share = f"{100 * count / self.mask.size:.1f} %"
                legend.append(f'<span style="{box}"></span> {html.escape(name)} {share}')
        picture = base64.b64encode(self._repr_png_()).decode()
        return f'<img src="data:image/png;base64,{picture}"><br>' + " &emsp; ".join(legend)


class Segmenter:
    """A net, the classes it knows, and how it is asked.

    Args:
        net: in evaluation mode.
        classes: what its score maps stand for.
        inference: windows, scales, flips, memory; by default whole images.
    """

    def __init__(self, net: SegmentationNet, classes: Classes, inference: Inference | None = None) -> None:
        self.net, self.classes, self.inference = net, classes, inference or Inference()

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """The classes' RGB colours."""
        return self.classes.palette

    def __repr__(self) -> str:
        names = ", ".join(self.classes.names[:5]) + (", ..." if len(self.classes) > 5 else "")
        return (
            f"Segmenter({len(self.classes)} classes: {names}; {self.inference.describe()}; on {self.net.mean.device})"
        )

    def predict(self, image: Any, probabilities: bool = False) -> Segmentation:
        """The classes of an image's pixels.

        Args:
            image: a path, a PIL image of any mode, a uint8 array (H,W), (H,W,1), (H,W,3) RGB or (H,W,4) RGBA, or a
                uint8 tensor (H,W), (1,H,W) or (3,H,W) RGB.
            probabilities: whether those are wanted, too.

        Raises:
            SegmentError: the image can't be read, is something else, or too small or too large for the net.
        """
        pixels = as_tensor(image)
        classes, found = self.inference.run(self.net, pixels, torch.uint8 if probabilities else None)
        return Segmentation(
            pixels.permute(1, 2, 0).numpy(),
            classes.to(torch.uint8).cpu().numpy(),
            self.classes,
            found.cpu().numpy() if probabilities else None,
        )


def as_tensor(image: Any) -> Tensor:
    """What :meth:`Segmenter.predict` takes, as uint8 (3,H,W) RGB.

    Raises:
        SegmentError: it is something else.
    """
    if isinstance(image, str | Path):
        path = user_path(image, "image")
        check_header(path)
        return read_image(path)
    if isinstance(image, Image.Image):
        try:
            return torch.from_numpy(np.array(to_rgb(image))).permute(2, 0, 1)
        except Exception as error:  # PIL reads files late, and a broken one may raise anything
            raise SegmentError(f"cannot read the image: {error}") from None
    if not isinstance(image, np.ndarray | Tensor):
        raise SegmentError(f"an image is a path, a PIL image, an array or a tensor, not a {type(image).__name__}")
    shape, kind = tuple(image.shape), str(image.dtype).removeprefix("torch.")
    channels = image.ndim == 3 and shape[0 if isinstance(image, Tensor) else 2]
    wanted = {False, 1, 3} if isinstance(image, Tensor) else {False, 1, 3, 4}
    if image.ndim not in {2, 3} or channels not in wanted or kind != "uint8" or 0 in shape:
        raise SegmentError(
            "expected uint8 values from 0 to 255 in an array (H,W), (H,W,1), (H,W,3) or (H,W,4), or in a tensor (H,W), "
            f"(1,H,W) or (3,H,W); got {kind} {shape}"
        )
    if isinstance(image, Tensor):
        return image.cpu().expand(3, -1, -1)
    return as_tensor(Image.fromarray(image[..., 0] if channels == 1 else image))


def load_segmenter(checkpoint: str | Path, device: str | None = None, inference: Inference | None = None) -> Segmenter:
    """The net of a checkpoint.

    Args:
        checkpoint: a file of segment.train's, such as ``RUN/checkpoints/best.ckpt``. It may come from a stranger: it is
            read as plain data, and builds nets and nothing else.
        device: "cpu", "cuda", "cuda:1", ...; None for a GPU if there is one.
        inference: see :class:`Segmenter`.

    Raises:
        SegmentError: there is no such file or device, or it is not a checkpoint.
    """
    content: Mapping[str, Any] = load_checkpoint(checkpoint)
    classes, net = classes_of(content), load_net(content, checkpoint)
    try:
        net.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    except (RuntimeError, AssertionError) as error:
        raise SegmentError(f"device={device}: {str(error).splitlines()[0]}") from None
    return Segmenter(net, classes, inference)
