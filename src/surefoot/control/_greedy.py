"""Raise the rate while a metric improves, and lower it while it does not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from surefoot._checks import integer, number, one_of
from surefoot.control._controller import Controller, Decision, Reading
from surefoot.control._metric import check_flag, check_monitor, is_gain, watched, within

_LARGE = 1e300  # what is beyond is averaged as this: a sum of them is a float


class Greedy(Controller):
    """Divide the learning rate by `factor` after `patience` gains in a row, multiply it after as many readings without.

    Use it where nothing is known about the rate, on top of a constant schedule or a warm-up: it finds its way up from a
    rate that is too low, which a plateau never does. It does not anneal by itself, it answers to noise as to progress
    (average with `window`), and on top of a schedule that decays it works against it. Give it a ceiling: a rate that
    goes up until the loss goes up has gone too far.

    A reading is a gain if `value < best - margin` (`mode="max"`: `value > best + margin`). The margin is
    `min_delta * |best|`, or `min_delta` with `relative=False`: right for negative metrics too. The first reading is a
    gain. NaN and infinity are none, never become the best, and do not enter the average.

    Beside transformers' `GreedyLR`: its `patience=p` is `p + 1` here; its `smooth` with `window_size=w` is `window=w`;
    `cooldown`, `warmup`, `min_lr` and `max_lr` are the same. Its defaults are a `min_lr` of 1e-3, above the rates of most
    fine-tuning, and a `max_lr` of 1.0. It goes back to its first rate when it has been at its floor for long (500 times);
    this does not.

    Args:
        monitor: the metric; None takes "val_loss" if it is there, else "loss".
        factor: in (0, 1).
        patience: how many gains in a row raise the rate, and how many readings in a row without one lower it; at least 1.
        cooldown: how many readings after the rate was lowered are not looked at.
        warmup: how many readings after it was raised are not looked at.
        window: the mean of the last so many readings is compared; 1 compares the readings as they are.
        mode: "min" or "max".
        min_delta: the least gain that counts, at least 0.
        relative: whether `min_delta` is a share of the best.
        min_lr: the rate is not lowered below it.
        max_lr: the rate is not raised above it; None sets no ceiling.

    Attributes:
        best: the best value so far, averaged over the window; None before the first.
        gains: readings in a row with a gain.
        losses: readings in a row without one.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    Examples:
        >>> greedy = Greedy(patience=2, factor=0.5, max_lr=0.1)
        >>> for epoch, loss in enumerate([1.0, 0.9, 0.9, 0.9]):
        ...     decision = greedy.observe(Reading(epoch, {"loss": loss}, learning_rate=0.01 * greedy.factor))
        ...     if decision:
        ...         print(greedy.factor, decision.cause)
        2.0 loss has improved for 2 readings in a row
        1.0 loss has not improved on 0.9 for 2 readings

    Source: GreedyLR: A Novel Adaptive Learning Rate Scheduler, arXiv:2512.14527 (2025), as transformers has it.
    """

    STATE: ClassVar[tuple[str, ...]] = (
        "factor",
        "best",
        "gains",
        "losses",
        "pause",
        "recent",
        "seen",
        "is_at_limit",
    )
    COUNTS: ClassVar[tuple[str, ...]] = ("gains", "losses", "pause")
    OPTIONAL: ClassVar[Mapping[str, type]] = {"best": float, "seen": str}

    def __init__(
        self,
        monitor: str | None = None,
        *,
        factor: float = 0.95,
        patience: int = 10,
        cooldown: int = 0,
        warmup: int = 0,
        window: int = 1,
        mode: str = "min",
        min_delta: float = 1e-6,
        relative: bool = True,
        min_lr: float = 0.0,
        max_lr: float | None = None,
    ) -> None:
        where = type(self).__name__
        self.monitor = check_monitor(where, monitor)
        self.reduce_by = number(where, "factor", factor, above=0, below=1, cure="0.5 halves the rate, or doubles it.")
        self.patience = integer(where, "patience", patience, at_least=1)
        self.cooldown = integer(where, "cooldown", cooldown, at_least=0)
        self.warmup = integer(where, "warmup", warmup, at_least=0)
        self.window = integer(where, "window", window, at_least=1)
        self.mode = one_of(where, "mode", mode, ("min", "max"))
        self.min_delta = number(where, "min_delta", min_delta, at_least=0)
        self.relative = check_flag(where, "relative", relative)
        self.min_lr = number(where, "min_lr", min_lr, at_least=0)
        self.max_lr = None if max_lr is None else number(where, "max_lr", max_lr, above=self.min_lr)
        self.factor = 1.0
        self.best: float | None = None
        self.gains = 0
        self.losses = 0
        self.pause = 0  # readings that will not be looked at
        self.recent: list[float] = []  # the window
        self.seen: str | None = None  # the metric that monitor=None has settled on
        self.is_at_limit = False  # said once, not at every reading

    def observe(self, reading: Reading) -> Decision | None:
        """Take a reading; a reading without the metric is none."""
        name = watched(self.monitor, self.seen, reading.metrics)
        if name is None:
            return None
        self.seen = name
        value = self._averaged(float(reading.metrics[name]))
        if self.pause:
            self.pause -= 1
            return None
        if is_gain(value, self.best, mode=self.mode, min_delta=self.min_delta, relative=self.relative):
            self.best, self.gains, self.losses = value, self.gains + 1, 0
            if self.gains == self.patience:
                cause = f"{name} has improved for {_readings(self.gains)} in a row"
                return self._move(cause, 1.0 / self.reduce_by, reading.learning_rate, pause=self.warmup)
        else:
            self.gains, self.losses = 0, self.losses + 1
            if self.losses == self.patience:
                best = "any value, as none was finite," if self.best is None else f"{self.best:g}"
                cause = f"{name} has not improved on {best} for {_readings(self.losses)}"
                return self._move(cause, self.reduce_by, reading.learning_rate, pause=self.cooldown)
        return None

    def _averaged(self, value: float) -> float:
        if self.window == 1 or not math.isfinite(value):
            return value
        self.recent.append(max(-_LARGE, min(_LARGE, value)))
        del self.recent[: -self.window]
        return sum(self.recent) / len(self.recent)

    def _move(self, cause: str, by: float, rate: float, *, pause: int) -> Decision | None:
        self.gains, self.losses, self.pause = 0, 0, pause
        factor = self.factor * within(rate, by, self.min_lr, math.inf if self.max_lr is None else self.max_lr)
        if factor != self.factor and 0.0 < factor < math.inf:  # from 0 it could not come back
            self.factor, self.is_at_limit = factor, False
            return Decision(cause)
        if self.is_at_limit:
            return None
        self.is_at_limit = True
        return Decision(f"{cause}, but the rate stays at {rate:g}: min_lr={self.min_lr:g}, max_lr={self.max_lr}")

    def __repr__(self) -> str:
        monitor = "" if self.monitor is None else f"{self.monitor!r}, "
        return f"Greedy({monitor}factor={self.reduce_by:g}, patience={self.patience})"


def _readings(count: int) -> str:
    return f"{count} reading{'s' * (count != 1)}"
