"""The decision log: one line of JSON for each decision about a learning rate, written as it happens."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

from surefoot._errors import RunDirectoryError
from surefoot.run._files import take_lock

log = logging.getLogger("surefoot")

NAME = "decisions.jsonl"


class DecisionLog:
    """Append decisions to `decisions.jsonl` in a run's folder: one write a line, so a killed process leaves whole lines.

    Args:
        folder: made if it is missing; a log that is there is gone on with.

    Raises:
        RunDirectoryError: the folder or the file cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / NAME
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as opened:
                self._lock = opened.enter_context((self.path.parent / "lock").open("a+", encoding="utf-8"))
                take_lock(self._lock, self.path.parent)
                self._file = self.path.open("ab", buffering=0)
                opened.pop_all()
        except RunDirectoryError:
            raise
        except OSError as error:
            raise RunDirectoryError(
                f"cannot write to the run directory {str(folder)!r}: {error.strerror or error}. "
                "Choose another with `run_dir`."
            ) from error
        self._is_broken = False

    def start(
        self,
        step: int,
        total_steps: int,
        state: Mapping[str, Any],
        schedule: Mapping[str, Any],
        *,
        total_time: float | None = None,
    ) -> None:
        """Note that a run begins, or goes on, at a step with this state of its learning rate.

        Args:
            step: updates made.
            total_steps: of the run as it is planned.
            state: the `state_dict` of the learning rate: its decisions so far replace those in the log.
            schedule: its JSON form; empty if it has none.
            total_time: the seconds of a run that ends at a time.
        """
        known = {name: state[name] for name in ("base_lrs", "changes")}
        plan = _plan(total_steps, state["schedule"], schedule, total_time)
        self._add({"kind": "start", "step": step, **known, **plan})

    def add(self, change: Mapping[str, Any]) -> None:
        """Append one decision."""
        self._add({"kind": "change", **change})

    def replace(
        self,
        change: Mapping[str, Any],
        total_steps: int,
        plan: str,
        schedule: Mapping[str, Any],
        *,
        total_time: float | None = None,
    ) -> None:
        """Append that the schedule was replaced; the arguments are as in `start`, `plan` is the new one in words."""
        self._add({"kind": "replace", "change": dict(change), **_plan(total_steps, plan, schedule, total_time)})

    def _add(self, entry: Mapping[str, Any]) -> None:
        """Write one line; a full disk costs the record, said once, never the run."""
        try:
            self._file.write(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            if not self._is_broken:
                log.warning("decisions are no longer written to %s: %s", self.path, error)
            self._is_broken = True

    def close(self) -> None:
        """Close the file; once is enough."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _plan(total_steps: int, plan: str, schedule: Mapping[str, Any], total_time: float | None) -> dict[str, Any]:
    """Return what an entry says of the plan."""
    known = {"total_steps": total_steps, "plan": plan, "schedule": schedule}
    return known if total_time is None else {**known, "total_time": total_time}


@dataclass(frozen=True, slots=True)
class Story:
    """What a decision log tells: how the run was planned, and what was decided.

    Attributes:
        base_lrs: of each parameter group.
        plan: the schedule, in words; of several, as a list.
        schedule: the same in its JSON form, with lengths in steps; empty if it has none. Of several, the first group's.
        total_steps: of the run as it was planned.
        changes: the decisions that hold, oldest first: what a run decided after the step from which it was resumed does
            not.
        starts: the steps at which the run began or went on.
        total_time: the seconds of a run that ends at a time: steps of the schedule are shares of it.
    """

    base_lrs: list[float]
    plan: str
    schedule: dict[str, Any]
    total_steps: int
    changes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    starts: list[int] = field(default_factory=list[int])
    total_time: float | None = None

    def factor(self, step: float) -> float:
        """Return the product of the controllers' factors with which the update at a step of the schedule was made."""
        product = 1.0
        for change in self.changes:
            if self.place(change) <= step and change["old"] and change.get("action") != "replace":
                product *= change["new"] / change["old"]
        return product

    @staticmethod
    def place(change: Mapping[str, Any]) -> float:
        """Return the step of the schedule at which something was decided."""
        position = change.get("position")
        return change["step"] if position is None else position


def read_decisions(folder: str | Path) -> Story:
    """Read a decision log; a last line that was cut off is left out.

    Raises:
        RunDirectoryError: there is no log, or it is none.
    """
    path = Path(folder) / NAME
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RunDirectoryError(f"cannot read {str(path)!r}: {error.strerror or error}.") from error
    story: Story | None = None
    for number, line in enumerate(lines, 1):
        try:
            entry = cast("dict[str, Any]", json.loads(line))
            kind = entry.pop("kind")
            if kind == "start":
                starts = [*(story.starts if story else ()), entry.pop("step")]
                story = Story(**entry, starts=starts)
            elif story is not None:
                change = entry.pop("change") if kind == "replace" else entry
                story.changes.append({"step": change["step"], "old": change["old"], "new": change["new"], **change})
                if kind == "replace":
                    story = replace(story, **entry)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if number == len(lines):
                break
            raise RunDirectoryError(f"line {number} of {str(path)!r} is damaged: {error!r}.") from error
    if story is None:
        raise RunDirectoryError(f"{str(path)!r} holds no run. Was it written by `drive(..., run_dir=...)`?")
    return story
