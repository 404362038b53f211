"""Torch's optimizers by name, each with its usual learning rate: where a search starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer

import torch

Factory = Callable[[Iterable[Parameter], float], Optimizer]

NAMED: dict[str, tuple[Callable[..., Optimizer], float]] = {
    "sgd": (torch.optim.SGD, 1e-2),
    "sgd_momentum": (partial(torch.optim.SGD, momentum=0.9), 1e-2),
    "sgd_nesterov": (partial(torch.optim.SGD, momentum=0.9, nesterov=True), 1e-2),
    "adagrad": (torch.optim.Adagrad, 1e-2),
    "adadelta": (torch.optim.Adadelta, 1.0),
    "rmsprop": (torch.optim.RMSprop, 1e-3),
    "adam": (torch.optim.Adam, 1e-3),
    "adamw": (torch.optim.AdamW, 1e-3),
    "nadam": (torch.optim.NAdam, 1e-3),
    "radam": (torch.optim.RAdam, 1e-3),
    "adamax": (torch.optim.Adamax, 2e-3),
}


def build(named: str, parameters: Iterable[Parameter], lr: float, weight_decay: float | None) -> Optimizer:
    """Return the named optimizer; `weight_decay` None keeps torch's default for it."""
    make, _ = NAMED[named]
    settings: dict[str, Any] = {} if weight_decay is None else {"weight_decay": weight_decay}
    return make(parameters, lr=lr, **settings)
