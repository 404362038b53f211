"""Torch's optimizers by their own names, taking each step in one pass over memory."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from surefoot import rules
from surefoot.rules import Rule
from surefoot.torch._fused import FusedStep, in_our_words


@in_our_words
class SGD(FusedStep, torch.optim.SGD):
    """torch.optim.SGD, several times faster on a CPU; see `surefoot.rules.SGD` for the formula."""

    slots: ClassVar[dict[str, str]] = {"m": "momentum_buffer"}
    has_fused = True
    has_step = False

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        return rules.SGD(momentum=group["momentum"], dampening=group["dampening"], nesterov=group["nesterov"])


@in_our_words
class Adagrad(FusedStep, torch.optim.Adagrad):
    """torch.optim.Adagrad, several times faster on a CPU; see `surefoot.rules.Adagrad` for the formula."""

    slots: ClassVar[dict[str, str]] = {"v": "sum"}
    has_fused = True

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        return rules.Adagrad(lr_decay=group["lr_decay"], start=group["initial_accumulator_value"], eps=group["eps"])


@in_our_words
class Adadelta(FusedStep, torch.optim.Adadelta):
    """torch.optim.Adadelta, several times faster on a CPU; see `surefoot.rules.Adadelta` for the formula."""

    slots: ClassVar[dict[str, str]] = {"v": "square_avg", "u": "acc_delta"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        return rules.Adadelta(rho=group["rho"], eps=group["eps"])


@in_our_words
class RMSprop(FusedStep, torch.optim.RMSprop):
    """torch.optim.RMSprop, several times faster on a CPU; see `surefoot.rules.RMSprop` for the formula."""

    slots: ClassVar[dict[str, str]] = {"v": "square_avg", "a": "grad_avg", "m": "momentum_buffer"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        return rules.RMSprop(
            rho=group["alpha"], eps=group["eps"], momentum=group["momentum"], centered=group["centered"]
        )


@in_our_words
class Adam(FusedStep, torch.optim.Adam):
    """torch.optim.Adam, several times faster on a CPU; see `surefoot.rules.Adam` for the formula."""

    slots: ClassVar[dict[str, str]] = {"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}
    has_fused = True

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        b1, b2 = (float(b) for b in group["betas"])
        return rules.Adam(b1=b1, b2=b2, eps=group["eps"], amsgrad=group["amsgrad"])


@in_our_words
class AdamW(FusedStep, torch.optim.AdamW):
    """torch.optim.AdamW, several times faster on a CPU; see `surefoot.rules.Adam` for the formula."""

    slots: ClassVar[dict[str, str]] = Adam.slots
    has_fused = True
    is_decoupled = True
    rule_of = Adam.rule_of


@in_our_words
class NAdam(FusedStep, torch.optim.NAdam):
    """torch.optim.NAdam, several times faster on a CPU; see `surefoot.rules.NAdam` for the formula."""

    slots: ClassVar[dict[str, str]] = {"m": "exp_avg", "v": "exp_avg_sq", "mu_product": "mu_product"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        b1, b2 = (float(b) for b in group["betas"])
        return rules.NAdam(b1=b1, b2=b2, eps=group["eps"], momentum_decay=group["momentum_decay"])


@in_our_words
class RAdam(FusedStep, torch.optim.RAdam):
    """torch.optim.RAdam, several times faster on a CPU; see `surefoot.rules.RAdam` for the formula."""

    slots: ClassVar[dict[str, str]] = {"m": "exp_avg", "v": "exp_avg_sq"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        b1, b2 = (float(b) for b in group["betas"])
        return rules.RAdam(b1=b1, b2=b2, eps=group["eps"])


@in_our_words
class Adamax(FusedStep, torch.optim.Adamax):
    """torch.optim.Adamax, several times faster on a CPU; see `surefoot.rules.Adamax` for the formula."""

    slots: ClassVar[dict[str, str]] = {"m": "exp_avg", "u": "exp_inf"}

    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a group."""
        b1, b2 = (float(b) for b in group["betas"])
        return rules.Adamax(b1=b1, b2=b2, eps=group["eps"])
