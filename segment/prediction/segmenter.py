"""A trained net with its classes: ``segment.load(checkpoint).predict(image)``."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segment.data.classes import Classes
from segment.data.images import Reading, check_header, read_image, to_rgb
from segment.display.legend import with_legend
from segment.display.pictures import overlay, palette_image
from segment.errors import SegmentError
from segment.files import user_path, whole_file
from segment.models.net import SegmentationNet
from segment.prediction.inference import Inference, whole_255ths
from segment.records.checkpoint import load_checkpoint, load_net, read_classes, trained_reading
from segment.records.folder import checkpoint_path
from segment.records.trust import read_trust

NOTEBOOK_SIDE = 800
"""Longest side of the picture in a notebook, in pixels. Smaller images are enlarged to about half of it or more."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The class of every pixel of an image. Notebooks display it as an overlay with a legend.

    Attributes:
        image: uint8 (H,W,3) RGB, upright.
        mask: class indices uint8 (H,W).
        classes: names and colours of the indices.
        probabilities: uint8 (classes,H,W), in whole 255ths; None if they were not computed.

    Example:
        >>> classes = Classes(("background", "disc"), ((0, 0, 0), (255, 0, 0)))
        >>> Segmentation(np.zeros((2, 4, 3), np.uint8), np.array([[0, 0, 0, 1]] * 2, np.uint8), classes)
        Segmentation(4x2: background 75.0 %, disc 25.0 %)
    """

    image: np.ndarray
    mask: np.ndarray
    classes: Classes
    probabilities: np.ndarray | None = None

    def __repr__(self) -> str:
        found = Counter({name: count for name, count in self.counts().items() if count})
        shown = ", ".join(f"{name} {100 * n / self.mask.size:.1f} %" for name, n in found.most_common(5))
        more = ", ..." * (len(found) > 5)
        return f"Segmentation({self.mask.shape[1]}x{self.mask.shape[0]}: {shown}{more})"

    def counts(self) -> dict[str, int]:
        """Return the number of pixels of every class, by name."""
        found = np.bincount(self.mask.ravel(), minlength=len(self.classes))
        return dict(zip(self.classes.names, found.tolist(), strict=True))

    def overlay(self, opacity: float = 0.55, legend: bool = False) -> Image.Image:
        """Return the image with the classes' colours laid over it, and with a legend below it if that is wanted."""
        picture = Image.fromarray(overlay(self.image, self.mask, self.classes, opacity))
        return with_legend(picture, self.mask, self.classes) if legend else picture

    def palette_image(self) -> Image.Image:
        """Return the mask as an image of class indices (mode P) with the classes' colours."""
        return palette_image(self.mask, self.classes)

    def save(self, path: str | Path) -> None:
        """Write the mask as a palette PNG.

        Raises:
            SegmentError: the name does not end in .png.
            OSError: the file cannot be written.
        """
        path = user_path(path, "path")
        if path.suffix.lower() != ".png":
            raise SegmentError(f"{path}: expected a name that ends in .png, since other formats may change labels")
        with whole_file(path, "wb") as file:
            self.palette_image().save(file, "PNG")

    def _repr_png_(self) -> bytes:
        """Return the overlay, reduced or enlarged to the width of a notebook, with its legend."""
        picture, content = self.overlay(), io.BytesIO()
        picture.thumbnail((NOTEBOOK_SIDE, NOTEBOOK_SIDE))
        factor = NOTEBOOK_SIDE // max(picture.size)
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
        with_legend(picture, self.mask, self.classes).save(content, "PNG")
        return content.getvalue()


class Segmenter:
    """A net together with its classes and its inference protocol.

    Args:
        net: a net in evaluation mode.
        classes: names and colours of its score maps.
        inference: the protocol; by default whole images at one scale.
        reading: choice of bands and bits, as for the images that the net was trained on.

    Example:
        >>> from segment.cli.build import instantiate
        >>> from segment.cli.config import load_config
        >>> net = instantiate(load_config(["model=fcn_small"]).model, num_classes=2).eval()
        >>> segmenter = Segmenter(net, Classes(("background", "disc"), ((0, 0, 0), (255, 0, 0))))
        >>> segmenter.predict(np.zeros((24, 32, 3), np.uint8)).mask.shape
        (24, 32)
    """

    def __init__(
        self,
        net: SegmentationNet,
        classes: Classes,
        inference: Inference | None = None,
        reading: Reading | None = None,
    ) -> None:
        self.net, self.classes, self.inference = net, classes, inference or Inference()
        self.reading = reading or Reading()

    def __repr__(self) -> str:
        names = ", ".join(self.classes.names[:5]) + ", ..." * (len(self.classes) > 5)
        protocol = f"{self.inference.describe()}; on {self.net.mean.device}"
        return f"Segmenter({len(self.classes)} classes: {names}; {protocol})"

    def predict(self, image: Any, probabilities: bool = False) -> Segmentation:
        """Return the class of every pixel of an image.

        Args:
            image: a path, a PIL image of any mode, a uint8 array (H,W), (H,W,1), (H,W,3) RGB or (H,W,4) RGBA, or a
                uint8 tensor (H,W), (1,H,W), (3,H,W) RGB or (4,H,W) RGBA. If the net was trained with ``data.bands``, an
                array or tensor holds any number of bands, which are chosen alike.
            probabilities: return the probabilities, too.

        Raises:
            SegmentError: the image cannot be read, is of another type, or is too small or too large for the net.
        """
        pixels = to_rgb_tensor(image, self.reading)
        classes, found = self.inference.run(self.net, pixels, whole_255ths if probabilities else None)
        return self.segmentation(pixels, classes, found)

    def segmentation(self, pixels: Tensor, classes: Tensor, probabilities: Tensor | None = None) -> Segmentation:
        """Return what the net found as arrays.

        Args:
            pixels: the image, uint8 (3,H,W) RGB.
            classes: class indices (H,W).
            probabilities: uint8 (C,H,W) in 255ths, if they are kept.
        """
        rgb, mask = pixels.permute(1, 2, 0).numpy(), classes.to(torch.uint8).cpu().numpy()
        return Segmentation(rgb, mask, self.classes, None if probabilities is None else probabilities.cpu().numpy())


def to_rgb_tensor(image: Any, reading: Reading) -> Tensor:
    """Return an image, as :meth:`Segmenter.predict` takes it, as uint8 (3,H,W) RGB.

    Raises:
        SegmentError: the image cannot be read or is of another type.
    """
    if isinstance(image, str | Path):
        path = user_path(image, "image")
        check_header(path)
        return read_image(path, reading)
    if isinstance(image, Image.Image):
        if reading.bands and len(image.getbands()) > 3:  # PIL may have taken a band for opacity
            raise SegmentError(
                f"data.bands={[*reading.bands]}: give the path or an array, not a PIL image of mode {image.mode}"
            )
        try:
            return _chosen(np.asarray(to_rgb(image, reading)), reading)
        except Exception as error:  # PIL decodes files only now, and may raise anything on a broken one
            raise SegmentError(f"cannot read the image: {error}") from None
    if not isinstance(image, np.ndarray | Tensor):
        raise SegmentError(f"expected a path, a PIL image, an array or a tensor, got a {type(image).__name__}")
    given = f"{str(image.dtype).removeprefix('torch.')} {tuple(image.shape)}"
    if isinstance(image, Tensor):
        image = image.cpu().permute(1, 2, 0) if image.ndim == 3 else image.cpu()
    shape = tuple(image.shape)
    known = len(shape) == 3 if reading.bands else shape[2:] in {(1,), (3,), (4,)}
    if not given.startswith("uint8 ") or 0 in shape or not (len(shape) == 2 or known):
        raise SegmentError(
            "expected uint8 values from 0 to 255 in an array (H,W), (H,W,1), (H,W,3) or (H,W,4), or in a tensor (H,W), "
            f"(1,H,W), (3,H,W) or (4,H,W); got {given}"
        )
    values = np.atleast_3d(np.asarray(image))
    if not reading.bands and values.shape[2] == 4:
        values = np.asarray(to_rgb(Image.fromarray(values)))
    try:
        return _chosen(values, reading)
    except ValueError as error:
        raise SegmentError(f"cannot read the array {given}: {error}") from None


def _chosen(values: np.ndarray, reading: Reading) -> Tensor:
    """Return the chosen bands of values uint8 (H,W,N) as uint8 (3,H,W)."""
    return torch.from_numpy(np.array(reading.choose(values))).permute(2, 0, 1)


def load_segmenter(
    checkpoint: str | Path,
    device: str | None = None,
    inference: Inference | None = None,
    trust: str | Sequence[str] | None = None,
) -> Segmenter:
    """Load the net of a checkpoint.

    Args:
        checkpoint: a file that segment.train wrote, a run folder, which stands for its best checkpoint, a folder that
            segment.export format=hub wrote, or ``hf://USER/NAME@REVISION``. An untrusted one is safe: it is read as
            plain data, and only nets are built from it.
        device: "cpu", "cuda", "cuda:1", ...; None for a GPU if there is one.
        inference: see :class:`Segmenter`.
        trust: names of packages whose classes the net may have beside this package's, such as ``["mylab"]``.

    Raises:
        SegmentError: the file is missing or not a checkpoint, its net has classes that are not trusted, or there is no
            such device.
    """
    checkpoint = checkpoint_path(checkpoint)
    content = load_checkpoint(checkpoint)
    net = load_net(content, checkpoint, read_trust(trust))
    try:
        net.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    except (RuntimeError, AssertionError) as error:
        raise SegmentError(f"device={device}: {str(error).splitlines()[0]}") from None
    return Segmenter(net, read_classes(content), inference, trained_reading(content))
