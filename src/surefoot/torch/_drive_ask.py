"""What one may ask the owner of an optimizer's rate, in its own words and in those of torch's schedulers."""

from __future__ import annotations

import math
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from surefoot.control import Controller
from surefoot.learning_rate import Change, LearningRate, Rates
from surefoot.schedules import Schedule
from surefoot.torch._deadline import Deadline


class Answers(LRScheduler):
    """The answers of a `TorchLearningRate`."""

    step_count: int
    optimizer: Any
    _rate: LearningRate
    _deadline: Deadline | None

    @property
    def _position(self) -> float | None:
        """Where the schedule is, if not at `step_count`."""
        return None if self._deadline is None else self._deadline.step(self._total_steps)

    @property
    def _at(self) -> float:
        """The step of the schedule whose rate the optimizer holds."""
        position = self._position
        return self.step_count if position is None else position

    @property
    def _total_steps(self) -> int:
        assert self._rate.total_steps is not None
        return self._rate.total_steps

    @property
    def schedule(self) -> Schedule:
        """The schedule of the first parameter group, with lengths in steps."""
        return self._rate.schedule

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedule of every parameter group, with lengths in steps."""
        return self._rate.schedules

    @property
    def learning_rate(self) -> float:
        """The present learning rate of the first parameter group."""
        return self._rate.at(self._at)

    @property
    def learning_rates(self) -> list[float]:
        """The present learning rate of every parameter group."""
        return self._rate.current(self._at)

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """What watches the readings."""
        return self._rate.controllers

    @property
    def changes(self) -> list[Change]:
        """The latest decisions of the controllers and replacements of the schedule, oldest first."""
        return list(self._rate.changes)

    def get_last_lr(self) -> list[float]:  # pyright: ignore[reportIncompatibleMethodOverride] - never a tensor
        """Return `learning_rates`, under the name that torch's schedulers and their callers use."""
        return self.learning_rates

    def get_lr(self) -> list[float]:  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        """Return the same: unlike in torch's schedulers, it is the rate of now wherever one asks."""
        return self.learning_rates

    @property
    def base_lrs(self) -> list[float]:  # pyright: ignore[reportIncompatibleVariableOverride] - there it is written, too
        """The base rate of every parameter group."""
        return list(self._rate.base_lrs)

    @property
    def last_epoch(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] - as above
        """`step_count`, under torch's name."""
        return self.step_count

    def at(self, step: float, group: int = 0) -> float:
        """Return the learning rate of a parameter group at any step, without going there."""
        return self._rate.at(step, group)

    def simulate(self, total_steps: int | None = None, *, group: int = 0) -> Rates:
        """Return the rates of all updates of the run, with the controllers' present factors; `.plot(path)` draws them."""
        return self._rate.simulate(self._total_steps if total_steps is None else total_steps, group=group)

    def why(self, step: float | None = None, *, group: int = 0) -> str:
        """Return in words what the rate is made of, now or at a step, and the decisions that have led to it.

        Of an optimizer that finds its own rate (`surefoot.torch.Prodigy` and its like) it says, too, what the last step has
        used: what it has found, times the rate.
        """
        if step is not None:
            return self._rate.why(step, group=group)
        text = self._rate.why(self.step_count, group=group, position=self._position)
        if not getattr(self.optimizer, "finds_rate", False):
            return text
        used = self.optimizer.effective_learning_rates()[group]
        found = "no rate found yet" if math.isnan(used) else f"the last step has used {used:g}"
        first, *rest = text.split("\n")
        return "\n".join([f"{first}; {type(self.optimizer).__name__} multiplies it: {found}", *rest])
