"""Notice that a run is blowing up, and do something about it."""

from __future__ import annotations

import math
from typing import ClassVar

from surefoot._checks import integer, number, one_of, refuse, refuse_type
from surefoot.control._controller import Action, Controller, Decision, Reading, Snapshots

_CLIP = 3.0  # how far, in spreads, one reading may pull the running mean
_LEAST = 1e-3  # of the mean: a smaller spread is taken for this one, or a loss that stands still would see spikes
_LARGE = 1e150  # what is beyond is remembered as this: its square is a float
_MEMORY = 0.95  # of the running mean and spread: about 20 readings
ACTIONS = ("warn", "skip", "cut", "rewind", "stop")


class DivergenceGuard(Controller):
    """Watch a loss for NaN, infinity and spikes, and warn, skip, cut, rewind or stop.

    Use it on every long run; it costs nothing while all goes well. It is no cure for a rate that is too high from the
    start: after `attempts` it stops, and says what it saw.

    NaN and infinity are always trouble. A finite loss is a spike if it lies more than `spike` spreads above its running
    mean. Mean and spread are running ones over about 20 readings, into which no reading counts more than 3 spreads, so
    that a spike does not hide the next one. Nothing is a spike within the first `warmup` readings.

    Args:
        monitor: what to watch; None takes "loss". Readings without it are none.
        action: "warn", "skip" the update, "cut" the rate, "rewind" to the last good snapshot with the rate cut, "stop";
            None rewinds if it has something to rewind with, and else cuts.
        rewind: keeps the snapshots, as `surefoot.torch.Checkpointer` does. Batches that were seen since are not seen
            again, so what broke the run is left behind.
        factor: of a cut; in (0, 1).
        recover: after so many readings without trouble a cut is taken back; None keeps it.
        spike: in spreads; None watches for NaN and infinity only.
        warmup: so many readings come first, at least 2.
        attempts: so much trouble is answered, then it stops.

    Attributes:
        troubles: how often it has acted.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    Examples:
        >>> guard = DivergenceGuard(action="cut")
        >>> guard.observe(Reading(7, {"loss": float("nan")})).cause, guard.factor
        ('loss is nan', 0.5)
    """

    STATE: ClassVar[tuple[str, ...]] = ("factor", "troubles", "calm", "readings", "mean", "spread")
    COUNTS: ClassVar[tuple[str, ...]] = ("troubles", "calm", "readings")

    def __init__(
        self,
        monitor: str | None = None,
        *,
        action: str | None = None,
        rewind: Snapshots | None = None,
        factor: float = 0.5,
        recover: int | None = None,
        spike: float | None = 8.0,
        warmup: int = 20,
        attempts: int = 5,
    ) -> None:
        where = type(self).__name__
        if monitor is not None and not (isinstance(monitor, str) and monitor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type(where, "monitor", monitor, "the name of a metric, or None")
        if rewind is not None and not isinstance(rewind, Snapshots):  # pyright: ignore[reportUnnecessaryIsInstance]
            cure = "As in `rewind=surefoot.torch.Checkpointer(model=model, optimizer=optimizer)`."
            raise refuse_type(
                where, "rewind", rewind, "something that keeps snapshots, with `offer` and `restore`", cure
            )
        self.monitor = monitor or "loss"
        if action is None:
            self.action = "cut" if rewind is None else "rewind"
        else:
            self.action = one_of(where, "action", action, ACTIONS)
        if rewind is not None and self.action != "rewind":
            raise refuse(where, "action", action, "'rewind', or left out, where snapshots are kept")
        self.rewind = rewind
        self.reduce_by = number(where, "factor", factor, above=0, below=1)
        self.recover = None if recover is None else integer(where, "recover", recover, at_least=1)
        self.spike = None if spike is None else number(where, "spike", spike, above=0)
        self.warmup = integer(where, "warmup", warmup, at_least=2)
        self.attempts = integer(where, "attempts", attempts, at_least=1)
        self.factor = 1.0
        self.troubles = 0
        self.calm = 0  # readings since the last trouble
        self.readings = 0
        self.mean = 0.0
        self.spread = 0.0

    def observe(self, reading: Reading) -> Decision | None:
        """Take a reading; one without the metric is none."""
        if self.monitor not in reading.metrics:
            return None
        value = float(reading.metrics[self.monitor])
        trouble = self._trouble(value)
        if math.isfinite(value):
            self._remember(max(-_LARGE, min(_LARGE, value)))
        return self._act(trouble, reading.step) if trouble else self._rest(reading.step)

    def _rest(self, step: int) -> Decision | None:
        if self.rewind is not None:
            self.rewind.offer(step)
        self.calm += 1
        if self.recover is None or self.factor == 1.0 or self.calm < self.recover:
            return None
        self.factor = 1.0
        return Decision(f"{self.monitor} has been calm for {self.calm} readings")

    def _act(self, trouble: str, step: int) -> Decision:
        self.troubles += 1
        self.calm = 0
        if self.action == "stop" or self.troubles > self.attempts:
            spent = f", after {self.attempts} attempts" if self.action != "stop" else ""
            return Decision(trouble + spent, "stop")
        if self.action in {"cut", "rewind"}:
            self.factor *= self.reduce_by
        if self.rewind is not None:
            trouble += f"; back to the weights of step {self.rewind.restore(step)}"
        asked: Action = "skip" if self.action == "skip" else "rewind" if self.action == "rewind" else "continue"
        return Decision(trouble, asked)

    def _trouble(self, value: float) -> str:
        if not math.isfinite(value):
            return f"{self.monitor} is {value:g}"
        spread = max(self.spread, _LEAST * abs(self.mean))
        if self.spike is None or self.readings < self.warmup or value <= self.mean + self.spike * spread:
            return ""
        away = (value - self.mean) / spread if spread else math.inf
        return f"{self.monitor} is {value:g}, {away:.0f} spreads above its running mean of {self.mean:g}"

    def _remember(self, value: float) -> None:
        self.readings += 1
        if self.readings == 1:
            self.mean = value
            return
        memory = min(_MEMORY, 1.0 - 1.0 / self.readings)  # a plain mean at first
        away = value - self.mean
        if self.readings >= self.warmup:
            away = max(-_CLIP * self.spread, min(_CLIP * self.spread, away))
        self.mean += (1.0 - memory) * away
        self.spread = math.sqrt(memory) * math.hypot(self.spread, math.sqrt(1.0 - memory) * away)

    def __repr__(self) -> str:
        return f"DivergenceGuard({self.monitor!r}, action={self.action!r})"
