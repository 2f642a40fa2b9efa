"""Optimisers with parameter groups, and schedules composed of torch's schedulers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LinearLR, LRScheduler, OneCycleLR, PolynomialLR, SequentialLR

from segment.errors import SegmentError


def parameter_groups(
    net: nn.Module,
    lr: float,
    weight_decay: float,
    encoder_factor: float | None = None,
    bias_factor: float = 1.0,
    bias_decay: bool = True,
) -> list[dict[str, Any]]:
    """Return the trainable parameters of a net with ``encoder`` and ``decoder``, by learning rate and decay.

    Args:
        net: a net with attributes ``encoder`` and ``decoder``.
        lr, weight_decay: learning rate and weight decay of the decoder's weights.
        encoder_factor: learning rate of the encoder as a multiple of the decoder's; None is 0.05 for a
            pre-trained encoder and 1 for one that starts from scratch.
        bias_factor: learning rate of biases as a multiple of the weights'; 2 in the FCN papers.
        bias_decay: whether biases and the parameters of norms decay; not so in the FCN papers.

    Returns:
        Groups for a torch optimiser, each with a ``name``; none is empty.
    """
    if encoder_factor is None:
        encoder_factor = 0.05 if getattr(net.encoder, "pretrained", False) else 1.0
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        part = "encoder" if name.startswith(getattr(net, "trunk", "encoder.")) else "decoder"
        kind = "bias" if name.endswith("bias") else "norm" if parameter.ndim == 1 else "weight"
        rate = lr * (encoder_factor if part == "encoder" else 1.0) * (bias_factor if kind == "bias" else 1.0)
        decay = weight_decay if kind == "weight" or bias_decay else 0.0
        group = groups.setdefault(f"{part}/{kind}", {"params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
    return [{"name": name, **group} for name, group in groups.items()]


def optimizer_with_groups(
    net: nn.Module,
    algorithm: Callable[..., Optimizer],
    lr: float,
    weight_decay: float,
    encoder_factor: float | None = None,
    bias_factor: float = 1.0,
    bias_decay: bool = True,
) -> Optimizer:
    """Build an optimiser over the parameter groups of a net.

    Args:
        net: a net with attributes ``encoder`` and ``decoder``.
        algorithm: class of the optimiser.
        lr, weight_decay, encoder_factor, bias_factor, bias_decay: see :func:`parameter_groups`.

    Raises:
        SegmentError: the algorithm does not take such a rate, decay or option.
    """
    options = getattr(algorithm, "keywords", {})
    for key in ("lr", "weight_decay"):
        if key in options:
            raise SegmentError(f"optimizer.algorithm.{key} has no effect: set optimizer.{key}")
    betas, of_torch = (
        options.get("betas", (0, 0)),
        getattr(algorithm, "func", algorithm).__module__.startswith("torch."),
    )
    if of_torch and (not isinstance(betas, Sequence) or len(betas) != 2):  # others, such as Adan, may have three
        raise SegmentError(f"optimizer.algorithm.betas={betas}: expected two numbers")
    groups = parameter_groups(net, lr, weight_decay, encoder_factor, bias_factor, bias_decay)
    try:
        return algorithm(groups, lr=lr, weight_decay=weight_decay)
    except (TypeError, ValueError) as error:
        raise SegmentError(f"optimizer: {error}") from None


def build_optimizer(build: Callable[..., Optimizer], net: nn.Module) -> Optimizer:
    """Build an optimiser for a net.

    Args:
        build: a class of torch's kind, which is called with the trainable parameters; or a function, which is called
            with the net, as :func:`optimizer_with_groups`. Either may be a ``functools.partial``.

    Raises:
        SegmentError: an argument or a learning rate is missing or wrong, or the result is no optimiser.
    """
    called = getattr(build, "func", build)
    of_torch = isinstance(called, type) and issubclass(called, Optimizer)
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    try:
        optimizer = build(trained if of_torch else net)
    except (TypeError, ValueError) as error:
        raise SegmentError(f"optimizer: {error}") from error
    if not isinstance(optimizer, Optimizer):
        raise SegmentError(f"optimizer: expected an Optimizer of torch, got a {type(optimizer).__name__}")
    for group in optimizer.param_groups:
        if not 0 <= float(group["lr"]) < math.inf:
            raise SegmentError(
                f"optimizer: the learning rate of {group.get('name', 'the parameters')} is {float(group['lr'])}, "
                "expected a finite number from 0: see optimizer.lr, encoder_factor and bias_factor"
            )
    return optimizer


def constant(optimizer: Optimizer, warmup_steps: int = 0) -> LRScheduler:
    """Keep the learning rate as it is, after a linear warm-up.

    The schedule needs no plan, so that a resumed run may get longer.

    Raises:
        SegmentError: the number of warm-up steps is negative.
    """
    return _after_warmup(optimizer, None, warmup_steps, lambda _: ConstantLR(optimizer, factor=1.0))


def polynomial(optimizer: Optimizer, total_steps: int, power: float = 0.9, warmup_steps: int = 0) -> LRScheduler:
    """Let the learning rate fall to zero at ``total_steps`` by a power (DeepLab's "poly"), after a linear warm-up.

    Raises:
        SegmentError: the power is negative, or the warm-up is longer than the run.
    """
    if power < 0:
        raise SegmentError(f"scheduler.power={power:g}: expected a number from 0")
    return _after_warmup(optimizer, total_steps, warmup_steps, lambda steps: PolynomialLR(optimizer, steps, power))


def one_cycle(
    optimizer: Optimizer, total_steps: int, warmup_share: float = 0.3, momentum: Sequence[float] | None = (0.85, 0.95)
) -> LRScheduler:
    """Raise the learning rate of each group to its peak for a share of the steps, then lower it to zero.

    The one-cycle schedule of Smith & Topin (2018).

    Args:
        warmup_share: share of the steps in which the learning rate rises.
        momentum: [at the peak learning rate, at start and end]; replaces the optimiser's momentum (Adam's first beta).
            None keeps the optimiser's own.

    Raises:
        SegmentError: the share or the momentum is out of range, or the optimiser has no momentum.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        low, high = (0.0, 0.0) if momentum is None else momentum
        if not 0 <= low <= high < 1 or not 0 <= warmup_share < 1:  # torch divides by the steps after the peak
            raise ValueError
        return OneCycleLR(
            optimizer,
            rates,
            total_steps=max(total_steps, 2),
            pct_start=float(warmup_share),
            cycle_momentum=momentum is not None,
            base_momentum=low,
            max_momentum=high,
        )
    except (TypeError, ValueError):
        raise SegmentError(
            f"scheduler.warmup_share={warmup_share} scheduler.momentum={momentum}: expected a share from 0 to below 1, "
            "and [LOW,HIGH] from 0 to below 1, or null, as for optimisers without momentum"
        ) from None


def _after_warmup(
    optimizer: Optimizer, total_steps: int | None, warmup_steps: int, main: Callable[[int], LRScheduler]
) -> LRScheduler:
    if warmup_steps == 0:
        return main(total_steps or 0)
    if warmup_steps < 0 or (total_steps is not None and total_steps <= warmup_steps):
        most = f"to {total_steps - 1}, as this run has {total_steps} steps in all" if total_steps else "on"
        raise SegmentError(f"scheduler.warmup_steps={warmup_steps}: expected a number from 0 {most}")
    warmup = LinearLR(optimizer, start_factor=1 / (warmup_steps + 1), total_iters=warmup_steps)
    rest = main((total_steps or 0) - warmup_steps)
    return SequentialLR(optimizer, [warmup, rest], milestones=[warmup_steps])
