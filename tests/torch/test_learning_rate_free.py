"""The torch optimizers that find their own rate: what they say of it, groups, weight decay, resuming."""

import copy
import math
import warnings

import pytest

import torch
from surefoot import ArgumentError, rules
from surefoot.schedules import constant
from surefoot.torch import SGD, Adam, DAdaptAdam, DAdaptSGD, DoG, DoWG, NAdam, Prodigy, RuleOptimizer, drive

FREE = [
    lambda w: DoG(w, start=0.01),
    DoWG,
    lambda w: DAdaptSGD(w, d0=1e-3, momentum=0.5, weight_decay=0.1),
    lambda w: DAdaptAdam(w, d0=1e-3, weight_decay=0.1, decouple=True),
    lambda w: Prodigy(w, d0=1e-3, weight_decay=0.1, growth_rate=1.1),
]
NAMES = ["DoG", "DoWG", "DAdaptSGD", "DAdaptAdam", "Prodigy"]
every_free_one = pytest.mark.parametrize("make", FREE, ids=NAMES)


def weights(dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(size, generator=draw).to(dtype)) for size in ((3, 2), (2,))]


def step(optimizer, parameters, count=1):
    for _ in range(count):
        optimizer.zero_grad()
        sum((p - 3.0).square().sum() for p in parameters).backward()
        optimizer.step()


@every_free_one
def test_effective_rates_are_those_of_the_rule(make):
    parameters = weights()
    optimizer = make(parameters)
    assert math.isnan(optimizer.effective_learning_rates()[0])  # it has found none yet
    seen = []
    for t in range(1, 31):
        step(optimizer, parameters)
        (rate,) = optimizer.effective_learning_rates()
        rule, state = optimizer.rule_of(optimizer.param_groups[0]), optimizer.state[parameters[0]]
        assert rate == rule.effective_lr(1.0, t, **{name: float(state[name]) for name in rule.scalar_slots})
        seen.append(rate)
    assert seen[-1] > 2.0 * min(seen) > 0.0


@pytest.mark.parametrize(
    "make",
    [DoWG, lambda w: DAdaptSGD(w, d0=1e-6), lambda w: DAdaptAdam(w, d0=1e-6), lambda w: Prodigy(w, d0=1e-6)],
    ids=NAMES[1:],
)
@pytest.mark.parametrize("is_slow", [False, True], ids=["kernel", "torch"])
def test_an_estimate_that_has_not_moved_is_said_once(make, is_slow, monkeypatch):
    parameters = weights()
    optimizer = make(parameters)
    if is_slow:
        monkeypatch.setattr(type(optimizer), "_present_plan", lambda self: None)
    for p in parameters:
        p.grad = torch.zeros_like(p)  # with nothing to go by no estimate moves
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(120):
            optimizer.step()
    (said,) = [str(w.message) for w in caught if "at its start" in str(w.message)]
    assert said.startswith(f"`{type(optimizer).__name__}`: ")
    assert "after 100 steps: raise" in said


def test_the_owner_of_the_rate_says_what_was_found():
    parameters = weights()
    optimizer = Prodigy(parameters, d0=1e-3)
    lr = drive(optimizer, constant(), total_steps=10)
    assert lr.why().endswith("; Prodigy multiplies it: no rate found yet")
    step(optimizer, parameters, 5)
    used = optimizer.effective_learning_rates()[0]
    assert lr.why().splitlines()[0].endswith(f"; Prodigy multiplies it: the last step has used {used:g}")


def test_dog_says_the_rate_of_the_step_it_took():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = DoG([weight], start=0.1)
    for _ in range(5):
        before, gradient = weight.detach().clone(), torch.randn(2, dtype=torch.float64)
        weight.grad = gradient
        optimizer.step()
        torch.testing.assert_close(weight.detach(), before - optimizer.effective_learning_rates()[0] * gradient)


def test_rates_are_one_for_each_group():
    first, second = weights()
    optimizer = Prodigy([{"params": [first]}, {"params": [second], "lr": 0.25}], lr=0.5, d0=1e-3)
    step(optimizer, [first, second], 20)
    a, b = optimizer.effective_learning_rates()
    assert a == pytest.approx(2.0 * b, rel=1e-12)
    assert a > 1e-3
    assert optimizer.state[first]["d_max"] == optimizer.state[second]["d_max"]  # one estimate for the model


@pytest.mark.parametrize("make", [SGD, Adam, NAdam], ids=lambda kind: kind.__name__)
def test_other_optimizers_say_their_rate(make):
    first, second = weights()
    optimizer = make([{"params": [first]}, {"params": [second], "lr": torch.tensor(0.25)}], lr=0.5)
    assert optimizer.effective_learning_rates() == [0.5, 0.25]
    step(optimizer, [first, second])
    assert optimizer.effective_learning_rates() == [0.5, 0.25]


def test_a_rule_inside_of_complete_is_asked_too():
    parameters = weights()
    optimizer = RuleOptimizer(parameters, rules.Complete(rule=rules.DoWG(), clip_norm=1.0), 1.0)
    step(optimizer, parameters)
    assert optimizer.effective_learning_rates()[0] == pytest.approx(1e-4 / (1e-4 + 1e-2 * math.sqrt(2.0)), rel=1e-6)


@every_free_one
def test_a_resumed_run_is_the_unbroken_run(make):
    whole, broken = weights(), weights()
    optimizer = make(whole)
    step(optimizer, whole, 20)
    first = make(broken)
    step(first, broken, 7)
    resumed = make(broken)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    assert resumed.effective_learning_rates() == first.effective_learning_rates()
    step(resumed, broken, 13)
    assert all(torch.equal(a, b) for a, b in zip(whole, broken, strict=True))
    assert resumed.effective_learning_rates() == optimizer.effective_learning_rates()


@pytest.mark.parametrize("kind", [DoG, DoWG, DAdaptAdam, Prodigy], ids=lambda kind: kind.__name__)
def test_decoupled_decay_is_as_small_as_the_rate_that_was_found(kind):
    """By lr = 1 it would take half of the weights at once."""
    decayed, plain = weights(torch.float64), weights(torch.float64)
    options = {"decouple": True} if kind in (DAdaptAdam, Prodigy) else {}
    optimizer, without = kind(decayed, weight_decay=0.5, **options), kind(plain)
    step(optimizer, decayed)
    step(without, plain)
    (rate,) = optimizer.effective_learning_rates()
    assert rate < 0.01
    for before, a, b in zip(weights(torch.float64), decayed, plain, strict=True):
        torch.testing.assert_close(a - b, -0.5 * rate * before, rtol=0.0, atol=1e-14)


def test_bad_settings_are_refused_when_they_are_given():
    with pytest.raises(ArgumentError, match=r"`Prodigy\(d0=0.0\)`: d0 must be a finite number above 0"):
        Prodigy(weights(), d0=0.0)
    with pytest.raises(ArgumentError, match=r"`DAdaptAdam\(growth=0.5\)`: growth must be a finite number at least 1"):
        DAdaptAdam(weights(), growth_rate=0.5)
    for kind in (DAdaptSGD, DAdaptAdam, Prodigy):
        with pytest.raises(ArgumentError, match=r"params=torch.float16\)`: params must be float32, .*autocast"):
            kind(weights(torch.float16))
    optimizer = DAdaptSGD(weights())
    with pytest.raises(ArgumentError, match=r"`DAdaptSGD\(momentum=1.0\)`"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "momentum": 1.0})
    assert len(optimizer.param_groups) == 1
