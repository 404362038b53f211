"""The schedule of a record: from its JSON form, or else from what the record says about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from surefoot import schedules
from surefoot._errors import SurefootError

if TYPE_CHECKING:
    from surefoot.search._found import Found

MOST_VALUES = 200


def schedule_repr(found: Found) -> str | None:
    """Return the schedule as it is written in code, or None if the record does not tell."""
    schedule = _schedule(found)
    if schedule is not None:
        return repr(schedule)
    told = found.details.get("schedule_repr")
    return told if isinstance(told, str) else None


def factors_of(found: Found) -> object:
    """Return [step, factor] pairs over the whole run; whatever the record holds if it has no schedule that we know."""
    schedule = _schedule(found)
    if schedule is None or found.total_steps <= 1:
        return found.details.get("factors")
    last = found.total_steps - 1
    steps = sorted({round(last * k / (MOST_VALUES - 1)) for k in range(MOST_VALUES)})
    try:
        resolved = schedule.resolve(found.total_steps)
        return [(step, resolved(step)) for step in steps]
    except (SurefootError, ArithmeticError):
        return found.details.get("factors")


def _schedule(found: Found) -> schedules.Schedule | None:
    """Return the schedule, or None; functions that a record names are not called."""
    try:
        return schedules.from_dict(found.schedule)
    except (SurefootError, ArithmeticError, TypeError, RecursionError):
        return None
