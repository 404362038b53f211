"""What `drive` reads: the base rates of parameter groups, and saved states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from surefoot._checks import integer, number
from surefoot._errors import StateError, SurefootError
from surefoot.schedules import Schedule
from surefoot.torch._deadline import read_time

VERSION = 1


def base_of(group: dict[str, Any]) -> float:
    """Return the base rate of a parameter group: its `initial_lr` if present, else its `lr`."""
    return float(group["initial_lr"] if "initial_lr" in group else group["lr"])


def bases_of(groups: list[dict[str, Any]], known: tuple[float, ...]) -> tuple[float, ...]:
    """Return the base rates of all parameter groups, of which the first are known."""
    bases = list(known[: len(groups)])
    for group in groups[len(known) :]:
        # A group without a rate of its own holds the very tensor of the defaults, which the others have filled.
        shared = (
            i for i in range(len(bases)) if groups[i]["lr"] is group["lr"] and isinstance(group["lr"], torch.Tensor)
        )
        twin = next(shared, None)
        bases.append(base_of(group) if twin is None else bases[twin])
    return tuple(bases)


def plain(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule's JSON form; nothing for one that holds a function without a name."""
    try:
        return schedule.to_dict()
    except SurefootError:
        return {}


def read(state: object, groups: int) -> tuple[int, dict[str, float] | None, dict[str, Any] | None]:
    """Return the step count, the time and the momentum of a state that fits so many parameter groups, or raise."""
    values = cast("dict[str, Any]", state) if isinstance(state, Mapping) else {}
    if values.get("version") != VERSION:
        raise StateError(
            f"`load_state_dict`: this is not a state of TorchLearningRate, version {VERSION}. "
            "Pass what its `state_dict()` returned."
        )
    try:
        step_count = integer("load_state_dict", "step_count", values["step_count"], at_least=0)
        count = len([number("load_state_dict", "base_lrs", base, at_least=0) for base in values["base_lrs"]])
        momentum = None if values.get("momentum") is None else dict(values["momentum"])
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"`load_state_dict`: the state is damaged: {error}.") from error
    if count != groups:
        raise StateError(
            f"`load_state_dict`: the state has {count} parameter groups, the optimizer has {groups}. "
            "Add the same groups to the optimizer before loading."
        )
    return step_count, read_time(values.get("time")), momentum
