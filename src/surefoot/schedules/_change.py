"""Schedules that are changed: moved in time, kept within bounds, made longer, cooled down or replaced from a step on."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction
from typing import Any, Self

from surefoot._checks import number, one_of, refuse, refuse_type
from surefoot._errors import ArgumentError
from surefoot.schedules._arrays import SCALAR, Ops
from surefoot.schedules._compose import Join, check_parts, operand
from surefoot.schedules._lengths import MOST, Length, Run, check_length, exact_steps, nearest_step, own_steps
from surefoot.schedules._schedule import Schedule, set_field
from surefoot.schedules._shapes import COOLDOWNS, constant, falling, progress

# ruff: noqa: SLF001 - a composition asks its parts what only the library may ask
# pyright: reportPrivateUsage=false


@dataclass(frozen=True, slots=True, repr=False)
class Shifted(Schedule):
    """A schedule that happens later, or earlier: `schedule(step - steps)`."""

    schedule: Schedule
    steps: float
    length: Length | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        check_parts(self, "schedule", (self.schedule,))
        steps = number("shifted", "steps", self.steps, at_least=-MOST, at_most=MOST)
        set_field(self, "steps", int(steps) if steps.is_integer() else steps)
        length = self.schedule.length
        set_field(self, "length", length + self.steps if isinstance(length, int | float) else None)
        if self.length is not None and self._own_length < 0:
            raise refuse("shifted", "steps", self.steps, f"at least -{length}, the whole length")

    @property
    def _own_length(self) -> float:
        assert isinstance(self.length, int | float)
        return self.length

    def _at(self, ops: Ops, step: Any) -> Any:
        return self.schedule._at(ops, ops.clip(step, 0.0, math.inf) - self.steps)

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return self.schedule.is_resolved

    def _takes_rest(self) -> bool:
        return self.schedule._takes_rest()

    def _span(self, run: Run) -> Fraction | None:
        if self.length is not None:
            return Fraction(self._own_length)
        span = self.schedule._span(run)
        return None if span is None else max(span + Fraction(self.steps), Fraction(0))

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        if self.schedule.is_resolved:
            return self
        return type(self)(self.schedule._resolve(run, start, length - self.steps), self.steps)

    def _extend(self, to: float, step: float) -> Schedule:
        return type(self)(self.schedule._extend(to - self.steps, max(step - self.steps, 0)), self.steps)

    def __repr__(self) -> str:
        return f"{operand(self.schedule)}.shifted({self.steps!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Clipped(Schedule):
    """A schedule that stays within bounds."""

    schedule: Schedule
    low: float = 0.0
    high: float | None = None
    length: Length | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        check_parts(self, "schedule", (self.schedule,))
        set_field(self, "low", number("clipped", "low", self.low, at_least=0))
        if self.high is not None:
            cure = f"It is at least `low`, {self.low}."
            set_field(self, "high", number("clipped", "high", self.high, at_least=self.low, cure=cure))
        set_field(self, "length", self.schedule.length)

    def _at(self, ops: Ops, step: Any) -> Any:
        return ops.clip(self.schedule._at(ops, step), self.low, math.inf if self.high is None else self.high)

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return self.schedule.is_resolved

    def _takes_rest(self) -> bool:
        return self.schedule._takes_rest()

    def _span(self, run: Run) -> Fraction | None:
        return self.schedule._span(run)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        return type(self)(self.schedule._resolve(run, start, length), self.low, self.high)

    def _extend(self, to: float, step: float) -> Schedule:
        return type(self)(self.schedule._extend(to, step), self.low, self.high)

    def __repr__(self) -> str:
        bounds = {"low": self.low or None, "high": self.high}
        shown = ", ".join(f"{name}={value!r}" for name, value in bounds.items() if value is not None)
        return f"{operand(self.schedule)}.clipped({shown})"


@dataclass(frozen=True, slots=True, repr=False)
class Stretched(Schedule):
    """A schedule whose course after `step` is stretched in time, to end at `length`."""

    schedule: Schedule
    step: float
    length: Length | None

    def __post_init__(self) -> None:
        check_parts(self, "schedule", (self.schedule,))
        end = self.schedule.length
        if not self.schedule.is_resolved or not isinstance(end, int | float):
            raise refuse("stretched", "schedule", self.schedule, "resolved")
        set_field(self, "length", number("stretched", "length", self.length, at_least=end))
        set_field(self, "step", number("stretched", "step", self.step, at_least=0, below=end))
        for name in ("length", "step"):
            value: float = getattr(self, name)
            set_field(self, name, int(value) if value == int(value) else value)  # as lengths are written

    def _at(self, ops: Ops, step: Any) -> Any:
        end: Any = self.schedule.length
        length: Any = self.length
        left = progress(ops, step - self.step, length - self.step) * (end - self.step)
        return self.schedule._at(ops, ops.where(step < self.step, step * 1.0, self.step + left))

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return True

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del run, start, length
        return self

    def __repr__(self) -> str:
        step = f", step={self.step!r}" if self.step else ""
        return f"{operand(self.schedule)}.extend({self.length!r}{step})"


@dataclass(frozen=True, slots=True, repr=False)
class Cooldown(Schedule):
    """A schedule up to `step`, and from its value there a fall to `to`."""

    schedule: Schedule
    step: Length
    decay_steps: Length | None = None
    _: KW_ONLY
    to: float = 0.0
    shape: str = "1-sqrt"
    length: Length | None = field(init=False, compare=False)
    top: float | None = field(init=False, compare=False)  # the value at `step`, once it is known

    def __post_init__(self) -> None:
        name = "cooldown_from"
        check_parts(self, "schedule", (self.schedule,))
        set_field(self, "step", check_length(name, "step", self.step, is_zero_allowed=True))
        if self.decay_steps is not None:
            set_field(self, "decay_steps", check_length(name, "length", self.decay_steps))
        set_field(self, "to", number(name, "to", self.to, at_least=0, at_most=1))
        one_of(name, "shape", self.shape, COOLDOWNS)
        step, decay = self.step, self.decay_steps
        is_known = isinstance(step, int | float) and isinstance(decay, int | float)
        set_field(self, "length", _steps(step) + _steps(decay) if is_known else None)
        is_known = self.schedule.is_resolved and isinstance(step, int | float)
        set_field(self, "top", float(self.schedule._at(SCALAR, step)) if is_known else None)
        if self.top is not None and self.to > self.top:
            raise refuse(name, "to", self.to, f"at most {self.top:g}, the factor at step {step}")

    def _at(self, ops: Ops, step: Any) -> Any:
        top: Any = self.top
        start: Any = self.step
        left = falling(ops, progress(ops, step - start, self.decay_steps), self.shape)
        before = self.schedule._at(ops, step)
        return ops.where(step < start, before, self.to + (top - self.to) * left)

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return self.length is not None and self.schedule.is_resolved

    def _takes_rest(self) -> bool:
        return self.decay_steps is None

    def _span(self, run: Run) -> Fraction | None:
        if self.decay_steps is None:
            return None
        step = exact_steps("cooldown_from", "step", self.step, run)
        return step + exact_steps("cooldown_from", "length", self.decay_steps, run)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        step = own_steps("cooldown_from", "step", self.step, run)
        end = length
        if isinstance(self.decay_steps, str):
            end = nearest_step(self._span(run) or Fraction(0))
        elif self.decay_steps is not None:
            end = step + self.decay_steps
        if end > run.total_steps or end <= step:
            raise ArgumentError(
                f"`{self!r}` would fall from step {step:g} to step {end:g} (`total_steps={run.total_steps}`). "
                "Start earlier, change the length of the cooldown, or raise `total_steps`."
            )
        schedule = self.schedule
        if not schedule.is_resolved:  # one that is resolved may be longer than this run: it is cut short here
            schedule = schedule._resolve(run, start, schedule._wanted(run, run.total_steps - start))
        return self._replaced(schedule=schedule, step=step, decay_steps=end - step)

    def _extend(self, to: float, step: float) -> Schedule:
        start, length = self.step, self.schedule.length
        assert isinstance(start, int | float)
        if step >= start:
            return Stretched(self, step, to)
        extra = to - start - _steps(self.decay_steps)
        longer = self.schedule._extend(_steps(length) + extra, step) if step < _steps(length) else self.schedule
        return self._replaced(schedule=longer, step=start + extra)

    def __repr__(self) -> str:
        shown = [repr(self.step)]
        if self.decay_steps is not None:
            shown.append(repr(self.decay_steps))
        shown += [f"to={self.to!r}"] * (self.to != 0) + [f"shape={self.shape!r}"] * (self.shape != "1-sqrt")
        return f"{operand(self.schedule)}.cooldown_from({', '.join(shown)})"


@dataclass(frozen=True, slots=True, repr=False)
class Until(Schedule):
    """One schedule up to `step`, and another from there on; both count from the same step 0."""

    schedule: Schedule
    step: float
    then: Schedule
    length: Length | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        check_parts(self, "schedule", (self.schedule,))
        if not isinstance(self.then, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type("until", "then", self.then, "a schedule", "See `surefoot.schedules`.")
        step = number("until", "step", self.step, above=0, at_most=MOST)
        set_field(self, "step", int(step) if step.is_integer() else step)
        length = self.then.length
        set_field(self, "length", max(length, self.step) if isinstance(length, int | float) else None)

    def _at(self, ops: Ops, step: Any) -> Any:
        if ops.is_scalar:
            return self.schedule._at(ops, step) if step < self.step else self.then._at(ops, step)
        return ops.where(step < self.step, self.schedule._at(ops, step), self.then._at(ops, step))

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return self.schedule.is_resolved and self.then.is_resolved

    def _takes_rest(self) -> bool:
        return self.then._takes_rest()

    def _span(self, run: Run) -> Fraction | None:
        span = self.then._span(run)
        return None if span is None else max(span, Fraction(self.step))

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        schedule = self.schedule
        if not schedule.is_resolved:  # one that is resolved may be longer than this run: it is cut short here
            schedule = schedule._resolve(run, start, schedule._wanted(run, run.total_steps - start))
        return type(self)(schedule, self.step, self.then._resolve(run, start, self.then._wanted(run, length)))

    def _extend(self, to: float, step: float) -> Schedule:
        then, end = self.then, _steps(self.then.length)
        if end > self.step:
            return type(self)(self.schedule, self.step, then._extend(to, max(step, self.step)))
        last = constant(to - end, factor=float(then._at(SCALAR, end)))  # it has ended before it began
        return type(self)(self.schedule, self.step, Join((then, last)))

    def __repr__(self) -> str:
        return f"{operand(self.schedule)}.until({self.step!r}, {self.then!r})"


def _steps(length: Length | None) -> float:
    assert isinstance(length, int | float)
    return length


def extend(schedule: Schedule, to: float, step: float) -> Schedule:
    """Return `schedule.extend(to, step=step)`."""
    length = schedule.length
    if not schedule.is_resolved or not isinstance(length, int | float):
        raise ArgumentError(
            f"`{schedule!r}` has lengths that are not known in steps yet, so there is nothing to extend. "
            "Resolve it with the longer run: `.resolve(total_steps=...)`."
        )
    cure = f"The schedule is {length:g} steps long. To end earlier, use `cooldown_from`."
    to = number("extend", "to", to, at_least=length, at_most=MOST, cure=cure)
    cure = "A schedule that has ended is not extended: join another to it with `>>`."
    bounds = {"below": length} if length > 0 else {"at_most": 0}
    step = number("extend", "step", step, at_least=0, **bounds, cure=cure)
    to, step = (int(x) if x == int(x) else x for x in (to, step))
    return schedule if to == length else schedule._extend(to, step)
