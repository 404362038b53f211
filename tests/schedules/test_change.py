import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot import ArgumentError, ArgumentTypeError
from surefoot.schedules import (
    constant,
    cosine_decay,
    cosine_restarts,
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
    piecewise,
    polynomial_decay,
    power_decay,
    rex,
    step_decay,
    warmup_stable_decay,
)
from surefoot.testing import check_schedule

from .examples import EXAMPLES

FEW = settings(max_examples=40, deadline=None, derandomize=True)

RESOLVED = [schedule.resolve(200, 20) for schedule in EXAMPLES]
LONG = [schedule for schedule in RESOLVED if schedule.length > 1]
DECAYS = [
    linear_decay(to=0.1),
    cosine_decay(power=1.5),
    polynomial_decay(power=2),
    rex(),
    exponential_decay(to=0.01),
    exponential_decay(rate=0.5, every=30),
    step_decay(30),
    multistep([30, 60]),
    inverse_time_decay(20),
    inverse_sqrt_decay(timescale=30),
    power_decay(30),
    warmup_stable_decay(0, "50%"),
    from_table([1.0, 0.5, 0.2], every=None),
    constant() >> linear_decay("50%"),
    cosine_decay("30%", to=0.5) >> 0.5 * linear_decay(),
    0.5 * cosine_decay(),
    linear_decay() * cosine_decay("50%", to=0.5),
    linear_decay().clipped(0.2),
    constant().cooldown_from("50%"),
]


@FEW
@given(st.sampled_from(LONG), st.floats(0, 1, exclude_max=True), st.integers(1, 300))
def test_an_extended_schedule_is_the_same_up_to_the_step_and_ends_where_it_is_told(schedule, share, more):
    length = schedule.length
    step, to = share * length, length + more
    longer = schedule.extend(to, step=step)
    assert longer.length == pytest.approx(to)
    for s in np.linspace(0, step, 7):
        assert longer(float(s)) == pytest.approx(schedule(float(s)), abs=1e-9)
    assert longer(longer.length + 1000) == longer(longer.length)


@FEW
@given(st.sampled_from(DECAYS), st.integers(0, 199), st.integers(1, 300))
def test_an_extension_of_a_decay_never_raises_the_rate_and_ends_no_lower(decay, step, more):
    known = decay.resolve(200)
    curve = np.array([known.extend(200 + more, step=step)(s) for s in range(200 + more)])
    assert (np.diff(curve) <= 1e-12).all()
    assert curve[step] == pytest.approx(known(step), abs=1e-12)


@pytest.mark.parametrize(
    "longer",
    [
        linear_decay(30).extend(50, step=10),
        (linear_warmup(5) >> cosine_decay(25)).extend(50, step=10),
        (linear_warmup(5) >> constant(10) >> linear_decay(15)).extend(50, step=20),
        warmup_stable_decay(5, 10, length=30).extend(50, step=25),
        one_cycle(30, warmup_steps=9).extend(50, step=20),
        constant(30).cooldown_from(20, 10).extend(50, step=25),
    ],
    ids=repr,
)
def test_extended_schedules_keep_the_contract(longer):
    check_schedule(longer, total_steps=60)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", LONG, ids=repr)
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_all_extended_schedules_keep_the_contract(schedule, share):
    step = int(share * schedule.length)
    check_schedule(schedule.extend(schedule.length + 50, step=step), total_steps=400)


@pytest.mark.parametrize(
    "schedule",
    [linear_decay(to=0.1), cosine_decay(to=0.1), polynomial_decay(to=0.1, power=2), rex(to=0.1), one_cycle(to=0.1)],
    ids=repr,
)
def test_a_decay_that_is_extended_at_its_start_is_that_of_the_longer_run(schedule):
    longer = schedule.resolve(200).extend(300)
    assert longer(300) == 0.1
    assert longer.length == 300
    if not isinstance(schedule, one_cycle):
        assert longer == schedule.resolve(300)


def test_the_final_value_of_a_stretched_decay_is_met_exactly():
    assert cosine_decay(100, to=0.1).extend(333, step=37)(333) == 0.1
    assert linear_decay(100).extend(150, step=50).extend(1000, step=70)(1000) == 0.0


def test_the_stable_phase_gets_longer_and_the_cooldown_keeps_its_length():
    known = warmup_stable_decay(10, 20).resolve(100)
    assert known.extend(200, step=80) == warmup_stable_decay(10, 20, length=200)
    assert known.extend(200, step=90)(145) == pytest.approx(known(95))
    joined = linear_warmup(10) >> constant(70) >> linear_decay(20)
    assert joined.extend(200, step=79) == linear_warmup(10) >> constant(170) >> linear_decay(20)
    assert joined.extend(200, step=80) == linear_warmup(10) >> constant(70) >> linear_decay(120)


def test_a_warmup_is_never_made_slower():
    known = (linear_warmup(10) >> cosine_decay(90)).extend(200, step=5)
    assert known == linear_warmup(10) >> cosine_decay(190)
    assert linear_warmup(10).extend(20) == linear_warmup(10) >> constant(10)
    assert one_cycle(100, warmup_steps=30).extend(200, step=20) == one_cycle(200, warmup_steps=30)
    half_way = (linear_decay(50) * linear_warmup(10)).extend(100, step=5)
    assert half_way(10) == pytest.approx(linear_decay(50)(5 + 5 * 45 / 95))


def test_what_has_a_pace_of_its_own_goes_on_at_it():
    for schedule in (
        noam(10), step_decay(30), multistep([30]), power_decay(10), cosine_restarts(30), inverse_time_decay(9),
        piecewise({30: 0.1}), inverse_sqrt_decay(timescale=9), exponential_decay(rate=0.9), constant(),
        from_function(abs), from_table([1.0, 0.5], every=30), polynomial_decay(cycle=30),
    ):  # fmt: skip
        assert schedule.resolve(100).extend(250, step=70) == schedule.resolve(250)


def test_a_cooldown_that_has_not_begun_begins_later():
    known = constant(100).cooldown_from(80, 20)
    assert known.extend(300, step=50) == constant(300).cooldown_from(280, 20)
    assert known.extend(300, step=90)(195) == pytest.approx(known(95))


def test_what_takes_no_time_yet_can_be_extended():
    assert constant(0).extend(20) == constant(20)
    assert linear_warmup(0).extend(20) == linear_warmup(0) >> constant(20)


def test_extending_by_nothing_changes_nothing():
    known = linear_decay(100)
    assert known.extend(100) is known


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: linear_decay().extend(100), "Resolve it with the longer run"),
        (lambda: (linear_warmup("5%") >> linear_decay(10)).extend(100), "Resolve it with the longer run"),
        (lambda: linear_decay(100).extend(99), "To end earlier, use `cooldown_from`"),
        (lambda: linear_decay(100).extend(200, step=100), "join another to it"),
        (lambda: linear_decay(100).extend(200, step=-1), "step must be a finite number at least 0"),
        (lambda: linear_decay(100).extend(float("nan")), "to must be a finite number"),
        (lambda: linear_decay(100).cooldown_from(50, 0), "length|decay_steps must be"),
        (lambda: linear_decay(100).cooldown_from(-1), "step must be"),
        (lambda: linear_decay(100).cooldown_from(50, 10, to=0.6), "at most 0.5, the factor at step 50"),
        (lambda: linear_decay().cooldown_from(50, 10, to=0.6).resolve(100), "at most 0.5, the factor at step 50"),
        (lambda: linear_decay().cooldown_from(50, 10, shape="sqrt"), "Did you mean '1-sqrt'"),
        (lambda: linear_decay().cooldown_from(50, 60).resolve(100), "from step 50 to step 110"),
        (lambda: linear_decay().cooldown_from("100%").resolve(100), "from step 100 to step 100"),
        (lambda: linear_decay().cooldown_from(101).resolve(100), "is longer than `total_steps=100`"),
        (lambda: linear_decay().clipped(-0.1), "low must be"),
        (lambda: linear_decay().clipped(0.5, 0.4), "It is at least `low`, 0.5"),
        (lambda: linear_decay().shifted(float("inf")), "steps must be a finite number"),
        (lambda: linear_decay(10).shifted(-11), "at least -10"),
        (lambda: linear_decay().shifted(100).resolve(100), "is left with 0"),
        (lambda: linear_decay().scaled(-1), "factor must be"),
    ],
)
def test_changes_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: linear_decay(10).extend("100%"),
        lambda: linear_decay(10).cooldown_from(None),
        lambda: linear_decay(10).clipped("low"),
        lambda: linear_decay(10).shifted("5%"),
    ],
)
def test_changes_by_other_types_are_refused(make):
    with pytest.raises(ArgumentTypeError):
        make()


@FEW
@given(st.sampled_from(LONG), st.floats(0, 1), st.integers(1, 100), st.sampled_from(["linear", "1-sqrt", "cosine"]))
def test_a_cooldown_starts_at_the_value_of_its_step_and_ends_at_to(schedule, share, length, shape):
    step = int(share * schedule.length)
    to = 0.5 * schedule(step)
    if to > 1:
        return
    known = schedule.cooldown_from(step, length, to=to, shape=shape)
    assert known.length == step + length
    assert [known(s) for s in range(step)] == [schedule(s) for s in range(step)]
    assert known(step) == pytest.approx(schedule(step))
    assert known(step + length) == pytest.approx(to) == known(step + 10 * length)
    curve = [known(step + k) for k in range(length + 1)]
    assert all(b <= a + 1e-15 for a, b in pairwise(curve))


def test_a_cooldown_of_a_constant_is_warmup_stable_decay():
    for shape in ("linear", "1-sqrt", "cosine"):
        one = (linear_warmup("5%") >> constant()).cooldown_from("80%", to=0.1, shape=shape).simulate(137)
        assert one == pytest.approx(warmup_stable_decay(to=0.1, shape=shape).simulate(137), abs=1e-15)


def test_a_resolved_schedule_is_cut_short_by_its_cooldown():
    plan = (linear_warmup("5%") >> cosine_decay()).resolve(1000).cooldown_from(300, 100)
    assert plan.resolve(400) == plan
    assert plan.simulate(400)[:300] == (linear_warmup("5%") >> cosine_decay()).simulate(1000)[:300]


def test_the_lengths_of_a_cooldown_are_shares_and_epochs_too():
    plan = linear_decay().cooldown_from("50%", "25%")
    assert plan.resolve(301) == linear_decay(301).cooldown_from(151, 75)
    assert linear_decay().cooldown_from("2 epochs").resolve(100, 10) == linear_decay(100).cooldown_from(20, 80)
    assert linear_decay().cooldown_from("50%", 7).resolve(101).length == 51 + 7


def test_calling_an_unresolved_change_says_what_to_do():
    for schedule in (
        linear_decay().shifted(3), linear_decay().clipped(0.1), linear_decay(9).cooldown_from(3),
        linear_decay(9).cooldown_from("50%", 3), linear_decay().cooldown_from(3, 3),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=re.escape(".resolve(total_steps=...)")):
            schedule(5)


def test_shifting_is_moving_in_time():
    known = cosine_decay(50).resolve(100)
    assert [known.shifted(7)(step) for step in range(80)] == [known(step - 7) for step in range(80)]
    assert [known.shifted(-7)(step) for step in range(80)] == [known(step + 7) for step in range(80)]
    assert known.shifted(-7)(-3) == known(7)
    assert linear_decay().shifted(20).resolve(100) == linear_decay(80).shifted(20)
    assert linear_decay("50%").shifted(20).resolve(100).length == 70


def test_clipping_is_pointwise():
    curve = np.array(cosine_decay().simulate(50))
    assert cosine_decay().clipped(0.2, 0.7).simulate(50) == np.clip(curve, 0.2, 0.7).tolist()
    assert cosine_decay().clipped().simulate(50) == curve.tolist()


def test_scaled_is_times():
    assert cosine_decay().scaled(0.5) == 0.5 * cosine_decay()


def test_reprs_of_changes_say_only_what_was_said():
    assert repr(linear_decay(9).shifted(-1)) == "linear_decay(9).shifted(-1)"
    assert repr((0.5 * linear_decay()).clipped(high=0.4)) == "(0.5 * linear_decay()).clipped(high=0.4)"
    assert repr(linear_decay().cooldown_from("80%")) == "linear_decay().cooldown_from('80%')"
    assert repr(linear_decay(9).extend(20, step=3)) == "linear_decay(9).extend(20, step=3)"
