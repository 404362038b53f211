"""The schedules of a run: one for all parameter groups or one for each, and what may become of them while it goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from surefoot._checks import integer, number, refuse, refuse_type
from surefoot._errors import ArgumentError, StateError, SurefootError
from surefoot.schedules._json import from_dict
from surefoot.schedules._lengths import Length, Run, check_length, own_steps
from surefoot.schedules._schedule import Schedule


@dataclass(frozen=True, slots=True)
class Plans:
    """The schedules of a run's parameter groups; an immutable value.

    Attributes:
        schedules: one for all groups, or one for each.
        total_steps: the steps of the whole run, if they are known.
        given: those with which the run began, if these have replaced them.
    """

    schedules: tuple[Schedule, ...]
    total_steps: int | None = None
    given: Plans | None = None

    def of(self, group: int) -> Schedule:
        """Return the schedule of a parameter group."""
        return self.schedules[group if len(self.schedules) > 1 else 0]

    @property
    def value(self) -> Schedule | list[Schedule]:
        """The schedules as a user gives them."""
        return self.schedules[0] if len(self.schedules) == 1 else list(self.schedules)

    @property
    def words(self) -> str:
        """The schedules as text."""
        return repr(self.value)

    @property
    def first(self) -> Plans:
        """Those with which the run began."""
        return self.given or self

    def resolved(self, total_steps: int, steps_per_epoch: float | None = None) -> Plans:
        """Return them with lengths in steps."""
        return Plans(tuple(s.resolve(total_steps, steps_per_epoch) for s in self.schedules), total_steps)

    def _replaced(self, schedules: tuple[Schedule, ...], total_steps: int | None) -> Plans:
        """Return others, for the same run."""
        return Plans(_as_few(schedules), total_steps, self.first)

    def of_run(self, total_steps: int) -> Plans:
        """Return the same, of a run of so many steps."""
        return Plans(self.schedules, total_steps, self.given)

    def resized(self, groups: int) -> Plans:
        """Return them for more or fewer groups.

        Raises:
            ArgumentError: a group was added, and which schedule it has is not known.
        """
        count = len(self.schedules)
        if count in {1, groups}:
            return self
        if groups < count:
            return self._replaced(self.schedules[:groups], self.total_steps)
        raise ArgumentError(
            f"Parameter group {count} was added, and the schedules of the others differ. "
            "Say which it has: `lr.replace([...], cause=...)` with one schedule for each group."
        )

    def until(self, at: float, others: Plans, groups: int) -> Plans:
        """Return these up to a step and others from there on; groups added since have only the others."""
        if at <= 0:
            return self._replaced(others.schedules, others.total_steps)
        known = groups if len(self.schedules) == 1 else len(self.schedules)
        changed = [self.of(i).until(at, others.of(i)) if i < known else others.of(i) for i in range(groups)]
        return self._replaced(tuple(changed), others.total_steps)

    def extended(self, to: object, at: float) -> Plans:
        """Return those of a run that is at a step and has become longer; one that ends before the run does stays."""
        total = self._known_steps("extend")
        cure = f"The run is {total} steps long. To end it earlier, use `cooldown_from`."
        longer = integer("extend", "to", to, at_least=total, cure=cure)
        if at >= total:
            raise ArgumentError(
                f"`extend(to={longer})`: the run is at its end, step {at:g} of {total}, and its rate has reached its "
                "last value. Give it another schedule: `replace(schedule, total_steps=..., cause=...)`."
            )

        def extended(schedule: Schedule) -> Schedule:
            length = schedule.length
            is_longer = isinstance(length, int | float) and total <= length < longer
            return schedule.extend(longer, step=at) if is_longer else schedule

        return self._replaced(tuple(extended(schedule) for schedule in self.schedules), longer)

    def cooled_down(
        self, start: Length | None, length: Length | None, at: float, epoch: float | None, to: float, shape: str
    ) -> tuple[Plans, float]:
        """Return those of a run that is at a step and falls to its end from a step on; and that step."""
        name, total = "cooldown_from", self._known_steps("cooldown_from")
        run = Run(total, epoch)
        begin: Length = at if start is None else check_length(name, "step", start, is_zero_allowed=True)
        cure = f"The run is at step {at:g}: what was before cannot be changed."
        step = number(name, "step", own_steps(name, "step", begin, run, must_fit=False), at_least=at, cure=cure)
        if length is not None:
            steps = own_steps(name, "length", check_length(name, "length", length), run, must_fit=False)
        elif step < total:
            steps = total - step
        else:
            raise refuse(name, "length", None, f"given: after step {step:g} no step of {total} is left")
        cooled = [schedule.cooldown_from(step, steps, to=to, shape=shape) for schedule in self.schedules]
        return self._replaced(tuple(cooled), math.ceil(step + steps)), step

    def _known_steps(self, where: str) -> int:
        if self.total_steps is None:
            raise refuse(where, "total_steps", None, "known", "Pass it when you make the LearningRate.")
        return self.total_steps

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to have the schedules that replaced the given ones, as plain data."""
        try:
            schedules = [schedule.to_dict() for schedule in self.schedules]
        except SurefootError:  # one holds a function without a name
            schedules = None
        return {"given": self.first.words, "schedules": schedules, "total_steps": self.total_steps}

    def loaded(self, words: object, replaced: object, groups: int) -> Plans:
        """Return those with which a saved run goes on: its own, where it began with the same as this one.

        Args:
            words: of the saved run's schedules.
            replaced: its `state()`, if they are not those with which it began.
            groups: how many parameter groups there are.

        Raises:
            StateError: the state is damaged, or holds a function.
        """
        first = self.first
        if words == self.words:
            return self
        if words == first.words:
            return first
        saved: dict[str, Any] = dict(replaced) if isinstance(replaced, Mapping) else {}  # pyright: ignore[reportUnknownArgumentType]
        if saved.get("given") != first.words:
            return self  # a foreign schedule
        try:
            schedules = tuple(from_dict(schedule) for schedule in saved["schedules"])
            total = saved["total_steps"]
            total = None if total is None else integer("load_state_dict", "total_steps", total, at_least=1)
        except (ArgumentError, KeyError, TypeError) as error:
            raise StateError(
                f"`load_state_dict`: the run went on with `{words}`, which cannot be read from the state: {error} "
                "If it holds a function, give that schedule when you make this object, and load then."
            ) from error
        if len(schedules) not in {1, groups}:
            raise StateError(f"`load_state_dict`: the state is damaged: {len(schedules)} schedules, {groups} groups.")
        return self._replaced(schedules, total)


def check_plans(where: str, argument: str, value: object, groups: int, cure: str = "") -> Plans:
    """Return what a user gives as the schedules of so many parameter groups, or raise."""
    if isinstance(value, Schedule):
        return Plans((value,))
    given = tuple(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else None
    if given is None or not all(isinstance(schedule, Schedule) for schedule in given):
        allowed = "a schedule of surefoot.schedules, or a list with one for each parameter group"
        raise refuse_type(where, argument, cast("object", value), allowed, cure)
    if len(given) != groups:
        allowed = f"one schedule, or a list with one for each parameter group, of which there are {groups}"
        raise refuse(where, argument, list(given), allowed)
    return Plans(_as_few(given))


def _as_few(schedules: tuple[Schedule, ...]) -> tuple[Schedule, ...]:
    """Return one schedule where all are the same."""
    return schedules[:1] if len(set(schedules)) == 1 else schedules
