"""Encoders from timm: any convolutional network that timm can cut into features."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from segment.errors import SegmentError
from segment.models.weights import IMAGENET, load_file, load_state


class TimmEncoder(nn.Module):
    """A feature network of timm.

    Args:
        name: as in ``timm.list_models()``, with or without the tag of its weights (``resnet18.a1_in1k``).
        weights: "imagenet" (timm's default for the name, downloaded once), a file with a state dict of
            the whole network in timm's layout, or None.
        output_stride: 32, or 16 or 8 where timm can dilate the network.

    Raises:
        SegmentError: unknown name, a network without a pyramid of features, or weights that do not load.
    """

    layout = "aligned"
    minimum = 1

    def __init__(self, name: str, weights: str | None = IMAGENET, output_stride: int = 32) -> None:
        super().__init__()
        if output_stride not in {8, 16, 32}:
            raise SegmentError(f"model.encoder.output_stride={output_stride}: expected 8, 16 or 32")
        self.net: Any
        self.pretrained = weights is not None
        self.name, self._checkpointing = name, False
        if not timm.is_model(name):
            known = timm.list_models(f"*{name.split('.')[0][:6]}*")[:5]
            hint = f"close ones: {', '.join(known)}" if known else "timm.list_models() lists all"
            raise SegmentError(f"timm has no network {name!r}; {hint}")
        options: dict[str, Any] = {"pretrained": weights == IMAGENET}
        if weights not in {None, IMAGENET}:
            options = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": self._read(name, str(weights))}}
        if output_stride != 32:
            options["output_stride"] = output_stride
        try:
            self.net = timm.create_model(name, features_only=True, **options)
        except Exception as error:  # timm raises whatever its hub, its files or its networks raise
            if output_stride != 32:
                raise SegmentError(f"timm's {name} has no output stride {output_stride}; use 32") from None
            raise SegmentError(self._reason(name, weights, error)) from None
        if weights is None:
            # timm starts the last norm of each residual block at zero. Behind score layers at zero, as FCN has
            # them, the block's other layers would then learn nothing in the first two steps.
            for part in self.net.modules():
                scale = getattr(part, "weight", None)
                if isinstance(scale, nn.Parameter) and scale.ndim == 1 and not scale.is_meta and not scale.any():
                    nn.init.ones_(scale)
        info = [(entry["reduction"], entry["num_chs"]) for entry in self.net.feature_info.get_dicts()]
        self.strides = [stride for stride, _ in info]
        self.channels: dict[int, int] = dict(info)  # the deepest of a stride
        self.multiple = max(self.channels)
        told = self.net.pretrained_cfg  # also from scratch: a checkpoint's net is built without weights
        mean, deviation = (tuple(255 * value for value in told[key]) for key in ("mean", "std"))
        self.normalization = mean, deviation, False
        if len(self.channels) < 2 or not self._is_pyramid():
            raise SegmentError(f"timm's {name} gives no pyramid of (N,C,H,W) features: choose a convolutional network")

    def _is_pyramid(self) -> bool:
        """Whether an image gives the features that are declared: transformers want one size, or return (N,H,W,C)."""
        size = 2 * self.multiple
        try:
            with torch.no_grad():
                features = self.eval()(torch.zeros(1, 3, size, size))
        except (AssertionError, RuntimeError):
            return False
        self.train()
        return all(f.shape[1:] == (self.channels[s], size // s, size // s) for s, f in features.items())

    @staticmethod
    def _read(name: str, weights: str) -> dict[str, Tensor]:
        """A file's state dict, checked against the whole network: timm passes over what does not fit."""
        state = load_file(weights)
        whole: Any = timm.create_model(name, num_classes=0)
        heads = whole.pretrained_cfg.get("classifier") or ()
        prefixes = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
        load_state(whole, state, weights, unused=prefixes)
        return state

    @staticmethod
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

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Normalised image (N,3,H,W) to features {stride: (N,channels,H/stride,W/stride)}, the deepest of each."""
        return dict(zip(self.strides, self.net(image), strict=True))

    @property
    def checkpointing(self) -> bool:
        """Whether timm keeps little of the way forward and computes it again on the way back."""
        return self._checkpointing

    @checkpointing.setter
    def checkpointing(self, wanted: bool) -> None:
        self._checkpointing = wanted
        if wanted:
            try:
                self.net.set_grad_checkpointing()
            except (AssertionError, AttributeError):
                raise SegmentError(f"model.checkpointing=true: timm has none for {self.name}; use false") from None

    @property
    def stages(self) -> nn.ModuleList:
        """The network's parts up to each feature; one, where timm does not name them."""
        ends = getattr(self.net, "return_layers", {})
        groups: list[nn.ModuleList] = [nn.ModuleList()]
        for name, part in self.net.named_children():
            groups[-1].append(part)
            if name in ends:
                groups.append(nn.ModuleList())
        return nn.ModuleList(group for group in groups if len(group))
