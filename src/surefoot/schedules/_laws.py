"""Decays that keep a pace of their own, whatever the length of the run, and the one that needs its end most (REX)."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Self

from surefoot._checks import number, refuse_type
from surefoot.schedules._arrays import Ops
from surefoot.schedules._lengths import Length, Run, check_length, own_steps
from surefoot.schedules._schedule import Schedule, set_field, set_length
from surefoot.schedules._shapes import progress, set_share, whole_times

_POWER_OF_TOKENS = -0.51  # measured by Shen et al., 2024, over sizes of models and numbers of tokens


def until_end(ops: Ops, step: Any, length: Length | None) -> Any:
    """Return the step, bounded by 0 and the end; None is no end."""
    end: Any = math.inf if length is None else length
    return ops.clip(step, 0.0, end)


def set_steps(schedule: Schedule, name: str) -> None:
    """Check a field that is a length and must be given."""
    set_field(schedule, name, check_length(type(schedule).__name__, name, getattr(schedule, name)))


@dataclass(frozen=True, slots=True, repr=False)
class step_decay(Schedule):  # noqa: N801 - users call it
    """Multiply the learning rate by `factor` once each `every` steps.

    Use it to repeat a recipe that has it ("divide by 10 every 30 epochs"). A smooth decay of known length does as well
    or better without a choice of when to drop. For drops at uneven steps there is `multistep`.

    The factor after s steps is `factor ** floor(s / every)`.

    Args:
        every: the steps between two drops, a length.
        factor: what each drop multiplies by, above 0 and at most 1.
        length: how long; None is the rest of the run.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> [step_decay(10, factor=0.5, length=100)(step) for step in (0, 9, 10, 35)]
        [1.0, 1.0, 0.5, 0.125]
        >>> step_decay("30 epochs").resolve(total_steps=900, steps_per_epoch=10)
        step_decay(300, length=900)

    References:
        He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385. torch's StepLR.
    """

    every: Length
    factor: float = 0.1
    _: KW_ONLY
    length: Length | None = None

    _LENGTHS: ClassVar[tuple[str, ...]] = ("length", "every")
    _HAS_OWN_PACE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_steps(self, "every")
        set_field(self, "factor", number("step_decay", "factor", self.factor, above=0, at_most=1))
        set_length(self, "length")

    def _at(self, ops: Ops, step: Any) -> Any:
        return self.factor ** whole_times(ops, until_end(ops, step, self.length), self.every)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        every = own_steps("step_decay", "every", self.every, run, must_fit=False)
        return self._replaced(length=length, every=max(every, 1))


@dataclass(frozen=True, slots=True, repr=False)
class inverse_time_decay(Schedule):  # noqa: N801 - users call it
    """Lower the learning rate with the inverse of the step, as the theory of stochastic approximation asks for.

    Use it for convex problems and online learning, and to repeat recipes of old (Keras' former `decay=`). It falls fast
    at first and hardly at all later, so deep networks do better with `inverse_sqrt_decay`, if the run has no end, or
    `linear_decay`, if it has one.

    The factor after s steps is `1 / (1 + rate * s / every)`; with `staircase`, `s / every` is rounded down.

    Args:
        every: the steps after which the factor is `1 / (1 + rate)`, a length.
        rate: how fast, at least 0.
        length: how long; None is the rest of the run.
        staircase: whether to fall in jumps, once each `every` steps.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> [inverse_time_decay(10, length=100)(step) for step in (0, 10, 30)]
        [1.0, 0.5, 0.25]

    References:
        Robbins and Monro, "A Stochastic Approximation Method", 1951, doi:10.1214/aoms/1177729586. Keras'
        InverseTimeDecay.
    """

    every: Length
    rate: float = 1.0
    _: KW_ONLY
    length: Length | None = None
    staircase: bool = False

    _LENGTHS: ClassVar[tuple[str, ...]] = ("length", "every")
    _HAS_OWN_PACE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_steps(self, "every")
        set_field(self, "rate", number("inverse_time_decay", "rate", self.rate, at_least=0))
        set_length(self, "length")
        if not isinstance(self.staircase, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type("inverse_time_decay", "staircase", self.staircase, "True or False")

    def _at(self, ops: Ops, step: Any) -> Any:
        step = until_end(ops, step, self.length)
        times = whole_times(ops, step, self.every) if self.staircase else step / self.every
        return 1.0 / (1.0 + self.rate * times)

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        every = own_steps("inverse_time_decay", "every", self.every, run, must_fit=False)
        return self._replaced(length=length, every=max(every, 1))


@dataclass(frozen=True, slots=True, repr=False)
class power_decay(Schedule):  # noqa: N801 - users call it
    """Keep the base rate for `timescale` steps, then lower it with a power of the step: the power scheduler.

    Use it for long runs whose end is not known, such as pretraining: the law was measured to hold across numbers of
    tokens and sizes of models, so that the same rate serves runs of any length. End it with a `linear_decay`, as its
    authors do. For runs of known length `linear_decay` alone is simpler, and hard to beat.

    The factor after s steps is `(max(s, timescale) / timescale) ** exponent`. With the peak `eta` as base rate that is
    the paper's `min(eta, a * s ** exponent)`, its `timescale` being `(eta / a) ** (1 / exponent)`. Steps are counted
    from the start of this schedule; for a warm-up that counts, multiply instead of joining.

    Args:
        timescale: the steps of the base rate, a length.
        exponent: of the fall, below 0.
        length: how long; None is the rest of the run.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> schedule = power_decay(100, exponent=-0.5, length=10_000)
        >>> [schedule(step) for step in (0, 100, 400, 10_000)]
        [1.0, 1.0, 0.5, 0.1]
        >>> from surefoot.schedules import linear_decay, linear_warmup
        >>> pretraining = linear_warmup("1%") * power_decay("5%", length="90%") >> linear_decay("10%")

    References:
        Shen et al., "Power Scheduler: A Batch Size and Token Number Agnostic Learning Rate Scheduler", 2024,
        arXiv:2408.13359.
    """

    timescale: Length
    exponent: float = _POWER_OF_TOKENS
    _: KW_ONLY
    length: Length | None = None

    _LENGTHS: ClassVar[tuple[str, ...]] = ("length", "timescale")
    _HAS_OWN_PACE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_steps(self, "timescale")
        set_field(self, "exponent", number("power_decay", "exponent", self.exponent, below=0))
        set_length(self, "length")

    def _at(self, ops: Ops, step: Any) -> Any:
        timescale: Any = self.timescale
        times = until_end(ops, step, self.length) / timescale
        return ops.clip(times, 1.0, math.inf) ** self.exponent

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        timescale = own_steps("power_decay", "timescale", self.timescale, run, must_fit=False)
        return self._replaced(length=length, timescale=max(timescale, 1))


@dataclass(frozen=True, slots=True, repr=False)
class noam(Schedule):  # noqa: N801 - users call it
    """Warm up on a line, then fall with the inverse square root of the step: the schedule of the Transformer.

    Use it to repeat "Attention Is All You Need" and what followed it. The base rate is the peak, not the paper's
    `1 / sqrt(model_size)`: that paper's rate is `LearningRate(scale * (model_size * warmup_steps) ** -0.5, ...)`. For
    new work `linear_warmup("1%") >> linear_decay()` reaches lower losses when the end of the run is known.

    The factor after s steps is `min(s / warmup_steps, sqrt(warmup_steps / s))`, which is also
    `linear_warmup(warmup_steps) >> inverse_sqrt_decay()`.

    Args:
        warmup_steps: the length of the rise, and the pace of the fall.
        length: how long; None is the rest of the run.

    Raises:
        ArgumentError: if an argument is not allowed, or the warm-up is longer than the run.

    Examples:
        >>> [noam(100, length=10_000)(step) for step in (0, 50, 100, 400, 10_000)]
        [0.0, 0.5, 1.0, 0.5, 0.1]

    References:
        Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762, section 5.3. Its code is by Noam Shazeer.
    """

    warmup_steps: Length = 4000
    _: KW_ONLY
    length: Length | None = None

    _LENGTHS: ClassVar[tuple[str, ...]] = ("length", "warmup_steps")
    _HAS_OWN_PACE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_steps(self, "warmup_steps")
        set_length(self, "length")

    def _at(self, ops: Ops, step: Any) -> Any:
        warmup: Any = self.warmup_steps
        times = until_end(ops, step, self.length) / warmup
        return ops.where(times < 1.0, times, 1.0 / ops.sqrt(ops.clip(times, 1.0, math.inf)))

    def _resolve(self, run: Run, start: float, length: float) -> Self:
        del start
        self._check_not_empty(run, length)
        warmup = own_steps("noam", "warmup_steps", self.warmup_steps, run)
        return self._replaced(length=length, warmup_steps=max(warmup, 1))


@dataclass(frozen=True, slots=True, repr=False)
class rex(Schedule):  # noqa: N801 - users call it
    """Lower the learning rate slowly at first and steeply at the end: reflected exponential, REX.

    Use it for a run of known length, above all for a short one: its authors found it the best on average over many
    budgets. It spends more of the run at high rates than `linear_decay`, so it is a worse choice where the base rate is
    rather too high, and it must be as long as the run.

    The factor is `to + (1 - to) * (1 - p) / (1 - p / 2)`, p being progress.

    Args:
        length: how long; None is the rest of the run.
        to: the final factor, between 0 and 1.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> [round(rex(4)(step), 3) for step in (0, 1, 2, 3, 4, 100)]
        [1.0, 0.857, 0.667, 0.4, 0.0, 0.0]

    References:
        Chen et al., "REX: Revisiting Budgeted Training with an Improved Schedule", 2021, arXiv:2107.04197.
    """

    length: Length | None = None
    _: KW_ONLY
    to: float = 0.0

    def __post_init__(self) -> None:
        set_length(self, "length")
        set_share(self, "to")

    def _at(self, ops: Ops, step: Any) -> Any:
        left = 1.0 - progress(ops, step, self.length)
        return self.to + (1.0 - self.to) * left / (0.5 + 0.5 * left)
