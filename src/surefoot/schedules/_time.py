"""Deadlines: a run that ends after a time instead of after a number of steps. Pure; whoever trains holds the clock."""

from __future__ import annotations

import re

from surefoot._checks import integer, number, refuse, refuse_type
from surefoot.schedules._lengths import MOST

_UNITS = {
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("h", "hour", "hours"), 3_600),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s*([a-z]+)\s*")
_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,6}):(\d{1,2}(?:\.\d{1,12})?)")
_ALLOWED = 'a time such as "2h", "1h 30m", "90 min" or "2:30:00", or a number of seconds'


def parse_duration(duration: float | str) -> float:
    """Return a time in seconds.

    Use it for settings that people write. `m` is minutes; "2:30" is minutes and seconds, "2:30:00" has hours too.

    Args:
        duration: a number of seconds, or a text of numbers with d, h, m or s, or of numbers with colons.

    Raises:
        ArgumentError: if it is no time above 0.

    Examples:
        >>> parse_duration("2h"), parse_duration("1h 30m"), parse_duration("2:30:00"), parse_duration(90)
        (7200.0, 5400.0, 9000.0, 90.0)
    """
    return _checked("parse_duration", "duration", duration)


def _checked(where: str, argument: str, duration: object) -> float:
    """Return a time in seconds, or raise."""
    if not isinstance(duration, str):
        if isinstance(duration, bool) or not isinstance(duration, int | float):
            raise refuse_type(where, argument, duration, _ALLOWED)
        return number(where, argument, duration, above=0, cure=f"It is {_ALLOWED}.")
    seconds = _seconds(duration.strip().lower())
    if not seconds:
        raise refuse(where, argument, duration, _ALLOWED)
    return seconds


def _seconds(text: str) -> float | None:
    """Return the seconds that a text means, or None if it means no time."""
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = clock.groups(default="0")
        return 3_600.0 * int(hours) + 60.0 * int(minutes) + float(seconds)
    total, end = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != end or part[2] not in _UNITS:
            return None
        total, end = total + float(part[1]) * _UNITS[part[2]], part.end()
    return total if end == len(text) else None


def step_at_time(elapsed: float, total_time: float | str, total_steps: int) -> float:
    """Return the step of a schedule at which a run is after `elapsed` seconds of its `total_time`.

    Use it where the end of a run is a deadline: the schedule is resolved with any `total_steps`, a guess, and asked at
    this step instead of at the number of updates. The rate then reaches its end when the time is up, however fast the
    steps are; a pause without training must not be counted as elapsed. Where steps are what counts, count steps: two
    runs of different speed are not comparable otherwise.

    It is `total_steps * elapsed / total_time`, bounded by 0 and `total_steps`.

    Args:
        elapsed: the seconds that were trained so far.
        total_time: the time of the whole run, for `parse_duration`.
        total_steps: the steps with which the schedule was resolved.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> from surefoot.schedules import linear_decay
        >>> schedule = linear_decay().resolve(1000)
        >>> schedule(step_at_time(1800, "2h", 1000)), schedule(step_at_time(9000, "2h", 1000))
        (0.75, 0.0)
    """
    seconds = _checked("step_at_time", "total_time", total_time)
    steps = integer("step_at_time", "total_steps", total_steps, at_least=1, at_most=MOST)
    share = number("step_at_time", "elapsed", elapsed) / seconds
    return steps * min(max(share, 0.0), 1.0)
