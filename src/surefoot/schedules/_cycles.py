"""Schedules of a whole run, each with its own phases: warm up, keep, cool down."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from typing import Any, ClassVar, Self

from surefoot._checks import one_of
from surefoot._errors import ArgumentError
from surefoot.schedules._arrays import Ops
from surefoot.schedules._lengths import Length, Run, check_length, exact_steps, nearest_step, own_steps
from surefoot.schedules._schedule import Schedule, set_field, set_length, stretched
from surefoot.schedules._shapes import COOLDOWNS, cosine, falling, progress, set_share
from surefoot.schedules._waves import set_momenta


@dataclass(frozen=True, slots=True, repr=False)
class warmup_stable_decay(Schedule):  # noqa: N801 - users call it
    """Warm up, keep the base rate for most of the run, then cool down (WSD, also called trapezoidal).

    Use it when the length of the run may change: the stable phase can be made longer, and a cooldown can start from any
    of its checkpoints. It needs a slightly different (usually lower) peak rate than `cosine_decay`, and its loss looks
    worse than that of a cosine until the cooldown starts.

    The factor is `start + (1 - start) * s / warmup_steps` in the warm-up, 1 in the stable phase, and
    `to + (1 - to) * q(p)` over the last `decay_steps`, p their progress, where q(p) is `1 - p` ("linear"),
    `1 - sqrt(p)` ("1-sqrt") or `0.5 * (1 + cos(pi * p))` ("cosine").

    Args:
        warmup_steps: the length of the warm-up; 0 for none.
        decay_steps: the length of the cooldown.
        length: the length of all; None is the rest of the run.
        start: the factor at step 0, between 0 and 1.
        to: the final factor, between 0 and 1.
        shape: of the cooldown: "1-sqrt", "linear" or "cosine".

    Raises:
        ArgumentError: if an argument is not allowed, or the phases do not fit into the run.

    Examples:
        >>> schedule = warmup_stable_decay(10, 20, length=100, shape="linear")
        >>> [schedule(step) for step in (0, 5, 10, 80, 90, 100)]
        [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]

    References:
        Hu et al., "MiniCPM", 2024, arXiv:2404.06395. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond
        Fixed Training Durations", 2024, arXiv:2405.18392 (the 1-sqrt shape and a cooldown of 20 %).
    """

    warmup_steps: Length = "5%"
    decay_steps: Length = "20%"
    _: KW_ONLY
    length: Length | None = None
    start: float = 0.0
    to: float = 0.0
    shape: str = "1-sqrt"

    _LENGTHS: ClassVar[tuple[str, ...]] = ("length", "warmup_steps", "decay_steps")

    def __post_init__(self) -> None:
        name = "warmup_stable_decay"
        set_length(self, "length")
        set_field(self, "warmup_steps", check_length(name, "warmup_steps", self.warmup_steps, is_zero_allowed=True))
        set_field(self, "decay_steps", check_length(name, "decay_steps", self.decay_steps))
        set_share(self, "start")
        set_share(self, "to")
        one_of(name, "shape", self.shape, COOLDOWNS)

    def _at(self, ops: Ops, step: Any) -> Any:
        warmup: Any = self.warmup_steps
        decay: Any = self.decay_steps
        length: Any = self.length
        stable_end = length - decay
        if ops.is_scalar and warmup <= step <= stable_end:
            return 1.0
        rising = self.start + (1.0 - self.start) * progress(ops, step, warmup)
        p = progress(ops, step - stable_end, decay)
        return ops.where(step < warmup, rising, self.to + (1.0 - self.to) * falling(ops, p, self.shape))

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        name = "warmup_stable_decay"
        warmup = own_steps(name, "warmup_steps", self.warmup_steps, run)
        exact = exact_steps(name, "decay_steps", self.decay_steps, run)
        is_share = isinstance(self.decay_steps, str)
        decay = length - nearest_step(Fraction(length) - exact) if is_share else self.decay_steps
        decay = max(_steps(decay), 1)
        if _steps(warmup) + decay > length:
            raise ArgumentError(
                f"`{self!r}` takes {_steps(warmup):g} + {decay:g} steps to warm up and cool down, more than its length "
                f"of {length:g} (`total_steps={run.total_steps}`). Lower `warmup_steps` or `decay_steps`, or raise "
                "`total_steps`."
            )
        return self._replaced(length=length, warmup_steps=warmup, decay_steps=decay)

    def _extend(self, to: float, step: float) -> Schedule:
        if step <= _steps(self.length or 0) - _steps(self.decay_steps):
            return self._replaced(length=to)  # the stable phase lasts longer
        return stretched(self, to, step)


@dataclass(frozen=True, slots=True, repr=False)
class one_cycle(Schedule):  # noqa: N801 - users call it
    """Rise to the base rate, then fall far below the rate at which the run started (1cycle).

    Use it for short runs at high rates, as in image classification with SGD. The base rate is the peak. It does not
    change the momentum, as torch's OneCycleLR does unless it is told not to: `one_cycle_momentum` does. It must be as long as the run.

    The factor goes from `start` to 1 in `warmup_steps`, then - without `down_steps` - to `to` at the end; with
    `down_steps` it first goes back to `start` in that many steps, and then to `to` (torch's `three_phase`). Each phase
    is half a cosine wave or a straight line. Torch counts its phases one step shorter: its `OneCycleLR(total_steps=n,
    pct_start=q)` is `one_cycle(length=n - 1, warmup_steps=q * n - 1)`.

    Args:
        length: how long; None is the rest of the run.
        warmup_steps: the length of the rise.
        down_steps: the length of the fall back to `start`; None for none.
        start: the factor at step 0, between 0 and 1.
        to: the final factor, between 0 and 1.
        shape: of the phases: "cosine" or "linear".

    Raises:
        ArgumentError: if an argument is not allowed, or the phases do not fit into the run.

    Examples:
        >>> schedule = one_cycle(100, warmup_steps=30, start=0.1, to=0.0, shape="linear")
        >>> [round(schedule(step), 3) for step in (0, 15, 30, 65, 100)]
        [0.1, 0.55, 1.0, 0.5, 0.0]

    References:
        Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", 2017,
        arXiv:1708.07120.
    """

    length: Length | None = None
    _: KW_ONLY
    warmup_steps: Length = "30%"
    down_steps: Length | None = None
    start: float = 1 / 25
    to: float = 1 / 25 / 1e4
    shape: str = "cosine"

    def __post_init__(self) -> None:
        set_length(self, "length")
        set_field(self, "warmup_steps", check_length("one_cycle", "warmup_steps", self.warmup_steps))
        set_length(self, "down_steps")
        set_share(self, "start")
        set_share(self, "to")
        one_of("one_cycle", "shape", self.shape, ("cosine", "linear"))

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        lengths = (self.length, self.warmup_steps, self.down_steps or 0)
        return all(isinstance(length, int | float) for length in lengths)

    def _at(self, ops: Ops, step: Any) -> Any:
        peak: Any = self.warmup_steps
        length: Any = self.length
        start, to = self.start, self.to
        rising = _between(ops, start, 1.0, progress(ops, step, peak), self.shape)
        if self.down_steps is None:
            falling = _between(ops, 1.0, to, progress(ops, step - peak, length - peak), self.shape)
            return ops.where(step < peak, rising, falling)
        down: Any = self.down_steps
        back = peak + down
        falling = _between(ops, 1.0, start, progress(ops, step - peak, down), self.shape)
        last = _between(ops, start, to, progress(ops, step - back, length - back), self.shape)
        return ops.where(step < peak, rising, ops.where(step < back, falling, last))

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        return self._replaced(length=length, **_phases(self, run, length))

    def _extend(self, to: float, step: float) -> Schedule:
        return self._replaced(length=to) if step <= _steps(self.warmup_steps) else stretched(self, to, step)


@dataclass(frozen=True, slots=True, repr=False)
class one_cycle_momentum(Schedule):  # noqa: N801 - users call it
    """Move the momentum against `one_cycle`: low where the learning rate is high.

    Use it beside a `one_cycle` with the same lengths and shape, for SGD's momentum or Adam's first beta, to repeat a
    recipe of 1cycle or torch's OneCycleLR. Its values are the momentum itself, not factors of a rate. A constant
    momentum is one thing less that changes, and does as well for most runs.

    The value goes from `high` to `low` in `warmup_steps`, then back to `high`: in `down_steps` if they are given, after
    which it stays there, else at the end. Each phase is half a cosine wave or a straight line.

    Args:
        length: how long; None is the rest of the run.
        warmup_steps: the steps in which the momentum falls, the rise of the learning rate.
        down_steps: the steps in which it comes back; None is all that are left.
        low: the lowest momentum, at least 0 and below 1.
        high: the highest momentum, at least `low` and below 1.
        shape: of the phases: "cosine" or "linear".

    Raises:
        ArgumentError: if an argument is not allowed, or the phases do not fit into the run.

    Examples:
        >>> schedule = one_cycle_momentum(100, warmup_steps=30, shape="linear")
        >>> [round(schedule(step), 3) for step in (0, 15, 30, 65, 100)]
        [0.95, 0.9, 0.85, 0.9, 0.95]

    References:
        Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018, arXiv:1803.09820.
    """

    length: Length | None = None
    _: KW_ONLY
    warmup_steps: Length = "30%"
    down_steps: Length | None = None
    low: float = 0.85
    high: float = 0.95
    shape: str = "cosine"

    def __post_init__(self) -> None:
        name = "one_cycle_momentum"
        set_length(self, "length")
        set_field(self, "warmup_steps", check_length(name, "warmup_steps", self.warmup_steps))
        set_length(self, "down_steps")
        set_momenta(self)
        one_of(name, "shape", self.shape, ("cosine", "linear"))

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        lengths = (self.length, self.warmup_steps, self.down_steps or 0)
        return all(isinstance(length, int | float) for length in lengths)

    def _at(self, ops: Ops, step: Any) -> Any:
        low: Any = self.warmup_steps
        length: Any = self.length
        back = length - low if self.down_steps is None else self.down_steps
        falls = _between(ops, self.high, self.low, progress(ops, step, low), self.shape)
        rises = _between(ops, self.low, self.high, progress(ops, step - low, back), self.shape)
        return ops.where(step < low, falls, rises)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        return self._replaced(length=length, **_phases(self, run, length))

    def _extend(self, to: float, step: float) -> Schedule:
        return self._replaced(length=to) if step <= _steps(self.warmup_steps) else stretched(self, to, step)


def _between(ops: Ops, a: float, b: float, p: Any, shape: str) -> Any:
    """Return the way from `a` at p = 0 to `b` at p = 1; both are met exactly."""
    left = 1.0 - p if shape == "linear" else cosine(ops, p)
    return a * left + b * (1.0 - left)


def _phases(schedule: one_cycle | one_cycle_momentum, run: Run, length: float) -> dict[str, float | None]:
    """Return the lengths of the phases in steps."""
    name = type(schedule).__name__
    peak = own_steps(name, "warmup_steps", schedule.warmup_steps, run)
    down = schedule.down_steps
    if isinstance(down, str):
        exact = exact_steps(name, "down_steps", down, run)
        down = nearest_step(exact_steps(name, "warmup_steps", schedule.warmup_steps, run) + exact)
        down = max(down - _steps(peak), 1)
    if _steps(peak) + (_steps(down) if down is not None else 0) > length:
        raise ArgumentError(
            f"`{schedule!r}` takes more than its length of {length:g} (`total_steps={run.total_steps}`). "
            "Lower `warmup_steps` or `down_steps`, or raise `total_steps`."
        )
    return {"warmup_steps": peak, "down_steps": down}


def _steps(length: Length) -> float:
    assert not isinstance(length, str)
    return length
