"""A callback: any of Lightning's kind."""

from lightning.pytorch.callbacks import Callback
from torch.nn.utils import get_total_norm


class GradientNorm(Callback):
    """Log the norm of all gradients as ``train/gradient_norm``."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        pl_module.log("train/gradient_norm", get_total_norm(gradients))
