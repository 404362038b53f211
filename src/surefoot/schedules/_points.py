"""Schedules that are given: point by point, or as a function."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self, cast

from surefoot._checks import items_of, number, one_of, refuse, refuse_type
from surefoot._errors import ArgumentError
from surefoot.schedules._arrays import Ops
from surefoot.schedules._lengths import Length, Run, check_length, own_steps
from surefoot.schedules._schedule import Schedule, set_field, set_length
from surefoot.schedules._shapes import cosine, progress

Points = tuple[tuple[Length, float], ...]


@dataclass(frozen=True, slots=True, repr=False)
class piecewise(Schedule):  # noqa: N801 - users call it
    """Go through given points: jump at given steps, or draw lines or waves between them.

    Use it for recipes that name their milestones ("divide by 10 at 50 % and at 75 %") and to draw any curve by hand.
    For two or three phases `>>` says more clearly what is meant.

    With shape "step" the factor is that of the last point at or before the step; with "linear" and "cosine" it moves
    from each point to the next on a line or half a cosine wave. Before the first point the factor is 1 with "step", and
    moves from 1 at step 0 with the others. After the last point its factor holds.

    Args:
        points: the factor at each time. A time is a length from the start of this schedule: 1000, "50%", "30 epochs".
            The factors are of the base rate; unlike optax's scales they do not multiply up.
        length: how long; None is the rest of the run.
        shape: "step", "linear" or "cosine".

    Raises:
        ArgumentError: if an argument is not allowed, or times are not in order.

    Examples:
        >>> drops = piecewise({"50%": 0.1, "75%": 0.01}).resolve(100)
        >>> [drops(step) for step in (0, 49, 50, 75, 100)]
        [1.0, 1.0, 0.1, 0.01, 0.01]
        >>> piecewise({0: 0.0, 10: 1.0, 30: 0.5}, shape="linear")(20)
        0.75

    References:
        He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385 (its milestones).
    """

    points: Points | Mapping[Length, float]
    _: KW_ONLY
    length: Length | None = None
    shape: str = "step"

    _HAS_OWN_PACE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_length(self, "length")
        one_of("piecewise", "shape", self.shape, ("step", "linear", "cosine"))
        set_field(self, "points", _checked_points(self.points))

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return all(isinstance(length, int | float) for length in (self.length, *(time for time, _ in self._points)))

    @property
    def _points(self) -> Points:
        assert isinstance(self.points, tuple)
        return self.points

    def _at(self, ops: Ops, step: Any) -> Any:
        end: Any = math.inf if self.length is None else self.length
        step = ops.clip(step, 0.0, end)
        before: Any = 0
        value: Any = 1.0 * ops.clip(step, 1.0, 1.0)
        for time, factor in self._points:
            here: Any = time
            if self.shape == "step":
                value = ops.where(step < here, value, factor)
            else:
                p = progress(ops, step - before, here - before)
                left = 1.0 - p if self.shape == "linear" else cosine(ops, p)
                value = value * left + factor * (1.0 - left)
            before = here
        return value

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        points = tuple((own_steps("piecewise", "points", time, run), factor) for time, factor in self._points)
        return self._replaced(length=length, points=points)

    def __repr__(self) -> str:
        shown = "{" + ", ".join(f"{time!r}: {factor!r}" for time, factor in self._points) + "}"
        length = "" if self.length is None else f", length={self.length!r}"
        shape = "" if self.shape == "step" else f", shape={self.shape!r}"
        return f"piecewise({shown}{length}{shape})"


def _checked_points(points: object) -> Points:
    """Return the points as checked pairs; times in steps must be in order."""
    name, allowed = "piecewise", "a dict of time: factor, as {0: 1.0, '50%': 0.1}"
    given: Any = points
    items = (
        tuple(cast("Any", given).items()) if isinstance(given, Mapping) else items_of(name, "points", points, allowed)
    )
    pairs = [items_of(name, "points", pair, allowed) for pair in items]
    if any(len(pair) != 2 for pair in pairs):
        raise refuse(name, "points", points, allowed)
    if not pairs:
        raise refuse(name, "points", points, "at least one point")
    checked: Points = tuple(
        (check_length(name, "points", time, is_zero_allowed=True), number(name, "points", factor, at_least=0))
        for time, factor in pairs
    )
    for (left, _), (right, _) in pairwise(checked):
        if not isinstance(left, str) and not isinstance(right, str) and left >= right:
            raise refuse("piecewise", "points", dict(checked), "in the order of time", f"{right} comes after {left}.")
    return checked


@dataclass(frozen=True, slots=True, repr=False)
class from_function(Schedule):  # noqa: N801 - users call it
    """Make a schedule of any function of the step.

    Use it for a curve that the other schedules cannot make. It is the one schedule that can be neither compared by its
    numbers nor checked beforehand, and it is saved by name, so keep the function at the top level of a module.

    The factor is `function(step)`, with the step bounded by 0 and the length. What is no finite number of at least 0 is
    refused when a number asks for it; arrays are passed on as they are.

    Args:
        function: takes a step counted from the start of this schedule and returns a factor. To be used on arrays it
            must take arrays.
        length: how long; None is the rest of the run.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> halves = from_function(lambda step: 0.5 ** (step // 10), length=100)
        >>> [halves(step) for step in (0, 10, 25, 10**6)]
        [1.0, 0.5, 0.25, 0.0009765625]
    """

    function: Callable[[Any], Any]
    length: Length | None = None

    _HAS_OWN_PACE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise refuse_type("from_function", "function", self.function, "a function of the step")
        set_length(self, "length")

    @property
    def is_resolved(self) -> bool:
        """Whether the length is known in steps, or not needed: None is no bound."""
        return not isinstance(self.length, str)

    def _at(self, ops: Ops, step: Any) -> Any:
        end: Any = math.inf if self.length is None else self.length
        if ops.is_scalar:
            return self._checked(step, self.function(0 if step < 0 else min(step, end)))
        return self.function(ops.clip(step, 0.0, end))

    def _checked(self, step: float, value: Any) -> float:
        """Return a value of the function as a float, or raise if it is no factor; at NaN any will do."""
        try:
            factor = float(value)
        except (OverflowError, TypeError, ValueError):
            factor = None
        if factor is None or (not 0.0 <= factor < math.inf and step == step):  # noqa: PLR0124
            allowed = f"a function that returns a finite factor of at least 0, not {value!r} at step {step}"
            raise refuse("from_function", "function", self.function, allowed)
        return factor

    def __repr__(self) -> str:
        length = "" if self.length is None else f", length={self.length!r}"
        return f"from_function({getattr(self.function, '__qualname__', repr(self.function))}{length})"

    def _to_plain(self) -> dict[str, Any]:
        return {"kind": "from_function", "function": _name_of(self.function), "length": self.length}

    @classmethod
    def _from_plain(cls, arguments: Mapping[str, Any]) -> Self:
        return cls(**{**arguments, "function": _named(arguments.get("function"))})


def _name_of(function: Any) -> str:
    """Return "module:qualname" of a function that an import finds again, or raise."""
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    found: Any = sys.modules.get(module) if isinstance(module, str) and module != "__main__" else None
    for part in (qualname or "").split("."):
        found = getattr(found, part, None)
    if found is not function:
        raise ArgumentError(
            f"`from_function({function!r})` cannot be written as JSON: the function is not found again by an import. "
            "Define it with `def` at the top level of a module that can be imported (not `__main__`)."
        )
    return f"{module}:{qualname}"


def _named(name: object) -> Any:
    """Return the function called "module:qualname"."""
    module, _, qualname = name.partition(":") if isinstance(name, str) else ("", "", "")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise refuse(
            "from_function", "function", name, '"module:qualname" of a function that can be imported'
        ) from error
    return found
