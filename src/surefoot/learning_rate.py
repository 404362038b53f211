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
from surefoot.schedules import Schedule

_VERSION = 1
_KEPT = 1000  # changes in memory; who wants them all takes what `observe` returns


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the decision log: a controller has decided something.

    Attributes:
        step: updates made when it was decided; the new rate is that of the next update.
        old: the rate without this decision, of the first parameter group.
        new: the rate with it.
        cause: why, in words.
        controller: who; of a chain, the members.
        action: what was asked for beside the rate, as in `surefoot.control.Decision`.
        metrics: the reading behind it, as far as the controller has looked at it.
    """

    step: int
    old: float
    new: float
    cause: str
    controller: str
    action: str = "continue"
    metrics: dict[str, float] = field(default_factory=dict[str, float])

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
        schedule: the factors of the schedule. None of its values depends on the base.
        total_steps: the optimizer steps of the whole run. Needed if a length of the schedule is open, a share or in
            epochs.
        steps_per_epoch: the optimizer steps of one pass over the data; needed for lengths in epochs.
        controllers: what watches the run; see `surefoot.control`.

    Attributes:
        base_lrs: the base rate of each parameter group.
        schedule: the schedule with lengths in steps.
        controllers: as given.
        changes: the latest decisions, oldest first.

    Raises:
        ArgumentError: if an argument is not allowed, or a length of the schedule is not known.

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

    __slots__ = ("base_lrs", "changes", "controllers", "schedule")

    base_lrs: tuple[float, ...]
    schedule: Schedule
    controllers: tuple[Controller, ...]
    changes: deque[Change]

    def __init__(
        self,
        base: float | Iterable[float],
        schedule: Schedule,
        total_steps: int | None = None,
        *,
        steps_per_epoch: float | None = None,
        controllers: Iterable[Controller] = (),
    ) -> None:
        bases: list[Any] = list(base) if isinstance(base, Iterable) and not isinstance(base, str) else [base]
        if not bases:
            raise refuse("LearningRate", "base", base, "a number, or one number per parameter group")
        self.base_lrs = tuple(number("LearningRate", "base", value, at_least=0) for value in bases)
        if not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type("LearningRate", "schedule", schedule, "a schedule", "See `surefoot.schedules`.")
        self.schedule = schedule if total_steps is None else schedule.resolve(total_steps, steps_per_epoch)
        self.schedule(0)  # raises now, and not in the middle of a run, if a length is not known
        self.controllers = check_controllers("LearningRate", controllers)
        self.changes = deque(maxlen=_KEPT)

    @property
    def factor(self) -> float:
        """The product of the controllers' factors."""
        return math.prod(controller.factor for controller in self.controllers)

    def at(self, step: float, group: int = 0) -> float:
        """Return the learning rate of one parameter group at `step`, with the controllers' present factors."""
        return self.base_lrs[group] * (self.schedule(step) * self.factor)  # as in `current`, to the last bit

    def current(self, step: float) -> list[float]:
        """Return the learning rate of every parameter group at `step`, with the controllers' present factors."""
        factor = self.schedule(step) * self.factor
        return [base * factor for base in self.base_lrs]

    def observe(self, step: int, metrics: Mapping[str, Any]) -> list[Decision]:
        """Show a reading to every controller; return what was decided, in their order.

        Args:
            step: how many updates have been made.
            metrics: what was measured; NaN and infinity are values. Anything that `float` takes; it is asked for only
                when a controller looks at it, so that a value on an accelerator is not waited for in vain.

        A rate that changed is the rate of the next update: read it with `at` or `current`. What else was decided
        (`Decision.action`) is for the caller to do.
        """
        decisions: list[Decision] = []
        for controller in self.controllers:
            old, seen = self.at(step), _Seen(metrics)
            decision = controller.observe(Reading(step, seen, max(self.current(step))))
            if decision is not None:
                decisions.append(decision)
                who, new = decision.by or type(controller).__name__, self.at(step)
                self.changes.append(Change(step, old, new, decision.cause, who, decision.action, seen.values_seen))
        return decisions

    def why(self, step: float | None = None) -> str:
        """Return in words what the rate is made of at a step, and the decisions that have led to it."""
        at = self.changes[-1].step if step is None and self.changes else step or 0
        lines = [f"{self.at(at):g} at step {at:g}: base {self.base_lrs[0]:g}, schedule {self.schedule(at):g}"]
        lines[0] += "".join(f", {type(c).__name__} {c.factor:g}" for c in flat(self.controllers))
        return "\n".join([*lines, *(str(change) for change in self.changes if change.step <= at)])

    def state_dict(self) -> dict[str, Any]:
        """Return base rates, controllers and decisions as plain data; the schedule is in it in words."""
        return {
            "version": _VERSION,
            "base_lrs": list(self.base_lrs),
            "schedule": repr(self.schedule),
            "controllers": [{"kind": type(c).__name__, **c.state_dict()} for c in self.controllers],
            "changes": [asdict(change) for change in self.changes],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over base rates, controllers' states and decisions; schedule and settings are this object's own.

        Raises:
            StateError: the state is damaged, or has other controllers. Nothing has been changed then.
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
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"`LearningRate.load_state_dict`: the state is damaged: {error!r}.") from error
        load_states("LearningRate", self.controllers, states)
        self.base_lrs = bases
        self.changes = deque(changes, maxlen=_KEPT)

    def simulate(self, total_steps: int | None = None, *, group: int = 0) -> Rates:
        """Return the learning rates of all updates of a run; without `total_steps`, of the schedule's length.

        They are a list that can be drawn: `simulate().plot("plan.png")`.

        Examples:
            >>> from surefoot.schedules import linear_decay
            >>> LearningRate(0.5, linear_decay(4)).simulate()
            [0.5, 0.375, 0.25, 0.125]
        """
        steps = self.schedule.length if total_steps is None else total_steps
        cure = "Pass the number of updates."
        count = integer("LearningRate.simulate", "total_steps", steps, at_least=1, cure=cure)
        return Rates(self.at(step, group) for step in range(count))

    def __repr__(self) -> str:
        base = self.base_lrs[0] if len(self.base_lrs) == 1 else list(self.base_lrs)
        controllers = f", controllers={list(self.controllers)!r}" if self.controllers else ""
        return f"LearningRate({base!r}, {self.schedule!r}{controllers})"


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
