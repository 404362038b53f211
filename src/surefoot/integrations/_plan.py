"""What the callbacks share: the plan of a rate, whose optimizer and horizon are known only when training begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from surefoot._checks import integer, refuse, refuse_type
from surefoot.control import Controller, flat
from surefoot.learning_rate import check_controllers
from surefoot.schedules import Schedule
from surefoot.torch import TorchLearningRate, drive


class Plan:
    """Checked arguments of a callback, and the owner that is made of them for each run."""

    def __init__(
        self, schedule: Schedule, controllers: Iterable[Controller], total_steps: int | None, run_dir: str | Path | None
    ) -> None:
        where = "LearningRateCallback"
        if not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
            cure = 'As in `LearningRateCallback(linear_warmup("5%") >> cosine_decay())`.'
            raise refuse_type(where, "schedule", schedule, "a schedule of surefoot.schedules", cure)
        self.schedule = schedule
        self.controllers = check_controllers(where, controllers)
        for controller in flat(self.controllers):
            if getattr(controller, "action", None) == "skip":
                allowed = "ones that do not skip updates: the trainer has made the update when it tells of it"
                raise refuse(where, "controllers", controller, allowed, "Take action='cut' or 'rewind'.")
        self.total_steps = None if total_steps is None else integer(where, "total_steps", total_steps, at_least=1)
        self.run_dir = run_dir
        self._initial = [controller.state_dict() for controller in self.controllers]

    def begin(
        self,
        optimizer: torch.optim.Optimizer,
        total_steps: int | None,
        steps_per_epoch: float | None,
        *,
        before: TorchLearningRate | None,
        state: Mapping[str, Any] | None,
    ) -> TorchLearningRate:
        """Own the optimizer's rate for a run: a new one, or one that goes on from a saved state.

        Raises:
            ArgumentError: the optimizer is driven by another, or a length is not known.
            StateError: the state is not of this plan.
        """
        if before is not None:
            before.release()
        total = self.total_steps or total_steps
        if total is None:
            cure = "Pass `total_steps`, or tell the trainer how many steps or epochs it trains."
            raise refuse("LearningRateCallback", "total_steps", None, "given: the trainer knows no end", cure)
        for controller, initial in zip(self.controllers, self._initial, strict=True):
            controller.load_state_dict(initial)
        rate = drive(
            optimizer,
            self.schedule,
            total_steps=total,
            steps_per_epoch=steps_per_epoch,
            controllers=self.controllers,
            run_dir=self.run_dir,
        )
        if state is not None:
            rate.load_state_dict(state)
        return rate
