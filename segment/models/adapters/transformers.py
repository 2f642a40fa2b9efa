"""Nets of the library transformers, the extra ``transformers``."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from segment.errors import SegmentError
from segment.models.adapters.any_size import AdaptedNet
from segment.models.adapters.pretrained import load_pretrained
from segment.models.adapters.transformers_config import build_from_config, record
from segment.models.normalization import NORMALIZATIONS

STRIDE = 32
"""Stride of the coarsest features of these nets, unless it is no multiple of their patches."""


class TransformersNet(AdaptedNet):
    """A net for semantic segmentation of the library transformers.

    No code of a folder or of the hub is run.

    Args:
        num_classes: number of score maps. A net with another number gets a new last layer.
        name: a folder that ``save_pretrained`` wrote, or a name on the Hugging Face Hub.
        config: in place of a name, the net's configuration with its ``model_type``; the weights are random.
        normalization, weights: see :class:`segment.models.SegmentationNet`. The default normalisation is that of the
            folder, or ImageNet's.

    Raises:
        SegmentError: transformers is missing or has no such net, the net takes images of some sizes only, or the
            weights cannot be loaded.

    Example:
        >>> import torch
        >>> sizes = {"hidden_sizes": [8, 8, 8, 8], "num_attention_heads": [1, 1, 1, 1], "depths": [1, 1, 1, 1]}
        >>> net = TransformersNet(num_classes=2, config={"model_type": "segformer", **sizes})
        >>> net(torch.zeros(1, 3, 33, 65)).shape
        torch.Size([1, 2, 33, 65])
    """

    sources = ("name",)

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        config: dict[str, Any] | None = None,
        normalization: str | Mapping[str, Any] | None = None,
        weights: str | None = None,
    ) -> None:
        if not find_spec("transformers"):
            raise SegmentError("model=transformers needs transformers: pip install 'segment-lightning[transformers]'")
        if (name is None) == (config is None):
            raise SegmentError(
                "model=transformers: give either model.name=FOLDER_OR_NAME, or "
                "model.config={model_type: segformer} for random weights"
            )
        if name is not None:
            net, normal = load_pretrained(name, num_classes)
        else:
            net, normal = build_from_config(config or {}, num_classes), NORMALIZATIONS["imagenet"]
        self.config = record(net.config)
        super().__init__(
            net,
            num_classes,
            normal,
            normalization,
            weights,
            trunk=net.base_model_prefix or "backbone",
            pretrained=name is not None,
            multiple=stride_of(self.config),
            stride=stride_of(self.config),
            name=f"transformers' {self.config['model_type']}",
        )

    def settings(self) -> dict[str, Any]:
        """Return the arguments by which the net is built again: its whole configuration, in place of a name."""
        return {**super().settings(), "name": None, "config": self.config}


def stride_of(config: Mapping[str, Any]) -> int:
    """Return the stride of a net's coarsest features, from its configuration."""
    parts = [config, *(value for value in config.values() if isinstance(value, Mapping))]
    patches = [part["patch_size"] for part in parts if isinstance(part.get("patch_size"), int)]
    return max((size for size in patches if STRIDE % size), default=STRIDE)
