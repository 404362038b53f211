"""Schedules made of schedules: joined in time (`>>`), scaled by a number and multiplied with each other (`*`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any, Self, cast

from surefoot._checks import number, refuse, refuse_type
from surefoot._errors import ArgumentError
from surefoot.schedules._arrays import Ops
from surefoot.schedules._lengths import Length, Run, nearest_step
from surefoot.schedules._schedule import Schedule, set_field
from surefoot.schedules._shapes import constant

# ruff: noqa: SLF001 - a composition asks its parts what only the library may ask
# pyright: reportPrivateUsage=false


@dataclass(frozen=True, slots=True, repr=False)
class Join(Schedule):
    """Pieces one after the other; each sees time from its own start."""

    pieces: tuple[Schedule, ...]
    length: Length | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        check_parts(self, "pieces", self.pieces)
        if sum(piece._takes_rest() for piece in self.pieces) > 1:
            raise ArgumentError(
                f"`{self!r}` has more than one piece without a length, so where they meet is not known. "
                'Give all but one a length, such as 100, "5%" or "3 epochs".'
            )
        set_field(self, "length", _added([piece.length for piece in self.pieces]))

    def _at(self, ops: Ops, step: Any) -> Any:
        if ops.is_scalar:
            for piece in self.pieces[:-1]:
                if step < piece.length:
                    return piece._at(ops, step)
                step = step - piece.length
            return self.pieces[-1]._at(ops, step)
        value = self.pieces[0]._at(ops, step)
        for left, right in pairwise(self.pieces):
            step = step - left.length
            value = ops.where(step < 0, value, right._at(ops, step))
        return value

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return all(piece.is_resolved for piece in self.pieces)

    def _takes_rest(self) -> bool:
        return any(piece._takes_rest() for piece in self.pieces)

    def _span(self, run: Run) -> Fraction | None:
        spans = [piece._span(run) for piece in self.pieces]
        return None if None in spans else sum((span for span in spans if span is not None), Fraction(0))

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        spans = [piece._span(run) for piece in self.pieces]
        taken = sum((span for span in spans if span is not None), Fraction(0))
        rest = Fraction(length) - taken if None in spans else Fraction(0)
        if rest < 0 or taken > run.total_steps:
            raise ArgumentError(
                f"`{self!r}` takes {float(taken):g} steps, more than `total_steps={run.total_steps}`. "
                "Shorten a piece or raise `total_steps`."
            )
        end, reached = Fraction(0), 0.0  # where the pieces so far end: exactly, and on whole steps
        pieces: list[Schedule] = []
        for piece, span in zip(self.pieces, spans, strict=True):
            end += rest if span is None else span
            is_number = isinstance(piece.length, int | float)
            steps = piece.length if is_number else max(nearest_step(end) - reached, 0)
            pieces.append(piece._resolve(run, start + reached, _whole(steps)))
            reached += _number(pieces[-1].length)
        return type(self)(tuple(pieces))

    def _extend(self, to: float, step: float) -> Schedule:
        extra = to - _number(self.length)
        starts = [0.0]
        for piece in self.pieces[:-1]:
            starts.append(starts[-1] + _number(piece.length))
        last = len(self.pieces) - 1
        here = max(index for index, start in enumerate(starts) if start <= step)
        # The stable phase is what may last longer; without one, what comes last.
        grows = next((k for k in range(here, last) if isinstance(self.pieces[k], constant)), last)
        piece = self.pieces[grows]
        longer = piece._extend(_number(piece.length) + extra, max(step - starts[grows], 0))
        return Join((*self.pieces[:grows], *_pieces(longer), *self.pieces[grows + 1 :]))

    def __repr__(self) -> str:
        return " >> ".join(repr(piece) for piece in self.pieces)


@dataclass(frozen=True, slots=True, repr=False)
class Scaled(Schedule):
    """A schedule times a number."""

    factor: float
    schedule: Schedule
    length: Length | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        check_parts(self, "schedule", (self.schedule,))
        set_field(self, "factor", number("scaled", "factor", self.factor, at_least=0))
        set_field(self, "length", self.schedule.length)

    def _at(self, ops: Ops, step: Any) -> Any:
        return self.factor * self.schedule._at(ops, step)

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return self.schedule.is_resolved

    def _takes_rest(self) -> bool:
        return self.schedule._takes_rest()

    def _span(self, run: Run) -> Fraction | None:
        return self.schedule._span(run)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        return type(self)(self.factor, self.schedule._resolve(run, start, length))

    def _extend(self, to: float, step: float) -> Schedule:
        return type(self)(self.factor, self.schedule._extend(to, step))

    def __repr__(self) -> str:
        return f"{self.factor!r} * {operand(self.schedule)}"


@dataclass(frozen=True, slots=True, repr=False)
class Product(Schedule):
    """Schedules multiplied step by step; all start together, and the longest says how long it takes."""

    schedules: tuple[Schedule, ...]
    length: Length | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        check_parts(self, "schedules", self.schedules)
        lengths = [part.length for part in self.schedules]
        numbers = [length for length in lengths if isinstance(length, int | float)]
        set_field(self, "length", max(numbers) if len(numbers) == len(lengths) else None)

    def _at(self, ops: Ops, step: Any) -> Any:
        first, *others = self.schedules
        value = first._at(ops, step)
        for other in others:
            value = value * other._at(ops, step)
        return value

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return all(part.is_resolved for part in self.schedules)

    def _takes_rest(self) -> bool:
        return any(part._takes_rest() for part in self.schedules)

    def _span(self, run: Run) -> Fraction | None:
        spans = [part._span(run) for part in self.schedules]
        return None if None in spans else max(span for span in spans if span is not None)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        return type(self)(tuple(part._resolve(run, start, part._wanted(run, length)) for part in self.schedules))

    def _extend(self, to: float, step: float) -> Schedule:
        longest = self.length  # a part that ends before, such as a warm-up, stays what it is
        return type(self)(tuple(part._extend(to, step) if part.length == longest else part for part in self.schedules))

    def __repr__(self) -> str:
        first, *others = self.schedules
        head = repr(first) if isinstance(first, Scaled) else operand(first)
        return " * ".join([head, *(operand(part) for part in others)])


def join(left: Schedule, right: Schedule) -> Schedule:
    """Return `left >> right`; joins in joins become one."""
    return Join((*_pieces(left), *_pieces(right)))


def scale(schedule: Schedule, factor: float) -> Schedule:
    """Return `factor * schedule`; the factors of a scaled schedule become one."""
    if not isinstance(schedule, Scaled):
        return Scaled(factor, schedule)
    product = schedule.factor * number("scaled", "factor", factor, at_least=0)
    if product == math.inf:
        raise refuse("scaled", "factor", factor, f"small enough that times {schedule.factor:g} it is a finite number")
    return Scaled(product, schedule.schedule)


def multiply(left: Schedule, right: Schedule) -> Schedule:
    """Return `left * right`; products in products become one."""
    return Product((*_factors(left), *_factors(right)))


def _pieces(schedule: Schedule) -> tuple[Schedule, ...]:
    return schedule.pieces if isinstance(schedule, Join) else (schedule,)


def _factors(schedule: Schedule) -> tuple[Schedule, ...]:
    return schedule.schedules if isinstance(schedule, Product) else (schedule,)


def operand(schedule: Schedule) -> str:
    """Return the repr of a part of a product, in parentheses where Python needs them to read it back."""
    return f"({schedule!r})" if isinstance(schedule, Join | Scaled | Product) else repr(schedule)


def check_parts(owner: Schedule, argument: str, parts: Any) -> None:
    """Refuse parts that are no schedules."""
    where = type(owner).__name__.lower()
    if not isinstance(parts, tuple) or not all(isinstance(part, Schedule) for part in cast("Any", parts)):
        raise refuse_type(where, argument, cast("Any", parts), "schedules")
    if not parts:
        raise refuse(where, argument, (), "at least one schedule")


def _added(lengths: list[Length | None]) -> Length | None:
    """Return the sum of lengths in steps, or None if one of them is not in steps."""
    numbers = [length for length in lengths if isinstance(length, int | float)]
    return sum(numbers) if len(numbers) == len(lengths) else None


def _number(length: Length | None) -> float:
    assert isinstance(length, int | float)
    return length


def _whole(steps: Length | None) -> float:
    """Return a number of steps, as an int where it is one."""
    x = _number(steps)
    return int(x) if x == int(x) else x
