"""The rules that find their own rate: against their authors' packages, 500 steps of a small net, and what they promise.

How equal. Ours and theirs differ in the order of additions. From d0 = 1e-6 the first steps are 1e-6 long, so that of the
distance travelled, a difference of two weights of size 1, and of the estimate with it, ten of sixteen digits are right; the
net multiplies what is off. In float64 1e-11 of the largest weight are allowed over 50 steps (found: 2e-12 at worst) and
1e-7 over 500 (5e-9 at worst, 1e-13 where the path is tame). In float32, 500 million times as coarse, it is one digit or
two of the first estimates, and the path is as little ahead or behind: 5e-3 over 100 steps (found: 2e-3, in the
packages too), and 1e-5 for `DAdaptSGD`, which measures no distance.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from surefoot import rules
from surefoot.rules import DAdaptAdam, DAdaptSGD, DoG, DoWG, Prodigy, Vector

STEPS = 500
FREE = [DoG(start=0.1), DoWG(), DAdaptSGD(d0=0.1), DAdaptAdam(d0=0.1, b1=0.0), Prodigy(d0=0.1, eps=0.0)]
every_free_rule = pytest.mark.parametrize("rule", FREE, ids=lambda rule: type(rule).__name__)


def path(make, dtype, steps=STEPS):
    """Return the weights of a net after each step of a torch optimizer, and the optimizer."""
    torch = pytest.importorskip("torch")
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(64, 8, generator=draw, dtype=torch.float64).to(dtype)
    y = torch.tanh(x[:, :1] - 2.0 * x[:, 1:2]) + 0.3 * x[:, 2:3] * x[:, 3:4]
    sizes = ((16, 8), (16,), (1, 16), (1,))
    a, b, c, d = weights = [
        torch.nn.Parameter(0.3 * torch.randn(size, generator=draw, dtype=torch.float64).to(dtype)) for size in sizes
    ]
    optimizer, found = make(weights), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.5 * (1.0 - step / STEPS)
        optimizer.zero_grad()
        (torch.tanh(x @ a.T + b) @ c.T + d - y).square().mean().backward()
        optimizer.step()
        found.append(torch.cat([w.detach().flatten() for w in weights]).double().numpy().copy())
    return np.array(found), optimizer


PEERS = [
    ("prodigyopt", "Prodigy", {}),
    ("prodigyopt", "Prodigy", {"weight_decay": 0.1, "safeguard_warmup": True}),
    ("prodigyopt", "Prodigy", {"weight_decay": 0.1, "decouple": False, "betas": (0.8, 0.99), "eps": 1e-4}),
    (
        "prodigyopt",
        "Prodigy",
        {"use_bias_correction": True, "growth_rate": 1.05, "d_coef": 2.0, "d0": 1e-4, "beta3": 0.99},
    ),
    ("dadaptation", "DAdaptAdam", {}),
    ("dadaptation", "DAdaptAdam", {"use_bias_correction": True, "growth_rate": 1.05, "d0": 1e-4}),
    ("dadaptation", "DAdaptAdam", {"weight_decay": 0.1, "decouple": True, "betas": (0.8, 0.99), "eps": 1e-4}),
    ("dadaptation", "DAdaptAdam", {"weight_decay": 0.1}),
    ("dadaptation", "DAdaptSGD", {}),
    ("dadaptation", "DAdaptSGD", {"momentum": 0.9, "growth_rate": 1.05, "d0": 1e-4}),
]


@pytest.mark.parametrize(("package", "name", "options"), PEERS, ids=str)
def test_optimizer_is_that_of_the_authors_package(package, name, options):
    torch, peer = pytest.importorskip("torch"), pytest.importorskip(package)
    import surefoot.torch as ours

    theirs, reference = path(lambda w: getattr(peer, name)(w, **options), torch.float64)
    found, _ = path(lambda w: getattr(ours, name)(w, **options), torch.float64)
    size = np.maximum.accumulate(np.abs(theirs).max(axis=1))[:, None]
    error = np.abs(found - theirs) / size
    assert error[:50].max() < 1e-11
    assert error.max() < 1e-7
    assert reference.param_groups[0]["d"] > 1e-3  # it has left d0
    rounded, _ = path(lambda w: getattr(ours, name)(w, **options), torch.float32, 100)
    assert (np.abs(rounded - theirs[:100]) / size[:100]).max() < (1e-5 if name == "DAdaptSGD" else 5e-3)


def test_coupled_decay_is_in_the_first_norm_of_d_adapted_sgd():
    """In the package it is in the gradients but, by a slip (`add` for `add_`), not in the norm that the rate has."""
    rule = rules.Complete(rule=DAdaptSGD(d0=0.1), weight_decay=0.5, is_decoupled=False)
    x, g = np.array([3.0, -4.0]), np.array([1.0, 1.0])
    _, slots = rule.step(x, g, 1, 1.0, **rule.init(x))
    assert slots["first_norm"] == pytest.approx(math.hypot(2.5, -1.0))


def test_momentum_of_prodigy_goes_with_the_old_estimate_though_there_be_none():
    """The paper's m = b1 m + (1 - b1) d g; the package takes the new d where b1 is 0, optax the old one too."""
    rule = Prodigy(b1=0.0, d0=1e-3, eps=0.0)
    x, slots = np.array([1.0, 2.0]), rule.init(np.array([1.0, 2.0]))
    for t in range(1, 6):
        g = 2.0 * x
        dx, slots = rule.step(x, g, t, 1.0, **slots)
        np.testing.assert_allclose(dx, -(slots["d"] ** 2) * g / np.sqrt(slots["v"]), rtol=1e-12)
        x = x + dx
    assert slots["d"] > 100.0 * rule.d0  # it grew meanwhile


def directions(rule, g, slots):
    """Return what the rate is multiplied with."""
    if isinstance(rule, Prodigy):
        return slots["m"] / np.sqrt(slots["v"])
    return g / (np.sqrt(slots["v"]) + rule.eps) if isinstance(rule, DAdaptAdam) else g


@every_free_rule
def test_effective_rate_is_what_the_direction_was_multiplied_with(rule):
    x = np.array([1.0, -2.0, 0.5])
    slots, seen = rule.init(x), []
    for t in range(1, 21):
        g, lr = 2.0 * x + 0.1 * np.sin(t), 1.0 / t
        dx, slots = rule.step(x, g, t, lr, **slots)
        numbers = {name: slots[name] for name in rule.scalar_slots}
        seen.append(float(rule.effective_lr(lr, t, **numbers)))
        np.testing.assert_allclose(dx, -seen[-1] * directions(rule, g, slots), rtol=1e-9)
        x = x + dx
    assert len(set(seen)) == 20
    assert rule.finds_rate
    assert rules.Complete(rule=rule).finds_rate


def test_other_rules_have_the_rate_that_they_are_given():
    for rule in (rules.SGD(momentum=0.9), rules.NAdam(), rules.Complete(rule=rules.Adam(), clip_norm=1.0)):
        assert rule.effective_lr(0.25, 3) == 0.25
        assert not rule.finds_rate


@every_free_rule
def test_decoupled_weight_decay_goes_with_the_rate_that_was_found(rule):
    x, g = np.array([1.0, -2.0]), np.array([0.3, 0.4])
    plain, slots = rule.step(x, g, 1, 0.5, **rule.init(x))
    decayed, _ = rules.Complete(rule=rule, weight_decay=0.1).step(x, g, 1, 0.5, **rule.init(x))
    np.testing.assert_allclose(decayed - plain, -rule.effective_lr(0.5, 1, **slots) * 0.1 * x, rtol=1e-9)
    assert np.abs(decayed - plain).max() > 0.0


@pytest.mark.parametrize("rule", [DAdaptSGD(), DAdaptAdam(), Prodigy(), Prodigy(growth=1.1), DoWG()], ids=repr)
def test_gradients_of_zero_move_nothing_and_leave_the_estimate(rule):
    x = np.array([1.0, -2.0])
    slots = rule.init(x)
    for t in range(1, 4):
        dx, slots = rule.step(x, np.zeros(2), t, 1.0, **slots)
        assert dx.tolist() == [0.0, 0.0]
        assert all(np.isfinite(value).all() for value in slots.values())
    for name, value in rule.init(x).items():
        np.testing.assert_array_equal(slots[name], 0.0 if name == "d_hat" else value)


def estimates(rule, scale=1.0, lr=1.0, steps=200):
    """Return d of each step on a bowl."""
    x, found = np.array([3.0, -4.0, 1.0]), []
    slots = rule.init(x)
    for t in range(1, steps + 1):
        dx, slots = rule.step(x, scale * x * np.array([1.0, 0.5, 2.0]), t, lr, **slots)
        x = x + dx
        found.append(float(slots["d"]))
    return np.array(found)


@pytest.mark.parametrize("rule", [DAdaptSGD, DAdaptAdam, Prodigy])
def test_estimate_only_grows_and_no_faster_than_allowed(rule):
    free, capped = estimates(rule()), estimates(rule(growth=1.05))
    for d in (free, capped):
        assert (np.diff(d) >= 0.0).all()
        assert d[-1] > 100.0 * d[0]
    assert (free[1:] / free[:-1]).max() > 1.2
    late = capped[capped > 1.000002e-6]  # Prodigy's first estimate may be any
    assert (late[1:] / late[:-1]).max() < 1.05 + 1e-12


@pytest.mark.parametrize("rule", [DAdaptSGD, DAdaptAdam, Prodigy])
def test_no_cap_may_be_written_as_infinity(rule):
    assert rule(growth=math.inf) == rule()
    np.testing.assert_array_equal(estimates(rule(growth=1e9), steps=50), estimates(rule(), steps=50))


@pytest.mark.parametrize("rule", [DAdaptSGD(), DAdaptAdam(eps=0.0), Prodigy(eps=0.0)], ids=repr)
def test_estimate_does_not_depend_on_the_scale_of_the_gradients(rule):
    if isinstance(rule, DAdaptAdam):  # s / sqrt(v) is 0 / 0 before the first gradient
        rule = DAdaptAdam(eps=1e-300)
    np.testing.assert_allclose(estimates(rule, 1e3), estimates(rule), rtol=1e-6)


def test_safeguard_keeps_a_warm_up_from_inflating_the_estimate():
    """A rate of 0.01 is in the numerator once and in s not at all: the bound is a hundredth."""
    careless, safe = (estimates(Prodigy(safeguard_warmup=is_safe), lr=0.01, steps=500)[-1] for is_safe in (False, True))
    assert safe < 0.5 * careless


@pytest.mark.parametrize("rule", [DAdaptSGD(d0=0.1), DAdaptAdam(d0=0.1), Prodigy(d0=0.1)], ids=repr)
def test_rates_by_leaf_leave_one_estimate(rule):
    x = Vector([np.ones(2), np.full(3, -1.0)])
    slots = rule.init(x)
    for t in range(1, 6):
        dx, slots = rule.step(x, 2.0 * x, t, Vector([0.5, 1.0]), **slots)
        x = x + dx
        assert all(np.ndim(slots[name]) == 0 for name in rule.scalar_slots)
