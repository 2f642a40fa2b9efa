"""Networks that map a batch of images to one score map per class, and their parts.

Here belong encoders, decoders, the net that joins them, published networks, weights, and the cost of a net. Data sets,
losses, metrics and configuration do not: nothing in this folder imports :mod:`segment.data`.

YAML files and checkpoints name a class as ``segment.models.FCNDecoder``, so a class can move to another file. A
checkpoint may name only what is in ``__all__``.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.models.adapters.smp import SmpNet
    from segment.models.adapters.transformers import TransformersNet
    from segment.models.decoders.fcn import FCNDecoder
    from segment.models.decoders.unet import UNetDecoder
    from segment.models.encoders.encoder import Encoder
    from segment.models.encoders.mobilenet import MobileNetV2Encoder
    from segment.models.encoders.mobilenet_v3 import MobileNetV3Encoder
    from segment.models.encoders.resnet import ResNetEncoder
    from segment.models.encoders.timm_encoder import TimmEncoder
    from segment.models.encoders.unet_encoder import UNetEncoder
    from segment.models.encoders.vgg import VGGEncoder, VGGFullyConvolutional
    from segment.models.net import DecoderLike, EncoderLike, SegmentationNet
    from segment.models.normalization import NORMALIZATIONS, Normalization
    from segment.models.published.classifier import convolutional_classifier
    from segment.models.published.fcn_paper import PaperFCNDecoder
    from segment.models.published.fcn_resnet import FCNHead
    from segment.models.published.segnet import SegNetDecoder, SegNetEncoder
    from segment.models.published.torchvision_heads import DeepLabDecoder, LRASPPDecoder
    from segment.models.published.unet_paper import PaperUNet, PaperUNetDecoder, PaperUNetEncoder
    from segment.models.whole import WholeNet

__getattr__, __dir__, __all__ = public_names(__name__)
