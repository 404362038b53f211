"""Bad input: whatever is given to a controller, it is refused by name, or the controller bears every reading.

What is public is found by introspection. A new controller fails `test_everything_public_is_covered` until it has a line
in `CONTROLLERS`: arguments with which it works.
"""

import inspect
import json
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import surefoot.control
from surefoot import StateError
from surefoot.control import Chain, Controller, Decision, DivergenceGuard, Greedy, Manual, Plateau, Reading, Snapshots

from ..nasty import FEW, NASTY, anything, check_refusal, refused


class Kept:
    """Snapshots in name only."""

    def offer(self, step):
        self.step = step

    def restore(self, step):
        return step


# Every public controller: arguments with which it works, all that are required and those without which another may not
# be given; one dict for each way to use it, or a function that returns one, if an argument has a state of its own.
CONTROLLERS = {
    "DivergenceGuard": [
        {},
        {"action": "warn"},
        {"action": "skip"},
        {"action": "stop"},
        {"rewind": Kept()},
        {"recover": 2, "warmup": 2, "attempts": 50},
    ],
    "Greedy": [
        {},
        {"patience": 1, "factor": 0.5, "cooldown": 2, "warmup": 2, "window": 3},
        {"mode": "max", "relative": False, "patience": 1, "min_lr": 0.01, "max_lr": 2.0},
    ],
    "Manual": [{}],
    "Plateau": [
        {},
        {"patience": 1, "factor": 0.5},
        {"mode": "max", "relative": False, "patience": 1, "cooldown": 2, "stop_after": 5, "min_lr": 0.01},
    ],
    "TrendPlateau": [{}, {"window": 3, "patience": 1, "mode": "max", "relative": False, "min_lr": 0.01}],
}
# What controllers are made of; and a Chain, which has no arguments but other controllers (test_chain.py).
OTHERS = {"Chain", "Controller", "Decision", "Reading", "Snapshots", "flat"}
STAYS_ABOVE_0 = set()  # controllers of which the docs say so
# Every public method of a controller beside the protocol's, with arguments that work.
QUESTIONS = {"is_gain"}  # methods that change nothing
METHODS = {"Manual": {"set": {"factor": 0.5}, "multiply": {"by": 0.5}}}
PROTOCOL = {"observe", "state_dict", "load_state_dict", "check_state"}
METRICS = ("loss", "val_loss", "gradient_norm", "accuracy")  # whatever a controller may watch

ODD = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1.0, 5e-324, 1e-300, 1e150, 1e200, 1.7e308, -1.7e308)
values = st.sampled_from(ODD) | st.floats() | st.floats(0.5, 2.0)
readings = st.lists(
    st.tuples(st.none() | values, st.sampled_from([1.0, 1e-3, 1e-300, 0.0, 1e300])), min_size=1, max_size=60
)


def parameters(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


def fresh(base):
    return base() if callable(base) else base


def is_public(name):
    return not name.startswith("_") and name not in OTHERS


ARGUMENTS = [
    pytest.param(name, base, argument, id=f"{name}-{i}-{argument}")
    for name, bases in CONTROLLERS.items()
    for i, base in enumerate(bases)
    for argument in parameters(getattr(surefoot.control, name))
]
WAYS = [
    pytest.param(name, base, id=f"{name}-{i}") for name, bases in CONTROLLERS.items() for i, base in enumerate(bases)
]


def test_everything_public_is_covered():
    missing = {name for name in surefoot.control.__all__ if is_public(name)} - set(CONTROLLERS)
    assert not missing, f"give {sorted(missing)} a line in CONTROLLERS: arguments with which it works"
    assert set(CONTROLLERS) | OTHERS == set(surefoot.control.__all__), "a table names what is not public"
    for name in CONTROLLERS:
        found = {m for m, _ in inspect.getmembers(getattr(surefoot.control, name), inspect.isfunction)}
        missing = {m for m in found if not m.startswith("_")} - PROTOCOL - QUESTIONS - set(METHODS.get(name, ()))
        assert not missing, f"give {sorted(missing)} of {name} a line in METHODS: arguments that work"


def check_works(make, given_readings):
    """Check that a controller bears readings, in this order, and goes on from its state in the middle."""
    controller = make()
    assert isinstance(controller, Controller)
    assert repr(controller)
    middle = len(given_readings) // 2
    for i, (value, rate) in enumerate(given_readings):
        metrics = {} if value is None else dict.fromkeys(METRICS, value)
        decision = controller.observe(Reading(i, metrics, rate))
        assert decision is None or isinstance(decision, Decision)
        factor = controller.factor
        assert isinstance(factor, float), f"{controller!r} has the factor {factor!r}"
        assert 0.0 <= factor < math.inf, f"{controller!r} has the factor {factor!r} after {metrics}"
        assert factor > 0.0 or type(controller).__name__ not in STAYS_ABOVE_0
        if i == middle:
            state = controller.state_dict()
            assert pickle.loads(pickle.dumps(state)).keys() == state.keys()
            twin = make()
            twin.load_state_dict(json.loads(json.dumps(state)))
            assert repr(twin.state_dict()) == repr(state)
        elif i > middle:
            assert twin.observe(Reading(i, metrics, rate)) == decision
            assert twin.factor == factor
    assert json.loads(json.dumps(controller.state_dict(), allow_nan=False)) == controller.state_dict()


SAMPLE = [(value, 0.5) for value in (None, *ODD, 1.0, 1.0, 1.0, *reversed(ODD), None, 1.0, 1e200, 1.0, math.nan)]


def works_if_made(name, base, changed):
    kind = getattr(surefoot.control, name)
    if refused(kind, {**fresh(base), **changed}) is not None:
        check_works(lambda: kind(**{**fresh(base), **changed}), SAMPLE)


@pytest.mark.parametrize(("name", "base", "argument"), ARGUMENTS)
def test_an_argument_is_refused_by_name_or_works(name, base, argument):
    for value in NASTY:
        works_if_made(name, base, {argument: value})

    @FEW
    @given(anything)
    def check_any(value):
        works_if_made(name, base, {argument: value})

    check_any()


@pytest.mark.parametrize("name", CONTROLLERS)
def test_all_arguments_at_once_are_refused_by_name_or_work(name):
    usual = st.sampled_from([0.5, 1, 3, 0.9, "loss", "min", "cut", True, None])

    @FEW
    @given(st.fixed_dictionaries(dict.fromkeys(parameters(getattr(surefoot.control, name)), usual | anything)))
    def check_any(arguments):
        works_if_made(name, {}, arguments)

    check_any()


@pytest.mark.parametrize(("name", "base"), WAYS)
def test_readings_in_any_order_are_borne(name, base):
    make = getattr(surefoot.control, name)

    @FEW
    @given(readings)
    def check_any(given_readings):
        check_works(lambda: make(**fresh(base)), given_readings)

    check_any()


@pytest.mark.parametrize(
    ("name", "method", "base", "argument"),
    [
        pytest.param(name, method, base, argument, id=f"{name}-{method}-{argument}")
        for name, methods in METHODS.items()
        for method, base in methods.items()
        for argument in parameters(getattr(getattr(surefoot.control, name), method))
    ],
)
def test_an_argument_of_a_method_is_refused_by_name_or_works(name, method, base, argument):
    def check_one(value):
        controller = getattr(surefoot.control, name)(**fresh(CONTROLLERS[name][0]))
        for _ in range(3):  # what is fine once may be too large the third time
            before = controller.factor
            try:
                getattr(controller, method)(**{**base, argument: value})
            except Exception as error:  # noqa: BLE001 - which one it is is the question
                check_refusal(error, {**base, argument: value})
                assert controller.observe(Reading(0)) is None, "something was done all the same"
                assert controller.factor == before
                return
            assert controller.observe(Reading(0)).cause
            assert 0.0 <= controller.factor < math.inf

    for value in NASTY:
        check_one(value)

    @FEW
    @given(anything)
    def check_any(value):
        check_one(value)

    check_any()


@pytest.mark.parametrize(("name", "base"), WAYS)
def test_a_damaged_state_is_refused_and_changes_nothing_or_the_controller_works(name, base):
    make = getattr(surefoot.control, name)
    used = make(**fresh(base))
    for i, (value, rate) in enumerate(SAMPLE[:20]):
        used.observe(Reading(i, {} if value is None else dict.fromkeys(METRICS, value), rate))
    for state in (make(**fresh(base)).state_dict(), used.state_dict()):
        for entry in state:
            for value in NASTY:
                controller = make(**fresh(base))
                before = repr(controller.state_dict())
                try:
                    controller.load_state_dict({**state, entry: value})
                except StateError:
                    assert repr(controller.state_dict()) == before
                    continue
                for i, (reading, rate) in enumerate(SAMPLE):
                    metrics = {} if reading is None else dict.fromkeys(METRICS, reading)
                    controller.observe(Reading(i, metrics, rate))
                    assert 0.0 <= controller.factor < math.inf


@pytest.mark.parametrize(
    ("kind", "entry", "value"),
    [
        (Plateau, "best", "abc"),
        (Plateau, "best", math.nan),
        (Plateau, "wait", True),
        (Plateau, "seen", 3),
        (Plateau, "is_at_floor", 1),
        (Greedy, "recent", [math.nan]),
        (Greedy, "recent", 0.5),
        (DivergenceGuard, "mean", math.inf),
        (DivergenceGuard, "spread", None),
        (Manual, "factor", "1.0"),
    ],
)
def test_a_state_of_the_wrong_type_is_refused_when_it_is_loaded(kind, entry, value):
    with pytest.raises(StateError, match=f"{entry} is .* must be"):
        kind().load_state_dict({**kind().state_dict(), entry: value})


def test_a_chain_with_one_damaged_member_is_as_it_was():
    chain = Chain(Manual(0.5), Plateau())
    state = Chain(Manual(0.25), Plateau()).state_dict()
    state["members"][1]["best"] = "abc"
    with pytest.raises(StateError, match="best is 'abc'"):
        chain.load_state_dict(state)
    assert chain.factor == 0.5


def test_a_controller_of_ones_own_may_begin_at_infinity():
    class Best(Controller):
        STATE = ("factor", "best")

        def __init__(self):
            self.best = math.inf

    used = Best()
    used.best = 0.5
    fresh_state = Best().state_dict()
    twin = Best()
    twin.load_state_dict(used.state_dict())
    assert twin.best == 0.5
    Best().load_state_dict(fresh_state)


def test_the_guard_is_not_blinded_by_a_loss_that_is_huge_but_finite():
    guard = DivergenceGuard(warmup=3)
    for value in (1.0, 1e200, -1e308, 1.7e308):  # the squares of their distances are no floats
        guard.observe(Reading(0, {"loss": value}))
    assert guard.observe(Reading(5, {"loss": math.nan})).cause == "loss is nan"
    assert all(math.isfinite(value) for value in (guard.mean, guard.spread))


def test_a_reason_that_is_no_text_is_refused_when_it_is_given():
    with pytest.raises(TypeError, match="cause must be a text"):
        Manual().set(0.5, cause=3)


def test_the_fake_of_these_tests_is_what_it_stands_for():
    assert isinstance(Kept(), Snapshots)
    assert Plateau().factor == 1.0
