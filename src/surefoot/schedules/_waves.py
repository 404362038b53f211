"""Schedules that come back: cosine waves with restarts, and triangles up and down."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Self

from surefoot._checks import number, one_of, refuse
from surefoot.schedules._arrays import Ops
from surefoot.schedules._laws import set_steps, until_end
from surefoot.schedules._lengths import Length, Run, own_steps
from surefoot.schedules._schedule import Schedule, set_field, set_length
from surefoot.schedules._shapes import cosine, set_share, whole_times

_MOST_GROWTH = 10**9  # of a cycle over the one before: no second cycle is reached, and the powers stay floats
_TRIANGLES = ("triangular", "triangular2", "exp_range")


@dataclass(frozen=True, slots=True, repr=False)
class cosine_restarts(Schedule):  # noqa: N801 - users call it
    """Fall along half a cosine wave, jump back to the top, and again: SGDR, warm restarts.

    Use it to gather good weights at the end of each cycle, for an ensemble or because the run may be stopped at any of
    them. If only the weights at the end count, one `cosine_decay` over the whole run is better: each restart throws
    away some of what the decay has won.

    In cycle i, counted from 0, whose length is `first_steps * length_factor ** i`, the factor is
    `to + (1 - to) * height_factor ** i * 0.5 * (1 + cos(pi * p))`, with p the progress of the cycle. A restart that
    would fall on the very end of the schedule is left out, so that it ends low.

    Args:
        first_steps: the length of the first cycle.
        length: how long; None is the rest of the run.
        length_factor: what the length of a cycle is multiplied by for the next, at least 1 and at most 1e9.
        height_factor: what the height above `to` is multiplied by for the next cycle, above 0 and at most 1.
        to: the factor at the end of each cycle, between 0 and 1.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> schedule = cosine_restarts(10, length=30, length_factor=2)
        >>> [round(schedule(step), 3) for step in (0, 5, 9.99, 10, 20, 30)]
        [1.0, 0.5, 0.0, 1.0, 0.5, 0.0]

    References:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016, arXiv:1608.03983. torch's
        CosineAnnealingWarmRestarts and Keras' CosineDecayRestarts.
    """

    first_steps: Length
    _: KW_ONLY
    length: Length | None = None
    length_factor: float = 1.0
    height_factor: float = 1.0
    to: float = 0.0

    _LENGTHS: ClassVar[tuple[str, ...]] = ("length", "first_steps")
    _HAS_OWN_PACE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        name = "cosine_restarts"
        set_steps(self, "first_steps")
        set_length(self, "length")
        cure = "Cycles that get shorter would end in infinitely many restarts."
        factor = number(name, "length_factor", self.length_factor, at_least=1, at_most=_MOST_GROWTH, cure=cure)
        set_field(self, "length_factor", factor)
        set_field(self, "height_factor", number(name, "height_factor", self.height_factor, above=0, at_most=1))
        set_share(self, "to")

    def _at(self, ops: Ops, step: Any) -> Any:
        first: Any = self.first_steps
        end: Any = math.inf if self.length is None else self.length
        step = ops.clip(step, 0.0, end)
        # The logarithm may be off by a rounding error just at a restart, so its answer is held against the starts.
        cycle = ops.floor(self._cycles_in(ops, step / first))
        cycle = ops.where(step < self._start(cycle), cycle - 1.0, cycle)
        cycle = ops.where(step >= self._start(cycle + 1.0), cycle + 1.0, cycle)
        cycle = ops.where(self._start(cycle) >= end, cycle - 1.0, cycle)
        p = (step - self._start(cycle)) / (first * self.length_factor**cycle)
        return self.to + (1.0 - self.to) * self.height_factor**cycle * cosine(ops, p)

    def _cycles_in(self, ops: Ops, firsts: Any) -> Any:
        """Return how many cycles fit into a time that is given in first cycles."""
        growth = self.length_factor - 1.0
        return ops.log(1.0 + growth * firsts) / math.log(self.length_factor) if growth else firsts

    def _start(self, cycle: Any) -> Any:
        """Return the step at which a cycle starts: the sum of a geometric series."""
        first: Any = self.first_steps
        growth = self.length_factor - 1.0
        return first * ((self.length_factor**cycle - 1.0) / growth) if growth else first * cycle

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        first = own_steps("cosine_restarts", "first_steps", self.first_steps, run, must_fit=False)
        return self._replaced(length=length, first_steps=max(first, 1))


def _triangle(ops: Ops, step: Any, up: Any, down: Any, scale: str, gamma: float) -> Any:
    """Return the height of a wave of triangles: 0 at the start of each, at most 1 at its top."""
    cycle = whole_times(ops, step, up + down)
    x = step - cycle * (up + down)
    height = ops.where(x <= up, x / up, (up + down - x) / down)
    if scale == "triangular2":
        return height * 0.5**cycle
    return height * gamma**step if scale == "exp_range" else height


@dataclass(frozen=True, slots=True, repr=False)
class cyclic(Schedule):  # noqa: N801 - users call it
    """Go up and down between two rates on straight lines, again and again (CLR).

    Use it when a good rate is known only as a range, with SGD and a few cycles per run. A run whose end counts does
    better with one fall at its end: `one_cycle`, or a warm-up and a decay. The base rate is the *upper* one.

    The factor after s steps is `start + (1 - start) * h`. h goes from 0 to 1 in `up_steps` and back in `down_steps`;
    with "triangular2" each cycle is half as high as the one before, with "exp_range" h is multiplied by `gamma ** s`.

    Args:
        up_steps: the steps from the lower to the upper rate, a length.
        down_steps: the steps back; None is as many as up.
        length: how long; None is the rest of the run.
        start: the lower rate as a factor of the upper, between 0 and 1.
        shape: "triangular", "triangular2" or "exp_range".
        gamma: for "exp_range", above 0 and at most 1.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> schedule = cyclic(10, length=40, start=0.2, shape="triangular2")
        >>> [round(schedule(step), 3) for step in (0, 5, 10, 20, 30, 40)]
        [0.2, 0.6, 1.0, 0.2, 0.6, 0.2]

    References:
        Smith, "Cyclical Learning Rates for Training Neural Networks", 2015, arXiv:1506.01186. torch's CyclicLR.
    """

    up_steps: Length
    down_steps: Length | None = None
    _: KW_ONLY
    length: Length | None = None
    start: float = 0.1
    shape: str = "triangular"
    gamma: float = 1.0

    _HAS_OWN_PACE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_triangle(self)
        set_share(self, "start")

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return all(isinstance(length, int | float) for length in (self.length, self.up_steps, self.down_steps))

    def _at(self, ops: Ops, step: Any) -> Any:
        down = self.up_steps if self.down_steps is None else self.down_steps
        step = until_end(ops, step, self.length)
        return self.start + (1.0 - self.start) * _triangle(ops, step, self.up_steps, down, self.shape, self.gamma)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        return self._replaced(length=length, **_triangle_steps(self, run, length))


@dataclass(frozen=True, slots=True, repr=False)
class cyclic_momentum(Schedule):  # noqa: N801 - users call it
    """Move the momentum against `cyclic`: low where the learning rate is high.

    Use it beside a `cyclic` with the same `up_steps`, `down_steps`, `shape` and `gamma`, for SGD's momentum or Adam's
    first beta. Its values are the momentum itself, not factors of a rate. A constant momentum is what most runs use,
    and does as well with Adam.

    The value after s steps is `high - (high - low) * h`, with the h of `cyclic`.

    Args:
        up_steps: the steps in which the momentum falls, a length.
        down_steps: the steps in which it comes back; None is as many.
        length: how long; None is the rest of the run.
        low: the lowest momentum, at least 0 and below 1.
        high: the highest momentum, at least `low` and below 1.
        shape: "triangular", "triangular2" or "exp_range".
        gamma: for "exp_range", above 0 and at most 1.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> [round(cyclic_momentum(10, length=40)(step), 3) for step in (0, 5, 10, 20)]
        [0.9, 0.85, 0.8, 0.9]

    References:
        Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018, arXiv:1803.09820. torch's
        CyclicLR(cycle_momentum=True).
    """

    up_steps: Length
    down_steps: Length | None = None
    _: KW_ONLY
    length: Length | None = None
    low: float = 0.8
    high: float = 0.9
    shape: str = "triangular"
    gamma: float = 1.0

    _HAS_OWN_PACE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_triangle(self)
        set_momenta(self)

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return all(isinstance(length, int | float) for length in (self.length, self.up_steps, self.down_steps))

    def _at(self, ops: Ops, step: Any) -> Any:
        down = self.up_steps if self.down_steps is None else self.down_steps
        step = until_end(ops, step, self.length)
        return self.high - (self.high - self.low) * _triangle(ops, step, self.up_steps, down, self.shape, self.gamma)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        return self._replaced(length=length, **_triangle_steps(self, run, length))


def set_momenta(schedule: Any) -> None:
    """Check the fields `low` and `high` of a schedule of the momentum."""
    name = type(schedule).__name__
    set_field(schedule, "low", number(name, "low", schedule.low, at_least=0, below=1))
    set_field(schedule, "high", number(name, "high", schedule.high, at_least=0, below=1))
    if schedule.low > schedule.high:
        raise refuse(name, "low", schedule.low, f"at most `high`, {schedule.high}")


def _check_triangle(schedule: cyclic | cyclic_momentum) -> None:
    name = type(schedule).__name__
    set_steps(schedule, "up_steps")
    set_length(schedule, "down_steps")
    set_length(schedule, "length")
    one_of(name, "shape", schedule.shape, _TRIANGLES)
    set_field(schedule, "gamma", number(name, "gamma", schedule.gamma, above=0, at_most=1))
    if schedule.gamma != 1 and schedule.shape != "exp_range":
        raise refuse(name, "gamma", schedule.gamma, 'left out with another shape than "exp_range"')


def _triangle_steps(schedule: cyclic | cyclic_momentum, run: Run, length: float) -> dict[str, float]:
    """Return the lengths of both sides in steps."""
    schedule._check_not_empty(run, length)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    name = type(schedule).__name__
    up = max(own_steps(name, "up_steps", schedule.up_steps, run, must_fit=False), 1)
    if schedule.down_steps is None:
        return {"up_steps": up, "down_steps": up}
    return {
        "up_steps": up,
        "down_steps": max(own_steps(name, "down_steps", schedule.down_steps, run, must_fit=False), 1),
    }
