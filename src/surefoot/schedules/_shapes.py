"""The simple shapes, from the constant to the square root: one formula each, all of them bounded by 0 and 1.

`p` is progress: 0 at the start of the schedule, 1 at its end and after. The factors 1 and `to` are met exactly.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Self

from surefoot._checks import number, refuse, refuse_type
from surefoot.schedules._arrays import Ops
from surefoot.schedules._lengths import Length, Run, check_length, own_steps
from surefoot.schedules._schedule import Schedule, set_field, set_length, stretched

COOLDOWNS = ("linear", "1-sqrt", "cosine")  # their shapes

_INFINITY = math.inf
_DEFAULT_TIMESCALE = 10_000  # of inverse_sqrt_decay without a warm-up, as in transformers and big_vision
_DEFAULT_EXPONENTIAL_TO = 0.01


def progress(ops: Ops, step: Any, length: Any) -> Any:
    """Return 0 at the start, 1 at the end; a schedule of length 0 is at its end."""
    return ops.clip(step, 1.0, 1.0) if length == 0 else ops.clip(step / length, 0.0, 1.0)


def cosine(ops: Ops, p: Any) -> Any:
    """Return half a wave of the cosine, from 1 at p = 0 to 0 at p = 1."""
    return 0.5 * (1.0 + ops.cos(math.pi * p))


def whole_times(ops: Ops, step: Any, every: Any) -> Any:
    """Return how many times `every` fits into a step of at least 0, as a whole number.

    XLA divides float32 by multiplying with the reciprocal, so that 41 / 41 is less than 1: the quotient is held against
    the product, which is exact.
    """
    times = ops.floor(step / every)
    if ops.is_scalar:
        return times
    times = ops.where((times + 1.0) * every <= step, times + 1.0, times)
    return ops.where(times * every > step, times - 1.0, times)


def falling(ops: Ops, p: Any, shape: str) -> Any:
    """Return a cooldown, from 1 at p = 0 to 0 at p = 1; `shape` is one of `COOLDOWNS`."""
    if shape == "cosine":
        return cosine(ops, p)
    return 1.0 - (ops.sqrt(p) if shape == "1-sqrt" else p)


def set_share(schedule: Schedule, name: str) -> None:
    """Check a field that is a factor between 0 and 1."""
    value = getattr(schedule, name)
    set_field(schedule, name, number(type(schedule).__name__, name, value, at_least=0, at_most=1))


def set_power(schedule: Schedule, name: str) -> None:
    """Check a field that is an exponent."""
    set_field(schedule, name, number(type(schedule).__name__, name, getattr(schedule, name), above=0))


@dataclass(frozen=True, slots=True, repr=False)
class constant(Schedule):  # noqa: N801 - users call it
    """Keep the learning rate where it is.

    Use it as the stable piece between a warm-up and a decay, or when something else lowers the rate. By itself it is
    rarely the best choice for the last part of a run: lowering the rate at the end reduces the noise of the weights.

    The factor is `factor` at every step.

    Args:
        length: how long; None is the rest of the run.
        factor: the value, at least 0.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> constant(factor=0.5)(10)
        0.5
        >>> (constant("50%") >> linear_decay()).simulate(4)
        [1.0, 1.0, 1.0, 0.5]
    """

    length: Length | None = None
    _: KW_ONLY
    factor: float = 1.0

    _MAY_BE_EMPTY: ClassVar[bool] = True
    _HAS_OWN_PACE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_length(self, "length", is_zero_allowed=True)
        set_field(self, "factor", number("constant", "factor", self.factor, at_least=0))

    def _at(self, ops: Ops, step: Any) -> Any:
        return self.factor * ops.clip(step, 1.0, 1.0)


@dataclass(frozen=True, slots=True, repr=False)
class linear_warmup(Schedule):  # noqa: N801 - users call it
    """Raise the learning rate on a straight line from `start` to the base rate.

    Use it first, before any decay: large steps taken before the optimizer's averages and the network's scales have
    settled can ruin a run. Runs with small rates, and fine-tuning of a settled network, do well without.

    The factor is `start + (1 - start) * p`: step 0 has the factor `start`, and with the default 0 the first update
    changes nothing, as in transformers and optax. A length of 0 is no warm-up at all: 1 from step 0 on.

    Args:
        length: how long; usually 1 % to 10 % of the run.
        start: the factor at step 0, between 0 and 1.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> [linear_warmup(4)(step) for step in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]

    References:
        Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017, arXiv:1706.02677.
    """

    length: Length | None
    _: KW_ONLY
    start: float = 0.0

    _MAY_BE_EMPTY: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_field(self, "length", check_length("linear_warmup", "length", self.length, is_zero_allowed=True))
        set_share(self, "start")

    def _at(self, ops: Ops, step: Any) -> Any:
        return self.start + (1.0 - self.start) * progress(ops, step, self.length)

    def _extend(self, to: float, step: float) -> Schedule:
        del step
        assert isinstance(self.length, int | float)
        return self >> constant(to - self.length)  # a warm-up is never made slower


@dataclass(frozen=True, slots=True, repr=False)
class linear_decay(Schedule):  # noqa: N801 - users call it
    """Lower the learning rate on a straight line from the base rate to `to` times the base rate.

    Use it as the default end of a run of known length: decaying to zero on a line is hard to beat. When the length of
    the run is not known beforehand, prefer `warmup_stable_decay`.

    The factor is `to + (1 - to) * (1 - p)`.

    Args:
        length: how long; None is the rest of the run.
        to: the final factor, between 0 and 1.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> [linear_decay(4)(step) for step in (0, 1, 2, 4, 100)]
        [1.0, 0.75, 0.5, 0.0, 0.0]

    References:
        Defazio et al., "Optimal Linear Decay Learning Rate Schedules and Further Refinements", 2023, arXiv:2310.07831.
    """

    length: Length | None = None
    _: KW_ONLY
    to: float = 0.0

    def __post_init__(self) -> None:
        set_length(self, "length")
        set_share(self, "to")

    def _at(self, ops: Ops, step: Any) -> Any:
        return self.to + (1.0 - self.to) * (1.0 - progress(ops, step, self.length))


@dataclass(frozen=True, slots=True, repr=False)
class cosine_decay(Schedule):  # noqa: N801 - users call it
    """Lower the learning rate along half a cosine wave, from the base rate to `to` times the base rate.

    Use it for a run of known length; it spends longer near the base rate and near the end than `linear_decay`. It must
    be as long as the run: stopped early, the rate is still high; so when the length may change, prefer
    `warmup_stable_decay`. Unlike torch's CosineAnnealingLR it does not rise again after its end.

    The factor is `to + (1 - to) * (0.5 * (1 + cos(pi * p))) ** power`.

    Args:
        length: how long; None is the rest of the run.
        to: the final factor, between 0 and 1.
        power: above 1 falls earlier, below 1 later; above 0.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> [round(cosine_decay(4, to=0.1)(step), 3) for step in (0, 1, 2, 3, 4, 100)]
        [1.0, 0.868, 0.55, 0.232, 0.1, 0.1]

    References:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016, arXiv:1608.03983.
    """

    length: Length | None = None
    _: KW_ONLY
    to: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        set_length(self, "length")
        set_share(self, "to")
        set_power(self, "power")

    def _at(self, ops: Ops, step: Any) -> Any:
        wave = cosine(ops, progress(ops, step, self.length))
        return self.to + (1.0 - self.to) * (wave if self.power == 1.0 else wave**self.power)


@dataclass(frozen=True, slots=True, repr=False)
class polynomial_decay(Schedule):  # noqa: N801 - users call it
    """Lower the learning rate along a power of the remaining time, from the base rate to `to` times the base rate.

    Use it with a power above 1 to spend more of the run at small rates, as segmentation recipes do (0.9 to 2). With the
    default power of 1, which is that of torch, optax and transformers, it is `linear_decay`. For restarts prefer
    `cosine_restarts`; `cycle` is there for Keras' `PolynomialDecay(cycle=True)`.

    The factor is `to + (1 - to) * (1 - p) ** power`. With `cycle`, the rate reaches `to` after each `cycle` steps and
    then climbs back, in cycle k + 1 to `p = k / (k + 1)`: `p = s / (cycle * max(1, ceil(s / cycle)))`.

    Args:
        length: how long; None is the rest of the run.
        to: the final factor, between 0 and 1.
        power: above 1 falls earlier, below 1 later; above 0.
        cycle: the steps of each descent, a length; None is one descent over the whole `length`.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> [polynomial_decay(4, power=2)(step) for step in (0, 1, 2, 4, 100)]
        [1.0, 0.5625, 0.25, 0.0, 0.0]
        >>> [polynomial_decay(8, cycle=4)(step) for step in (0, 2, 4, 6, 8)]
        [1.0, 0.5, 0.0, 0.25, 0.0]

    References:
        Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets", 2016, arXiv:1606.00915.
    """

    length: Length | None = None
    _: KW_ONLY
    to: float = 0.0
    power: float = 1.0
    cycle: Length | None = None

    def __post_init__(self) -> None:
        set_length(self, "length")
        set_share(self, "to")
        set_power(self, "power")
        set_length(self, "cycle")

    @property
    def is_resolved(self) -> bool:
        """Whether all lengths are known in steps."""
        return isinstance(self.length, int | float) and not isinstance(self.cycle, str)

    def _at(self, ops: Ops, step: Any) -> Any:
        return self.to + (1.0 - self.to) * (1.0 - self._progress(ops, step)) ** self.power

    def _progress(self, ops: Ops, step: Any) -> Any:
        if self.cycle is None:
            return progress(ops, step, self.length)
        cycle: Any = self.cycle
        end: Any = _INFINITY if self.length is None else self.length
        step = ops.clip(step, 0.0, end)
        ended = whole_times(ops, step, cycle)
        # A descent that ends just here is not over: its end is at `to`.
        descents = ops.where(ended * cycle == step, ended, ended + 1.0)
        return step / (cycle * ops.clip(descents, 1.0, _INFINITY))

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        if self.cycle is None:
            return self._replaced(length=length)
        cycle = own_steps("polynomial_decay", "cycle", self.cycle, run, must_fit=False)
        return self._replaced(length=length, cycle=max(cycle, 1))

    def _to_plain(self) -> dict[str, Any]:
        plain = super(polynomial_decay, self)._to_plain()  # dataclass(slots=True) makes a new class: no bare super()
        return plain if self.cycle is not None else {key: plain[key] for key in plain if key != "cycle"}

    def _extend(self, to: float, step: float) -> Schedule:
        return stretched(self, to, step) if self.cycle is None else self._replaced(length=to)


@dataclass(frozen=True, slots=True, repr=False)
class exponential_decay(Schedule):  # noqa: N801 - users call it
    """Lower the learning rate by the same ratio in every step of the same length.

    Use it with `rate` and `every` to decay at a pace that does not depend on the length of the run, or with `to` alone
    to end at a given factor. It falls fast early on, so most runs of known length do better with `linear_decay` or
    `cosine_decay`.

    With `rate`, the factor after s steps is `max(to, rate ** (s / every))`; without, it is `to ** p`. With `staircase`,
    `s / every` is rounded down, which is torch's StepLR.

    Args:
        length: how long; None is the rest of the run.
        to: the final factor, between 0 and 1; None is 0.01 without `rate`, and no bound with `rate`.
        rate: the ratio by which the factor falls, above 0 and at most 1.
        every: the steps that it takes to fall by `rate`; a length.
        staircase: whether to fall in jumps, once each `every` steps. Needs `rate`.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> [exponential_decay(100, to=0.01)(step) for step in (0, 50, 100, 1000)]
        [1.0, 0.1, 0.01, 0.01]
        >>> [exponential_decay(rate=0.5, every=10).resolve(100)(step) for step in (0, 5, 10, 20)]
        [1.0, 0.7071067811865476, 0.5, 0.25]
    """

    length: Length | None = None
    _: KW_ONLY
    to: float | None = None
    rate: float | None = None
    every: Length = 1
    staircase: bool = False

    _LENGTHS: ClassVar[tuple[str, ...]] = ("length", "every")

    def __post_init__(self) -> None:
        set_length(self, "length")
        set_field(self, "every", check_length("exponential_decay", "every", self.every))
        if self.rate is not None:
            set_field(self, "rate", number("exponential_decay", "rate", self.rate, above=0, at_most=1))
            if self.to is not None:
                set_share(self, "to")
        elif self.to is not None:
            to = number("exponential_decay", "to", self.to, above=0, at_most=1, cure="A ratio never reaches 0.")
            set_field(self, "to", to)
        if not isinstance(self.staircase, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type("exponential_decay", "staircase", self.staircase, "True or False")
        if self.rate is None and (self.staircase or self.every != 1):
            name = "staircase" if self.staircase else "every"
            raise refuse("exponential_decay", name, getattr(self, name), "left out without `rate`", "Pass `rate=` too.")

    def _at(self, ops: Ops, step: Any) -> Any:
        if self.rate is None:
            return (self.to or _DEFAULT_EXPONENTIAL_TO) ** progress(ops, step, self.length)
        end: Any = _INFINITY if self.length is None else self.length
        step = ops.clip(step, 0.0, end)
        times = whole_times(ops, step, self.every) if self.staircase else step / self.every
        return ops.clip(self.rate**times, self.to or 0.0, 1.0)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        every = own_steps("exponential_decay", "every", self.every, run, must_fit=False)
        return self._replaced(length=length, every=max(every, 1))

    def _extend(self, to: float, step: float) -> Schedule:
        return stretched(self, to, step) if self.rate is None else self._replaced(length=to)


@dataclass(frozen=True, slots=True, repr=False)
class inverse_sqrt_decay(Schedule):  # noqa: N801 - users call it
    """Lower the learning rate with the inverse square root of the step: the decay that needs no end.

    Use it for runs that may go on. The rate is still far from zero whenever the run stops, so end it with a
    `linear_decay`, or use `warmup_stable_decay`, if the last bit of loss matters.

    The factor after s steps is `sqrt(timescale / (timescale + s))`: 1 at its start, a half after 3 timescales.

    Args:
        length: how long; None is the rest of the run.
        timescale: the steps of its pace, a length. None is the steps that stand before it in a join - after a warm-up,
            the schedule of the Transformer - or 10000 if there are none; both as in transformers.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> [inverse_sqrt_decay(timescale=100)(step) for step in (0, 300, 800)]
        [1.0, 0.5, 0.3333333333333333]
        >>> (linear_warmup(100) >> inverse_sqrt_decay()).resolve(1000)(400)
        0.5

    References:
        Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762, section 5.3.
    """

    length: Length | None = None
    _: KW_ONLY
    timescale: Length | None = None

    _HAS_OWN_PACE: ClassVar[bool] = True
    _LENGTHS: ClassVar[tuple[str, ...]] = ("length", "timescale")

    def __post_init__(self) -> None:
        set_length(self, "length")
        set_length(self, "timescale")

    def _at(self, ops: Ops, step: Any) -> Any:
        timescale: Any = self.timescale
        end: Any = _INFINITY if self.length is None else self.length
        return ops.sqrt(timescale / (timescale + ops.clip(step, 0.0, end)))

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        self._check_not_empty(run, length)
        if self.timescale is None:
            return self._replaced(length=length, timescale=start or _DEFAULT_TIMESCALE)
        timescale = own_steps("inverse_sqrt_decay", "timescale", self.timescale, run, must_fit=False)
        return self._replaced(length=length, timescale=max(timescale, 1))
