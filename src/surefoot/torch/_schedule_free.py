"""Schedule-Free SGD and AdamW as torch optimizers: names, arguments and defaults of their authors' package."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from torch.optim.optimizer import ParamsT

import torch
from surefoot import rules
from surefoot._checks import integer, number
from surefoot._errors import OrderError, SurefootWarning
from surefoot.rules import Rule
from surefoot.torch._fused import CLIPS
from surefoot.torch._rule_optimizer import OwnStep
from torch import Tensor

_KEPT = "y"  # the training weights, while the parameters are the average


class ScheduleFree(OwnStep):
    """Two points: parameters are y while the run trains, and x, the average, between `eval()` and `train()`."""

    has_evaluated = False

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        super().__init__(params, {**defaults, "train_mode": True})

    def check_group(self, settings: Any) -> None:
        """Refuse numbers that the rule does not take either, by their names here."""
        where = type(self).__name__
        number(where, "lr", float(settings["lr"]), at_least=0.0)
        number(where, "weight_decay", settings["weight_decay"], at_least=0.0)
        integer(where, "warmup_steps", settings["warmup_steps"], at_least=0)
        number(where, "r", settings["r"], at_least=0.0)
        number(where, "weight_lr_power", settings["weight_lr_power"], at_least=0.0)

    def complete(self, group: dict[str, Any]) -> rules.Complete:
        """Return the rule of a parameter group with clipping around it; the weight decay is within, at y."""
        clips: dict[str, Any] = {name: group.get(name, self.defaults.get(name)) for name in CLIPS}
        return rules.Complete(rule=self.rule_of(group), **clips)

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        return rules.ScheduleFree(
            rule=self._inner(group),
            b1=_momentum(group),
            warmup_steps=group["warmup_steps"],
            weight_lr_power=float(group["weight_lr_power"]),
            r=float(group["r"]),
            decay=float(group["weight_decay"]),
        )

    def _inner(self, group: dict[str, Any]) -> Rule:
        raise NotImplementedError

    @property
    def is_training(self) -> bool:
        """Whether the parameters are those to train."""
        return all(group["train_mode"] for group in self.param_groups)

    @torch.no_grad()
    def eval(self) -> None:
        """Let the parameters be the average x: before validation, prediction, and saving the model."""
        self.has_evaluated = True
        for group, p, state in self._trained():
            if group["train_mode"]:
                state[_KEPT] = p.clone()
                p.copy_(state["z"] + (p - state["z"]) / _momentum(group))
        self._set_mode(is_training=False)

    @torch.no_grad()
    def train(self) -> None:
        """Let the parameters be y again, bit for bit: before the next step."""
        for _, p, state in self._trained():
            if _KEPT in state:
                p.copy_(state.pop(_KEPT))
        self._set_mode(is_training=True)

    @contextmanager
    def evaluation(self, model: torch.nn.Module | None = None, batches: Iterable[Any] | None = None) -> Generator[None]:
        """Let the parameters be the average x within a `with`, and what they were behind it.

        Args:
            model: with `batches`: its batch-norm statistics are those of x within, and as before behind it.
            batches: training inputs, as for `torch.optim.swa_utils.update_bn`; a few dozen will do.

        >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = SGDScheduleFree([weight], lr=0.25)
        >>> for _ in range(20):
        ...     optimizer.zero_grad()
        ...     weight.square().sum().backward()
        ...     optimizer.step()
        >>> with optimizer.evaluation():
        ...     print([round(w, 2) for w in weight.tolist()])
        [-0.03, 0.07]
        """
        was_training = self.is_training
        self.eval()
        statistics = None
        try:
            if model is not None and batches is not None:
                statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
                torch.optim.swa_utils.update_bn(batches, model)
            yield
        finally:
            if statistics is not None and model is not None:
                for name, buffer in model.named_buffers():
                    buffer.copy_(statistics[name])
            if was_training:
                self.train()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; `closure` is as in torch.

        Raises:
            OrderError: the parameters are the average: `train()` comes first.
        """
        if not self.is_training:
            raise OrderError(
                f"`{type(self).__name__}.step`: the parameters are the average, for evaluation. Call `train()` before "
                "training goes on, or evaluate within `with optimizer.evaluation():`."
            )
        return super().step(closure)

    def state_dict(self) -> dict[str, Any]:
        """Return the state; it resumes exactly in either mode, with the model's weights saved in the same mode."""
        if not self.has_evaluated and self.state:
            self.has_evaluated = True  # said once
            warnings.warn(
                f"`{type(self).__name__}`: nothing has been evaluated yet, and a state is saved. The model's weights are "
                "those to train, y; those to evaluate and to deploy are there between `optimizer.eval()` and "
                "`optimizer.train()`, or within `with optimizer.evaluation():`.",
                SurefootWarning,
                stacklevel=2,
            )
        return super().state_dict()

    def _set_mode(self, *, is_training: bool) -> None:
        for group in self.param_groups:
            group["train_mode"] = is_training

    def _trained(self) -> Iterator[tuple[dict[str, Any], Tensor, dict[str, Any]]]:
        """Yield what has been stepped: group, parameter, state."""
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state.get(p, {})
                if "z" in state:
                    yield group, p, state


class SGDScheduleFree(ScheduleFree):
    """SGD whose iterates are averaged in the place of a schedule; see `surefoot.rules.ScheduleFree`.

    Between `eval()` and `train()`, or within `with optimizer.evaluation():`, the parameters are the average: evaluate
    and save there. Unlike in the package schedulefree the optimizer begins in the mode to train, and what was trained
    comes back bit for bit.

    Args:
        params: as in torch.optim.
        lr: the learning rate: constant, and 10 to 50 times what SGD with a schedule has.
        momentum: how far gradients are taken from z to x; in (0, 1).
        weight_decay: at least 0.
        warmup_steps: the rate grows linearly over so many steps.
        r: the average weighs by this power of the step; at least 0.
        weight_lr_power: and by this power of the highest rate so far; at least 0.

    Raises:
        ArgumentError: a number is out of its range, or a parameter is complex.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = SGDScheduleFree([weight], lr=0.25)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> weight.tolist()
    [0.5, -1.0]
    """

    slots: ClassVar[dict[str, str]] = {"z": "z", "weight_sum": "weight_sum", "lr_max": "lr_max"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "warmup_steps": warmup_steps,
            "r": r,
            "weight_lr_power": weight_lr_power,
        }
        super().__init__(params, defaults)

    def check_group(self, settings: Any) -> None:
        """Refuse numbers that the rule does not take either."""
        super().check_group(settings)
        number(type(self).__name__, "momentum", settings["momentum"], above=0.0, below=1.0)

    def _inner(self, group: dict[str, Any]) -> Rule:
        del group
        return rules.SGD()


class AdamWScheduleFree(ScheduleFree):
    """AdamW whose iterates are averaged in the place of momentum and schedule; see `surefoot.rules.ScheduleFree`.

    Between `eval()` and `train()`, or within `with optimizer.evaluation():`, the parameters are the average: evaluate
    and save there. Unlike in the package schedulefree the optimizer begins in the mode to train, and what was trained
    comes back bit for bit.

    Args:
        params: as in torch.optim.
        lr: the learning rate: constant, and 1 to 10 times what AdamW with a schedule has.
        betas: how far gradients are taken from z to x, in (0, 1); and of the mean square, in [0, 1).
        eps: at least 0.
        weight_decay: at least 0.
        warmup_steps: the rate grows linearly over so many steps.
        r: the average weighs by this power of the step; at least 0.
        weight_lr_power: and by this power of the highest rate so far; at least 0.

    Raises:
        ArgumentError: a number is out of its range, or a parameter is complex.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdamWScheduleFree([weight], lr=0.25)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> weight.tolist()
    [0.75, -1.75]
    """

    slots: ClassVar[dict[str, str]] = {
        "v": "exp_avg_sq",
        "z": "z",
        "weight_sum": "weight_sum",
        "lr_max": "lr_max",
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.0025,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "warmup_steps": warmup_steps,
            "r": r,
            "weight_lr_power": weight_lr_power,
        }
        super().__init__(params, defaults)

    def check_group(self, settings: Any) -> None:
        """Refuse numbers that the rule does not take either."""
        super().check_group(settings)
        where, (first, second) = type(self).__name__, settings["betas"]
        number(where, "betas[0]", first, above=0.0, below=1.0)
        number(where, "betas[1]", second, at_least=0.0, below=1.0)
        number(where, "eps", settings["eps"], at_least=0.0)

    def _inner(self, group: dict[str, Any]) -> Rule:
        return rules.RMSprop(rho=group["betas"][1], eps=group["eps"], unbiased=True)


def _momentum(group: dict[str, Any]) -> float:
    return group["momentum"] if "momentum" in group else group["betas"][0]
