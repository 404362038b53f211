"""Lower the rate when a metric has stopped improving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from surefoot._checks import integer, number, one_of
from surefoot.control._controller import Controller, Decision, Reading
from surefoot.control._metric import check_flag, check_monitor, is_gain, watched, within


class Plateau(Controller):
    """Multiply the learning rate with `factor` when a metric has not improved for `patience` readings.

    Use it where the length of the run is open, or on top of a schedule that may be too slow. Where the length is known,
    a schedule that falls to zero by itself is usually better. On a noisy metric (the loss of single batches) be patient.

    A reading improves if `value < best - margin` (`mode="max"`: `value > best + margin`). The margin is
    `min_delta * |best|`, or `min_delta` with `relative=False`: right for negative metrics too. NaN and infinity never
    improve and never become the best. After a reduction, `cooldown` readings are not counted.

    Beside other frameworks: Keras counts patience as here, torch one more (its `patience=p` is `p + 1` here); torch
    counts cooldown as here, Keras one less (its `cooldown=c` is `c - 1` here).

    Args:
        monitor: the metric; None takes "val_loss" if it is there, else "loss".
        factor: in (0, 1).
        patience: how many readings in a row without gain are borne, at least 1.
        cooldown: how many readings after a reduction are not counted.
        mode: "min" or "max".
        min_delta: the least gain that counts, at least 0.
        relative: whether `min_delta` is a share of the best.
        min_lr: the rate is not lowered below it.
        restore_best: ask for the weights of the best reading with each reduction.
        stop_after: after so many reductions without any gain, ask to stop when the next would come; None for never.

    Attributes:
        best: the best value so far; None before the first.
        wait: readings in a row without gain.
        reductions: how often it has lowered the rate.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    Examples:
        >>> plateau = Plateau(patience=2, factor=0.5)
        >>> for epoch, val_loss in enumerate([1.0, 0.9, 0.9, 0.9]):
        ...     decision = plateau.observe(Reading(epoch, {"val_loss": val_loss}))
        >>> plateau.factor, decision.cause
        (0.5, 'val_loss has not improved on 0.9 for 2 readings')
    """

    STATE: ClassVar[tuple[str, ...]] = (
        "factor",
        "best",
        "wait",
        "cooldown_left",
        "reductions",
        "fruitless",
        "seen",
        "is_at_floor",
    )
    COUNTS: ClassVar[tuple[str, ...]] = ("wait", "cooldown_left", "reductions", "fruitless")
    OPTIONAL: ClassVar[Mapping[str, type]] = {"best": float, "seen": str}

    def __init__(
        self,
        monitor: str | None = None,
        *,
        factor: float = 0.1,
        patience: int = 10,
        cooldown: int = 0,
        mode: str = "min",
        min_delta: float = 1e-4,
        relative: bool = True,
        min_lr: float = 0.0,
        restore_best: bool = False,
        stop_after: int | None = None,
    ) -> None:
        where = type(self).__name__
        self.monitor = check_monitor(where, monitor)
        self.reduce_by = number(where, "factor", factor, above=0, below=1, cure="0.5 halves the rate.")
        self.patience = integer(where, "patience", patience, at_least=1)
        self.cooldown = integer(where, "cooldown", cooldown, at_least=0)
        self.mode = one_of(where, "mode", mode, ("min", "max"))
        self.min_delta = number(where, "min_delta", min_delta, at_least=0)
        self.relative = check_flag(where, "relative", relative)
        self.min_lr = number(where, "min_lr", min_lr, at_least=0)
        self.restore_best = check_flag(where, "restore_best", restore_best)
        self.stop_after = None if stop_after is None else integer(where, "stop_after", stop_after, at_least=1)
        self.factor = 1.0
        self.best: float | None = None
        self.wait = 0
        self.cooldown_left = 0
        self.reductions = 0
        self.fruitless = 0  # reductions since the last gain
        self.seen: str | None = None  # the metric that monitor=None has settled on
        self.is_at_floor = False  # said once, not at every reading

    def observe(self, reading: Reading) -> Decision | None:
        """Take a reading; a reading without the metric is none."""
        name = watched(self.monitor, self.seen, reading.metrics)
        if name is None:
            return None
        self.seen = name
        value = float(reading.metrics[name])
        is_counted = self.cooldown_left == 0
        self.cooldown_left -= not is_counted
        if self.is_gain(value):
            self.best, self.wait, self.fruitless = value, 0, 0
            return None
        if not is_counted:
            self.wait = 0
            return None
        self.wait += 1
        if self.wait < self.patience:
            return None
        return self._reduce(name, reading.learning_rate)

    def is_gain(self, value: float) -> bool:
        """Whether a value would become the best."""
        return is_gain(value, self.best, mode=self.mode, min_delta=self.min_delta, relative=self.relative)

    def _reduce(self, name: str, learning_rate: float) -> Decision | None:
        best = "any value, as none was finite," if self.best is None else f"{self.best:g}"
        cause = f"{name} has not improved on {best} for {self.wait} reading{'s' * (self.wait != 1)}"
        by = within(learning_rate, self.reduce_by, self.min_lr)
        if by == 1.0:
            return self._stay_at_floor(cause)
        if self.stop_after is not None and self.fruitless >= self.stop_after:
            return Decision(f"{cause}, nor has it since the rate was lowered ({self.fruitless} x)", "stop")
        self.factor *= by
        self.cooldown_left, self.wait, self.is_at_floor = self.cooldown, 0, False
        self.reductions += 1
        self.fruitless += 1
        return Decision(cause, "restore_best" if self.restore_best and self.best is not None else "continue")

    def _stay_at_floor(self, cause: str) -> Decision | None:
        """Do nothing, as Keras (`wait` goes on counting), but say so once."""
        if self.stop_after is not None:
            return Decision(f"{cause}, and the rate is at its floor, min_lr={self.min_lr:g}", "stop")
        if self.is_at_floor:
            return None
        self.is_at_floor = True
        return Decision(f"{cause}, but the rate stays: it is at its floor, min_lr={self.min_lr:g}")

    def __repr__(self) -> str:
        monitor = "" if self.monitor is None else f"{self.monitor!r}, "
        return f"Plateau({monitor}factor={self.reduce_by:g}, patience={self.patience})"
