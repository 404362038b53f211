import math
import random
import time

import pytest

from surefoot import ArgumentError, ArgumentTypeError
from surefoot.control import DivergenceGuard, Reading


def decisions(guard, losses):
    return [guard.observe(Reading(i, {"loss": loss})) for i, loss in enumerate(losses)]


def noisy(count, seed=0, spread=0.1):
    rng = random.Random(seed)
    return [3.0 * 0.999**i + rng.gauss(0.0, spread) for i in range(count)]


def test_noise_is_no_trouble():
    for seed in range(20):
        assert decisions(DivergenceGuard(), noisy(1000, seed)) == [None] * 1000


def test_a_loss_that_stands_still_is_no_trouble():
    assert decisions(DivergenceGuard(), [1.0] * 100 + [1.0005] * 5) == [None] * 105


def test_a_steep_start_is_no_trouble():
    assert decisions(DivergenceGuard(), [10.0 * 0.9**i for i in range(200)]) == [None] * 200


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_trouble_at_once(odd):
    guard = DivergenceGuard()
    assert decisions(guard, [odd])[0].cause == f"loss is {odd:g}"
    assert guard.factor == 0.5


def test_a_spike_is_trouble_and_does_not_hide_the_next():
    losses = noisy(100)
    losses[50] = losses[60] = 30.0
    found = decisions(DivergenceGuard(), losses)
    assert [i for i, d in enumerate(found) if d] == [50, 60]
    assert "above its running mean" in found[50].cause


def test_a_spike_downwards_is_none():
    assert decisions(DivergenceGuard(), [*noisy(100), -50.0])[-1] is None


def test_gives_up_after_its_attempts():
    guard = DivergenceGuard(action="rewind", attempts=2)
    assert [d.action for d in decisions(guard, [math.nan] * 3)] == ["rewind", "rewind", "stop"]
    assert guard.factor == 0.25


@pytest.mark.parametrize(
    ("action", "asked", "factor"), [("warn", "continue", 1.0), ("skip", "skip", 1.0), ("stop", "stop", 1.0)]
)
def test_acts_as_it_is_told(action, asked, factor):
    guard = DivergenceGuard(action=action)
    assert decisions(guard, [math.nan])[0].action == asked
    assert guard.factor == factor


def test_a_reading_costs_microseconds():
    guard, reading = DivergenceGuard(), Reading(0, {"loss": 1.0})
    began = time.perf_counter()
    for _ in range(10_000):
        guard.observe(reading)
    assert (time.perf_counter() - began) / 10_000 < 50e-6  # about 1 on an idle machine


@pytest.mark.parametrize(
    ("options", "argument", "error"),
    [
        ({"action": "restart"}, "action", ArgumentError),
        ({"factor": 1.5}, "factor", ArgumentError),
        ({"spike": 0.0}, "spike", ArgumentError),
        ({"spike": "big"}, "spike", ArgumentTypeError),
        ({"warmup": 1}, "warmup", ArgumentError),
        ({"attempts": 0}, "attempts", ArgumentError),
        ({"monitor": 1}, "monitor", ArgumentTypeError),
    ],
    ids=repr,
)
def test_a_wrong_value_is_refused_by_name(options, argument, error):
    with pytest.raises(error, match=rf"`DivergenceGuard\({argument}=.*\)`: {argument} must be "):
        DivergenceGuard(**options)
