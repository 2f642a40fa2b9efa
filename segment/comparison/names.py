"""Names of nets, as the literature calls them."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

SKIPS = "model.decoder.skip_strides"
NAMING_KEYS = ("model._target_", "model.decoder._target_", SKIPS, "model.decoder.at_once", "predictions", "net")
"""Keys of a training's configuration that the name of the net may stand for."""
FAMILIES = {"UNetDecoder": "U-Net", "PaperUNetDecoder": "U-Net", "SegNetDecoder": "SegNet"}
"""Names of nets by the class of their decoder."""


def net_name(config: Mapping[str, Any]) -> str:
    """Return the name of a net from the configuration of its training; empty if it has none.

    An FCN is called by the finest stride that it scores. Skips that leave out a stride on the way are added. A net or
    decoder of another package has the name of its class.

    Args:
        config: values by dotted key.

    Example:
        >>> net_name({"model.decoder.skip_strides": [16, 8]}), net_name({"model.decoder.skip_strides": [8]})
        ('FCN-8s', 'FCN-8s (skips 8)')
    """
    for key in ("model._target_", "model.decoder._target_"):
        if not str(config.get(key, "segment.")).startswith("segment."):
            return str(config[key]).rpartition(".")[2]
    family = FAMILIES.get(str(config.get("model.decoder._target_")).rpartition(".")[2])
    if family:
        return family
    skips = config.get(SKIPS)
    if not isinstance(skips, list) or not all(isinstance(skip, int) for skip in skips):
        return ""
    strides = sorted({*skips, _deepest_stride(config)})
    gaps = any(coarse != 2 * fine for fine, coarse in pairwise(strides))
    with_skips = f" (skips {' '.join(map(str, sorted(skips, reverse=True)))})" if gaps else ""
    return f"FCN-{strides[0]}s{' at once' if config.get('model.decoder.at_once') is True else ''}{with_skips}"


def _deepest_stride(config: Mapping[str, Any]) -> int:
    """Return the stride of the encoder's deepest features."""
    stride, first, depth = (config.get(f"model.encoder.{key}") for key in ("output_stride", "first_stride", "depth"))
    if isinstance(first, int) and isinstance(depth, int) and 0 < depth < 10:  # U-Net's encoder
        return first * 2 ** (depth - 1)
    return stride if isinstance(stride, int) else 32
