"""Values that nobody means, for every argument there is, and what may come of them: an object that works, or an error
with the argument's name and its value."""

import contextlib
import math
from decimal import Decimal
from fractions import Fraction
from numbers import Real

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from surefoot import ArgumentError, ArgumentTypeError
from surefoot.schedules import cosine_decay, linear_decay, linear_warmup

FEW = settings(max_examples=15, deadline=None, derandomize=True)


def give_nan(step):
    return math.nan


class Empty:
    """An object that is nothing."""


class Shy:
    """An object whose repr fails."""

    def __repr__(self):
        raise RuntimeError("no")


DRAWN = [
    *(math.nan, math.inf, -math.inf, 0.0, -0.0, -0.5, 0.5, 1.0, 1e308, -1e308, 1e-320),
    *(0, 1, 2, -1, 7, 10**18, 10**30, 10**400, -(10**400)),
    *(True, False, None, Fraction(7, 3), Fraction(10**400), Decimal("0.5"), Decimal("nan"), 1j),
    *("", " ", "5%", "150%", "-5%", "2 epochs", "0 epochs", "nan", "0.5", "loss", "linear", "x" * 5000, b"5%"),
    *(np.float64("nan"), np.float32(0.5), np.float64(3.0), np.int8(3), np.uint64(2**63), np.bool_(True)),
    *(np.longdouble("1e400"), np.str_("linear")),
    *(np.array(0.5), np.array([0.5, 1.0]), np.array([]), np.array([[0.0, 1.0], [5.0, 0.5]]), np.array(["5%"])),
    *([], [0.5], [1, 2], [2, 1], ["5%", "50%"], [math.nan], [None], [[1, 2], [3]], [10**400], (), (1.0,), {0.5}),
    *({}, {0: 1.0}, {"50%": 0.1}, {0: math.nan}, {"a": 1}, {5: 1.0, 3: 0.5}, range(3)),
    *(Empty(), Empty, len, int, abs, math.sqrt, give_nan, NotImplemented, ...),
    *(linear_decay(), linear_decay(10), linear_warmup("5%") >> cosine_decay()),
]
NASTY = [*DRAWN, np.timedelta64(5), np.timedelta64(5, "s"), 10**5000, Shy()]  # Hypothesis cannot hash or show these
numbers = st.floats() | st.integers() | st.fractions()
anything = st.recursive(
    st.sampled_from(DRAWN) | numbers | st.text(max_size=6) | st.floats(0, 100).map("{:g}%".format),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(numbers | st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def shown(value):
    """Return the ways in which a value, or one of the values in it, may be shown: its repr, which may be cut short."""
    yield short(value)
    if isinstance(value, Real) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError, TypeError, ValueError):
            yield repr(float(value))
            yield repr(int(value))
    if isinstance(value, list):
        yield short(tuple(value))  # what JSON's lists become
    parts = []
    if isinstance(value, dict):
        parts = [*value, *value.values(), [*value.items()]]
    elif isinstance(value, list | tuple | set | range) or (isinstance(value, np.ndarray) and value.ndim):
        parts = [*value]
    for part in parts:
        yield from shown(part)


def short(value):
    try:
        return repr(value)[:60]
    except Exception:  # noqa: BLE001 - the value is nasty
        return type(value).__name__


def check_refusal(error, given):
    """Check that an error is one of ours, and says which of the `given` arguments is wrong, and what it was."""
    assert type(error) in {ArgumentError, ArgumentTypeError}, f"{error!r} is no error on purpose"
    text = str(error)
    named = [name for name, value in given.items() if name in text and any(s in text for s in shown(value))]
    assert named, f"the error names none of {list(given)} with its value: {text}"
    assert len(text) < 1000, "nobody reads so much"


def refused(make, given):
    """Return what `make(**given)` makes, or None if it refuses one of its arguments as it should."""
    try:
        return make(**given)
    except Exception as error:  # noqa: BLE001 - which one it is is the question
        check_refusal(error, given)
        return None
