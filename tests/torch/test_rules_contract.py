"""Every rule through torch: by a kernel, and by torch's own operations."""

import copy

import numpy as np
import pytest

import torch
from surefoot.testing import check_rule
from surefoot.torch import RuleOptimizer

from ..rules.examples import RULES


class Slow(RuleOptimizer):
    """Without a kernel, as on a machine without a compiler."""

    def _present_plan(self):
        return None


def train_with(cls):
    def train(rule, start, gradients, learning_rates, *, interrupt, settings):
        parameters = [torch.nn.Parameter(torch.tensor(a)) for a in start]
        settings = dict(settings)
        decoupled = settings.pop("is_decoupled", True)
        optimizer = cls(parameters, rule, 1.0, decoupled_weight_decay=decoupled, **settings)
        for step, (row, lr) in enumerate(zip(gradients, learning_rates, strict=True)):
            if step == interrupt:
                saved = copy.deepcopy(optimizer.state_dict())
                parameters = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
                optimizer = cls(parameters, rule, 1.0, decoupled_weight_decay=decoupled, **settings)
                optimizer.load_state_dict(saved)
            optimizer.param_groups[0]["lr"] = lr
            for p, g in zip(parameters, row, strict=True):
                p.grad = torch.tensor(g)
            optimizer.step()
            assert (optimizer._plan is not None) == (cls is RuleOptimizer)
        return [p.detach().numpy() for p in parameters]

    return train


@pytest.mark.parametrize("cls", [RuleOptimizer, Slow], ids=["kernel", "torch"])
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_rule_keeps_to_the_contract(rule, cls):
    check_rule(rule, train_with(cls))


def test_a_wrong_adapter_is_caught():
    def forgets_the_rate(rule, start, gradients, learning_rates, *, interrupt, settings):
        rates = [learning_rates[0]] * len(learning_rates)
        return train_with(Slow)(rule, start, gradients, rates, interrupt=interrupt, settings=settings)

    def forgets_the_state(rule, start, gradients, learning_rates, *, interrupt, settings):
        if interrupt is None:
            return train_with(Slow)(rule, start, gradients, learning_rates, interrupt=None, settings=settings)
        half = train_with(Slow)(
            rule, start, gradients[:interrupt], learning_rates[:interrupt], interrupt=None, settings=settings
        )
        rest = gradients[interrupt:], learning_rates[interrupt:]
        return train_with(Slow)(rule, [np.array(a) for a in half], *rest, interrupt=None, settings=settings)

    rule = next(r for r in RULES if type(r).__name__ == "Adam")
    with pytest.raises(AssertionError, match=r"Adam\(.*plain, float64: parameter"):
        check_rule(rule, forgets_the_rate)
    with pytest.raises(AssertionError, match="after a resume"):
        check_rule(rule, forgets_the_state)
