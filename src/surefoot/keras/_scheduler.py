"""Keras' LearningRateScheduler: the rate as a function of the epoch, the step or the share of the run."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from surefoot._checks import one_of, refuse, refuse_type
from surefoot._errors import ArgumentError, ArgumentTypeError
from surefoot.keras._callbacks import RateCallback, check_verbose
from surefoot.keras._rates import HostSchedule, leaves_of, say
from surefoot.schedules import Schedule

RATE_NAMES = ("lr", "learning_rate", "current_lr", "current_learning_rate")
TIME_NAMES = ("epoch", "step", "share", "progress")

# A rise is worth a warning where nothing asks for one: after two or more times at which the rate stood or fell, to more
# than it has ever been. So neither a warm-up nor a restart is one. From 5x on it is taken for a warm-up that is constant.
_LEAST_JUMP, _MOST_JUMP, _CALM = 1.3, 5.0, 2


class LearningRateScheduler(RateCallback):
    """Set the learning rate to what a function says at the start of each epoch: `keras.callbacks.LearningRateScheduler`.

    Use it to keep code that has such a function; a schedule of `surefoot.schedules` says the same in a word, can be
    drawn before the run, and fits any base rate. Beside another callback of ours (`ReduceLROnPlateau`) the two multiply.

    The function is given the epoch, from 0, and the present rate if it has a parameter for it: one that is named `lr`
    or `learning_rate`, or a second one without a default. Beside a plateau the present rate is given as it is without
    its reductions, which then multiply the result. Any scalar may be returned, of any framework.

    It warns once where the rate jumps up by more than 1.3x, to more than it has ever been, after it stood or fell.

    Args:
        schedule: a function; or a schedule of `surefoot.schedules`, factors of the rate with which the optimizer began;
            or a LearningRateSchedule of Keras.
        verbose: 1 prints each rate.
        per: what the function is given: the "epoch", the "step" (updates since the run began), or the share of the
            "run" that is done, in [0, 1]. The latter two are asked before each batch: see `LearningRateControl` for the
            cost.

    Raises:
        ArgumentError: a value that is not allowed; in a fit, a rate that is not one.
        ArgumentTypeError: a type that is not allowed; in a fit, an optimizer that was built with a schedule.

    Examples:
        >>> import math
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> scheduler = LearningRateScheduler(lambda epoch: 0.1 * math.exp(-epoch))
        >>> log = model.fit(np.zeros((4, 1)), np.zeros(4), epochs=3, verbose=0, callbacks=[scheduler])
        >>> print(np.round(log.history["learning_rate"], 4))
        [0.1    0.0368 0.0135]
    """

    def __init__(self, schedule: Any, verbose: int = 0, *, per: str = "epoch") -> None:
        super().__init__()
        where = "LearningRateScheduler"
        self.unit = one_of(where, "per", per, ("epoch", "step", "run"))
        self.per = "epoch" if self.unit == "epoch" else "step"
        self.verbose = check_verbose(where, verbose)
        self.total_steps: int | None = None
        self._given = schedule
        if isinstance(schedule, Schedule):
            if self.unit == "run":
                cure = "Its lengths may be shares of the run ('5%') as they are."
                raise refuse(where, "per", per, "epoch or step with a schedule of surefoot", cure)
            self.schedule = schedule
        else:
            self._call = caller(where, schedule)
            self.function = self._rate
        self.is_lasting = isinstance(schedule, Schedule)
        self._seen: list[_Seen] = []

    def begin_anew(self) -> None:
        """Forget which rates there were."""
        self._seen = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Check that all fits together."""
        super().on_train_begin(logs)
        if self.unit == "run" and self.owner.total_of(self.model)[0] is None:
            raise ArgumentError(
                "`LearningRateScheduler(per='run')`: how many steps this fit takes is not known, as the data does not "
                "tell its length. Pass `steps_per_epoch` to fit, or per='epoch'."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Write the rate of the epoch."""
        super().on_epoch_begin(epoch, logs)
        if not self.verbose:
            return
        found = leaves_of(self.model)
        for i, leaf in enumerate(found):
            name = f"{leaf.name} " if len(found) > 1 else ""
            rate = self.owner.rate_of(i)
            say(f"\nEpoch {epoch + 1}: LearningRateScheduler setting {name}learning rate to {rate}.")

    def _rate(self, time: int, rate: float, leaf: int) -> float:
        at: float = time
        if self.unit == "run":
            total = self.owner.total_of(self.model)[0] or 1
            at = min(1.0, time / total)
        value = scalar(self.unit, at, self._call(at, rate))
        while len(self._seen) <= leaf:
            self._seen.append(_Seen())
        jump = self._seen[leaf].jump_to(value)
        if jump:
            before = self._seen[leaf].before
            self.owner.warn(
                f"`LearningRateScheduler`: at {self.unit} {at:g} the schedule jumps up, from {before:g} to {value:g} "
                f"({jump:.2f}x), to more than it has ever been. If that is not meant: does its second piece begin at the "
                "value at which the first ends?",
                cause="jump",
            )
        return value


class _Seen:
    """The rates of one optimizer so far."""

    def __init__(self) -> None:
        self.before = self.latest = self.highest = math.nan
        self._calm = 0  # times in a row at which the rate stood or fell

    def jump_to(self, rate: float) -> float:
        """Take the next rate; return by how much it jumps up, or 0."""
        self.before, self.latest = self.latest, rate
        jump = rate / self.before if self.before > 0.0 else 0.0
        is_jump = _LEAST_JUMP < jump < _MOST_JUMP and rate > self.highest and self._calm >= _CALM
        self._calm = self._calm + 1 if rate <= self.before else 0
        self.highest = rate if math.isnan(self.highest) else max(rate, self.highest)
        return jump if is_jump else 0.0


def scalar(unit: str, at: float, value: Any) -> float:
    """Return what a function said as a rate, or raise: any framework's number will do, if it is one and a rate."""
    allowed = "a number of at least 0: a rate"
    text = f"`LearningRateScheduler`: for {unit} {at:g} the schedule returned {value!r}; it must return {allowed}."
    if isinstance(value, bool | str) or len(getattr(value, "shape", ())) > 0:
        raise ArgumentTypeError(text)
    try:
        rate = float(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(text) from error
    if not 0.0 <= rate < math.inf:
        raise ArgumentError(text)
    return rate


def caller(where: str, function: Any) -> Callable[[float, float], Any]:
    """Return `(time, rate) -> value`, which gives a function what its signature asks for."""
    if isinstance(function, HostSchedule):
        return lambda time, _: function(time)
    if not callable(function):
        cure = "As in `LearningRateScheduler(lambda epoch: 0.1 * 0.9**epoch)`."
        raise refuse_type(where, "schedule", function, "a function of the epoch, or a schedule", cure)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some that are built in do not tell
        return lambda time, _: function(time)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) and len(parameters) <= 2:
        return function  # a decorator that passes everything on
    plain = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    rate = next((p for p in plain + named if p.name in RATE_NAMES), None)
    rest = [p for p in plain if p is not rate]
    if rate is None and len(rest) > 1 and rest[1].default is inspect.Parameter.empty:
        rate = rest.pop(1)
    time = next((p for p in rest + named if p.name in TIME_NAMES), rest[0] if rest else None)
    needed = [p.name for p in rest + named if p.default is inspect.Parameter.empty and p not in {time, rate}]
    if needed or (time is None and rate is None):
        cure = "Give other parameters a default, or use functools.partial."
        raise refuse(where, "schedule", function, "a function of (epoch), or of (epoch, lr)", cure)
    return partial(_call, function, plain, time, rate)


def _call(function: Any, plain: list[Any], time: Any, rate: Any, at: float, present: float) -> Any:
    values = {p.name: v for p, v in ((time, at), (rate, present)) if p is not None}
    # By position as far as possible: a parameter may be positional only.
    args: list[Any] = []
    for parameter in plain:
        if parameter.name not in values:
            break
        args.append(values.pop(parameter.name))
    return function(*args, **values)
