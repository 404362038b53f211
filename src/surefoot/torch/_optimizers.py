"""Torch's optimizers and some of ours by name, each with its usual learning rate: where a search starts."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer

import torch
from surefoot._checks import refuse, refuse_type
from surefoot.schedules import Schedule, constant, cosine_decay, from_table, linear_warmup
from surefoot.torch._learning_rate_free import DAdaptAdam, DAdaptSGD, DoWG, Prodigy
from surefoot.torch._rule_optimizer import DoG, Lion
from surefoot.torch._schedule_free import AdamWScheduleFree, ScheduleFree, SGDScheduleFree
from torch import Tensor, nn

MOST_POINTS = 1000  # of a schedule without its decay

Factory = Callable[[Iterable[Parameter], float], Optimizer]


@dataclass(frozen=True)
class FromModel:
    """A factory that needs the model itself: the optimizer that a trainer of somebody else's would build.

    It is built at its own rates, which are then scaled, so that the first group has the rate that is asked for.
    """

    make: Callable[[nn.Module], Any]
    usual: float
    name: str

    def __call__(self, parameters: Iterable[Parameter], lr: float) -> Optimizer:
        """Refuse: `build` gives it the model."""
        raise NotImplementedError

    def of(self, model: nn.Module, lr: float) -> Optimizer:
        """Return the optimizer of a model at a rate."""
        optimizer = self.make(model)
        set_rates(optimizer, [rate * lr / self.usual for rate in rates(optimizer)])
        return optimizer


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
    "lion": (Lion, 1e-4),
    "dog": (DoG, 1.0),
    "dowg": (DoWG, 1.0),
    "dadapt_sgd": (DAdaptSGD, 1.0),
    "dadapt_adam": (DAdaptAdam, 1.0),
    "prodigy": (Prodigy, 1.0),
    "schedule_free_sgd": (SGDScheduleFree, 1.0),
    "schedule_free_adamw": (AdamWScheduleFree, 2.5e-3),
}
LEARNING_RATE_FREE = frozenset({"dog", "dowg", "dadapt_sgd", "dadapt_adam", "prodigy"})  # their rate is a factor
DECOUPLED = frozenset({"adamw", "lion", "dog", "dowg", "prodigy", "schedule_free_adamw"})  # not through the gradient
SCHEDULE_FREE = frozenset({"schedule_free_sgd", "schedule_free_adamw"})  # which average in the place of a decay


def build(chosen: str | Factory, model: nn.Module, lr: float, weight_decay: float | None) -> Optimizer:
    """Return the optimizer of the trainable parameters; `weight_decay` None keeps torch's default."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if isinstance(chosen, str):
        make, _ = NAMED[chosen]
        settings: dict[str, Any] = {} if weight_decay is None else {"weight_decay": weight_decay}
        return _watched(make(parameters, lr=lr, **settings))
    optimizer = chosen.of(model, lr) if isinstance(chosen, FromModel) else chosen(parameters, lr)
    if not isinstance(optimizer, Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance] - users have no type checker
        raise refuse_type("TorchJob", "optimizer", optimizer, "a factory that returns a torch.optim.Optimizer")
    return _watched(optimizer)


def _watched(optimizer: Optimizer) -> Optimizer:
    if isinstance(optimizer, ScheduleFree):
        optimizer.has_evaluated = True  # the job evaluates the average: nothing to be warned of
    return optimizer


def evaluation(optimizer: Optimizer) -> AbstractContextManager[None]:
    """Let the model be what is to be judged: of a Schedule-Free optimizer the average."""
    return optimizer.evaluation() if isinstance(optimizer, ScheduleFree) else nullcontext()


def schedule_for(
    chosen: str | Factory, given: Schedule | None, total_steps: int, steps_per_epoch: int | None
) -> Schedule:
    """Return the schedule of a job with this optimizer: one that averages keeps the peak, where others decay."""
    averages = isinstance(chosen, str) and chosen in SCHEDULE_FREE
    if given is None:
        return linear_warmup("5%") >> (constant() if averages else cosine_decay())
    if not averages:
        return given
    plan = given.resolve(total_steps, steps_per_epoch)
    points = min(total_steps, MOST_POINTS)  # a table of all steps of a long run would be large
    values = itertools.accumulate((float(plan(round(k * total_steps / points))) for k in range(points + 1)), max)
    return from_table(list(values), every=None)


def check_factory(factory: Factory, model: nn.Module, lr: float) -> None:
    """Refuse, before any training, a factory whose optimizers cannot be driven."""
    optimizer, faster = build(factory, model, lr, None), build(factory, model, 2 * lr, None)
    kind = type(optimizer).__name__
    own = {id(p) for p in model.parameters()}
    if any(id(p) not in own for group in optimizer.param_groups for p in group["params"]):
        cure = "Write it as `lambda params, lr: torch.optim.AdamW(params, lr=lr)`."
        raise refuse("TorchJob", "optimizer", kind, "an optimizer of the parameters that the factory is given", cure)
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise refuse("TorchJob", "optimizer", kind, "an optimizer whose step() needs no closure", "Choose another.")
    if rates(optimizer) == rates(faster):
        cure = "Pass its second argument on: `lambda params, lr: torch.optim.AdamW(params, lr=lr)`."
        raise refuse("TorchJob", "optimizer", kind, "an optimizer with the rate that the factory is given", cure)


def rates(optimizer: Optimizer) -> list[float]:
    """Return the present rate of each parameter group."""
    found: list[float] = []
    for group in optimizer.param_groups:
        if not isinstance(group["lr"], int | float | Tensor):
            kind = f"{type(optimizer).__name__} with lr={group['lr']!r}"
            raise refuse("TorchJob", "optimizer", kind, "an optimizer whose rate is a number or a tensor")
        found.append(float(group["lr"]))
    return found


def set_rates(optimizer: Optimizer, values: Iterable[float]) -> None:
    """Write rates where the optimizer reads them; a tensor is filled in place, so that compiled steps stay compiled."""
    for group, rate in zip(optimizer.param_groups, values, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
