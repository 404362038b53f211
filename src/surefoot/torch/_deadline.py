"""A run that ends at a time: how much of its time has passed, pauses between kill and resume left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from surefoot._checks import number, refuse, refuse_type
from surefoot._errors import ArgumentError, StateError
from surefoot.schedules import parse_duration, step_at_time
from surefoot.torch._ranks import is_distributed, of_rank_0

_ALLOWED = 'a time such as "2h", "1h 30m" or "2:30:00", or a number of seconds'


class Deadline:
    """The time of a run.

    Attributes:
        total_time: the seconds of the whole run.
        elapsed: those that had passed at the latest `look`, which is what the rate is of.
    """

    def __init__(self, total_time: float | str, now: Callable[[], float]) -> None:
        try:
            self.total_time = parse_duration(total_time)
        except TypeError as error:
            raise refuse_type("drive", "total_time", total_time, _ALLOWED) from error
        except ArgumentError as error:
            raise refuse("drive", "total_time", total_time, _ALLOWED) from error
        if not callable(now):
            raise refuse_type("drive", "now", now, "a function that returns seconds, such as time.monotonic")
        self._now = now
        self._began, self._before = now(), 0.0
        self.elapsed = 0.0

    @property
    def spent(self) -> float:
        """The seconds that have passed by now, by the clock of this process."""
        return max(self.elapsed, self._before + self._now() - self._began)

    def look(self) -> None:
        """Take notice of the time; in a distributed run of that of rank 0, so that all ranks have the same."""
        spent = self.spent
        self.elapsed = max(self.elapsed, of_rank_0(spent)) if is_distributed() else spent

    def step(self, total_steps: int) -> float:
        """Return where a schedule of so many steps is."""
        return step_at_time(self.elapsed, self.total_time, total_steps)

    def load(self, saved: Mapping[str, float] | None, share: float, *, is_replaced: bool) -> None:
        """Go on from the time of a saved run; what has passed since it was saved does not count.

        Args:
            saved: its `state_dict()`; None if it had no deadline: then its share of the steps is that of the time.
            share: that.
            is_replaced: whether the saved run has changed its own length: then its deadline holds.
        """
        if saved is None:
            self.elapsed = self._before = min(share, 1.0) * self.total_time
        else:
            self.elapsed, self._before = saved["elapsed"], saved["spent"]
            self.total_time = saved["total_time"] if is_replaced else self.total_time
        self._began = self._now()

    def state_dict(self) -> dict[str, float]:
        """Return the state as plain data."""
        return {"total_time": self.total_time, "elapsed": self.elapsed, "spent": self.spent}


def read_time(state: object) -> dict[str, float] | None:
    """Return the time in a saved state, or None if it has none.

    Raises:
        StateError: it is damaged.
    """
    if state is None:
        return None
    try:
        values: dict[str, Any] = dict(state) if isinstance(state, Mapping) else {}  # pyright: ignore[reportUnknownArgumentType]
        names = ("total_time", "elapsed", "spent")
        return {name: number("load_state_dict", name, values[name], at_least=0) for name in names}
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"`load_state_dict`: the time in the state is damaged: {error}.") from error
