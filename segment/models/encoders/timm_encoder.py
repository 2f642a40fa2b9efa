"""Encoders from timm: any convolutional network that timm can split into features."""

from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import timm
import torch
from torch import Tensor, nn

from segment.errors import SegmentError
from segment.models.normalization import Normalization
from segment.models.weights import IMAGENET, load_file, load_state


class TimmEncoder(nn.Module):
    """A feature network of timm.

    Args:
        name: a name from ``timm.list_models()``, with or without the tag of its weights (``resnet18.a1_in1k``).
        weights: "imagenet" (timm's default for the name, downloaded once), a file with a state dict of
            the whole network in timm's layout, or None.
        output_stride: 32; or 16 or 8 where timm can dilate the network.

    Raises:
        SegmentError: the name is unknown, the network has no pyramid of features, or the weights do not load.

    Example:
        >>> TimmEncoder("resnet18", weights=None).channels
        {2: 64, 4: 64, 8: 128, 16: 256, 32: 512}
    """

    layout = "aligned"
    min_size = 1

    def __init__(self, name: str, weights: str | None = IMAGENET, output_stride: int = 32) -> None:
        super().__init__()
        if output_stride not in {8, 16, 32}:
            raise SegmentError(f"model.encoder.output_stride={output_stride}: expected 8, 16 or 32")
        self.net: Any = _feature_network(name, weights, output_stride)
        self.name, self.pretrained, self._checkpointing = name, weights is not None, False
        if weights is None:
            _reset_zero_norms(self.net)
        features = [(entry["reduction"], entry["num_chs"]) for entry in self.net.feature_info.get_dicts()]
        self.strides = [stride for stride, _ in features]
        self.channels: dict[int, int] = dict(features)  # a later feature replaces one of the same stride
        self.size_divisor = max(self.channels)
        pixels = self.net.pretrained_cfg  # also without weights: a checkpoint's net is built without them
        mean, std = (tuple(255 * value for value in pixels[key]) for key in ("mean", "std"))
        self.normalization = Normalization(mean, std)
        if len(self.channels) < 2 or not self._is_pyramid():
            raise SegmentError(f"timm's {name} gives no pyramid of (N,C,H,W) features: choose a convolutional network")

    def _is_pyramid(self) -> bool:
        """Return whether the features have the declared shapes: transformers need one size, or return (N,H,W,C)."""
        size = 2 * self.size_divisor
        try:
            with torch.no_grad():
                features = self.eval()(torch.zeros(1, 3, size, size))
        except (AssertionError, RuntimeError):
            return False
        self.train()
        return all(f.shape[1:] == (self.channels[s], size // s, size // s) for s, f in features.items())

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Map a normalised image (N,3,H,W) to the deepest feature of each stride: (N,channels,H/stride,W/stride)."""
        if torch.compiler.is_exporting():
            with patch("timm.layers.padding.get_same_padding", _constant_padding):
                return dict(zip(self.strides, self.net(image), strict=True))
        return dict(zip(self.strides, self.net(image), strict=True))

    @property
    def checkpointing(self) -> bool:
        """Gradient checkpointing: timm keeps few activations of the forward pass and computes the others again."""
        return self._checkpointing

    @checkpointing.setter
    def checkpointing(self, enable: bool) -> None:
        self._checkpointing = enable
        if enable:
            try:
                self.net.set_grad_checkpointing()
            except (AssertionError, AttributeError):
                raise SegmentError(f"model.checkpointing=true: timm has none for {self.name}; use false") from None

    @property
    def stages(self) -> nn.ModuleList:
        """The network's modules up to each feature; one stage where timm does not name them."""
        ends = getattr(self.net, "return_layers", {})
        groups: list[nn.ModuleList] = [nn.ModuleList()]
        for name, part in self.net.named_children():
            groups[-1].append(part)
            if name in ends:
                groups.append(nn.ModuleList())
        return nn.ModuleList(group for group in groups if len(group))


def _constant_padding(size: Any, kernel_size: int, stride: int, dilation: int) -> int:
    """Return TensorFlow's padding "same" of a size that the stride divides, as those in a padded image are.

    With timm's own function, which computes with the size, the export of a ``tf_`` network takes minutes.
    """
    return max(dilation * (kernel_size - 1) + 1 - stride, 0)


def _feature_network(name: str, weights: str | None, output_stride: int) -> Any:
    if not timm.is_model(name):
        similar = timm.list_models(f"*{name.split('.')[0][:6]}*")[:5]
        hint = f"did you mean {', '.join(similar)}?" if similar else "timm.list_models() lists all"
        raise SegmentError(f"timm has no network {name!r}; {hint}")
    options: dict[str, Any] = {"pretrained": weights == IMAGENET}
    if weights not in {None, IMAGENET}:
        state = load_file(str(weights))
        check_timm_state(name, state, str(weights))
        options = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state}}
    if output_stride != 32:
        options["output_stride"] = output_stride
    try:
        return timm.create_model(name, features_only=True, **options)
    except Exception as error:  # timm raises whatever its hub, its files and its networks raise
        if output_stride != 32:
            raise SegmentError(f"timm's {name} has no output stride {output_stride}; use 32") from None
        raise SegmentError(_reason(name, weights, error)) from None


def check_timm_state(name: str, state: Mapping[str, Tensor], source: str) -> None:
    """Check a state dict against a whole network of timm, since timm ignores keys that do not fit.

    Raises:
        SegmentError: it does not fit.
    """
    whole: Any = timm.create_model(name, num_classes=0)
    heads = whole.pretrained_cfg.get("classifier") or ()
    prefixes = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    load_state(whole, state, source, unused=prefixes)


def _reason(name: str, weights: str | None, error: Exception) -> str:
    detail = " ".join(str(error).split())[:300] or type(error).__name__
    if weights is None:
        return f"timm cannot make features of {name}: {detail}"
    if weights == IMAGENET:
        return (
            f"could not get timm's weights of {name} ({detail}): use model.encoder.weights=FILE, "
            "or model.encoder.weights=null to train from scratch"
        )
    return f"timm cannot make features of {name} with {weights}: {detail}"


def _reset_zero_norms(net: nn.Module) -> None:
    """Set norms whose scales are all zero to one.

    timm starts the last norm of each residual block at zero. Behind score layers at zero, as FCN has them, the other
    layers of the block would then learn nothing in the first two steps.
    """
    for part in net.modules():
        scale = getattr(part, "weight", None)
        if isinstance(scale, nn.Parameter) and scale.ndim == 1 and not scale.is_meta and not scale.any():
            nn.init.ones_(scale)
