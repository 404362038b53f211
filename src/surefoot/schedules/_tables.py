"""Schedules that are lists: milestones at which the rate drops, and recorded values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

from surefoot._checks import items_of, number, one_of, refuse
from surefoot.schedules._arrays import Ops
from surefoot.schedules._laws import until_end
from surefoot.schedules._lengths import Length, Run, check_length, own_steps
from surefoot.schedules._schedule import Schedule, set_field, set_length, stretched
from surefoot.schedules._shapes import progress, whole_times


@dataclass(frozen=True, slots=True, repr=False)
class multistep(Schedule):  # noqa: N801 - users call it
    """Multiply the learning rate by `factor` at each of the given milestones.

    Use it to repeat a recipe that has it ("divide by 10 at epochs 30, 60 and 80"). Milestones are one more thing to
    tune, so for new work a smooth decay is the better start. Where each drop has a factor of its own, use `piecewise`.

    The factor after s steps is `factor ** (the number of milestones at or before s)`. A milestone that is given twice
    counts twice.

    Args:
        milestones: the steps of the drops, in order; each a length: 1000, "50%", "30 epochs".
        factor: what each drop multiplies by, above 0 and at most 1.
        length: how long; None is the rest of the run.

    Raises:
        ArgumentError: if an argument is not allowed, or milestones are not in order.

    Examples:
        >>> drops = multistep(["50%", "75%"], factor=0.5).resolve(100)
        >>> [drops(step) for step in (0, 49, 50, 75, 100)]
        [1.0, 1.0, 0.5, 0.25, 0.25]

    References:
        He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385. torch's MultiStepLR.
    """

    milestones: Iterable[Length]
    factor: float = 0.1
    _: KW_ONLY
    length: Length | None = None

    _HAS_OWN_PACE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_field(self, "milestones", _checked_milestones(self.milestones))
        set_field(self, "factor", number("multistep", "factor", self.factor, above=0, at_most=1))
        set_length(self, "length")

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return all(isinstance(length, int | float) for length in (self.length, *self.milestones))

    def _at(self, ops: Ops, step: Any) -> Any:
        step = until_end(ops, step, self.length)
        value: Any = 1.0 * ops.clip(step, 1.0, 1.0)
        for milestone in self.milestones:
            here: Any = milestone
            value = ops.where(step < here, value, value * self.factor)
        return value

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        steps = tuple(own_steps("multistep", "milestones", milestone, run) for milestone in self.milestones)
        return self._replaced(length=length, milestones=steps)


def _checked_milestones(milestones: object) -> tuple[Length, ...]:
    given = items_of("multistep", "milestones", milestones, "a list of lengths, as [30, 60] or ['50%', '75%']")
    checked = tuple(check_length("multistep", "milestones", milestone, is_zero_allowed=True) for milestone in given)
    if not checked:
        raise refuse("multistep", "milestones", milestones, "at least one length")
    for left, right in pairwise(checked):
        if not isinstance(left, str) and not isinstance(right, str) and left > right:
            raise refuse(
                "multistep", "milestones", list(checked), "in the order of time", f"{right} comes after {left}."
            )
    return checked


@dataclass(frozen=True, slots=True, repr=False)
class from_table(Schedule):  # noqa: N801 - users call it
    """Follow a list of recorded factors, one each `every` steps.

    Use it to repeat the curve of another run, or one that was computed elsewhere. A curve that has a formula is shorter,
    and says more, as that formula; a few points are easier to read as a `piecewise`.

    The factor at step `k * every` is `values[k]`; between two of them it moves on a line, or holds the earlier one.
    After the last value it holds. With `every=None` the values are spread evenly from the start to the end.

    Args:
        values: the factors, at least one; rates divided by the base rate.
        every: the steps from one value to the next, a length; None spreads them over the length.
        length: how long; None is the rest of the run.
        shape: between two values: "linear" or "step".

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> recorded = from_table([1.0, 0.5, 0.1], every=10, length=100)
        >>> [round(recorded(step), 3) for step in (0, 5, 10, 15, 20, 50)]
        [1.0, 0.75, 0.5, 0.3, 0.1, 0.1]
        >>> from_table([1.0, 0.5, 0.0], every=None).simulate(4)
        [1.0, 0.75, 0.5, 0.25]
    """

    values: Iterable[float]
    _: KW_ONLY
    every: Length | None = 1
    length: Length | None = None
    shape: str = "linear"

    def __post_init__(self) -> None:
        set_field(self, "values", _checked_values(self.values))
        set_length(self, "every")
        set_length(self, "length")
        one_of("from_table", "shape", self.shape, ("linear", "step"))

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return isinstance(self.length, int | float) and not isinstance(self.every, str)

    def _at(self, ops: Ops, step: Any) -> Any:
        values: Any = self.values
        last = len(values) - 1.0
        if self.every is None:
            place = progress(ops, step, self.length) * last
            left = ops.floor(place)
        else:
            step = until_end(ops, step, self.length)
            place = ops.clip(step / self.every, 0.0, last)
            left = ops.clip(whole_times(ops, step, self.every), 0.0, last)
        value = ops.take(values, left)
        if self.shape == "step":
            return value
        after = ops.take(values, ops.clip(left + 1.0, 0.0, last))
        return value + (place - left) * (after - value)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        if self.every is None:
            return self._replaced(length=length)
        every = own_steps("from_table", "every", self.every, run, must_fit=False)
        return self._replaced(length=length, every=max(every, 1))

    def _extend(self, to: float, step: float) -> Schedule:
        return stretched(self, to, step) if self.every is None else self._replaced(length=to)


def _checked_values(values: object) -> tuple[float, ...]:
    given = items_of("from_table", "values", values, "a list of factors")
    checked = tuple(number("from_table", "values", value, at_least=0) for value in given)
    if not checked:
        raise refuse("from_table", "values", values, "at least one factor")
    return checked
