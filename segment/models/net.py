"""The net: an encoder, a decoder, and the way back to the size of the image."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from segment.console import print_once
from segment.errors import SegmentError
from segment.models.class_map import class_map
from segment.models.decoders.fcn import crop, upsample
from segment.models.encoders.encoder import LAYOUTS
from segment.models.memory_format import use_channels_last
from segment.models.normalization import Normalization, read_normalization, same_normalization
from segment.models.state_dicts import load_published


class EncoderLike(Protocol):
    """The attributes that an encoder must have; :class:`segment.models.Encoder` describes each and has them all.

    Example:
        >>> from segment.models import UNetEncoder
        >>> encoder: EncoderLike = UNetEncoder(width=4)
    """

    channels: dict[int, int]
    size_divisor: int
    pretrained: bool
    normalization: Normalization
    min_size: int
    layout: str
    checkpointing: bool
    stages: nn.ModuleList

    def __call__(self, image: Tensor) -> dict[int, Tensor]: ...


class DecoderLike(Protocol):
    """The attributes that a decoder must have; it maps features keyed by stride to scores.

    Attributes:
        stride: stride of the scores, in pixels of the image.
        offset: row and column of the scores at which the image begins.
        resize_to_image: whether the net resizes the scores to the image's size. Otherwise it upsamples them by
            ``stride`` and crops them.
        layouts: layouts of the encoders that it can take, see ``segment.models.encoders.encoder.LAYOUTS``.

    Example:
        >>> from segment.models import FCNDecoder
        >>> decoder: DecoderLike = FCNDecoder(channels={16: 8, 32: 8}, num_classes=2, skip_strides=[16])
    """

    stride: int
    offset: int
    resize_to_image: bool
    layouts: tuple[str, ...]

    def __call__(self, features: Mapping[int, Tensor]) -> Tensor: ...


class SegmentationNet(nn.Module):
    """A net of any encoder and any decoder: it maps images of any size to scores of the same size.

    Its memory format is channels last.

    Args:
        encoder: a module that declares ``channels`` by stride and returns its features keyed by stride.
        decoder: a class or function that makes the decoder from ``channels`` and ``num_classes``.
        num_classes: number of score maps.
        normalization: "imagenet" (RGB, ImageNet's mean and standard deviation), "caffe" (BGR in 0..255, less the
            mean), "unit" (RGB in 0..1), or a table of ``mean`` and ``std`` in 0..255 and ``bgr``. None takes the one
            that the file ``weights`` records, or else the encoder's.
        weights: a file for the whole net, see :func:`segment.models.state_dicts.load_published`.
        frozen_stages: number of the encoder's stages, from the first one on, that are not trained.
        frozen_batch_norm: whether the encoder's batch norms keep their statistics, scales and shifts.
        checkpointing: whether the encoder uses gradient checkpointing, see :class:`segment.models.Encoder`.

    Raises:
        SegmentError: the normalisation is unknown, the encoder has fewer stages than are to be frozen, the decoder
            needs an encoder with another layout, or the weights do not fit.

    Example:
        >>> from segment.models import FCNDecoder, UNetEncoder
        >>> net = SegmentationNet(UNetEncoder(width=4), FCNDecoder, num_classes=21)
        >>> net(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 21, 50, 70])
    """

    mean: Tensor
    std: Tensor
    channels_last = True
    trunk = "encoder."
    """Beginning of the keys of the part that is mostly pre-trained."""
    inside = ""
    """Beginning of the keys of another library's own net."""
    sources: tuple[str, ...] = ()
    """Arguments, beside ``weights``, that name weights to load: a checkpoint's net is built without them."""

    def __init__(
        self,
        encoder: EncoderLike,
        decoder: Callable[..., DecoderLike],
        num_classes: int,
        normalization: str | Mapping[str, Any] | None = None,
        weights: str | None = None,
        frozen_stages: int = 0,
        frozen_batch_norm: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        _check_declared(encoder, "encoder", EncoderLike)
        self.encoder: EncoderLike = encoder
        self.decoder: DecoderLike = decoder(channels=encoder.channels, num_classes=num_classes)
        _check_declared(self.decoder, "decoder", DecoderLike)
        _check_layout(encoder.layout, self.decoder.layouts)
        self.num_classes = num_classes
        recorded = None
        if weights is not None:
            recorded = load_published(self, weights)
            encoder.pretrained = True
        chosen = _choose_normalization(normalization, encoder.normalization, recorded, weights)
        self.bgr = chosen.bgr
        # Not in the state dict, which holds weights alone; a checkpoint has it in its metadata.
        self.register_buffer("mean", torch.tensor(chosen.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(chosen.std).view(3, 1, 1), persistent=False)
        encoder.checkpointing = checkpointing
        if not 0 <= frozen_stages <= len(encoder.stages):
            raise SegmentError(f"model.frozen_stages={frozen_stages}: this encoder has {len(encoder.stages)} stages")
        self.frozen_stages, self.frozen_batch_norm = frozen_stages, frozen_batch_norm
        for part in self._frozen():
            part.requires_grad_(False)
        if self.channels_last:
            use_channels_last(self)
        self.train()  # Lightning keeps the mode that it finds each module in

    @property
    def normalization(self) -> dict[str, Any]:
        """The normalisation as a table of plain values, which the argument of this name takes."""
        return {"mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist(), "bgr": self.bgr}

    def settings(self) -> dict[str, Any]:
        """Return arguments that differ from those in the configuration, for the metadata of a checkpoint.

        The default normalisation may come from timm, and another version of timm may have another one.
        """
        return {"normalization": self.normalization}

    def train(self, mode: bool = True) -> "SegmentationNet":
        """Set the mode of all modules but the frozen ones: those stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen():
            part.eval()  # in training mode batch norms would update their statistics
        return self

    def _frozen(self) -> list[nn.Module]:
        """Find the frozen modules, each time anew: trainer.sync_batchnorm replaces batch norms."""
        parts: list[nn.Module] = list(self.encoder.stages[: self.frozen_stages])
        if self.frozen_batch_norm:
            parts += [part for part in self.encoder.stages.modules() if isinstance(part, _BatchNorm)]
        return parts

    def normalize(self, image: Tensor) -> Tensor:
        """Map uint8 RGB (N,3,H,W) to the floats that ``forward`` takes, on the net's device."""
        image = image.to(self.mean.device)
        image = image.flip(1) if self.bgr else image
        # In place on the copy, since allocating three float batches takes longer than filling them. Contiguous, since
        # arithmetic with one value per channel is slow on channels last, the format of a loader's batches.
        planes = image.to(self.mean.dtype, memory_format=torch.contiguous_format, copy=True)
        return planes.sub_(self.mean).div_(self.std)

    def scores(self, image: Tensor) -> Tensor:
        """Map a normalised image (N,3,H,W) to scores (N,num_classes,ceil(H/s),ceil(W/s)) at the decoder's stride s.

        Raises:
            SegmentError: the image is smaller than the encoder's ``min_size``.
        """
        height, width = image.shape[-2:]
        if self.encoder.min_size > min(height, width):
            raise SegmentError(
                f"the image is {width}x{height}: this encoder needs {self.encoder.min_size} pixels or more on each side"
            )
        divisor = self.encoder.size_divisor
        pad_y, pad_x = ((divisor - side % divisor) % divisor for side in (height, width))
        padded = F.pad(image, (0, pad_x, 0, pad_y)) if divisor > 1 else image
        scores = self.decoder(self.encoder(padded))
        stride = self.decoder.stride
        # Rounded up without negative numbers, whose division ONNX rounds the other way.
        return crop(scores, (height + stride - 1) // stride, (width + stride - 1) // stride, self.decoder.offset)

    def forward(self, image: Tensor) -> Tensor:
        """Map a normalised image (N,3,H,W), H and W of any size, to scores (N,num_classes,H,W)."""
        return self.upsample(self.scores(image), *image.shape[-2:])

    def upsample(self, scores: Tensor, height: int, width: int) -> Tensor:
        """Upsample the decoder's scores to (N,num_classes,height,width), bilinear, in 32 bits or more.

        The gradient of a score is a sum over up to 64x64 pixels, for which the 8 bits of bfloat16 are too few.
        """
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        if self.decoder.resize_to_image:
            return F.interpolate(scores, (height, width), mode="bilinear", align_corners=False)
        return crop(upsample(scores, self.decoder.stride), height, width)

    @torch.no_grad()
    def predict(self, image: Tensor) -> Tensor:
        """Map uint8 RGB (N,3,H,W) to class indices int64 (N,H,W): the argmax of ``forward``, in little memory."""
        return self.best_classes(self.scores(self.normalize(image)), *image.shape[-2:])

    def best_classes(self, scores: Tensor, height: int, width: int) -> Tensor:
        """Return the argmax int64 (N,height,width) of the decoder's scores as :meth:`upsample` upsamples them."""
        return class_map(scores, height, width, None if self.decoder.resize_to_image else self.decoder.stride)


def _choose_normalization(
    given: str | Mapping[str, Any] | None, default: Normalization, recorded: Any, weights: str | None
) -> Normalization:
    """Return the normalisation that is given, or else the one that the file ``weights`` records, or the default."""
    expected = default if recorded is None else read_normalization(recorded)
    if given is None:
        return expected
    chosen = read_normalization(given)
    if recorded is not None and not same_normalization(chosen, expected):
        print_once(
            f"note: model.normalization differs from the one that {weights} was trained with; null takes that one"
        )
    return chosen


def _check_declared(part: Any, name: str, protocol: type) -> None:
    """Raise a SegmentError where an encoder or a decoder is no module or lacks an attribute of its protocol."""
    if not isinstance(part, nn.Module):
        raise SegmentError(f"model.{name} builds a {type(part).__name__}, expected a torch.nn.Module")
    if missing := [key for key in protocol.__annotations__ if not hasattr(part, key)]:
        raise SegmentError(
            f"model.{name}: {type(part).__name__} lacks the attribute{'s' * (len(missing) > 1)} {', '.join(missing)}, "
            f"which {'segment.models.Encoder has as a base class' if name == 'encoder' else 'every decoder declares'}"
        )


def _check_layout(layout: str, accepted: tuple[str, ...]) -> None:
    """Raise a SegmentError where a decoder that accepts some layouts is given an encoder with another one."""
    if layout not in accepted:
        example = f": use model/encoder={LAYOUTS[accepted[0]]}" if accepted[0] in LAYOUTS else ""
        needed = " or ".join(map(repr, accepted))
        raise SegmentError(f"this decoder needs an encoder with layout {needed}, got {layout!r}{example}")
