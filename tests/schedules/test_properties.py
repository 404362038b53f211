import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot.schedules import (
    constant,
    cosine_decay,
    cosine_restarts,
    cyclic,
    exponential_decay,
    from_dict,
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

FEW = settings(max_examples=60, deadline=None, derandomize=True)

shares = st.floats(0, 1)
lengths = st.one_of(st.none(), st.integers(1, 100), st.sampled_from(["10%", "12.5%", "33.3%", "1 epoch", "0.3 epochs"]))
powers = st.floats(0.1, 5)
totals = st.integers(200, 5000)

decays = st.one_of(
    st.builds(linear_decay, lengths, to=shares),
    st.builds(cosine_decay, lengths, to=shares, power=powers),
    st.builds(polynomial_decay, lengths, to=shares, power=powers),
    st.builds(exponential_decay, lengths, to=st.floats(1e-6, 1)),
    st.builds(
        exponential_decay,
        lengths,
        rate=st.floats(0.01, 1),
        every=st.integers(1, 50),
        staircase=st.booleans(),
        to=st.none() | shares,
    ),
    st.builds(inverse_sqrt_decay, lengths, timescale=st.none() | st.integers(1, 10_000)),
    st.builds(rex, lengths, to=shares),
    st.builds(step_decay, st.integers(1, 100), st.floats(0.01, 1), length=lengths),
    st.builds(multistep, st.lists(st.integers(1, 190), min_size=1, max_size=4).map(sorted), st.floats(0.01, 1)),
    st.builds(inverse_time_decay, st.integers(1, 100), st.floats(0, 3), length=lengths, staircase=st.booleans()),
    st.builds(power_decay, st.integers(1, 100), st.floats(-3, -0.01), length=lengths),
)
warmups = st.builds(
    linear_warmup, st.one_of(st.integers(0, 50), st.sampled_from(["5%", "10%", "1 epoch"])), start=shares
)
others = st.one_of(
    st.builds(constant, lengths, factor=st.floats(0, 3)),
    st.builds(warmup_stable_decay, start=shares, to=shares, shape=st.sampled_from(["linear", "1-sqrt", "cosine"])),
    st.builds(
        one_cycle,
        start=shares,
        to=shares,
        down_steps=st.none() | st.just("20%"),
        shape=st.sampled_from(["cosine", "linear"]),
    ),
    st.builds(
        piecewise,
        st.dictionaries(st.integers(0, 99), st.floats(0, 3), min_size=1).map(lambda d: dict(sorted(d.items()))),
        shape=st.sampled_from(["step", "linear", "cosine"]),
    ),
)
waves = st.one_of(
    st.builds(
        cosine_restarts,
        st.integers(1, 100),
        length=lengths,
        length_factor=st.floats(1, 3),
        height_factor=powers.map(lambda x: x / 5),
        to=shares,
    ),
    st.builds(cyclic, st.integers(1, 50), st.none() | st.integers(1, 50), length=lengths, start=shares),
    st.builds(polynomial_decay, lengths, to=shares, power=powers, cycle=st.integers(1, 100)),
    st.builds(noam, st.integers(1, 150)),
    st.builds(
        from_table,
        st.lists(st.floats(0, 3), min_size=1, max_size=9),
        every=st.none() | st.integers(1, 40),
        shape=st.sampled_from(["linear", "step"]),
    ),
)
anything = st.one_of(waves, decays, warmups, others, st.builds(lambda a, b: a >> b, warmups, decays))


@FEW
@given(decays, totals)
def test_decays_start_at_1_never_rise_and_stay_between_0_and_1(schedule, total):
    curve = np.array(schedule.simulate(total, 20))
    assert curve[0] == 1.0
    assert (np.diff(curve) <= 1e-15).all()
    assert (curve >= 0).all()


@FEW
@given(warmups, totals)
def test_warmups_never_fall_and_end_at_1(schedule, total):
    known = schedule.resolve(total, 20)
    curve = np.array(known.simulate(total))
    assert (np.diff(curve) >= -1e-15).all()
    assert known(known.length) == 1.0
    assert curve[0] == (schedule.start if known.length else 1.0)


@FEW
@given(anything, totals, st.floats(0, 1e9))
def test_schedules_hold_after_their_end(schedule, total, beyond):
    known = schedule.resolve(total, 20)
    assert known(known.length + beyond) == known(known.length)


@FEW
@given(warmups, decays, totals)
def test_warmup_to_decay_is_continuous_at_the_join(warmup, decay, total):
    known = (warmup >> decay).resolve(total, 20)
    join = known.pieces[0].length
    assert known(join) == 1.0
    if join:
        assert known(join - 1e-9) == pytest.approx(1.0, abs=1e-8)


@FEW
@given(shares, totals)
def test_decays_of_the_rest_of_the_run_reach_to_exactly_at_its_end(to, total):
    for schedule in (linear_decay(to=to), cosine_decay(to=to), polynomial_decay(power=3, to=to), one_cycle(to=to)):
        assert schedule.resolve(total)(total) == to


@FEW
@given(anything, totals)
def test_json_and_repr_bring_every_schedule_back(schedule, total):
    import surefoot.schedules as names

    for value in (schedule, schedule.resolve(total, 20)):
        assert from_dict(json.loads(json.dumps(value.to_dict()))) == value
        assert eval(repr(value), vars(names).copy()) == value


@FEW
@given(anything, totals)
def test_resolving_twice_changes_nothing(schedule, total):
    known = schedule.resolve(total, 20)
    assert known.resolve(total, 20) == known


@FEW
@given(st.lists(st.sampled_from(["5%", "12.5%", "14.3%", "20%", "0.4 epochs", 7]), min_size=1, max_size=4), totals)
def test_joined_pieces_add_up_to_the_run(parts, total):
    schedule = linear_warmup("1%")
    for part in parts:
        schedule = schedule >> constant(part)
    known = (schedule >> constant()).resolve(total, 20)
    assert known.length == total
    assert all(isinstance(piece.length, int) and piece.length >= 0 for piece in known.pieces)


@FEW
@given(anything, totals, st.lists(st.floats(-10, 6000), min_size=1, max_size=20))
def test_arrays_agree_with_numbers(schedule, total, steps):
    known = schedule.resolve(total, 20)
    assert known(np.array(steps)) == pytest.approx([known(step) for step in steps], abs=1e-12)


@FEW
@given(anything, totals, st.floats(0, 10))
def test_scaling_is_pointwise(schedule, total, factor):
    known = schedule.resolve(total, 20)
    assert (factor * schedule).simulate(total, 20) == [factor * known(step) for step in range(total)]


@FEW
@given(waves, st.floats(0, 1), totals)
def test_waves_stay_between_their_bounds(schedule, share, total):
    known = schedule.resolve(total, 20)
    top = max(getattr(schedule, "values", (1.0,)))
    assert 0 <= known(share * known.length) <= top + 1e-12


@FEW
@given(st.integers(1, 60), st.floats(1, 3), st.floats(0.1, 1), shares)
def test_restarts_are_cosines_joined_to_cosines(first, factor, height, to):
    known = cosine_restarts(first, length=500, length_factor=factor, height_factor=height, to=to)
    start, length, top = 0.0, float(first), 1.0
    while start + length < 500:
        for p in (0.001, 0.25, 0.999):
            want = to + (1 - to) * top * 0.5 * (1 + np.cos(np.pi * p))
            assert known(start + p * length) == pytest.approx(want, abs=1e-9)
        start, length, top = start + length, length * factor, top * height


def test_a_restart_on_the_very_end_is_left_out():
    for total in (30, 70):
        assert cosine_restarts(10, length_factor=2, to=0.1).resolve(total)(total) == pytest.approx(0.1, abs=1e-15)
    assert cosine_restarts("10%").resolve(50)(50) == 0.0
