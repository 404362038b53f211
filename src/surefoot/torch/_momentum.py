"""The momentum that moves with the learning rate: SGD's `momentum`, or the first of Adam's `betas`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from surefoot._checks import refuse
from surefoot.schedules import Schedule
from surefoot.schedules._fast import fast
from surefoot.schedules._plans import Plans, check_plans

_SAMPLES = 200  # steps at which the values must be those of a momentum
_CURE = "As in `momentum=one_cycle_momentum()`, or `momentum=0.9 * schedule` for factors of 0.9."


class Momentum:
    """Write the momentum of every parameter group, as a pure function of the step.

    Attributes:
        plans: the schedules; their values are the momentum itself.
    """

    def __init__(
        self,
        momentum: Schedule | Sequence[Schedule],
        groups: list[dict[str, Any]],
        total_steps: int,
        steps_per_epoch: float | None,
    ) -> None:
        plans = check_plans("drive", "momentum", momentum, len(groups), _CURE)
        for i, group in enumerate(groups):
            _check_has_momentum(momentum, i, group)
        plans = plans.resolved(total_steps, steps_per_epoch)
        _check_values("drive", plans)
        self.use(plans)

    def use(self, plans: Plans) -> None:
        """Take other schedules."""
        self.plans = plans
        self._values_at = [fast(schedule) for schedule in plans.schedules]

    def replaced(
        self,
        momentum: Schedule | Sequence[Schedule],
        at: float,
        groups: list[dict[str, Any]],
        total_steps: int,
        steps_per_epoch: float | None,
    ) -> Plans:
        """Return the schedules if others are taken from a step on."""
        others = check_plans("replace", "momentum", momentum, len(groups), _CURE)
        others = others.resolved(total_steps, steps_per_epoch)
        _check_values("replace", others)
        return self.plans.until(at, others, len(groups))

    def state_dict(self) -> dict[str, Any]:
        """Return the schedules in words, and as data if they are not those with which the run began."""
        plans = self.plans
        return {"schedule": plans.words} | ({} if plans.given is None else {"replaced": plans.state()})

    def loaded(self, state: dict[str, Any] | None, groups: int) -> Plans:
        """Return the schedules with which a saved run goes on."""
        state = state or {}
        return self.plans.loaded(state.get("schedule"), state.get("replaced"), groups).resized(groups)

    def write(self, groups: list[dict[str, Any]], step: float) -> None:
        """Write the momentum of a step; a tensor is filled in place, so that compiled steps see the value."""
        values = [value_at(step) for value_at in self._values_at]
        is_one = len(values) == 1
        for i, group in enumerate(groups):
            value = values[0 if is_one else i]
            held = _held(group)
            if isinstance(held, torch.Tensor):
                with torch.no_grad():
                    held.fill_(value)
            elif "betas" in group:
                group["betas"] = (value, *group["betas"][1:])
            else:
                group["momentum"] = value


def _check_values(where: str, plans: Plans) -> None:
    total = plans.total_steps or 1
    for schedule in plans.schedules:
        for step in {*range(0, total, max(1, total // _SAMPLES)), total}:
            value = schedule(step)
            if not 0 <= value < 1:
                allowed = f"a schedule of values from 0 to below 1: at step {step} it is {value:g}"
                raise refuse(where, "momentum", schedule, allowed, _CURE)


def _held(group: dict[str, Any]) -> Any:
    """Return the momentum of a parameter group as it is held there."""
    return group["betas"][0] if "betas" in group else group["momentum"]


def _check_has_momentum(momentum: object, index: int, group: dict[str, Any]) -> None:
    if "betas" not in group and "momentum" not in group:
        names = ", ".join(sorted(name for name in group if name not in {"params", "initial_lr"}))
        cure = f"Parameter group {index} has neither `momentum` nor `betas`; it has {names}."
        raise refuse("drive", "momentum", momentum, "left out: this optimizer has no momentum", cure)
