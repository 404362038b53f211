"""Later relatives of Adam in torch: numbers of their rules, settings by group, states that load."""

import io
import math

import pytest

import torch
from surefoot import ArgumentError, ArgumentTypeError, rules
from surefoot.torch import LAMB, AdaBelief, Adan, AdEMAMix, Cautious, RuleOptimizer

MAKERS = {
    "AdaBelief": (
        lambda w: AdaBelief(w, 0.05, (0.8, 0.9), 1e-8),
        rules.AdaBelief(b1=0.8, b2=0.9, eps=1e-8, eps_root=1e-8),
    ),
    "Adan": (lambda w: Adan(w, 0.05, (0.9, 0.8, 0.7), 1e-4), rules.Adan(b1=0.9, b2=0.8, b3=0.7, eps=1e-4)),
    "AdEMAMix": (
        lambda w: AdEMAMix(w, 0.05, (0.8, 0.9, 0.99), 2.0, 20, 10, 1e-4),
        rules.AdEMAMix(b1=0.8, b2=0.9, b3=0.99, alpha=2.0, b3_warmup=20, alpha_warmup=10, eps=1e-4),
    ),
    "LAMB": (lambda w: LAMB(w, 0.05, (0.8, 0.9), 1e-4, 0.1), rules.LAMB(b1=0.8, b2=0.9, eps=1e-4, decay=0.1)),
    "Cautious": (
        lambda w: Cautious(w, rules.Adam(b2=0.9), 0.05, floor=0.2),
        rules.Cautious(rule=rules.Adam(b2=0.9), floor=0.2),
    ),
}
every = pytest.mark.parametrize("name", MAKERS)


def weights():
    draw = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(size, generator=draw)) for size in ((3, 2), (2,))]


def train(optimizer, parameters, steps, start=0):
    for t in range(start, start + steps):
        draw = torch.Generator().manual_seed(t)
        for p in parameters:
            p.grad = 2.0 * (p.detach() - 3.0) + torch.randn(p.shape, generator=draw)
        optimizer.step()


@every
def test_steps_are_those_of_the_rule(name):
    make, rule = MAKERS[name]
    mine, other = weights(), weights()
    train(make(mine), mine, 50)
    train(RuleOptimizer(other, rule, 0.05), other, 50)
    for a, b in zip(mine, other, strict=True):
        assert torch.equal(a, b)
        assert (a - 3.0).abs().max() < (weights()[0] - 3.0).abs().max()


@every
def test_a_state_is_plain_data_and_resumes_bit_for_bit(name):
    make, _ = MAKERS[name]
    mine, twins = weights(), weights()
    optimizer = make(mine)
    train(optimizer, mine, 15)
    train(make(twins), twins, 30)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    others = [torch.nn.Parameter(p.detach().clone()) for p in mine]
    resumed = make(others)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    train(resumed, others, 15, 15)
    assert all(torch.equal(a, b) for a, b in zip(others, twins, strict=True))


def test_the_rule_inside_is_the_same_for_all_groups_and_weights_decay_by_group():
    mine = weights()
    optimizer = Cautious([{"params": mine[:1], "weight_decay": 0.5}, {"params": mine[1:]}], rules.Adam(), lr=0.1)
    assert not any(isinstance(v, rules.Rule) for group in optimizer.param_groups for v in group.values())
    start = [p.detach().clone() for p in mine]
    for p in mine:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    torch.testing.assert_close(mine[0].detach(), 0.95 * start[0])
    assert torch.equal(mine[1].detach(), start[1])


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda w: AdaBelief(w, betas=(1.0, 0.9)), "b1"),
        (lambda w: AdaBelief(w, lr=math.nan), "lr"),
        (lambda w: LAMB(w, weight_decay=-1.0), "weight_decay"),
        (lambda w: Adan(w, betas=(0.9, 0.9, 1.0)), "b3"),
        (lambda w: AdEMAMix(w, alpha=-1.0), "alpha"),
        (lambda w: AdEMAMix(w, beta3_warmup=-1), "beta3_warmup"),
        (lambda w: Cautious(w, rules.Adam(), 0.1, floor=0.0), "floor"),
        (lambda w: Cautious(w, rules.Adam(), -0.1), "lr"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_arguments_are_refused_by_name(make, name):
    with pytest.raises(ArgumentError, match=rf"\({name}="):
        make(weights())


def test_what_is_no_rule_is_refused():
    with pytest.raises(ArgumentTypeError, match="rule must be"):
        Cautious(weights(), "adam", 0.1)
