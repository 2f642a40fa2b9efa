"""Any module from images to scores as a :class:`SegmentationNet`."""

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segment.errors import SegmentError
from segment.models.net import SegmentationNet
from segment.models.normalization import NORMALIZATIONS, Normalization, read_normalization

FACTS: dict[str, Any] = {"normalization": NORMALIZATIONS["imagenet"], "size_divisor": 1, "min_size": 1, "stride": 32}
"""Facts about a net's input that its module may declare as attributes, with the defaults."""


class WholeNet(SegmentationNet):
    """A net that is no pair of encoder and decoder: any module that maps (N,3,H,W) to scores (N,classes,H,W).

    A fact that is not given is the module's attribute of that name, or else that of :data:`FACTS`. An attribute of
    another kind is not meant for this class: a layer's ``stride`` is a pair. The memory format is not changed, since
    the module's code may rely on it.

    Args:
        net: the module.
        num_classes: number of score maps.
        normalization, weights: see :class:`SegmentationNet`.
        size_divisor: images are padded right and bottom to multiples of this many pixels; the scores are cropped.
        min_size: number of pixels that the shorter side of an image must have.
        stride: pixels per cell of the net's coarsest features; large images are cut into parts at multiples of it.

    Raises:
        SegmentError: an argument or attribute is out of range, or the weights do not fit.

    Example:
        >>> net = WholeNet(nn.Conv2d(3, 2, 3, padding=1), num_classes=2)
        >>> net(torch.zeros(1, 3, 5, 7)).shape
        torch.Size([1, 2, 5, 7])
    """

    channels_last = False
    inside = "decoder.net."

    def __init__(
        self,
        net: nn.Module,
        num_classes: int,
        normalization: str | Mapping[str, Any] | None = None,
        weights: str | None = None,
        size_divisor: int | None = None,
        min_size: int | None = None,
        stride: int | None = None,
    ) -> None:
        given = {"size_divisor": size_divisor, "min_size": min_size, "stride": stride}
        if normalization is None:
            _check_spelling(net)
        facts = FACTS | _declared(net) | {key: value for key, value in given.items() if value is not None}
        super().__init__(
            ImageFeature(**facts),
            lambda channels, num_classes: _WholeDecoder(net, num_classes),
            num_classes,
            normalization,
            weights,
        )


class ImageFeature(nn.Module):
    """An encoder whose only feature is the image itself.

    Args:
        normalization, size_divisor, min_size, stride: see :class:`WholeNet`.

    Raises:
        SegmentError: a value is out of range.
    """

    layout = "aligned"
    pretrained = False
    checkpointing = False

    def __init__(self, normalization: Normalization, size_divisor: int, min_size: int, stride: int) -> None:
        super().__init__()
        for key, value in {"size_divisor": size_divisor, "min_size": min_size, "stride": stride}.items():
            if value < 1:
                raise SegmentError(f"model.{key}={value}: expected a whole number from 1")
        self.channels, self.normalization = {stride: 3}, normalization
        self.size_divisor, self.min_size = size_divisor, min_size
        self.stages = nn.ModuleList()

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Return the normalised image (N,3,H,W) by the stride."""
        return dict.fromkeys(self.channels, image)


class _WholeDecoder(nn.Module):
    """The module of a :class:`WholeNet` as its decoder; its output is checked."""

    stride = 1
    offset = 0
    resize_to_image = False
    layouts: tuple[str, ...] = ("aligned",)

    def __init__(self, net: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.net, self.num_classes = net, num_classes

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Map the normalised image (N,3,H,W) to scores (N,num_classes,H,W).

        Raises:
            SegmentError: the module fails at this size, or returns anything else.
        """
        (image,) = features.values()
        if torch.compiler.is_exporting():  # comparing sizes would fix them in the exported program
            return self.net(image)  # type: ignore[no-any-return]  # any module
        try:
            scores: Any = self.net(image)
        except RuntimeError as error:
            if "size" not in str(error) or isinstance(error, torch.OutOfMemoryError):
                raise
            raise SegmentError(
                f"{self._describe(image)} fails ({' '.join(str(error).split())[:150]}): if the sides have to be "
                "multiples of a number, set size_divisor in the class or +model.size_divisor=32"
            ) from error
        expected = (len(image), self.num_classes, *image.shape[-2:])
        if isinstance(scores, Tensor) and scores.shape == expected:
            return scores
        found = f"a tensor {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
        raise SegmentError(
            f"{self._describe(image)} returns {found}, expected scores as a tensor {expected}: (images, classes, "
            "height, width)"
        )

    def _describe(self, image: Tensor) -> str:
        return f"{type(self.net).__name__}, with images of {image.shape[-1]}x{image.shape[-2]} pixels,"


def _check_spelling(net: nn.Module) -> None:
    """Check that a module's ``normalization`` is no misspelt name; any other text is not meant for us.

    Raises:
        SegmentError: it is like the name of a normalisation.
    """
    name = getattr(net, "normalization", None)
    if not isinstance(name, str) or name in NORMALIZATIONS:
        return
    if close := difflib.get_close_matches(name.lower(), NORMALIZATIONS, 1):
        raise SegmentError(f"{type(net).__name__}.normalization={name!r:.60}: did you mean {close[0]!r}?")


def _declared(net: nn.Module) -> dict[str, Any]:
    """Return the facts that a module declares."""
    found = {key: getattr(net, key, None) for key in FACTS}
    facts: dict[str, Any] = {key: value for key, value in found.items() if type(value) is int}
    normalization = found["normalization"]
    if isinstance(normalization, Normalization):
        facts["normalization"] = normalization
    elif isinstance(normalization, Mapping) or (isinstance(normalization, str) and normalization in NORMALIZATIONS):
        facts["normalization"] = read_normalization(normalization)
    return facts
