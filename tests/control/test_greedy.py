"""Greedy against transformers' GreedyLR, and where it is better than it."""

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from surefoot import ArgumentError, ArgumentTypeError, StateError
from surefoot.control import Greedy, Reading

from .arguments import check, options

VALUES = st.lists(
    st.sampled_from([0.25, 0.5, 0.75, 1.0, 1.0 - 2**-12, 1.0 + 2**-12, 1.5, 2.0]), min_size=1, max_size=60
)
WINDOWS = st.sampled_from([1, 2, 4])  # means of these values are exact


def rates(greedy, values, metric="loss"):
    """Return the rate after each reading of a run that began with a rate of 1."""
    found = []
    for step, value in enumerate(values):
        greedy.observe(Reading(step, {metric: value}, greedy.factor))
        found.append(greedy.factor)
    return found


@settings(deadline=None)  # importing torch takes a second
@given(
    VALUES,
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    WINDOWS,
    st.sampled_from(["min", "max"]),
    st.booleans(),
)
def test_counts_as_greedylr_with_a_patience_of_one_more(values, patience, cooldown, warmup, window, mode, relative):
    torch = pytest.importorskip("torch")
    optimization = pytest.importorskip("transformers.optimization")
    if not hasattr(optimization, "GreedyLR"):
        pytest.skip("this version of transformers has no GreedyLR")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = optimization.GreedyLR(
        optimizer, mode, 0.5, patience, 2**-10, "rel" if relative else "abs", cooldown, warmup, min_lr=0.1, max_lr=5.0,
        eps=0.0, smooth=window > 1, window_size=window, reset_start=10**9,
    )  # fmt: skip
    expected = []
    for value in values:
        theirs.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    ours = Greedy(
        factor=0.5, patience=patience + 1, cooldown=cooldown, warmup=warmup, window=window, mode=mode,
        min_delta=2**-10, relative=relative, min_lr=0.1, max_lr=5.0,
    )  # fmt: skip
    assert rates(ours, values) == pytest.approx(expected, rel=1e-12)


def test_the_rate_goes_up_with_gains_and_down_without():
    falling = [0.9**i for i in range(4)]
    assert rates(Greedy(factor=0.5, patience=2), [*falling, 1.0, 1.0, 1.0]) == [1.0, 2.0, 2.0, 4.0, 4.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"warmup": 2}, [2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 2.0]),
        ({"cooldown": 1}, [2.0, 4.0, 8.0, 16.0, 8.0, 8.0, 4.0]),
    ],
    ids=repr,
)
def test_what_follows_a_change_is_not_looked_at(options, expected):
    assert rates(Greedy(factor=0.5, patience=1, **options), [1.0, 0.9, 0.8, 0.7, 0.8, 0.9, 1.0]) == expected


def test_negative_metrics_improve_downwards():
    """GreedyLR's relative threshold lies on the wrong side of a negative best: there each of these is a gain."""
    assert rates(Greedy(factor=0.5, patience=2, min_delta=0.1), [-1.0, -0.99, -1.0, -0.99, -1.0])[-1] == 0.25
    assert rates(Greedy(factor=0.5, patience=2, min_delta=0.1), [-1.0, -2.0, -3.0, -4.0])[-1] == 4.0


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_gain_and_is_forgotten_at_once(odd, window):
    """In GreedyLR -inf is the best for ever, and one NaN stays in its streaming average for ever."""
    greedy = Greedy(factor=0.5, patience=2, window=window)
    assert rates(greedy, [1.0, odd, odd]) == [1.0, 1.0, 0.5]
    assert greedy.best == 1.0
    assert rates(greedy, [0.5, 0.25]) == [0.5, 1.0]


def test_a_run_of_nothing_but_nan_lowers_the_rate():
    greedy = Greedy(factor=0.5, patience=2)
    assert rates(greedy, [math.nan] * 4) == [1.0, 0.5, 0.5, 0.25]
    decision = Greedy(patience=1).observe(Reading(0, {"loss": math.nan}))
    assert decision.cause == "loss has not improved on any value, as none was finite, for 1 reading"


def test_stays_within_its_limits_and_says_so_once():
    greedy = Greedy(factor=0.5, patience=1, min_lr=0.3, max_lr=3.0)
    values = [0.9**i for i in range(5)] + [1.0] * 7
    causes = []
    for step, value in enumerate(values):
        decision = greedy.observe(Reading(step, {"loss": value}, greedy.factor))
        causes.append("-" if decision is None else "stays" if "stays" in decision.cause else f"{greedy.factor:g}")
    assert causes == ["2", "3", "stays", "-", "-", "1.5", "0.75", "0.375", "0.3", "stays", "-", "-"]


def test_a_rate_outside_of_its_limits_is_not_moved_against_the_decision():
    """GreedyLR leaves it, too."""
    high, low = Greedy(patience=1, factor=0.5, max_lr=1.0), Greedy(patience=1, factor=0.5, min_lr=1.0)
    high.observe(Reading(0, {"loss": 1.0}, learning_rate=8.0))
    low.observe(Reading(0, {"loss": math.nan}, learning_rate=0.125))
    assert (high.factor, low.factor) == (1.0, 1.0)
    high.observe(Reading(0, {"loss": 2.0}, learning_rate=8.0))
    low.observe(Reading(0, {"loss": 2.0}, learning_rate=0.125))
    assert (high.factor, low.factor) == (0.5, 2.0)


def test_a_rate_of_zero_does_not_let_the_factor_run_away():
    greedy = Greedy(patience=1, factor=0.5)
    for step in range(50):
        greedy.observe(Reading(step, {"loss": -float(step)}, learning_rate=0.0))
    assert greedy.factor == 1.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_factor_stays_finite_and_can_come_back(sign):
    greedy = Greedy(patience=1, factor=1e-200)
    for step in range(9):
        greedy.observe(Reading(step, {"loss": sign * step}, learning_rate=1.0))
    assert greedy.factor in {1e200, 1e-200}
    greedy.observe(Reading(9, {"loss": -sign * 100.0}, learning_rate=1.0))
    assert greedy.factor == 1.0


def test_noise_alone_leads_downwards_slowly_and_an_average_keeps_it_up_on_a_slope():
    """A gain is one on the best: noise hides a slope from single readings, and not from averages."""
    import random

    rng = random.Random(0)
    losses = [3.0 - 0.01 * i + rng.gauss(0.0, 0.1) for i in range(200)]
    single, averaged = Greedy(patience=5, factor=0.9), Greedy(patience=5, factor=0.9, window=30)
    assert rates(single, losses)[-1] < 1.0 < rates(averaged, losses)[-1]


def test_a_saved_state_does_not_change_with_the_next_readings():
    greedy = Greedy(window=3)
    rates(greedy, [1.0, 2.0])
    state = greedy.state_dict()
    greedy.load_state_dict(state)
    rates(greedy, [3.0])
    assert state["recent"] == [1.0, 2.0]


def test_a_window_of_another_length_takes_the_saved_readings_over():
    long, short = Greedy(window=5), Greedy(window=2)
    rates(long, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    short.load_state_dict(json.loads(json.dumps(long.state_dict())))
    rates(short, [7.0])
    assert short.recent == [6.0, 7.0]


@pytest.mark.parametrize("wrong", [{"recent": 3}, {"recent": None}, {"recent": ["a"]}, {"best": [1.0]}, {"gains": {}}])
def test_a_damaged_state_is_refused_and_changes_nothing(wrong):
    greedy = Greedy(window=3)
    rates(greedy, [1.0, 2.0])
    before = greedy.state_dict()
    with pytest.raises(StateError, match="must be"):
        greedy.load_state_dict({**before, "factor": 0.5, **wrong})
    assert greedy.state_dict() == before
    assert greedy.factor == 1.0


@pytest.mark.parametrize(
    ("arguments", "argument", "error"),
    [
        ({"factor": 1.0}, "factor", ArgumentError),
        ({"factor": "half"}, "factor", ArgumentTypeError),
        ({"patience": 0}, "patience", ArgumentError),
        ({"cooldown": -1}, "cooldown", ArgumentError),
        ({"warmup": 1.5}, "warmup", ArgumentTypeError),
        ({"window": 0}, "window", ArgumentError),
        ({"mode": "auto"}, "mode", ArgumentError),
        ({"min_delta": -1e-4}, "min_delta", ArgumentError),
        ({"relative": 1}, "relative", ArgumentTypeError),
        ({"min_lr": math.nan}, "min_lr", ArgumentError),
        ({"min_lr": 0.1, "max_lr": 0.1}, "max_lr", ArgumentError),
        ({"max_lr": math.inf}, "max_lr", ArgumentError),
        ({"monitor": ""}, "monitor", ArgumentTypeError),
    ],
    ids=repr,
)
def test_a_wrong_value_is_refused_by_name(arguments, argument, error):
    with pytest.raises(error, match=rf"`Greedy\({argument}=.*\)`: {argument} must be "):
        Greedy(**arguments)


COUNTS = st.integers(1, 4)
OPTIONS = options(
    monitor=st.sampled_from([None, "loss", "accuracy"]),
    factor=st.floats(0.01, 0.99),
    patience=COUNTS,
    cooldown=COUNTS,
    warmup=COUNTS,
    window=COUNTS,
    mode=st.sampled_from(["min", "max"]),
    min_delta=st.floats(0.0, 0.1),
    relative=st.booleans(),
    min_lr=st.floats(0.0, 0.1),
    max_lr=st.none() | st.floats(0.1, 10.0),
)


@settings(max_examples=300)
@example({"factor": 10**400})
@given(OPTIONS)
def test_any_arguments_work_or_are_refused_by_name(given):
    check(Greedy, given)
