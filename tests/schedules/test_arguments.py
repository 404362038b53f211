"""Bad input: whatever is given to a schedule, it is refused by name, or the schedule works at every step.

What is public is found by introspection. A new schedule, method or function fails `test_..._is_covered` until it has a
line in one of the tables below: arguments with which it works.
"""

import copy
import inspect
import json
import math
import operator
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import surefoot.schedules
from surefoot import ArgumentError, ArgumentTypeError, SurefootError
from surefoot.schedules import Schedule, constant, cosine_decay, from_dict, linear_decay, linear_warmup

from ..nasty import FEW, NASTY, anything, check_refusal, refused

# Every public schedule: arguments with which it works, all that are required and those without which another may not be
# given; one dict for each way to use it.
SCHEDULES = {
    "constant": [{}],
    "cosine_decay": [{}],
    "cosine_restarts": [{"first_steps": "10%"}],
    "cyclic": [{"up_steps": "10%"}, {"up_steps": 3, "shape": "exp_range"}, {"up_steps": 3, "shape": "triangular2"}],
    "cyclic_momentum": [{"up_steps": "10%"}, {"up_steps": 3, "shape": "exp_range"}],
    "exponential_decay": [{}, {"rate": 0.9}, {"rate": 0.9, "every": 2, "staircase": True}],
    "from_function": [{"function": abs}],
    "from_table": [{"values": [1.0, 0.5]}, {"values": [1.0, 0.5, 0.1], "every": None}],
    "inverse_sqrt_decay": [{}],
    "inverse_time_decay": [{"every": "10%"}, {"every": 3, "staircase": True}],
    "linear_decay": [{}],
    "linear_warmup": [{"length": 1}],
    "multistep": [{"milestones": ["50%"]}],
    "noam": [{"warmup_steps": 1}],
    "one_cycle": [{}],
    "one_cycle_momentum": [{}],
    "piecewise": [{"points": {0: 1.0, "50%": 0.1}}, {"points": {0: 1.0, "50%": 0.1}, "shape": "linear"}],
    "polynomial_decay": [{}, {"cycle": 3}],
    "power_decay": [{"timescale": "10%"}],
    "rex": [{}],
    "step_decay": [{"every": "10%"}],
    "warmup_stable_decay": [{}],
}
# Every public method of a schedule that takes arguments: a schedule that has it, and arguments with which it works.
METHODS = {
    "clipped": [(linear_decay(), {}), (linear_decay(), {"low": 0.1, "high": 0.9})],
    "cooldown_from": [(linear_decay(), {"step": "50%"}), (cosine_decay(1000), {"step": 2, "length": 3})],
    "extend": [
        (linear_decay(100), {"to": 150}),
        (linear_warmup(4), {"to": 150, "step": 2}),
        (constant(10) >> linear_decay(20), {"to": 150, "step": 5}),
        (surefoot.schedules.step_decay(5, length=100), {"to": 150}),
    ],
    "resolve": [(linear_warmup("1 epoch") >> linear_decay(), {"total_steps": 40, "steps_per_epoch": 4.5})],
    "scaled": [(linear_decay(), {"factor": 0.5}), (2 * linear_decay(), {"factor": 0.5})],
    "shifted": [(linear_decay(), {"steps": 3}), (linear_decay(10), {"steps": -3}), (2 * constant(), {"steps": 3})],
    "simulate": [(linear_warmup("1 epoch") >> linear_decay(), {"total_steps": 40, "steps_per_epoch": 4.5})],
    "until": [
        (linear_decay(), {"step": 5, "then": linear_decay()}),
        (cosine_decay(10), {"step": 3, "then": linear_decay(20)}),
    ],
}
# Everything else that is public and takes arguments, but `Finding` (a result) and `Schedule` (made by the others).
FUNCTIONS = {
    "check": [{"plan": linear_decay(), "total_steps": 40}, {"plan": abs, "total_steps": 40}],
    "from_dict": [{"data": linear_decay().to_dict()}],
    "parse_duration": [{"duration": "2h"}],
    "step_at_time": [{"elapsed": 10, "total_time": "2h", "total_steps": 100}],
}
TOTALS = (1, 2, 7, 1000)
PER_EPOCH = 2.5
FAR = (10**400, -(10**400), -1, math.inf, -math.inf)  # steps, too
HUGE = 10**6  # so many steps take too long to simulate


def parameters(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


def public_methods():
    found = inspect.getmembers(Schedule, inspect.isfunction)
    return {name: f for name, f in found if not name.startswith("_") and parameters(f)}


ARGUMENTS = [
    pytest.param(name, base, argument, id=f"{name}-{i}-{argument}")
    for name, bases in SCHEDULES.items()
    for i, base in enumerate(bases)
    for argument in parameters(getattr(surefoot.schedules, name))
]
OF_METHODS = [
    pytest.param(name, *case, argument, id=f"{name}-{i}-{argument}")
    for name, cases in METHODS.items()
    for i, case in enumerate(cases)
    for argument in parameters(getattr(Schedule, name))
]
OF_FUNCTIONS = [
    pytest.param(name, base, argument, id=f"{name}-{i}-{argument}")
    for name, bases in FUNCTIONS.items()
    for i, base in enumerate(bases)
    for argument in parameters(getattr(surefoot.schedules, name))
]


def test_everything_public_is_covered():
    names = set(surefoot.schedules.__all__) - {"Finding", "Schedule"}
    missing = names - {*SCHEDULES, *FUNCTIONS}
    assert not missing, f"give {sorted(missing)} a line in SCHEDULES (or FUNCTIONS): arguments with which it works"
    assert names == {*SCHEDULES, *FUNCTIONS}, "a table names what is not public"
    missing = set(public_methods()) - set(METHODS)
    assert not missing, f"give {sorted(missing)} a line in METHODS: a schedule that has it, and arguments that work"


def test_the_tables_work():
    for name, bases in SCHEDULES.items():
        for base in bases:
            check_works(getattr(surefoot.schedules, name)(**base), resolves=(1000,))
    for name, cases in METHODS.items():
        for schedule, base in cases:
            getattr(schedule, name)(**base)
    for name, bases in FUNCTIONS.items():
        for base in bases:
            getattr(surefoot.schedules, name)(**base)


# ---- what a schedule that was made must do ---------------------------------------------------------------------------


def check_works(schedule, *, resolves=()):
    """Check that a schedule resolves, or says by a length why not, and then has a factor at every step."""
    check_is_a_value(schedule)
    for total in TOTALS:
        try:
            known = schedule.resolve(total, PER_EPOCH)
        except ArgumentError as error:
            said = str(error)
            is_by_length = f"total_steps={total}`" in said or "must be" in said
            assert is_by_length and total not in resolves, said  # noqa: PT018
            continue
        check_is_a_value(known)
        for step in (*range(min(total + 1, 20)), total - 0.5, total, 2 * total, 10**9, *FAR):
            factor = known(step)
            is_fine = type(factor) is float and math.isfinite(factor) and factor >= 0
            assert is_fine, f"{known!r} is {factor!r} at step {str(step)[:20]}"
        with np.errstate(all="ignore"):
            curve = known(np.arange(total + 1))
        assert np.isfinite(curve).all(), f"{known!r} is not finite"
        assert (curve >= 0).all(), f"{known!r} is negative"


def check_is_a_value(schedule):
    assert repr(schedule)
    twin = copy.deepcopy(schedule)
    assert twin == schedule
    assert hash(twin) == hash(schedule)
    try:
        plain = schedule.to_dict()
    except SurefootError:  # it holds a function without a name
        return
    assert from_dict(json.loads(json.dumps(plain)), allow_functions=True) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule


def works_if_made(make, arguments):
    """Check that a schedule is refused, or works; a function that is given may do what it likes, but not unnoticed."""
    schedule = refused(make, arguments)
    if schedule is None:
        return
    assert isinstance(schedule, Schedule)
    function = getattr(schedule, "function", None)
    if function is None or function is abs:
        check_works(schedule)
        return
    check_is_a_value(schedule)
    for step in (0, 1, 5):
        try:
            wanted = float(function(step))
        except Exception as error:  # noqa: BLE001 - it is the function's own
            with pytest.raises((type(error), ArgumentError, ArgumentTypeError)):
                schedule(step)
            continue
        if math.isfinite(wanted) and wanted >= 0:
            assert schedule(step) == wanted
        else:
            with pytest.raises(ArgumentError, match="function"):
                schedule(step)


# ---- one argument is nasty, the others are fine ----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "base", "argument"), ARGUMENTS)
def test_an_argument_of_a_schedule_is_refused_by_name_or_works(name, base, argument):
    make = getattr(surefoot.schedules, name)
    for value in NASTY:
        works_if_made(make, {**base, argument: value})

    @FEW
    @given(anything)
    def check_any(value):
        works_if_made(make, {**base, argument: value})

    check_any()


@pytest.mark.parametrize("name", SCHEDULES)
def test_all_arguments_at_once_are_refused_by_name_or_work(name):
    make = getattr(surefoot.schedules, name)
    usual = st.sampled_from([0.5, 1, 3, "10%", "1 epoch", 0.9, "linear", "cosine", "exp_range", True, None])

    @FEW
    @given(st.fixed_dictionaries(dict.fromkeys(parameters(make), usual | anything)))
    def check_any(arguments):
        works_if_made(make, arguments)

    check_any()


@pytest.mark.parametrize(("name", "schedule", "base", "argument"), OF_METHODS)
def test_an_argument_of_a_method_is_refused_by_name_or_works(name, schedule, base, argument):
    method = getattr(schedule, name)

    def check_one(value):
        if name == "simulate" and isinstance(value, int) and HUGE < value <= 2**53:
            return
        found = refused_here(method, {**base, argument: value}, schedule)
        if isinstance(found, Schedule):
            check_works(found)
        elif found is not None:
            assert all(math.isfinite(factor) and factor >= 0 for factor in found)

    for value in NASTY:
        check_one(value)

    @FEW
    @given(anything)
    def check_any(value):
        check_one(value)

    check_any()


def refused_here(method, arguments, schedule):
    """As `refused`; what a schedule says of a run into which it does not fit is fine too."""
    try:
        return method(**arguments)
    except Exception as error:  # noqa: BLE001 - as in `refused`
        if not is_about_the_run(error, schedule):
            check_refusal(error, arguments)
    return None


def is_about_the_run(error, schedule):
    """Whether a length of the schedule is refused because of the run's."""
    said = re.match(r"`(.*?)(\(length=.*)?`.*`(total_steps|steps_per_epoch)=", str(error))
    return type(error) is ArgumentError and said is not None and said[1] in repr(schedule)


@pytest.mark.parametrize("turned", [False, True], ids=["schedule first", "schedule second"])
@pytest.mark.parametrize("operation", [operator.rshift, operator.mul])
def test_operators_make_a_schedule_or_are_a_type_error(operation, turned):
    def check_one(value):
        left, right = (value, linear_decay(5)) if turned else (linear_decay(5), value)
        try:
            found = operation(left, right)
        except Exception as error:  # noqa: BLE001 - as in `refused`
            if type(error) is not TypeError:  # Python's own, as for 1 >> "x"
                check_refusal(error, {"factor": value})
        else:
            assert isinstance(found, Schedule)
            check_works(found)

    for value in NASTY:
        check_one(value)

    @FEW
    @given(anything)
    def check_any(value):
        check_one(value)

    check_any()


@pytest.mark.parametrize(("name", "base", "argument"), OF_FUNCTIONS)
def test_an_argument_of_a_function_is_refused_by_name_or_works(name, base, argument):
    function = getattr(surefoot.schedules, name)

    def check_one(value):
        arguments = {**base, argument: value}
        if name == "check" and isinstance(value, int) and HUGE < value <= 2**53:
            return
        try:
            found = function(**arguments)
        except Exception as error:  # noqa: BLE001 - as in `refused`
            check_refusal(error, {**arguments, **as_fields(value)})
        else:
            if isinstance(found, float | int):
                assert math.isfinite(found)
                assert found >= 0
            elif isinstance(found, Schedule):
                check_works(found)
            else:
                assert all(str(finding) for finding in found)

    for value in NASTY:
        check_one(value)

    @FEW
    @given(anything)
    def check_any(value):
        check_one(value)

    check_any()


def as_fields(value):
    """Return what `from_dict` may name: fields of the data, and of what is in it."""
    return {
        "version": next(named("version", value), None),
        "kind": [*named("kind", value)],
        "field": value,
        "data": value,
    }


def named(name, value):
    if isinstance(value, dict):
        yield value.get(name)
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from named(name, part)


@pytest.mark.parametrize(("name", "base", "argument"), ARGUMENTS)
def test_a_field_of_saved_data_is_refused_by_name_or_works(name, base, argument):
    plain = getattr(surefoot.schedules, name)(**base).to_dict()

    def check_one(value):
        given = {**plain, argument: value}
        try:
            found = from_dict(given, allow_functions=True)
        except SurefootError as error:
            check_refusal(error, {**given, **as_fields(given), argument: value})
        else:
            works_if_made(lambda: found, {})

    for value in NASTY:
        check_one(value)

    @FEW
    @given(anything)
    def check_any(value):
        check_one(value)

    check_any()
