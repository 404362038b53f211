"""What the tests of the schedulers under torch's names drive, and how."""

import io
import math

import pytest

import torch


def sgd(*rates, momentum=0.9):
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": rate} for rate in rates or (0.3, 0.7)]
    return torch.optim.SGD(groups, lr=0.3, momentum=momentum)


def rates(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def add_group(optimizer, lr=0.1):
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr})


def walk(scheduler, steps):
    """Return the rates at each step, the present one first."""
    seen = [rates(scheduler.optimizer)]
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step()
        seen.append(rates(scheduler.optimizer))
    return seen


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def leaves(value):
    if isinstance(value, dict):
        yield from (leaf for item in value.values() for leaf in leaves(item))
    elif isinstance(value, list):
        yield from (leaf for item in value for leaf in leaves(item))
    else:
        yield value


def same(found, wanted):
    return all(a == pytest.approx(b, rel=1e-12, abs=1e-12) for a, b in zip(found, wanted, strict=True))


def halve(step):
    return 0.5**step


def wave(step):
    return 1.0 + math.sin(step) / 2


MAKERS = {
    "LambdaLR": lambda m, o: m.LambdaLR(o, [halve, wave]),
    "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, wave),
    "StepLR": lambda m, o: m.StepLR(o, 3, gamma=0.3),
    "MultiStepLR": lambda m, o: m.MultiStepLR(o, [2, 5, 5, 9], gamma=0.5),
    "ConstantLR": lambda m, o: m.ConstantLR(o, factor=0.2, total_iters=4),
    "LinearLR": lambda m, o: m.LinearLR(o, 0.1, 0.8, total_iters=6),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda m, o: m.PolynomialLR(o, 8, power=1.5),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, 12, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.01),
    "CyclicLR": lambda m, o: m.CyclicLR(o, 0.1, 0.5, step_size_up=3, step_size_down=2, mode="triangular2"),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, 0.5, total_steps=14),
    "SequentialLR": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.1), m.StepLR(o, 2), m.ExponentialLR(o, 0.8)], [4, 8]
    ),
    "ChainedScheduler": lambda m, o: m.ChainedScheduler([m.LinearLR(o, 0.1), m.ExponentialLR(o, 0.8)]),
}
BY_STEP = [pytest.param(make, id=name) for name, make in MAKERS.items()]
