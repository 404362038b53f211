"""The one type of this package: a schedule is an immutable value that maps a step to a factor of the base rate.

A concrete schedule is a frozen dataclass with a formula (`_at`) and, rarely, its own way to turn lengths into steps
(`_resolve`). Everything else - calling it on numbers and arrays, joining, scaling, repr, JSON - is here.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, replace
from fractions import Fraction
from typing import Any, ClassVar, Self, TypeVar, overload

from surefoot._errors import ArgumentError
from surefoot.schedules._arrays import OPS, Ops, ops_of
from surefoot.schedules._lengths import (
    MOST,
    Length,
    Run,
    check_length,
    check_run,
    exact_steps,
    nearest_step,
)

ArrayT = TypeVar("ArrayT")

VERSION = 1  # of the JSON form


class Schedule:
    """A pure function of the step: `schedule(step)` is the factor by which the base learning rate is multiplied.

    Schedules are made by the functions of `surefoot.schedules`, and by arithmetic:

    - `a >> b` joins: `a` for its length, then `b`. Each piece sees time from its own start, and the value *at* the
      join is the value of the right piece at its step 0. One piece may have no length; it takes what the others leave.
    - `0.5 * a` scales, `a * b` multiplies two schedules step by step.
    - `a.shifted(steps)`, `a.clipped(low, high)`: later or earlier, and within bounds.
    - `a.extend(to)`, `a.cooldown_from(step)`: a longer run, and a fall to the end from any step.
    - `a.until(step, b)`: another schedule from a step on, for a run that is going on.

    Lengths are a number of steps, a share of the run (`"5%"`), epochs (`"3 epochs"`) or None, the rest of the run.
    `resolve` turns them into steps. Before step 0 a schedule has its first value, after its end it holds its last: it
    never climbs back and never raises. Steps may be fractions. The last update of a run of n steps happens at step
    n - 1; the final factor is reached at step n, as in optax, transformers and torch.

    Attributes:
        length: how long the schedule takes, in steps once it is resolved. None is the rest of the run.

    Examples:
        >>> from surefoot.schedules import cosine_decay, linear_warmup
        >>> schedule = linear_warmup("10%") >> cosine_decay(to=0.1)
        >>> schedule
        linear_warmup('10%') >> cosine_decay(to=0.1)
        >>> known = schedule.resolve(total_steps=100)
        >>> known(0), known(5), known(10), known(55), known(100), known(10**6)
        (0.0, 0.5, 1.0, 0.55, 0.1, 0.1)
    """

    __slots__ = ("__weakref__",)  # jax.jit keeps weak references to the functions it compiles
    __array_ufunc__ = None  # a NumPy number times a schedule is a schedule, not an array of schedules

    length: Length | None

    _LENGTHS: ClassVar[tuple[str, ...]] = ("length",)  # the fields that hold lengths
    _MAY_BE_EMPTY: ClassVar[bool] = False  # whether a length of 0 steps has a meaning
    _HAS_OWN_PACE: ClassVar[bool] = False  # whether the values at given steps do not depend on `length`

    @overload
    def __call__(self, step: float) -> float: ...
    @overload
    def __call__(self, step: ArrayT) -> ArrayT: ...
    def __call__(self, step: Any) -> Any:
        """Return the factor at `step`: a float for a number, an array of the same shape for an array."""
        ops = OPS.get(type(step)) or ops_of(step)  # pyright: ignore[reportUnknownArgumentType]
        try:
            return self._at(ops, ops.exact(step))
        except OverflowError:  # a whole number that is no float: far beyond the end, or before the start
            if not isinstance(step, int) or abs(step) <= MOST:
                raise
            return self._at(ops, math.inf if step > 0 else -math.inf)
        except TypeError as error:  # here and not as a check before, which every step of every run would pay
            if self.is_resolved:
                raise
            raise ArgumentError(
                f"`{self!r}` has lengths that are not known in steps yet. "
                "Call it on the result of `.resolve(total_steps=...)`."
            ) from error

    def _at(self, ops: Ops, step: Any) -> Any:
        """Return the factor at a step counted from this schedule's own start."""
        raise NotImplementedError

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return all(isinstance(getattr(self, name), int | float) for name in self._LENGTHS)

    def resolve(self, total_steps: int, steps_per_epoch: float | None = None) -> Self:
        """Return the same schedule with all lengths in steps.

        Shares and epochs end at the nearest whole step, halves up, counted from the start of the schedule, so that
        joined pieces add up to the run. Resolving again changes nothing.

        Args:
            total_steps: the optimizer steps of the whole run.
            steps_per_epoch: the optimizer steps of one pass over the data; needed for lengths in epochs only.

        Raises:
            ArgumentError: if a piece does not fit into the run, or lengths are in epochs without `steps_per_epoch`.

        Examples:
            >>> from surefoot.schedules import cosine_decay, linear_warmup
            >>> (linear_warmup("5%") >> cosine_decay()).resolve(310)
            linear_warmup(16) >> cosine_decay(294)
        """
        run = check_run("resolve", total_steps, steps_per_epoch)
        return self._resolve(run, 0, self._wanted(run, run.total_steps))

    def _takes_rest(self) -> bool:
        """Return whether this schedule has no length of its own."""
        return self.length is None

    def _span(self, run: Run) -> Fraction | None:
        """Return the length in steps before rounding, or None for the rest of the run."""
        if self.length is None:
            return None
        return exact_steps(type(self).__name__, "length", self.length, run)

    def _wanted(self, run: Run, rest: float) -> float:
        """Return the length in steps when this schedule starts at a whole step and `rest` steps are left."""
        span = self._span(run)
        if isinstance(self.length, int | float):
            return self.length
        return rest if span is None else nearest_step(span)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        """Return this schedule with `length` as its length in steps, and its other lengths in steps too."""
        del start
        self._check_not_empty(run, length)
        return self._replaced(length=length)

    def _replaced(self, **changes: Any) -> Self:
        """Return this schedule with other values in some fields."""
        this: Any = self
        return replace(this, **changes)

    def _check_not_empty(self, run: Run, length: float) -> None:
        if length <= 0 and not self._MAY_BE_EMPTY:
            raise ArgumentError(
                f"`{self!r}` is left with {max(length, 0):g} of `total_steps={run.total_steps}`. "
                "Lengthen it, shorten what is joined to it, or raise `total_steps`."
            )

    def simulate(self, total_steps: int, steps_per_epoch: float | None = None) -> list[float]:
        """Return the factors of all `total_steps` updates of a run, without training.

        Examples:
            >>> from surefoot.schedules import linear_decay
            >>> linear_decay().simulate(4)
            [1.0, 0.75, 0.5, 0.25]
        """
        known = self.resolve(total_steps, steps_per_epoch)
        return [known(step) for step in range(total_steps)]

    def scaled(self, factor: float) -> Schedule:
        """Return `factor * self`.

        Examples:
            >>> from surefoot.schedules import linear_decay
            >>> linear_decay(4).scaled(0.5)
            0.5 * linear_decay(4)
        """
        from surefoot.schedules._compose import scale  # noqa: PLC0415 - as above

        return scale(self, factor)

    def shifted(self, steps: float) -> Schedule:
        """Return the schedule `steps` later, or earlier if `steps` is negative: `self(step - steps)`.

        Use it for frameworks that count from another step. To wait before a schedule, `constant(100) >> schedule` says
        more clearly what is meant; shifted later, the first value is held until then.

        Examples:
            >>> from surefoot.schedules import linear_decay
            >>> linear_decay(4).shifted(-1).simulate(3)
            [0.75, 0.5, 0.25]
        """
        from surefoot.schedules._change import Shifted  # noqa: PLC0415 - as above

        return Shifted(self, steps)

    def clipped(self, low: float = 0.0, high: float | None = None) -> Schedule:
        """Return the schedule with its factors kept between `low` and `high`.

        Use it for a floor under a product or a recorded curve. Decays have a floor of their own, `to`, which they reach
        smoothly and at their end; a floor by clipping cuts the curve off and holds.

        Args:
            low: the least factor, at least 0.
            high: the greatest, at least `low`; None is no bound.

        Examples:
            >>> from surefoot.schedules import linear_decay
            >>> linear_decay(4).clipped(low=0.3).simulate(4)
            [1.0, 0.75, 0.5, 0.3]
        """
        from surefoot.schedules._change import Clipped  # noqa: PLC0415 - as above

        return Clipped(self, low, high)

    def extend(self, to: float, *, step: float = 0) -> Schedule:
        """Return the schedule of a run that has become longer, from `step` on; nothing changes before.

        Use it when a run gets more steps while it is going: nothing jumps, the rate goes on from its value at `step`,
        and the final value is reached at `to`. It cannot undo a decay: a run whose rate has fallen already learns
        little from more steps, so extend before the decay, or plan with `warmup_stable_decay`.

        What takes the extra steps, in this order: a stable phase (of `warmup_stable_decay`, or a `constant` in a join
        before its last piece) that is not over; else what comes last. That goes on at its own pace if it has one
        (`inverse_sqrt_decay`, `step_decay`, cycles ...). If not (`cosine_decay`, `linear_decay` ...), the rest of its
        course is stretched in time: `new(s) = old(step + (s - step) * (length - step) / (to - step))`. A warm-up is
        never made slower.

        Args:
            to: the steps of the longer run, at least the present length.
            step: where the run is, at least 0 and before the end.

        Raises:
            ArgumentError: if lengths are not known yet (then just resolve with the longer run), or a step is not
                allowed.

        Examples:
            >>> from surefoot.schedules import linear_decay, warmup_stable_decay
            >>> longer = linear_decay(100).extend(200, step=50)
            >>> longer(25), longer(50), longer(125), longer(200)
            (0.75, 0.5, 0.25, 0.0)
            >>> warmup_stable_decay(10, 20, length=100).extend(200, step=50)
            warmup_stable_decay(10, decay_steps=20, length=200)
        """
        from surefoot.schedules._change import extend  # noqa: PLC0415 - as above

        return extend(self, to, step)

    def cooldown_from(
        self, step: Length, length: Length | None = None, *, to: float = 0.0, shape: str = "1-sqrt"
    ) -> Schedule:
        """Return the schedule up to `step`, and then a fall from its value there to `to`.

        Use it to end a run early and well, or to branch good weights off a run that goes on: the cooldown is where most
        of the last loss is won. From a rate that is low already there is little to win.

        The factor in the cooldown is `to + (self(step) - to) * q(p)`, with the shapes q of `warmup_stable_decay`. The
        schedule is cut short: it is as long as if there were no cooldown, even longer than the run if it is resolved.

        Args:
            step: where the fall begins, a length from the start of this schedule.
            length: how long it takes; None is the rest of the run.
            to: the final factor, of the base rate; between 0 and the factor at `step`.
            shape: "1-sqrt", "linear" or "cosine".

        Raises:
            ArgumentError: if an argument is not allowed, or the cooldown does not fit into the run.

        Examples:
            >>> from surefoot.schedules import linear_decay
            >>> early = linear_decay(100).cooldown_from(50, 10, shape="linear")
            >>> early(25), early(50), early(55), early(60)
            (0.75, 0.5, 0.25, 0.0)
        """
        from surefoot.schedules._change import Cooldown  # noqa: PLC0415 - as above

        return Cooldown(self, step, length, to=to, shape=shape)

    def until(self, step: float, then: Schedule) -> Schedule:
        """Return the schedule up to `step`, and another from there on; both count from the same step 0.

        Use it for what a run did before it got another schedule and what it does since: `lr.replace` of a running
        `surefoot.torch.drive` makes one. The factor jumps at `step` if the two differ there. In a plan `a >> b` says
        mostly better what is meant: there `b` counts from its own start.

        Args:
            step: the first step of the other schedule, above 0.
            then: the other schedule.

        Raises:
            ArgumentError: if an argument is not allowed.

        Examples:
            >>> from surefoot.schedules import constant, linear_decay
            >>> changed = constant(100).until(50, linear_decay(100))
            >>> changed(49), changed(50), changed(75)
            (1.0, 0.5, 0.25)
        """
        from surefoot.schedules._change import Until  # noqa: PLC0415 - as above

        return Until(self, step, then)

    def _extend(self, to: float, step: float) -> Schedule:
        """Return this schedule, which is resolved, with the greater length `to`, and the same values up to `step`."""
        return self._replaced(length=to) if self._HAS_OWN_PACE else stretched(self, to, step)

    def __rshift__(self, other: Schedule) -> Schedule:
        from surefoot.schedules._compose import join  # noqa: PLC0415 - compositions are schedules: they import this file

        return join(self, other) if isinstance(other, Schedule) else NotImplemented  # pyright: ignore[reportUnnecessaryIsInstance]

    def __mul__(self, other: float | Schedule) -> Schedule:
        from surefoot.schedules._compose import multiply, scale  # noqa: PLC0415 - as above

        if isinstance(other, Schedule):
            return multiply(self, other)
        return scale(self, other) if isinstance(other, numbers.Real) else NotImplemented

    def __rmul__(self, other: float) -> Schedule:
        return self * other

    def __repr__(self) -> str:
        shown: list[str] = []
        for index, field in enumerate(_init_fields(self)):
            value = getattr(self, field.name)
            if field.default is MISSING or value != field.default:
                shown.append(repr(value) if index == 0 else f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule as plain data, ready for JSON; `from_dict` reads it back.

        Examples:
            >>> from surefoot.schedules import from_dict, linear_decay
            >>> linear_decay("50%").to_dict()
            {'version': 1, 'kind': 'linear_decay', 'length': '50%', 'to': 0.0}
            >>> from_dict(linear_decay("50%").to_dict())
            linear_decay('50%')
        """
        return {"version": VERSION, **self._to_plain()}

    def _to_plain(self) -> dict[str, Any]:
        """Return the kind and the fields as plain data."""
        return {
            "kind": type(self).__name__.lower(),
            **{f.name: _plain(getattr(self, f.name)) for f in _init_fields(self)},
        }

    @classmethod
    def _from_plain(cls, arguments: Mapping[str, Any]) -> Self:
        """Return the schedule with these fields."""
        return cls(**arguments)


def stretched(schedule: Schedule, to: float, step: float) -> Schedule:
    """Return a schedule of progress with its course after `step` stretched to end at `to`."""
    from surefoot.schedules._change import Stretched  # noqa: PLC0415 - as above

    if step > 0 or isinstance(schedule, Stretched):
        return Stretched(schedule, step, to)
    return schedule._replaced(length=to)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _init_fields(schedule: Any) -> list[Field[Any]]:
    return [field for field in fields(schedule) if field.init]


def _plain(value: Any) -> Any:
    if isinstance(value, Schedule):
        return value._to_plain()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def set_length(schedule: Schedule, name: str, *, is_zero_allowed: bool = False) -> None:
    """Check the length in field `name` while a schedule is built; None stays None."""
    value = getattr(schedule, name)
    if value is not None:
        checked = check_length(type(schedule).__name__, name, value, is_zero_allowed=is_zero_allowed)
        object.__setattr__(schedule, name, checked)


def set_field(schedule: Schedule, name: str, value: object) -> None:
    """Set a field of a frozen schedule while it is built."""
    object.__setattr__(schedule, name, value)
