"""The contract of a schedule, as one function that raises an AssertionError with a sentence."""

from __future__ import annotations

import copy
import json
import math
import pickle
import sys
from typing import Any

import surefoot.schedules
from surefoot._errors import SurefootError
from surefoot.schedules import Schedule, from_dict

_TOLERANCE = 1e-12  # float64
_TOLERANCE_32 = 2e-6


def check_schedule(schedule: Schedule, *, total_steps: int = 200, steps_per_epoch: float = 20) -> None:
    """Check that a schedule keeps the contract of schedules.

    It resolves to steps, and resolving again changes nothing. Its factors are finite floats of at least 0. It holds
    its last value after its end and its first before its start. It is immutable, equal to its copies, has a repr that
    evaluates to it, and comes back from JSON (unless it holds a function without an importable name). On NumPy arrays -
    and on torch tensors and JAX values, under vmap and jit, if those are imported already - it agrees with itself on
    Python numbers.

    Args:
        schedule: the schedule, resolved or not.
        total_steps: the run to resolve it with.
        steps_per_epoch: the epochs to resolve it with.

    Raises:
        AssertionError: if the contract is broken; the message says where.

    Examples:
        >>> from surefoot.schedules import cosine_decay
        >>> check_schedule(cosine_decay(to=0.1))
    """
    known = schedule.resolve(total_steps, steps_per_epoch)
    _check(known.is_resolved, f"{schedule!r} is not resolved by resolve()")
    _check(known.resolve(total_steps, steps_per_epoch) == known, f"resolving {known!r} again changes it")
    _check(type(known) is type(schedule), f"resolve() changes the type of {schedule!r}")
    _check_values(known, total_steps)
    for value in (schedule, known):
        _check_is_a_value(value)
    _check_arrays(known, total_steps)


def _check(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _check_values(known: Schedule, total_steps: int) -> None:
    length = known.length
    _check(isinstance(length, int | float) and 0 <= length <= total_steps, f"{known!r} has the length {length!r}")
    assert isinstance(length, int | float)
    curve = known.simulate(total_steps)
    _check(len(curve) == total_steps, f"{known!r}.simulate({total_steps}) has {len(curve)} values")
    for step, factor in enumerate(curve):
        is_fine = type(factor) is float and math.isfinite(factor) and factor >= 0
        _check(is_fine, f"{known!r}({step}) is {factor!r}, not a finite float of at least 0")
    last, first = known(length), known(0)
    for later in (length + 0.5, length + 1, 10 * total_steps, 1e12):
        _check(known(later) == last, f"{known!r} moves after its end, from {last} to {known(later)} at step {later}")
    _check(known(-3) == first, f"{known!r} moves before its start")


def _check_is_a_value(schedule: Schedule) -> None:
    twin = copy.deepcopy(schedule)
    _check(twin == schedule and hash(twin) == hash(schedule), f"{schedule!r} differs from its copy")
    try:
        setattr(schedule, "length", 1)  # noqa: B010 - what a user may try
    except AttributeError:
        pass
    else:
        raise AssertionError(f"{schedule!r} can be changed")
    try:
        plain = schedule.to_dict()
    except (
        SurefootError
    ):  # holds a function that has no importable name: neither JSON nor repr nor pickle bring it back
        return
    back = from_dict(json.loads(json.dumps(plain)), allow_functions=True)
    _check(back == schedule, f"{schedule!r} comes back from JSON as {back!r}")
    _check(pickle.loads(pickle.dumps(schedule)) == schedule, f"{schedule!r} is changed by pickle")  # noqa: S301 - its own
    if "from_function" not in repr(schedule):
        names = {name: getattr(surefoot.schedules, name) for name in surefoot.schedules.__all__}
        _check(eval(repr(schedule), names) == schedule, f"repr {schedule!r} does not evaluate to the schedule")  # noqa: S307 - its own


def _check_arrays(known: Schedule, total_steps: int) -> None:
    steps = [-3, *range(total_steps), 10 * total_steps]
    want = [known(step) for step in steps]
    if "numpy" in sys.modules:
        np: Any = sys.modules["numpy"]
        _check_same(known, "NumPy integers", known(np.array(steps)), want, _TOLERANCE)
        on_matrix: Any = known(np.array([steps]))
        _check_same(known, "a NumPy matrix", on_matrix[0], want, _TOLERANCE)
    if "torch" in sys.modules:
        torch: Any = sys.modules["torch"]
        doubles = torch.tensor(steps, dtype=torch.float64)
        _check_same(known, "torch integers", known(torch.tensor(steps)), want, _TOLERANCE_32)
        _check_same(known, "torch doubles", known(doubles), want, _TOLERANCE)
        _check_same(known, "torch under vmap", torch.vmap(known)(doubles), want, _TOLERANCE)
    if "jax" in sys.modules:
        jax: Any = sys.modules["jax"]
        _check_same(known, "JAX integers", known(jax.numpy.array(steps)), want, _TOLERANCE_32)
        _check_same(known, "JAX under jit", jax.jit(known)(jax.numpy.array(steps)), want, _TOLERANCE_32)


def _check_same(known: Schedule, kind: str, got: Any, want: list[float], tolerance: float) -> None:
    _check("float" in str(got.dtype), f"{known!r} on {kind} returns {got.dtype}, not floats")
    _check(tuple(got.shape) == (len(want),), f"{known!r} on {kind} returns the shape {tuple(got.shape)}")
    worst = max(abs(float(a) - b) for a, b in zip(got.tolist(), want, strict=True))
    _check(worst <= tolerance, f"{known!r} on {kind} is off by {worst:g}")
