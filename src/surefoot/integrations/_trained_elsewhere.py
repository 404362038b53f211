"""What the jobs for other people's trainers share: their optimizer, at the rate of the search; and how they are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from surefoot._checks import refuse, refuse_type
from surefoot.torch._optimizers import FromModel, rates
from surefoot.torch._random import CPU, borrowed, seeded
from torch import nn


def optimizer_of(where: str, make: Callable[[nn.Module], Any], model: nn.Module) -> FromModel:
    """Return a factory of the optimizer that a trainer builds for a model, after a look at one.

    Raises:
        ArgumentError: its rate is not above 0.
        ArgumentTypeError: it is no optimizer of torch.
    """
    optimizer = make(model)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise refuse_type(where, "optimizer", type(optimizer).__name__, "a torch.optim.Optimizer")
    first = rates(optimizer)[0]
    if not first > 0:
        cure = "Give the first parameter group a rate above 0: all are scaled with it."
        raise refuse(where, "optimizer", f"{type(optimizer).__name__} with lr={first}", "one with a rate above 0", cure)
    return FromModel(make, first, type(optimizer).__name__.lower())


def first_of(source: Callable[[], nn.Module]) -> nn.Module:
    """Return a model of a job, without a trace in the global generators."""
    with borrowed(CPU):
        seeded(0)
        return source()
