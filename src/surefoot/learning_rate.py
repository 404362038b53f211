"""The one owner of the learning rate: `base * schedule(step) * factors of the controllers`, per parameter group.

It is computed from the step and from plain values, never from the rate before. So resuming, asking about another step
or adding parameter groups cannot change it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from surefoot._checks import integer, number, refuse, refuse_type
from surefoot._errors import StateError
from surefoot.control import Controller, Decision, Reading, flat
from surefoot.control._chain import check_once, load_states
from surefoot.control._controller import product
from surefoot.schedules import Schedule
from surefoot.schedules._lengths import Length
from surefoot.schedules._plans import Plans, check_plans

_VERSION = 1
_KEPT = 1000  # changes in memory; who wants them all takes what `observe` returns


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the decision log: a controller has decided something, or the schedule was replaced.

    Attributes:
        step: updates made when it was decided; the new rate is that of the next update.
        old: the rate without this decision, of the first parameter group.
        new: the rate with it.
        cause: why, in words.
        controller: who; of a chain, the members; "schedule" where the schedule was replaced.
        action: what was asked for beside the rate, as in `surefoot.control.Decision`; "replace" for a schedule.
        metrics: the reading behind it, as far as the controller has looked at it.
        position: where the schedule was, in its steps, if that is not `step`: in a run that ends at a time.
    """

    step: int
    old: float
    new: float
    cause: str
    controller: str
    action: str = "continue"
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    position: float | None = None

    def __str__(self) -> str:
        rate = f"{self.old:g}" if self.old == self.new else f"{self.old:g} -> {self.new:g}"
        action = "" if self.action == "continue" else f" [{self.action.replace('_', ' ')}]"
        return f"step {self.step}: {rate}: {self.cause} ({self.controller}){action}"


class Rates(list[float]):
    """Learning rates, one an update."""

    def plot(self, path: str | Path) -> Path:
        """Draw them and write the picture to `path`, which ends in .png or .svg; return the path.

        Raises:
            ArgumentError: another suffix, or nothing to draw.
            MissingExtraError: matplotlib is not installed.
            RunDirectoryError: the file cannot be written.
        """
        from surefoot.report import plot_rates  # noqa: PLC0415 - see the contracts: a convenience, when it is called

        return plot_rates(self, path)


class LearningRate:
    """The learning rate at any step: `base * schedule(step) * product of the controllers' factors`.

    Args:
        base: the rate at which all factors are 1; a list gives each parameter group its own.
        schedule: the factors of the schedule. None of its values depends on the base. A list gives each parameter
            group its own.
        total_steps: the optimizer steps of the whole run. Needed if a length of the schedule is open, a share or in
            epochs.
        steps_per_epoch: the optimizer steps of one pass over the data; needed for lengths in epochs.
        controllers: what watches the run; see `surefoot.control`.

    Attributes:
        base_lrs: the base rate of each parameter group.
        controllers: as given.
        changes: the latest decisions, oldest first.

    Raises:
        ArgumentError: if an argument is not allowed, or a length of the schedule is not known.
        ArgumentTypeError: a type that is not allowed.

    Examples:
        >>> from surefoot.control import Plateau
        >>> from surefoot.schedules import linear_decay
        >>> learning_rate = LearningRate([0.5, 0.25], linear_decay(), total_steps=100)
        >>> learning_rate.at(50), learning_rate.at(50, group=1), learning_rate.current(50)
        (0.25, 0.125, [0.25, 0.125])

        A controller's factor is one more factor:

        >>> learning_rate = LearningRate(0.5, linear_decay(100), controllers=[Plateau(patience=1, factor=0.5)])
        >>> for epoch in range(2):
        ...     decisions = learning_rate.observe(50, {"val_loss": 1.0})
        >>> learning_rate.at(50)
        0.125
        >>> print(learning_rate.changes[-1])
        step 50: 0.25 -> 0.125: val_loss has not improved on 1 for 1 reading (Plateau)
    """

    __slots__ = ("_plans", "_steps_per_epoch", "base_lrs", "changes", "controllers")

    base_lrs: tuple[float, ...]
    controllers: tuple[Controller, ...]
    changes: deque[Change]

    def __init__(
        self,
        base: float | Iterable[float],
        schedule: Schedule | Sequence[Schedule],
        total_steps: int | None = None,
        *,
        steps_per_epoch: float | None = None,
        controllers: Iterable[Controller] = (),
    ) -> None:
        bases: list[Any] = list(base) if isinstance(base, Iterable) and not isinstance(base, str) else [base]
        if not bases:
            raise refuse("LearningRate", "base", base, "a number, or one number per parameter group")
        self.base_lrs = tuple(number("LearningRate", "base", value, at_least=0) for value in bases)
        plans = check_plans("LearningRate", "schedule", schedule, len(bases), "See `surefoot.schedules`.")
        self._plans = plans if total_steps is None else plans.resolved(total_steps, steps_per_epoch)
        self._check_lengths(self._plans)
        self._steps_per_epoch = steps_per_epoch
        self.controllers = check_controllers("LearningRate", controllers)
        self.changes = deque(maxlen=_KEPT)

    @staticmethod
    def _check_lengths(plans: Plans) -> None:
        for schedule in plans.schedules:
            schedule(0)  # raises now, and not in the middle of a run, if a length is not known

    @property
    def schedule(self) -> Schedule:
        """The schedule with lengths in steps; that of the first parameter group."""
        return self._plans.of(0)

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedule of each parameter group."""
        return tuple(self._plans.of(group) for group in range(len(self.base_lrs)))

    @property
    def total_steps(self) -> int | None:
        """The optimizer steps of the whole run, if they are known."""
        return self._plans.total_steps

    @property
    def plan(self) -> str:
        """The schedule in words; a list, if the parameter groups have different ones."""
        return self._plans.words

    @property
    def factor(self) -> float:
        """The product of the controllers' factors, at most the largest float."""
        return product(self.controllers)

    def at(self, step: float, group: int = 0) -> float:
        """Return the learning rate of one parameter group at `step`, with the controllers' present factors."""
        return self.base_lrs[group] * (self._plans.of(group)(step) * self.factor)  # as in `current`, to the last bit

    def current(self, step: float) -> list[float]:
        """Return the learning rate of every parameter group at `step`, with the controllers' present factors."""
        controlled = self.factor
        if len(self._plans.schedules) == 1:
            factor = self.schedule(step) * controlled
            return [base * factor for base in self.base_lrs]
        pairs = zip(self.base_lrs, self.schedules, strict=True)
        return [base * (schedule(step) * controlled) for base, schedule in pairs]

    def regroup(self, base_lrs: Iterable[float]) -> None:
        """Take the base rates of more or fewer parameter groups; those that are added have the schedule of the others.

        Raises:
            ArgumentError: groups are added, and the schedules of the others differ. Nothing has been changed then.
        """
        bases = tuple(base_lrs)
        self._plans = self._plans.resized(len(bases))
        self.base_lrs = bases

    def observe(self, step: int, metrics: Mapping[str, Any], *, position: float | None = None) -> list[Decision]:
        """Show a reading to every controller; return what was decided, in their order.

        Args:
            step: how many updates have been made.
            metrics: what was measured; NaN and infinity are values. Anything that `float` takes; it is asked for only
                when a controller looks at it, so that a value on an accelerator is not waited for in vain.
            position: where the schedule is, if not at `step`.

        A rate that changed is the rate of the next update: read it with `at` or `current`. What else was decided
        (`Decision.action`) is for the caller to do.
        """
        decisions: list[Decision] = []
        at = step if position is None else position
        for controller in self.controllers:
            old, seen = self.at(at), _Seen(metrics)
            decision = controller.observe(Reading(step, seen, max(self.current(at))))
            if decision is not None:
                decisions.append(decision)
                who, new, values = decision.by or type(controller).__name__, self.at(at), seen.values_seen
                self.changes.append(Change(step, old, new, decision.cause, who, decision.action, values, position))
        return decisions

    def replace(
        self,
        schedule: Schedule | Sequence[Schedule],
        step: int,
        *,
        total_steps: int | None = None,
        cause: str = "",
        position: float | None = None,
    ) -> Change:
        """Go on with another schedule from a step on; what was before stays as it was.

        Args:
            schedule: it counts from step 0 of the run, not from `step`, and may be a list with one for each group.
            step: how many updates have been made; the next is the first with the new schedule.
            total_steps: the steps of the whole run, if they change.
            cause: why, for the decision log.
            position: where the schedule is, if not at `step`.

        Raises:
            ArgumentError: if an argument is not allowed, or a length is not known. Nothing has been changed then.

        Examples:
            >>> from surefoot.schedules import constant, linear_decay
            >>> learning_rate = LearningRate(0.5, constant(), total_steps=100)
            >>> print(learning_rate.replace(0.5 * linear_decay(), 50, cause="the loss has settled"))
            step 50: 0.5 -> 0.125: the loss has settled (schedule) [replace]
            >>> learning_rate.at(49), learning_rate.at(50), learning_rate.at(75)
            (0.5, 0.125, 0.0625)
        """
        groups = len(self.base_lrs)
        others = check_plans("replace", "schedule", schedule, groups, "See `surefoot.schedules`.")
        total = self.total_steps if total_steps is None else total_steps
        if total is not None:
            others = others.resolved(total, self._steps_per_epoch)
        self._check_lengths(others)
        at = step if position is None else position
        return self._go_on(self._plans.until(at, others, groups), step, cause or "by hand", position)

    def extend(self, to: int, step: int, *, cause: str = "", position: float | None = None) -> Change:
        """Let a run that goes on take more steps: nothing jumps, and the last rate is reached at `to`.

        See `Schedule.extend` for what takes the extra steps. A schedule that ends before the run stays as it is.

        Args:
            to: the steps of the longer run.
            step: how many updates have been made.
            cause: why, for the decision log.
            position: where the schedule is, if not at `step`.

        Raises:
            ArgumentError: the run is at its end, or `to` is not allowed. Nothing has been changed then.

        Examples:
            >>> from surefoot.schedules import linear_decay
            >>> learning_rate = LearningRate(0.5, linear_decay(), total_steps=100)
            >>> print(learning_rate.extend(200, step=50))
            step 50: 0.25: extended from 100 to 200 steps (schedule) [replace]
            >>> learning_rate.at(50), learning_rate.at(125), learning_rate.at(200)
            (0.25, 0.125, 0.0)
        """
        plans = self._plans.extended(to, step if position is None else position)
        said = f"extended from {self.total_steps} to {plans.total_steps} steps"
        return self._go_on(plans, step, _with(said, cause), position)

    def cooldown_from(
        self,
        start: Length | None,
        length: Length | None,
        step: int,
        *,
        to: float = 0.0,
        shape: str = "1-sqrt",
        cause: str = "",
        position: float | None = None,
    ) -> Change:
        """Let the rate of a run that goes on fall to its end from a step on; the run ends with the fall.

        See `Schedule.cooldown_from`. It may also end later than was planned.

        Args:
            start: where the fall begins, not before the present; None is now.
            length: how long it takes; None is the rest of the run.
            step: how many updates have been made.
            to: the final factor, of the base rate.
            shape: "1-sqrt", "linear" or "cosine".
            cause: why, for the decision log.
            position: where the schedule is, if not at `step`.

        Raises:
            ArgumentError: if an argument is not allowed. Nothing has been changed then.

        Examples:
            >>> from surefoot.schedules import constant
            >>> learning_rate = LearningRate(0.5, constant(), total_steps=1000)
            >>> print(learning_rate.cooldown_from(None, 20, step=50, shape="linear"))
            step 50: 0.5: cooldown from step 50 to 70 (schedule) [replace]
            >>> learning_rate.at(50), learning_rate.at(60), learning_rate.total_steps
            (0.5, 0.25, 70)
        """
        at = math.ceil(step if position is None else position)
        plans, begin = self._plans.cooled_down(start, length, at, self._steps_per_epoch, to, shape)
        said = f"cooldown from step {begin:g} to {plans.total_steps}"
        return self._go_on(plans, step, _with(said, cause), position)

    def _go_on(self, plans: Plans, step: int, cause: str, position: float | None) -> Change:
        """Take other schedules, and write it down."""
        at = step if position is None else position
        old = self.at(at)
        self._plans = plans
        change = Change(step, old, self.at(at), cause, "schedule", "replace", {}, position)
        self.changes.append(change)
        return change

    def why(self, step: float | None = None, *, group: int = 0, position: float | None = None) -> str:
        """Return in words what the rate is made of at a step, and the decisions that have led to it.

        Args:
            step: how many updates have been made; None is the step of the latest decision.
            group: the parameter group.
            position: where the schedule is, if not at `step`.
        """
        now = self.changes[-1].step if step is None and self.changes else step or 0
        at = now if position is None else position
        where = "" if position is None else f", {position:g} of the schedule"
        of, schedule = self.base_lrs[group], self._plans.of(group)
        first = f"{self.at(at, group):g} at step {now:g}{where}: base {of:g}, schedule {schedule(at):g}"
        first += "".join(f", {type(c).__name__} {c.factor:g}" for c in flat(self.controllers))
        return "\n".join([first, *(str(change) for change in self.changes if change.step <= now)])

    def state_dict(self) -> dict[str, Any]:
        """Return base rates, controllers and decisions as plain data.

        The schedule is in it in words, and as data if it is not the one with which the run began.
        """
        plans = self._plans
        replaced = {} if plans.given is None else {"replaced": plans.state()}
        return {
            "version": _VERSION,
            "base_lrs": list(self.base_lrs),
            "schedule": self.plan,
            "controllers": [{"kind": type(c).__name__, **c.state_dict()} for c in self.controllers],
            "changes": [asdict(change) for change in self.changes],
            **replaced,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over base rates, controllers' states and decisions; schedule and settings are this object's own.

        Only where the saved run began with the same schedule as this object, and has replaced it since, it is taken over
        too.

        Raises:
            StateError: the state is damaged, or has other controllers, or a replaced schedule that holds a function.
                Nothing has been changed then.
        """
        if state_dict.get("version") != _VERSION:
            raise StateError(
                f"`LearningRate.load_state_dict`: this is not a state of version {_VERSION}. "
                "Pass what `state_dict()` returned."
            )
        try:
            bases = tuple(number("load_state_dict", "base_lrs", base, at_least=0) for base in state_dict["base_lrs"])
            states: Any = state_dict["controllers"]
            changes = [Change(**change) for change in state_dict["changes"]]
            plans = self._plans.loaded(state_dict.get("schedule"), state_dict.get("replaced"), len(bases))
        except StateError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"`LearningRate.load_state_dict`: the state is damaged: {error!r}.") from error
        plans = plans.resized(len(bases))
        load_states("LearningRate", self.controllers, states)
        self.base_lrs, self._plans = bases, plans
        self.changes = deque(changes, maxlen=_KEPT)

    def simulate(self, total_steps: int | None = None, *, group: int = 0) -> Rates:
        """Return the learning rates of all updates of a run; without `total_steps`, of this one, or else its schedule.

        They are a list that can be drawn: `simulate().plot("plan.png")`.

        Examples:
            >>> from surefoot.schedules import linear_decay
            >>> LearningRate(0.5, linear_decay(4)).simulate()
            [0.5, 0.375, 0.25, 0.125]
        """
        known = self.schedule.length if self.total_steps is None else self.total_steps
        steps = known if total_steps is None else total_steps
        cure = "Pass the number of updates."
        count = integer("LearningRate.simulate", "total_steps", steps, at_least=1, cure=cure)
        return Rates(self.at(step, group) for step in range(count))

    def __repr__(self) -> str:
        base = self.base_lrs[0] if len(self.base_lrs) == 1 else list(self.base_lrs)
        controllers = f", controllers={list(self.controllers)!r}" if self.controllers else ""
        return f"LearningRate({base!r}, {self.plan}{controllers})"


def _with(said: str, cause: str) -> str:
    return f"{said}: {cause}" if cause else said


class _Seen(Mapping[str, float]):
    """Metrics that become floats when they are looked at, and remember that they were."""

    __slots__ = ("_metrics", "values_seen")

    def __init__(self, metrics: Mapping[str, Any]) -> None:
        self._metrics = metrics
        self.values_seen: dict[str, float] = {}

    def __getitem__(self, name: str) -> float:
        value = self.values_seen[name] = float(self._metrics[name])
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._metrics

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)


def check_controllers(where: str, controllers: Iterable[Controller]) -> tuple[Controller, ...]:
    """Return controllers as a tuple, or raise: each is one, and none is there twice, also in a chain."""
    cure = "As in `controllers=[Plateau(patience=5)]`."
    if not isinstance(controllers, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise refuse_type(where, "controllers", controllers, "a list of controllers", cure)
    given: Sequence[Controller] = tuple(controllers)
    for controller in given:
        if not isinstance(controller, Controller):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type(where, "controllers", controller, "a list of controllers", cure)
    check_once(where, given)
    return tuple(given)
