"""The net: an encoder, a decoder, and the way back to the size of the input."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from lightning.fabric.utilities import rank_zero_only
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from segment.errors import SegmentError
from segment.models.class_map import class_map
from segment.models.decoders.fcn import crop, upsample
from segment.models.normalization import _alike, read_pixels
from segment.models.state_dicts import load_published


class EncoderLike(Protocol):
    """What a decoder and the net ask of an encoder."""

    channels: dict[int, int]
    multiple: int
    pretrained: bool
    normalization: tuple[tuple[float, ...], tuple[float, ...], bool]
    minimum: int
    layout: str
    checkpointing: bool
    stages: nn.ModuleList

    def __call__(self, image: Tensor) -> dict[int, Tensor]: ...


class DecoderLike(Protocol):
    """What the net asks of a decoder: scores at ``stride``, in which the image's begin at ``offset``.

    ``layouts`` are those of the encoders it suits. ``stretch`` is whether the scores are stretched to the image's
    size, instead of enlarged by the stride and cut.
    """

    stride: int
    offset: int
    stretch: bool
    layouts: tuple[str, ...]

    def __call__(self, features: Mapping[int, Tensor]) -> Tensor: ...


class SegmentationNet(nn.Module):
    """Any encoder with any decoder; images of any size in, scores of the same size out.

    Its memory format is channels last.

    Args:
        encoder: declares ``channels`` by stride and returns its features by stride.
        decoder: a decoder's class, called with ``channels`` and ``num_classes``.
        num_classes: number of score maps.
        normalization: what pixels the weights were trained on: "imagenet" (RGB, mean and deviation of
            ImageNet), "caffe" (BGR in 0..255 less the mean) or "unit" (RGB in 0..1), or a table of ``mean`` and
            ``deviation`` in 0..255 and ``bgr``; None is what ``weights`` says, or else the encoder.
        weights: a file for the whole net, see :func:`segment.models.state_dicts.load_published`.
        frozen_stages: number of the encoder's stages, from the image on, that are not trained.
        frozen_batch_norm: whether the encoder's batch norms keep their statistics, scales and shifts.
        checkpointing: see :class:`segment.models.encoders.encoder.Encoder`.

    Raises:
        SegmentError: unknown normalisation, too many stages, a decoder that does not suit the encoder, weights
            that do not fit.
    """

    mean: Tensor
    deviation: Tensor

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
        self.encoder: EncoderLike = encoder
        self.decoder: DecoderLike = decoder(channels=encoder.channels, num_classes=num_classes)
        suited = self.decoder.layouts
        if encoder.layout not in suited:
            raise SegmentError(
                f"the encoder's features are {encoder.layout}, the decoder wants {' or '.join(suited)} ones: "
                "the encoders vgg16_fc_paper, unet_paper and unet_milesial go with the decoders of their models alone"
            )
        self.num_classes = num_classes
        told = None
        if weights is not None:
            told = load_published(self, weights)
            encoder.pretrained = True
        usual = encoder.normalization if told is None else read_pixels(told)
        mean, deviation, self.bgr = pixels = usual if normalization is None else read_pixels(normalization)
        if told is not None and not _alike(pixels, usual):
            rank_zero_only(print)(
                f"note: model.normalization is not as it was for the net of {weights}; null takes that over"
            )
        # Not in the state dict, which is the weights; a checkpoint's card has it.
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)
        encoder.checkpointing = checkpointing
        if not 0 <= frozen_stages <= len(encoder.stages):
            raise SegmentError(f"model.frozen_stages={frozen_stages}: this encoder has {len(encoder.stages)} stages")
        self.frozen_stages, self.frozen_batch_norm = frozen_stages, frozen_batch_norm
        for part in self._frozen():
            part.requires_grad_(False)
        # CPUs take less time in this memory format with most nets, and tensor cores want it. On Apple's GPUs batch
        # norms' gradients are wrong in it or end in an error (pytorch/pytorch#175189), convolutions' slow (#193349).
        if not torch.backends.mps.is_available():
            self.to(memory_format=torch.channels_last)
        self.train()  # Lightning takes each part's mode as it finds it

    @property
    def normalization(self) -> dict[str, Any]:
        """As a table, see above."""
        return {"mean": self.mean.flatten().tolist(), "deviation": self.deviation.flatten().tolist(), "bgr": self.bgr}

    def train(self, mode: bool = True) -> "SegmentationNet":
        super().train(mode)
        for part in self._frozen():
            part.eval()  # or their batch norms would go on adapting
        return self

    def _frozen(self) -> list[nn.Module]:
        """Found anew each time: trainer.sync_batchnorm puts others in their place."""
        parts: list[nn.Module] = list(self.encoder.stages[: self.frozen_stages])
        if self.frozen_batch_norm:
            parts += [part for part in self.encoder.stages.modules() if isinstance(part, _BatchNorm)]
        return parts

    def normalize(self, image: Tensor) -> Tensor:
        """uint8 RGB (N,3,H,W) to the floats that ``forward`` takes, on the net's device."""
        image = image.to(self.mean.device)
        image = image.flip(1) if self.bgr else image
        # In place on the copy, since allocating three float batches takes longer than filling them; and planes of
        # channels, since arithmetic with a value for each channel is slow on channels last, as a loader's batches are.
        planes = image.to(self.mean.dtype, memory_format=torch.contiguous_format, copy=True)
        return planes.sub_(self.mean).div_(self.deviation)

    def scores(self, image: Tensor) -> Tensor:
        """Normalised image (N,3,H,W) to scores (N,num_classes,ceil(H/s),ceil(W/s)), s the decoder's stride."""
        height, width = image.shape[-2:]
        if self.encoder.minimum > min(height, width):
            raise SegmentError(
                f"the image is {width}x{height}, this encoder wants {self.encoder.minimum} pixels at least on each side"
            )
        multiple = self.encoder.multiple
        free_y, free_x = ((multiple - side % multiple) % multiple for side in (height, width))
        padded = F.pad(image, (0, free_x, 0, free_y)) if multiple > 1 else image
        scores = self.decoder(self.encoder(padded))
        stride = self.decoder.stride
        # Divided without negative numbers, which ONNX rounds the other way.
        return crop(scores, (height + stride - 1) // stride, (width + stride - 1) // stride, self.decoder.offset)

    def forward(self, image: Tensor) -> Tensor:
        """Normalised image (N,3,H,W), H and W of any size, to scores (N,num_classes,H,W)."""
        return self.enlarge(self.scores(image), *image.shape[-2:])

    def enlarge(self, scores: Tensor, height: int, width: int) -> Tensor:
        """The decoder's scores at the image's size, bilinear, in 32 bits at least.

        A score's gradient is a sum over up to 64x64 pixels, which 8 bits of mantissa do not hold.
        """
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        if self.decoder.stretch:
            return F.interpolate(scores, (height, width), mode="bilinear", align_corners=False)
        return crop(upsample(scores, self.decoder.stride), height, width)

    @torch.no_grad()
    def predict(self, image: Tensor) -> Tensor:
        """uint8 RGB (N,3,H,W) to class indices (N,H,W): the argmax of ``forward``, in little memory."""
        height, width = image.shape[-2:]
        stride = None if self.decoder.stretch else self.decoder.stride
        return class_map(self.scores(self.normalize(image)), height, width, stride)
