"""Parameter groups by name, and schedules step by step."""

import functools

import pytest
import torch
from torch import nn

from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.errors import SegmentError
from segment.training.optim import (
    build_optimizer,
    constant,
    one_cycle,
    optimizer_with_groups,
    parameter_groups,
    polynomial,
)

WEIGHT = nn.Parameter(torch.zeros(1))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.decoder = nn.Conv2d(4, 2, 1)


def test_the_papers_groups():
    """Long et al. (2015), section 4.3: biases at twice the rate, without decay."""
    net = Net()
    groups = parameter_groups(net, 0.1, 5e-4, encoder_factor=0.5, bias_factor=2.0, bias_decay=False)
    found = {group["name"]: (group["lr"], group["weight_decay"], len(group["params"])) for group in groups}
    assert found == {
        "encoder/weight": (0.05, 5e-4, 1),
        "encoder/norm": (0.05, 0.0, 1),
        "encoder/bias": (0.1, 0.0, 2),
        "decoder/weight": (0.1, 5e-4, 1),
        "decoder/bias": (0.2, 0.0, 1),
    }


def test_each_trainable_parameter_once_and_no_frozen_one():
    net = Net()
    net.encoder[0].weight.requires_grad = False
    given = [p for group in optimizer_with_groups(net, torch.optim.SGD, 0.1, 0.0).param_groups for p in group["params"]]
    assert {id(p) for p in given} == {id(p) for p in net.parameters() if p.requires_grad}
    assert len(given) == 5


def rates(schedule, steps, **options):
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 0.1)], lr=9.0)
    planned = {} if schedule is constant else {"total_steps": steps}
    scheduler, found = schedule(optimizer, **planned, **options), []
    for _ in range(steps):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return found


def test_polynomial_after_warmup():
    found = rates(polynomial, 10, power=0.9, warmup_steps=3)
    assert [first for first, _ in found] == pytest.approx(
        [0.25, 0.5, 0.75] + [(1 - step / 7) ** 0.9 for step in range(7)]
    )
    assert [second for _, second in found] == pytest.approx([first / 10 for first, _ in found])


def test_constant_and_one_cycle():
    assert rates(constant, 3) == [[1.0, 0.1]] * 3
    first = [first for first, _ in rates(one_cycle, 20, warmup_share=0.25)]
    assert max(first) == pytest.approx(1.0)
    assert first.index(max(first)) == 4
    assert first[-1] < 0.001


def test_a_warmup_needs_no_end():
    """SegmentationModule tells the constant schedule no number of steps."""
    scheduler = constant(torch.optim.SGD([WEIGHT], 1.0), warmup_steps=3)
    found = []
    for _ in range(5):
        found.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, 1])


@pytest.mark.parametrize(("words", "low", "high"), [({}, 0.85, 0.95), ({"momentum": None}, 0.7, 0.7)])
def test_one_cycle_moves_the_momentum_only_where_it_is_told(words, low, high):
    for optimizer in (torch.optim.SGD([WEIGHT], 0.1, 0.7), torch.optim.AdamW([WEIGHT], betas=(0.7, 0.9))):
        scheduler, found = one_cycle(optimizer, 20, **words), []
        for _ in range(20):
            group = optimizer.param_groups[0]
            found.append(group["betas"][0] if "betas" in group else group["momentum"])
            optimizer.step()
            scheduler.step()
        assert (min(found), max(found)) == pytest.approx((low, high), abs=1e-3)


def test_momentum_for_one_cycle_that_is_none():
    for wrong in (
        {"momentum": 0.9},
        {"momentum": []},
        {"momentum": [5, 9]},
        {"warmup_share": "x"},
        {"warmup_share": 2},
        {"warmup_share": 1},
    ):
        with pytest.raises(SegmentError, match=r"scheduler.*momentum=.*\[LOW,HIGH\]"):
            rates(one_cycle, 20, **wrong)
    assert len(rates(one_cycle, 20, warmup_share=0)) == 20


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_one_cycle_of_a_run_of_few_steps(steps):
    assert len(rates(one_cycle, steps)) == steps


def test_warmup_longer_than_the_run():
    with pytest.raises(SegmentError, match="warmup_steps=5: expected a number from 0 to 3, as this run has 4 steps"):
        rates(polynomial, 4, warmup_steps=5)


def test_a_pretrained_encoder_is_treated_gently():
    net = Net()
    for pretrained, factor in ((False, 1.0), (True, 0.05)):
        net.encoder.pretrained = pretrained
        rates = {group["name"]: group["lr"] for group in parameter_groups(net, 0.1, 0.0)}
        assert rates["encoder/weight"] == pytest.approx(0.1 * factor)
        assert rates["decoder/weight"] == 0.1


def test_an_optimizer_of_torchs_kind_gets_the_trained_parameters():
    net = Net()
    net.encoder.requires_grad_(False)
    build = functools.partial(torch.optim.SGD, lr=0.5)
    found = build_optimizer(build, net)
    assert [len(group["params"]) for group in found.param_groups] == [2]
    seen = []
    build_optimizer(lambda given: seen.append(given) or build(given.parameters()), net)
    assert seen == [net]
    with pytest.raises(SegmentError, match=r"^optimizer: Invalid learning rate: -1"):
        build_optimizer(functools.partial(torch.optim.SGD, lr=-1), net)
    for rate in (float("inf"), float("nan")):
        with pytest.raises(
            SegmentError, match=r"^optimizer: the learning rate of the parameters is (inf|nan), expected"
        ):
            build_optimizer(functools.partial(torch.optim.SGD, lr=rate), net)
    factor = functools.partial(
        optimizer_with_groups, algorithm=torch.optim.SGD, lr=1, weight_decay=0, encoder_factor=-1
    )
    with pytest.raises(SegmentError, match=r"^optimizer: the learning rate of encoder/\w+ is -1"):
        build_optimizer(factor, Net())
    for key, value, message in (
        ("lr", 1, r"optimizer.algorithm.lr has no effect: set optimizer.lr"),
        ("betas", [0.9], r"optimizer.algorithm.betas=\[0.9\]: expected two numbers"),
        ("betas", 0.9, r"optimizer.algorithm.betas=0.9: expected two numbers"),
    ):
        algorithm = functools.partial(torch.optim.AdamW, **{key: value})
        with pytest.raises(SegmentError, match=f"^{message}$"):
            optimizer_with_groups(Net(), algorithm, lr=1, weight_decay=0)
    own = functools.partial(lambda groups, betas, **options: torch.optim.SGD(groups, **options), betas=[1, 2, 3])
    assert optimizer_with_groups(Net(), own, lr=1, weight_decay=0)  # as Adan has
    with pytest.raises(SegmentError, match=r"^optimizer.bias_decay=foo: expected true or false$"):
        instantiate(load_config(["optimizer.bias_decay=foo"]).optimizer)
    with pytest.raises(SegmentError, match=r"^optimizer: expected an Optimizer of torch, got a str"):
        build_optimizer(lambda net: "none", net)
