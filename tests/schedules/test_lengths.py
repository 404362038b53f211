import re

import numpy as np
import pytest

from surefoot import ArgumentError, ArgumentTypeError
from surefoot.schedules import (
    constant,
    cosine_decay,
    cosine_restarts,
    cyclic,
    cyclic_momentum,
    exponential_decay,
    from_function,
    from_table,
    inverse_sqrt_decay,
    inverse_time_decay,
    linear_decay,
    linear_warmup,
    multistep,
    noam,
    one_cycle,
    one_cycle_momentum,
    piecewise,
    polynomial_decay,
    power_decay,
    rex,
    step_decay,
    warmup_stable_decay,
)


@pytest.mark.parametrize(
    ("length", "total_steps", "steps"),
    [
        ("5%", 300, 15),
        ("5%", 310, 16),  # 15.5: halves go up
        ("5%", 309, 15),
        ("0.1%", 1000, 1),
        ("14.5%", 1000, 145),  # exact fractions: 0.145 * 1000 is not 145 in floats
        ("100%", 7, 7),
        ("3 epochs", 300, 60),
        ("1 epoch", 300, 20),
        ("0.5 epochs", 300, 10),
        (15, 300, 15),
        (15.5, 300, 15.5),
        (np.int64(15), 300, 15),
    ],
)
def test_lengths_in_steps(length, total_steps, steps):
    assert linear_decay(length).resolve(total_steps, steps_per_epoch=20).length == steps


def test_pieces_always_add_up_to_the_run():
    schedule = (linear_warmup("50%") >> linear_decay("50%")).resolve(301)
    assert [piece.length for piece in schedule.pieces] == [151, 150]
    thirds = (linear_warmup("33.3%") >> constant("33.3%") >> linear_decay()).resolve(10)
    assert [piece.length for piece in thirds.pieces] == [3, 4, 3]


def test_the_piece_without_a_length_takes_what_is_left_wherever_it_stands():
    schedule = (linear_warmup("5%") >> constant() >> linear_decay("20%")).resolve(1000)
    assert [piece.length for piece in schedule.pieces] == [50, 750, 200]
    assert schedule.length == 1000


def test_a_resolved_schedule_knows_its_length():
    assert (linear_warmup("5%") >> cosine_decay()).resolve(1000).length == 1000
    assert (linear_warmup(10) >> cosine_decay(20)).resolve(1000).length == 30
    assert (0.5 * cosine_decay()).resolve(1000).length == 1000
    assert (cosine_decay(10) * constant(20)).resolve(1000).length == 20


def test_resolving_reaches_the_lengths_inside():
    assert warmup_stable_decay().resolve(1000) == warmup_stable_decay(50, 200, length=1000)
    assert warmup_stable_decay("50%", "50%").resolve(301) == warmup_stable_decay(151, 150, length=301)
    assert exponential_decay(rate=0.5, every="10%").resolve(100).every == 10
    assert exponential_decay(rate=0.5, every=1000).resolve(100).every == 1000
    assert one_cycle(down_steps="30%").resolve(1000) == one_cycle(1000, warmup_steps=300, down_steps=300)
    assert piecewise({"50%": 0.1}).resolve(100) == piecewise({50: 0.1}, length=100)
    assert inverse_sqrt_decay(timescale="10%").resolve(100).timescale == 10
    assert polynomial_decay(cycle="10%").resolve(100) == polynomial_decay(100, cycle=10)
    assert step_decay("10%").resolve(100) == step_decay(10, length=100)
    assert multistep(["50%", 60]).resolve(100) == multistep([50, 60], length=100)
    assert inverse_time_decay("1 epoch").resolve(100, 20) == inverse_time_decay(20, length=100)
    assert power_decay("10%").resolve(100) == power_decay(10, length=100)
    assert noam("10%").resolve(100) == noam(10, length=100)
    assert cosine_restarts("10%").resolve(100) == cosine_restarts(10, length=100)
    assert cyclic("10%").resolve(100) == cyclic(10, 10, length=100)
    assert one_cycle_momentum(down_steps="30%").resolve(1000).down_steps == 300
    assert from_table([1.0], every="0.1%").resolve(100).every == 1


UNRESOLVED = [
    linear_warmup("5%"),
    linear_decay(),
    cosine_decay("3 epochs"),
    polynomial_decay(),
    exponential_decay(),
    exponential_decay(rate=0.5, every="10%"),
    exponential_decay("50%", rate=0.5),
    inverse_sqrt_decay(),
    warmup_stable_decay(),
    one_cycle(),
    piecewise({"50%": 0.1}),
    piecewise({50: 0.1}, length="50%"),
    from_function(abs, length="50%"),
    polynomial_decay(100, cycle="10%"),
    step_decay("10%", length=100),
    multistep(["10%"], length=100),
    inverse_time_decay("10%", length=100),
    power_decay("10%", length=100),
    noam("10%", length=100),
    rex(),
    cosine_restarts("10%", length=100),
    cyclic("10%", length=100),
    cyclic(10, "10%", length=100),
    cyclic_momentum(10, "10%", length=100),
    one_cycle_momentum(100),
    from_table([1.0], every=None),
    from_table([1.0, 0.5], every="10%", length=100),
    linear_warmup("5%") >> cosine_decay(),
    constant() >> cosine_decay(5),
    0.5 * linear_decay(),
    linear_decay() * linear_decay(5),
]


@pytest.mark.parametrize("schedule", UNRESOLVED, ids=repr)
@pytest.mark.parametrize("step", [0, 3.5, np.arange(3)], ids=str)
def test_calling_an_unresolved_schedule_says_what_to_do(schedule, step):
    with pytest.raises(ArgumentError, match=re.escape(".resolve(total_steps=...)")):
        schedule(step)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            warmup_stable_decay(1200),
            "`warmup_stable_decay(warmup_steps=1200)` is longer than `total_steps=1000`. Lower `warmup_steps` or raise",
        ),
        (
            linear_warmup(1200) >> cosine_decay(),
            "`linear_warmup(length=1200)` is longer than `total_steps=1000`. Lower `length` or raise `total_steps`.",
        ),
        (linear_warmup("60 epochs"), "`linear_warmup(length='60 epochs')`, 1200 steps, is longer than"),
        (linear_warmup(600) >> cosine_decay(600), "takes 1200 steps, more than `total_steps=1000`"),
        (linear_warmup("60%") >> cosine_decay("60%"), "takes 1200 steps, more than `total_steps=1000`"),
        (linear_warmup(1000) >> cosine_decay(), "`cosine_decay()` is left with 0 of `total_steps=1000`"),
        (cosine_decay("0.01%"), "`cosine_decay('0.01%')` is left with 0 of"),
        (warmup_stable_decay("50%", 501), "500 + 501 steps to warm up and cool down, more than its length of 1000"),
        (one_cycle("20%"), "takes more than its length of 200 (`total_steps=1000`)"),
        (one_cycle(warmup_steps="60%", down_steps="60%"), "takes more than its length of 1000"),
        (multistep([1200]), "`multistep(milestones=1200)` is longer than `total_steps=1000`"),
        (multistep(["75%", "50%"]), "in the order of time. 500 comes after 750."),
        (noam(1200), "`noam(warmup_steps=1200)` is longer than `total_steps=1000`"),
        (one_cycle_momentum("20%"), "takes more than its length of 200 (`total_steps=1000`)"),
        (piecewise({1200: 0.1}), "`piecewise(points=1200)` is longer than `total_steps=1000`"),
        (piecewise({"75%": 0.1, "50%": 0.01}), "in the order of time. 500 comes after 750."),
    ],
)
def test_what_does_not_fit_into_the_run_is_refused(schedule, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        schedule.resolve(1000, 20)


def test_epochs_without_steps_per_epoch_name_the_cure():
    with pytest.raises(ArgumentError, match="Pass `steps_per_epoch=`"):
        (linear_warmup("3 epochs") >> cosine_decay()).resolve(1000)


def test_two_pieces_without_a_length_are_refused_at_once():
    with pytest.raises(ArgumentError, match="more than one piece without a length"):
        constant() >> cosine_decay()


@pytest.mark.parametrize("total_steps", [0, -1])
def test_runs_without_steps_are_refused(total_steps):
    with pytest.raises(ArgumentError, match="total_steps must be a whole number of at least 1"):
        linear_decay().resolve(total_steps)


@pytest.mark.parametrize("total_steps", [10.0, True, "10", None])
def test_horizons_that_are_no_integers_are_refused(total_steps):
    with pytest.raises(ArgumentTypeError):
        linear_decay().resolve(total_steps)


@pytest.mark.parametrize("steps_per_epoch", [0, -1, float("nan"), float("inf")])
def test_epochs_without_steps_are_refused(steps_per_epoch):
    with pytest.raises(ArgumentError, match="steps_per_epoch must be"):
        linear_decay().resolve(10, steps_per_epoch)


BAD_VALUES = [
    *("5 %%", "-3%", "120%", "0%", "", "%", "epochs", "3 steps", "three epochs", "1e3%", "nan%", "0 epochs"),
    *(0, -1, 0.5, -0.0, float("nan"), float("inf"), "9" * 5000 + "%"),
]


@pytest.mark.parametrize("length", BAD_VALUES)
def test_bad_lengths_are_refused_at_construction(length):
    with pytest.raises(ArgumentError, match="length must be"):
        cosine_decay(length)


@pytest.mark.parametrize("length", [True, [5], 1j, b"5%"])
def test_lengths_of_other_types_are_refused_at_construction(length):
    with pytest.raises(ArgumentTypeError, match="length must be"):
        cosine_decay(length)


def test_a_warmup_needs_a_length():
    with pytest.raises(ArgumentTypeError, match="linear_warmup"):
        linear_warmup(None)


def test_a_share_given_as_a_float_is_told_how_to_write_it():
    with pytest.raises(ArgumentError, match='write "5%"'):
        linear_warmup(0.05)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: linear_warmup(5, start=x),
        lambda x: linear_decay(to=x),
        lambda x: cosine_decay(to=x),
        lambda x: polynomial_decay(to=x),
        lambda x: exponential_decay(to=x),
        lambda x: exponential_decay(rate=0.5, to=x),
        lambda x: exponential_decay(rate=x),
        lambda x: warmup_stable_decay(to=x),
        lambda x: one_cycle(start=x),
        lambda x: step_decay(5, factor=x),
        lambda x: multistep([5], factor=x),
        lambda x: rex(to=x),
        lambda x: cosine_restarts(5, to=x),
        lambda x: cosine_restarts(5, height_factor=x),
        lambda x: cyclic(5, start=x),
        lambda x: cyclic(5, shape="exp_range", gamma=x),
        lambda x: one_cycle_momentum(low=x),
        lambda x: one_cycle_momentum(low=0, high=x),
        lambda x: cyclic_momentum(5, low=0, high=x),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1, True, "1"])
def test_factors_outside_0_and_1_are_refused(make, value):
    with pytest.raises((ArgumentError, ArgumentTypeError)):
        make(value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: constant(factor=-1),
        lambda: polynomial_decay(cycle=0),
        lambda: step_decay(0),
        lambda: step_decay(None),
        lambda: step_decay(5, factor=0),
        lambda: multistep([]),
        lambda: multistep(5),
        lambda: multistep("50%"),
        lambda: multistep([20, 10]),
        lambda: multistep([None]),
        lambda: inverse_time_decay(5, rate=-1),
        lambda: inverse_time_decay(5, staircase=1),
        lambda: power_decay(5, exponent=0),
        lambda: power_decay(5, exponent=float("nan")),
        lambda: noam(0),
        lambda: noam(None),
        lambda: cosine_restarts(0),
        lambda: cosine_restarts(5, length_factor=0.9),
        lambda: cosine_restarts(5, height_factor=0),
        lambda: cyclic(0),
        lambda: cyclic(5, 0),
        lambda: cyclic(5, shape="triangle"),
        lambda: cyclic(5, gamma=0.9),
        lambda: one_cycle_momentum(low=0.9, high=0.8),
        lambda: one_cycle_momentum(high=1.0),
        lambda: one_cycle_momentum(shape="cos"),
        lambda: from_table([]),
        lambda: from_table(3),
        lambda: from_table("123"),
        lambda: from_table([1.0, -0.1]),
        lambda: from_table([1.0, float("nan")]),
        lambda: from_table([1.0], shape="cosine"),
        lambda: from_table([1.0], every=0),
        lambda: cosine_decay(power=0),
        lambda: polynomial_decay(power=float("nan")),
        lambda: exponential_decay(to=0),
        lambda: exponential_decay(rate=0),
        lambda: exponential_decay(every=10),
        lambda: exponential_decay(staircase=True),
        lambda: exponential_decay(rate=0.5, staircase=1),
        lambda: warmup_stable_decay(shape="linaer"),
        lambda: one_cycle(shape="cos"),
        lambda: piecewise({}),
        lambda: piecewise({10: -1}),
        lambda: piecewise({10: 0.5, 5: 0.1}),
        lambda: piecewise([1, 2]),
        lambda: piecewise(7),
        lambda: from_function(3),
        lambda: -1 * linear_decay(),
        lambda: float("nan") * (0.5 * linear_decay()),
    ],
)
def test_other_bad_arguments_are_refused_at_construction(make):
    with pytest.raises((ArgumentError, ArgumentTypeError)):
        make()


def test_misspelled_names_are_offered_the_nearest():
    with pytest.raises(ArgumentError, match="Did you mean 'linear'"):
        warmup_stable_decay(shape="linaer")
