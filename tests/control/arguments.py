"""Any argument to any controller: either it is taken, and the controller works, or it is refused by name."""

import math
import re
from fractions import Fraction

from hypothesis import strategies as st

from surefoot import ArgumentError, ArgumentTypeError
from surefoot.control import Controller, Decision, Reading

NUMBERS = (
    -1,
    -0.5,
    0,
    1e-320,
    1e-4,
    0.05,
    0.5,
    0.95,
    0.999999999999,
    1,
    1.0,
    2,
    3,
    5,
    50,
    1e300,
    10**400,
    Fraction(1, 3),
)
ODD = (
    None,
    True,
    False,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "min",
    "max",
    "loss",
    "half",
    b"min",
    (),
    [0.1],
    {},
    object(),
)
ANY = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(ODD), st.integers(), st.floats())


def options(**likely):
    """Return a strategy for keyword arguments: likely ones or none, and up to two that are anything."""
    usual = st.fixed_dictionaries({}, optional=likely)
    odd = st.dictionaries(st.sampled_from(sorted(likely)), ANY, max_size=2)
    return st.builds(lambda usual, odd: {**usual, **odd}, usual, odd)


def made_or_refused(make):
    """Return what was made, or the words in which it was refused."""
    try:
        return make()
    except (ArgumentError, ArgumentTypeError) as error:
        return str(error)


def check(kind, given):
    """Assert that the arguments are taken, or refused by the name of one of them."""
    controller = made_or_refused(lambda: kind(**given))
    if isinstance(controller, str):
        found = re.match(rf"`{kind.__name__}\((\w+)=.*\)`: (\w+) must be ", controller, re.DOTALL)
        assert found, controller
        assert found[1] == found[2] in given, controller
        return
    assert isinstance(controller, Controller)
    assert controller.factor == 1.0
    name = given.get("monitor") or "loss"
    for i, value in enumerate([3.0, 2.0, math.nan, 1.0, 1.0, math.inf, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]):
        decision = controller.observe(Reading(i, {name: value}, controller.factor))
        assert decision is None or isinstance(decision, Decision)
        assert 0.0 <= controller.factor < math.inf
    kind(**given).load_state_dict(controller.state_dict())
