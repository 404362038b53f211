"""Any rule as a torch optimizer, and the methods that torch does not have."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from torch.optim.optimizer import ParamsT

import torch
from surefoot import rules
from surefoot._checks import refuse, refuse_type
from surefoot.rules import Rule
from surefoot.torch._fused import CLIPS, FusedStep
from torch import Tensor


class OwnStep(FusedStep):
    """An optimizer that torch does not have: without a kernel its step is ours, in torch's operations."""

    number_type = torch.float64

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; numbers keep their precision, which torch would cut to that of the parameters."""
        super().load_state_dict(state_dict)
        parameters = [p for group in self.param_groups for p in group["params"]]
        indices = [i for group in state_dict["param_groups"] for i in group["params"]]
        numbers = [self.slots[name] for name in self.rule_of(self.param_groups[0]).scalar_slots]
        for p, index in zip(parameters, indices, strict=True):
            saved = state_dict["state"].get(index, {})
            self.state[p].update({name: saved[name].clone() for name in numbers if name in saved})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; what it does not say is the default.

        Raises:
            ArgumentError: a number is out of its range; nothing has been added.
        """
        super().add_param_group(param_group)
        complex_ = next((p for p in self.param_groups[-1]["params"] if p.is_complex()), None)
        if complex_ is not None:
            self.param_groups.pop()
            cure = "Train torch.view_as_real of it."
            raise refuse(type(self).__name__, "params", complex_.dtype, "real", cure)

    def check_group(self, settings: Mapping[str, Any]) -> None:
        """Refuse numbers that the rule does not take either."""
        super().check_group(settings)
        self.complete(dict(settings))

    def _host_step(self) -> None:
        self._own_step()


class RuleOptimizer(OwnStep):
    """Any `surefoot.rules.Rule` as a torch optimizer: the fast step, parameter groups, state, clipping, weight decay.

    Use it for a rule of your own, or for a rule with another framework's conventions. The rule's fields become settings
    of the parameter groups, so that each group may have its own, and a scheduler may change them. A rule inside a rule
    (`rules.Cautious`) is no setting: it is the same for all groups, and not part of a saved state.

    Args:
        params: as in torch.optim.
        rule: the rule, with the numbers that are the defaults of all groups.
        lr: the learning rate, a float or a tensor of one element.
        weight_decay: at least 0.
        decoupled_weight_decay: `x -= lr * weight_decay * x` beside the rule; else the gradient gets `weight_decay * x`.
        maximize: climb instead.
        clip_value: see `clip`.
        clip_norm: see `clip`.
        clip_global_norm: see `clip`.

    Raises:
        ArgumentError: a number is out of its range, or a parameter is complex.
        ArgumentTypeError: `rule` is no rule.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = RuleOptimizer([weight], rules.Adagrad(eps_inside=True), lr=0.5)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> weight.tolist()
    [0.5, -1.5]
    """

    def __init__(
        self,
        params: ParamsT,
        rule: Rule,
        lr: float | Tensor,
        *,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = True,
        maximize: bool = False,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        clip_global_norm: float | None = None,
    ) -> None:
        if not isinstance(rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance] - users' values
            raise refuse_type(type(self).__name__, "rule", rule, "a surefoot.rules.Rule", "For example rules.Adam().")
        self.rule = rule
        clips = dict(zip(CLIPS, (clip_value, clip_norm, clip_global_norm), strict=True))
        defaults = {
            "lr": lr,
            **{name: value for name, value in _fields(rule).items() if not isinstance(value, Rule)},
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            **{name: limit for name, limit in clips.items() if limit is not None},
        }
        super().__init__(params, defaults)

    @property
    def slots(self) -> dict[str, str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The names of the slots; in the state they are the same."""
        return {name: name for group in self.param_groups for name in self.rule_of(group).init(1.0)}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule with the settings of a group."""
        return type(self.rule)(**{name: group.get(name, value) for name, value in _fields(self.rule).items()})

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "rule": self.rule}


def _fields(rule: Rule) -> dict[str, Any]:
    return {f.name: getattr(rule, f.name) for f in dataclasses.fields(rule)}  # pyright: ignore[reportArgumentType] - every rule is a dataclass


class DoG(RuleOptimizer):
    """Distance over gradients: finds its own rate; see `surefoot.rules.DoG` for the formula, and when to use it.

    Args:
        params: as in torch.optim.
        lr: a factor on the rate that it finds.
        start: of the distance, relative to 1 + the norm of the model.
        is_start_absolute: `start` is the first distance itself.
        eps: at least 0.
        weight_decay: decoupled.
        maximize: climb instead.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        *,
        start: float = 1e-6,
        is_start_absolute: bool = False,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        rule = rules.DoG(start=start, is_start_absolute=is_start_absolute, eps=eps)
        super().__init__(params, rule, lr, weight_decay=weight_decay, maximize=maximize)


class Lion(OwnStep):
    """Lion, which torch does not have; see `surefoot.rules.Lion` for the formula.

    Args:
        params: as in torch.optim.
        lr: the learning rate.
        betas: of the step and of the momentum.
        weight_decay: decoupled: `x -= lr * weight_decay * x`.
        maximize: climb instead.
    """

    slots: ClassVar[dict[str, str]] = {"m": "exp_avg"}
    has_step = False
    is_decoupled = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        return rules.Lion(b1=group["betas"][0], b2=group["betas"][1])
