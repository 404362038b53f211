"""The one owner of the learning rate: base rate times the schedule's factor, per parameter group.

It is computed from the step and from plain values, never from the rate before. So resuming, asking about another step
or adding parameter groups cannot change it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from surefoot._checks import integer, number, refuse, refuse_type
from surefoot.schedules import Schedule


class LearningRate:
    """The learning rate at any step: `base * schedule(step)`.

    Args:
        base: the rate at which the schedule's factor is 1; a list gives each parameter group its own.
        schedule: the factors. None of its values depends on the base.
        total_steps: the optimizer steps of the whole run. Needed if a length of the schedule is open, a share or in
            epochs.
        steps_per_epoch: the optimizer steps of one pass over the data; needed for lengths in epochs.

    Attributes:
        base_lrs: the base rate of each parameter group.
        schedule: the schedule with lengths in steps.

    Raises:
        ArgumentError: if an argument is not allowed, or a length of the schedule is not known.

    Examples:
        >>> from surefoot.schedules import linear_decay
        >>> learning_rate = LearningRate([0.5, 0.25], linear_decay(), total_steps=100)
        >>> learning_rate.at(50), learning_rate.at(50, group=1), learning_rate.current(50)
        (0.25, 0.125, [0.25, 0.125])
    """

    __slots__ = ("base_lrs", "schedule")

    base_lrs: tuple[float, ...]
    schedule: Schedule

    def __init__(
        self,
        base: float | Iterable[float],
        schedule: Schedule,
        total_steps: int | None = None,
        *,
        steps_per_epoch: float | None = None,
    ) -> None:
        bases: list[Any] = list(base) if isinstance(base, Iterable) and not isinstance(base, str) else [base]
        if not bases:
            raise refuse("LearningRate", "base", base, "a number, or one number per parameter group")
        self.base_lrs = tuple(number("LearningRate", "base", value, at_least=0) for value in bases)
        if not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type("LearningRate", "schedule", schedule, "a schedule", "See `surefoot.schedules`.")
        self.schedule = schedule if total_steps is None else schedule.resolve(total_steps, steps_per_epoch)
        self.schedule(0)  # raises now, and not in the middle of a run, if a length is not known

    def at(self, step: float, group: int = 0) -> float:
        """Return the learning rate of one parameter group at `step`."""
        return self.base_lrs[group] * self.schedule(step)

    def current(self, step: float) -> list[float]:
        """Return the learning rate of every parameter group at `step`."""
        factor = self.schedule(step)
        return [base * factor for base in self.base_lrs]

    def simulate(self, total_steps: int | None = None, *, group: int = 0) -> list[float]:
        """Return the learning rates of all updates of a run; without `total_steps`, of the schedule's length.

        Examples:
            >>> from surefoot.schedules import linear_decay
            >>> LearningRate(0.5, linear_decay(4)).simulate()
            [0.5, 0.375, 0.25, 0.125]
        """
        steps = self.schedule.length if total_steps is None else total_steps
        cure = "Pass the number of updates."
        count = integer("LearningRate.simulate", "total_steps", steps, at_least=1, cure=cure)
        return [self.at(step, group) for step in range(count)]

    def __repr__(self) -> str:
        base = self.base_lrs[0] if len(self.base_lrs) == 1 else list(self.base_lrs)
        return f"LearningRate({base!r}, {self.schedule!r})"
