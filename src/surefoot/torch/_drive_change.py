"""What may become of a schedule while its run goes on: replaced, made longer, cooled down."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict

from surefoot._checks import refuse
from surefoot.learning_rate import Change
from surefoot.run import DecisionLog
from surefoot.schedules import Schedule
from surefoot.schedules._lengths import Length
from surefoot.torch._drive_ask import Answers
from surefoot.torch._drive_state import bases_of, plain
from surefoot.torch._momentum import Momentum
from surefoot.torch._updates import Updates

log = logging.getLogger("surefoot")


class Changeable(Answers):
    """The changes of a `TorchLearningRate`."""

    _momentum: Momentum | None
    _updates: Updates
    _log: DecisionLog | None
    _steps_per_epoch: float | None

    def replace(
        self,
        schedule: Schedule | Sequence[Schedule],
        *,
        total_steps: int | None = None,
        momentum: Schedule | Sequence[Schedule] | None = None,
        cause: str = "",
    ) -> Change:
        """Go on with another schedule from now on; it is logged, saved, and there again after a resume.

        What was before stays as it was, for `at`, `simulate` and `why`. In a distributed run every rank must call it.

        Args:
            schedule: it counts from step 0 of the run, not from now, so the rate may jump; a list is for the groups.
            total_steps: the steps of the whole run, if they change; with `total_time` that changes in proportion.
            momentum: another schedule of the momentum, if that is driven too; None leaves it as it is.
            cause: why, for the decision log.

        Raises:
            ArgumentError: if an argument is not allowed. Nothing has been changed then.

        Examples:
            >>> import torch
            >>> from surefoot.schedules import constant, linear_decay
            >>> from surefoot.torch import drive
            >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
            >>> lr = drive(optimizer, constant(), total_steps=4)
            >>> for _ in range(2):
            ...     optimizer.step()
            ...     lr.step()
            >>> print(lr.replace(linear_decay(), cause="it has settled"))
            step 2: 0.5 -> 0.25: it has settled (schedule) [replace]
            >>> lr.simulate()
            [0.5, 0.5, 0.25, 0.125]
        """
        moving = self._momentum
        if momentum is not None and moving is None:
            raise refuse("replace", "momentum", momentum, "left out: the momentum is not driven", "Give it to `drive`.")
        groups, before = self.optimizer.param_groups, self._rate.base_lrs
        steps_before = self._begin_change()
        self._rate.base_lrs = bases_of(groups, before)  # also of groups that were added: their schedule is said now
        try:
            total = self._total_steps if total_steps is None else total_steps
            plans = None
            if moving is not None and momentum is not None:
                plans = moving.replaced(momentum, self._at, groups, total, self._steps_per_epoch)
            change = self._rate.replace(
                schedule, self.step_count, total_steps=total_steps, cause=cause, position=self._position
            )
        except Exception:
            self._rate.base_lrs = before
            raise
        if moving is not None and plans is not None:
            moving.use(plans)
        return self._end_change(change, steps_before)

    def extend(self, to: int, *, cause: str = "") -> Change:
        """Let the run take more steps: the rate goes on from where it is, and reaches its end at step `to`.

        See `Schedule.extend` for what takes the extra steps. The momentum is extended too, and `total_time` in
        proportion. In a distributed run every rank must call it.

        Args:
            to: the steps of the longer run.
            cause: why, for the decision log.

        Raises:
            ArgumentError: the run is at its end, or `to` is not allowed. Nothing has been changed then.
        """
        steps_before = self._begin_change()
        self._meet_new_groups()
        change = self._rate.extend(to, self.step_count, cause=cause, position=self._position)
        if self._momentum is not None:
            self._momentum.use(self._momentum.plans.of_run(steps_before).extended(to, self._at))
        return self._end_change(change, steps_before)

    def cooldown_from(
        self,
        step: Length | None = None,
        length: Length | None = None,
        *,
        to: float = 0.0,
        shape: str = "1-sqrt",
        cause: str = "",
    ) -> Change:
        """Let the rate fall to its end from a step on, from the value it has there; the run ends with the fall.

        See `Schedule.cooldown_from`. The end may also be later than was planned. The momentum stays as it is;
        `total_time` changes in proportion. In a distributed run every rank must call it.

        Args:
            step: where the fall begins, not before now; None is now.
            length: how long it takes; None is the rest of the run.
            to: the final factor, of the base rate.
            shape: "1-sqrt", "linear" or "cosine".
            cause: why, for the decision log.

        Raises:
            ArgumentError: if an argument is not allowed. Nothing has been changed then.
        """
        steps_before = self._begin_change()
        self._meet_new_groups()
        change = self._rate.cooldown_from(
            step, length, self.step_count, to=to, shape=shape, cause=cause, position=self._position
        )
        return self._end_change(change, steps_before)

    def _begin_change(self) -> int:
        """Take notice of what has happened before the schedule changes; return the steps of the run so far."""
        self._check_ownership()
        if self._updates.count:
            self._count()
        return self._total_steps

    def _end_change(self, change: Change, steps_before: int) -> Change:
        """Write the rate of the new schedule, and the change into the log."""
        if self._deadline is not None:
            self._deadline.total_time *= self._total_steps / steps_before
        self._take_over()
        if self._log:
            total_time = self._deadline and self._deadline.total_time
            schedule = plain(self.schedule)
            self._log.replace(asdict(change), self._total_steps, self._rate.plan, schedule, total_time=total_time)
        log.info("%s", change)
        return change

    def _check_ownership(self) -> None:
        raise NotImplementedError

    def _count(self) -> None:
        raise NotImplementedError

    def _meet_new_groups(self) -> None:
        raise NotImplementedError

    def _take_over(self) -> None:
        raise NotImplementedError
