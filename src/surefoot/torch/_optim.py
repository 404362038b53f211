"""Torch's optimizers by their own names, taking each step in one pass over memory."""

from __future__ import annotations

from typing import Any, ClassVar

from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

import torch
from surefoot import rules
from surefoot._checks import number, refuse
from surefoot.rules import Rule
from surefoot.torch._fused import FusedStep
from torch import Tensor


class SGD(FusedStep, torch.optim.SGD):
    """torch.optim.SGD, several times faster on a CPU; see `surefoot.rules.SGD` for the formula."""

    slots: ClassVar[dict[str, str]] = {"m": "momentum_buffer"}
    has_step = False

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        return rules.SGD(momentum=group["momentum"], dampening=group["dampening"], nesterov=group["nesterov"])


class Adagrad(FusedStep, torch.optim.Adagrad):
    """torch.optim.Adagrad, several times faster on a CPU; see `surefoot.rules.Adagrad` for the formula."""

    slots: ClassVar[dict[str, str]] = {"v": "sum"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        return rules.Adagrad(lr_decay=group["lr_decay"], start=group["initial_accumulator_value"], eps=group["eps"])


class Adadelta(FusedStep, torch.optim.Adadelta):
    """torch.optim.Adadelta, several times faster on a CPU; see `surefoot.rules.Adadelta` for the formula."""

    slots: ClassVar[dict[str, str]] = {"v": "square_avg", "u": "acc_delta"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        return rules.Adadelta(rho=group["rho"], eps=group["eps"])


class RMSprop(FusedStep, torch.optim.RMSprop):
    """torch.optim.RMSprop, several times faster on a CPU; see `surefoot.rules.RMSprop` for the formula."""

    slots: ClassVar[dict[str, str]] = {"v": "square_avg", "a": "grad_avg", "m": "momentum_buffer"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        return rules.RMSprop(
            rho=group["alpha"], eps=group["eps"], momentum=group["momentum"], centered=group["centered"]
        )


class Adam(FusedStep, torch.optim.Adam):
    """torch.optim.Adam, several times faster on a CPU; see `surefoot.rules.Adam` for the formula."""

    slots: ClassVar[dict[str, str]] = {"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        b1, b2 = (float(b) for b in group["betas"])
        return rules.Adam(b1=b1, b2=b2, eps=group["eps"], amsgrad=group["amsgrad"])


class AdamW(FusedStep, torch.optim.AdamW):
    """torch.optim.AdamW, several times faster on a CPU; see `surefoot.rules.Adam` for the formula."""

    slots: ClassVar[dict[str, str]] = Adam.slots
    is_decoupled = True
    rule_of = Adam.rule_of


class NAdam(FusedStep, torch.optim.NAdam):
    """torch.optim.NAdam, several times faster on a CPU; see `surefoot.rules.NAdam` for the formula."""

    slots: ClassVar[dict[str, str]] = {"m": "exp_avg", "v": "exp_avg_sq", "mu_product": "mu_product"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        b1, b2 = (float(b) for b in group["betas"])
        return rules.NAdam(b1=b1, b2=b2, eps=group["eps"], momentum_decay=group["momentum_decay"])


class RAdam(FusedStep, torch.optim.RAdam):
    """torch.optim.RAdam, several times faster on a CPU; see `surefoot.rules.RAdam` for the formula."""

    slots: ClassVar[dict[str, str]] = {"m": "exp_avg", "v": "exp_avg_sq"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        b1, b2 = (float(b) for b in group["betas"])
        return rules.RAdam(b1=b1, b2=b2, eps=group["eps"])


class Adamax(FusedStep, torch.optim.Adamax):
    """torch.optim.Adamax, several times faster on a CPU; see `surefoot.rules.Adamax` for the formula."""

    slots: ClassVar[dict[str, str]] = {"m": "exp_avg", "u": "exp_inf"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        b1, b2 = (float(b) for b in group["betas"])
        return rules.Adamax(b1=b1, b2=b2, eps=group["eps"])


class _PlainLion(Optimizer):
    """Lion in torch's own operations: the step that is taken where a kernel cannot serve."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.grad.is_sparse:
                    raise refuse("Lion", "params", "a sparse gradient", "dense gradients", "Use sparse=False.")
                g: Tensor = -p.grad if group["maximize"] else p.grad
                state = self.state[p]
                m = state.setdefault("exp_avg", torch.zeros_like(p, memory_format=torch.preserve_format))
                p.mul_(1.0 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * torch.sign(m * b1 + g * (1.0 - b1)))
                m.mul_(b2).add_(g, alpha=1.0 - b2)
        return loss


class Lion(FusedStep, _PlainLion):
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

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; what it does not say is the default."""
        settings = {**self.defaults, **param_group}
        number("Lion", "lr", float(settings["lr"]), at_least=0.0)
        number("Lion", "weight_decay", settings["weight_decay"], at_least=0.0)
        self.rule_of(settings)
        super().add_param_group(param_group)

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        return rules.Lion(b1=group["betas"][0], b2=group["betas"][1])
