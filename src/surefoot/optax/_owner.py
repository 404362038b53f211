"""Own the learning rate in an optimizer's state: schedule and controllers outside of the compiled step, the rate inside."""

# JAX's own types are partial, optax has none:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from surefoot._checks import integer, refuse, refuse_type
from surefoot._errors import StateError
from surefoot.control import Controller, Decision
from surefoot.learning_rate import Change, LearningRate, Rates
from surefoot.optax._transformation import RuleState
from surefoot.schedules import Schedule

log = logging.getLogger("surefoot")


class OptaxLearningRate:
    """A schedule and controllers for a compiled training loop: optimizer state in, optimizer state out.

    Use it where a reading decides about the rate, a plateau, a guard, an edit by hand. A schedule alone needs no owner:
    give it to the optimizer. A plateau without a host is `surefoot.optax.plateau`.

    The rate is in the optimizer's state, and so an argument of the compiled step: a new one never recompiles it. Found
    and written are the `learning_rate` of surefoot's optimizers and that of `optax.inject_hyperparams`, also in a chain,
    `optax.multi_transform`, `MultiSteps`, or a whole train state that holds them. Build the optimizer with a number: a
    schedule in there would come on top.

    Call `step` after each update, outside of the compiled step. Readings may be JAX arrays: only what a controller looks
    at is fetched, so readings that nobody monitors let the device run ahead. An update that was not made (an accumulated
    batch, a step that was not finite) is not to be counted: call `observe` there, or nothing.

    Args:
        base: the rate at which all factors are 1; or a dict by the labels of `optax.multi_transform`.
        schedule: what multiplies it; or a dict by the same labels.
        total_steps: the updates of the whole run; needed if a length of the schedule is open.
        steps_per_epoch: the updates of one pass over the data; needed for lengths in epochs.
        controllers: what watches the readings; see `surefoot.control`.

    Attributes:
        step_count: how many updates have been counted; the state holds the rate of the next.
        decisions: what the latest reading has led to. Going back and skipping are for the loop to do.
        should_stop: whether a controller has asked to stop.

    Raises:
        ArgumentError: if an argument is not allowed.
        ArgumentTypeError: a type that is not allowed.

    Examples:
        >>> import surefoot.optax
        >>> from surefoot.control import Plateau
        >>> from surefoot.schedules import linear_decay
        >>> weights = jnp.ones(3)
        >>> optimizer = surefoot.optax.sgd(0.5)
        >>> lr = OptaxLearningRate(0.5, linear_decay(), 4, controllers=[Plateau("loss", patience=1, factor=0.5)])
        >>> state = lr.write(optimizer.init(weights))
        >>> for loss in (1.0, 1.0):
        ...     updates, state = optimizer.update(weights, state)
        ...     state = lr.step(state, loss=loss)
        >>> print(state.learning_rate)
        0.125
        >>> print(lr.why())
        0.125 at step 2: base 0.5, schedule 0.5, Plateau 0.5
        step 2: 0.25 -> 0.125: loss has not improved on 1 for 1 reading (Plateau)
    """

    def __init__(
        self,
        base: float | Mapping[str, float],
        schedule: Schedule | Mapping[str, Schedule],
        total_steps: int | None = None,
        *,
        steps_per_epoch: float | None = None,
        controllers: Iterable[Controller] = (),
    ) -> None:
        self._labels = list(base) if isinstance(base, Mapping) else None
        bases = list(base.values()) if isinstance(base, Mapping) else base
        self._rate = LearningRate(
            bases,
            self._by_label(schedule),
            total_steps,
            steps_per_epoch=steps_per_epoch,
            controllers=controllers,
        )
        if self._labels is None and len(self._rate.base_lrs) > 1:
            cure = 'As in `OptaxLearningRate({"encoder": 1e-4, "head": 1e-3}, ...)`.'
            raise refuse("OptaxLearningRate", "base", base, "a number, or a dict of labels and numbers", cure)
        self.step_count = 0
        self.decisions: list[Decision] = []
        self.should_stop = False

    def _by_label(self, schedule: Schedule | Mapping[str, Schedule]) -> Schedule | list[Schedule]:
        """Return one schedule for all labels, or a list in their order."""
        labels, cure = self._labels, 'As in `OptaxLearningRate({"a": 1e-4, "b": 1e-3}, {"a": plan, "b": other}, ...)`.'
        if isinstance(schedule, Mapping):
            if labels is None or set(schedule) != set(labels):
                allowed = (
                    f"a dict with the labels of `base`, {labels}" if labels else "a schedule, as `base` is a number"
                )
                raise refuse("OptaxLearningRate", "schedule", schedule, allowed, cure)
            return [schedule[label] for label in labels]
        if not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
            allowed = "a schedule, or a dict of labels and schedules: optax has labels in place of parameter groups"
            raise refuse_type("OptaxLearningRate", "schedule", schedule, allowed, cure)
        return schedule

    @property
    def learning_rate(self) -> float:
        """The rate of the next update; of the first label."""
        return self._rate.at(self.step_count)

    @property
    def learning_rates(self) -> list[float]:
        """The rate of the next update, of every label."""
        return self._rate.current(self.step_count)

    @property
    def schedule(self) -> Schedule:
        """The schedule, with lengths in steps; that of the first label."""
        return self._rate.schedule

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """What watches the readings."""
        return self._rate.controllers

    @property
    def changes(self) -> list[Change]:
        """The latest decisions of the controllers, oldest first."""
        return list(self._rate.changes)

    def at(self, step: float, group: int = 0) -> float:
        """Return the rate at any step, of the label at an index."""
        return self._rate.at(step, group)

    def simulate(self, total_steps: int | None = None, *, group: int = 0) -> Rates:
        """Return the rates of all updates, with the controllers' present factors; `.plot(path)` draws them."""
        return self._rate.simulate(total_steps, group=group)

    def why(self, step: float | None = None) -> str:
        """Return in words what the rate is made of, now or at a step, and the decisions that have led to it."""
        return self._rate.why(self.step_count if step is None else step)

    def step(self, state: Any, metrics: Mapping[str, Any] | None = None, /, **named: Any) -> Any:
        """Count an update, show a reading to the controllers, and return the state with the rate of the next update.

        Args:
            state: the optimizer's state, as `update` returned it.
            metrics: a reading: names and values, JAX arrays too.
            **named: the same, as in `step(state, loss=loss)`.
        """
        self.step_count += 1
        return self.observe(state, metrics, **named)

    def observe(self, state: Any, metrics: Mapping[str, Any] | None = None, /, **named: Any) -> Any:
        """Show a reading that no update belongs to, such as a validation loss; return the state with the rate.

        Args:
            state: the optimizer's state.
            metrics: names and values; see `step`.
            **named: the same.
        """
        if not isinstance(metrics, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            cure = "As in `step(state, loss=loss)`."
            raise refuse_type("OptaxLearningRate", "metrics", metrics, "a mapping of names to values", cure)
        reading = {**(metrics or {}), **named}
        self.decisions = self._rate.observe(self.step_count, reading) if reading else []
        for decision in self.decisions:
            if decision.action == "stop":
                self.should_stop = True
                log.warning("stop at step %d: %s", self.step_count, decision.cause)
        return self.write(state)

    def write(self, state: Any) -> Any:
        """Return the state with the rate of the next update: before the first, and after resuming.

        Raises:
            ArgumentError: there is no learning rate in the state, or none for a label; or it is a schedule's, which would
                be computed anew; or there are many at once.
        """
        rates = dict(zip(self._labels or [None], self.learning_rates, strict=True))
        written: set[str | None] = set()

        def replace(path: Any, node: Any) -> Any:
            if not _holds_rate(node):
                return node
            label = None if self._labels is None else next((k for k in map(_key, path) if k in rates), None)
            if label not in rates:
                return node
            written.add(label)
            return _replaced(node, rates[label])

        new = jax.tree_util.tree_map_with_path(replace, state, is_leaf=_holds_rate)
        missing = [label for label in rates if label not in written]
        if missing:
            of = "" if missing[0] is None else f" of {missing[0]!r}"
            cure = "Build it with surefoot.optax, or as `optax.inject_hyperparams(optax.adamw)(1e-3)`."
            allowed = f"an optimizer's state with the learning rate{of} in it"
            raise refuse("OptaxLearningRate", "state", type(state).__name__, allowed, cure)
        return new

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {**self._rate.state_dict(), "step_count": self.step_count}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go to the step, base rates and controllers' states of a saved run; then `write` the rate.

        Raises:
            StateError: the state is damaged, or has other labels or controllers. Nothing has been changed then.
        """
        try:
            step_count = integer("load_state_dict", "step_count", state_dict["step_count"], at_least=0)
            count = len(state_dict["base_lrs"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"`OptaxLearningRate.load_state_dict`: the state is damaged: {error!r}.") from error
        if count != len(self._rate.base_lrs):
            raise StateError(
                f"`OptaxLearningRate.load_state_dict`: the state has {count} base rates, this has "
                f"{len(self._rate.base_lrs)}. Give a `base` with the same labels."
            )
        self._rate.load_state_dict(state_dict)
        self.step_count = step_count
        self.should_stop = False

    def __repr__(self) -> str:
        return f"<OptaxLearningRate {self.learning_rate:g} at step {self.step_count} of {self._rate.plan}>"


def _holds_rate(node: Any) -> bool:
    """Whether this is a state of ours, or one of inject_hyperparams with a learning rate in it."""
    if isinstance(node, RuleState):
        return True
    values = getattr(node, "hyperparams", None)
    return isinstance(node, tuple) and isinstance(values, Mapping) and "learning_rate" in values


def _key(entry: Any) -> Any:
    """Return the key of a dict in a path; None of any other step."""
    return getattr(entry, "key", None)


def _replaced(node: Any, rate: float) -> Any:
    if isinstance(node, RuleState):
        return node._replace(learning_rate=_like(node.learning_rate, rate))
    if "learning_rate" in getattr(node, "hyperparams_states", ()):
        cure = "Build the optimizer with a number, and give the schedule to OptaxLearningRate."
        raise refuse("OptaxLearningRate", "state", "a schedule's", "one whose rate can be set", cure)
    hyperparams = {**node.hyperparams, "learning_rate": _like(node.hyperparams["learning_rate"], rate)}
    return node._replace(hyperparams=hyperparams)


def _like(old: Any, rate: float) -> jax.Array:
    """Return the rate as an array that compiled code takes for the old one: of its type, weak where it is weak."""
    if jnp.shape(old):
        cure = "For many rates at once, give the schedule to the optimizer: the field is its base then."
        raise refuse("OptaxLearningRate", "state", old, "one with a single learning rate", cure)
    is_weak = getattr(old, "weak_type", False)
    return jnp.asarray(rate) if is_weak else jnp.asarray(rate, jnp.result_type(old))
