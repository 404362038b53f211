"""Keras callbacks for the one learning rate: schedule, plateau, guard and edits by hand, in one place and logged."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import keras
from surefoot._checks import integer, one_of, refuse, refuse_type
from surefoot._errors import ArgumentError
from surefoot.control import Controller, Decision, flat
from surefoot.keras._owner import Owner, Per, owner_of
from surefoot.keras._rates import metrics_of, say
from surefoot.learning_rate import Change, check_controllers
from surefoot.schedules import Schedule


class RateCallback(keras.callbacks.Callback):
    """What all callbacks here share: they act through the one owner of the model's learning rate."""

    is_lasting: bool = True
    per: Per = "epoch"
    schedule: Any = None
    function: Callable[[int, float, int], float] | None = None
    controllers: tuple[Controller, ...] = ()
    verbose: int = 0
    reads: str = "epoch"

    def __init__(self) -> None:
        super().__init__()
        self._owner: Owner | None = None

    @property
    def changes(self) -> list[Change]:
        """The decisions of the run so far, oldest first."""
        return (
            [] if self._owner is None or self._owner.learning_rate is None else list(self._owner.learning_rate.changes)
        )

    @property
    def history(self) -> list[tuple[int, float]]:
        """The rate of each update, or epoch, of the run so far, as (time, rate) of the first optimizer."""
        return [] if self._owner is None else self._owner.history

    def why(self) -> str:
        """Return in words what the rate is made of, and the decisions that have led to it."""
        if self._owner is None or self._owner.learning_rate is None:
            return "No epoch has been trained yet."
        lr, time = self._owner.learning_rate, self._owner.history[-1][0] if self._owner.history else 0
        latest = max([time, *(change.step for change in lr.changes)])
        text = lr.why(latest)
        if self._owner.per == "step":
            return text
        return re.sub(r"^(step )|(?<= at )step ", "epoch ", text, flags=re.MULTILINE)

    def set_model(self, model: Any) -> None:
        """Take the model; its files keep the state of the learning rate from now on. Keras calls it."""
        owner = owner_of(model)
        if self._owner is not None and self._owner is not owner:
            self._owner.leave(self)
            self.begin_anew()  # what was counted belongs to the other model
        self._owner = owner
        super().set_model(model)

    def begin_anew(self) -> None:
        """Forget what has been counted."""

    def on_train_begin(self, logs: Any = None) -> None:
        """Check that all fits together."""
        del logs
        self.owner.join(self, self.model, self.params)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Write the rate of the epoch."""
        del logs
        self._join_if_alone()
        if self.owner.members[:1] == [self]:
            self.owner.begin_epoch(self.model, epoch)
            # Not a method: a call a batch, however short, can be measured beside the step of a small model.
            vars(self).pop("on_train_batch_begin", None)
            if self.owner.needs_batches():
                self.on_train_batch_begin = self._begin_batch

    def _begin_batch(self, batch: int, logs: Any = None) -> None:
        """Write the rate of the batch, where it is not computed inside the step."""
        del logs
        owner = self._owner
        if owner is not None and owner.members[:1] == [self]:
            owner.begin_batch(self._get_model, batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the rate, then show the logs to the controllers."""
        logs = {} if logs is None else logs
        self._join_if_alone()
        owner = self.owner
        owner.log(self.model, epoch, logs)
        if owner.observer is self:
            metrics = metrics_of(logs)
            changes = owner.end_epoch(self.model, epoch, metrics)
            for member in owner.members:
                if isinstance(member, RateCallback):
                    member.tell(epoch, changes, metrics)

    def on_train_end(self, logs: Any = None) -> None:
        """Let the next fit have other callbacks."""
        del logs
        self.owner.end()

    def on_test_begin(self, logs: Any = None) -> None:
        """Note the metrics of training, before those of the validation take their place."""
        del logs
        if self._owner is not None and self._owner.is_running and self._owner.observer is self:
            self._owner.note(metrics_of(self._get_model().get_metrics_result()))

    def on_test_end(self, logs: Any = None) -> None:
        """Note the metrics of the validation."""
        if self._owner is not None and self._owner.observer is self:
            self._owner.note({f"val_{n}": value for n, value in metrics_of(logs).items()}, is_validation=True)

    def tell(self, epoch: int, changes: list[tuple[Change, Decision]], metrics: dict[str, float]) -> None:
        """Say what has changed and what could not be read."""

    def _join_if_alone(self) -> None:
        """Begin a fit where a loop of one's own has not: without `on_train_begin` Keras' callbacks act too."""
        if self not in self.owner.members:
            self.on_train_begin()

    def _get_model(self) -> Any:
        """Return the model; on JAX that brings its variables up to date, which takes time."""
        return self.model

    def read_batches(self) -> None:
        """Let the controllers read the logs of each batch; what follows in the list of callbacks sees the rate there."""
        self.reads = "step"
        self.on_train_batch_end = self._read_batch  # not a method: Keras would wait for each batch of every fit

    def _read_batch(self, batch: int, logs: Any = None) -> None:
        """Show the logs of a batch to the controllers."""
        del batch
        model, owner = self._get_model(), self.owner
        time = owner.time(model.optimizer)
        owner.record(time)
        metrics = metrics_of(logs)
        if logs is not None and owner.learning_rate is not None:
            logs["learning_rate"] = owner.learning_rate.at(time)  # before any reduction
        changes = owner.observe(model, time, metrics)
        if changes:
            self.tell(owner.epoch, changes, metrics)

    @property
    def owner(self) -> Owner:
        """The one owner of the model's learning rate."""
        if self._owner is None:
            raise ArgumentError(
                f"`{type(self).__name__}` has no model yet. Pass it to `fit`, or call `set_model` first."
            )
        return self._owner


class LearningRateControl(RateCallback):
    """Control the learning rate of a fit in one place: `base * schedule * product of the controllers' factors`.

    Use it for anything beyond one plateau or one function of the epoch: a schedule with a warm-up, a plateau on top, a
    guard against divergence, edits by hand while the run goes on. It multiplies all of them, logs each decision with
    its cause, and goes on after a crash. `base` is the optimizer's rate when training first begins.

    A step is an update that really happened: right under gradient accumulation, loss scaling and `initial_epoch`. A fit
    from epoch 0 is a new run, which begins anew with the same base; one with an `initial_epoch` goes on.

    The rate of each epoch's last update is in the logs as `learning_rate` (`learning_rate_{name}` for each optimizer of
    a MultiOptimizer); a TensorBoard callback reads the rate itself, so put it before this one.

    Cost: with an optimizer of `surefoot.keras` a schedule per step is computed inside the compiled step, for next to
    nothing. With others it is written before each batch, which on JAX costs about as much as the step of a small model;
    then take `per="epoch"`, or change the optimizer's import. Under `steps_per_execution` such a rate holds for all
    steps of an execution.

    State: optimizers of `surefoot.keras` carry it in every file of the model. With those of Keras it is in the files of
    BackupAndRestore, ModelCheckpoint and `model.save`, and is read by `load_weights` once the callback has the model
    (`callback.set_model(model)`), as inside `fit`; `load_model` cannot read it.

    Args:
        schedule: from `surefoot.schedules`; None for a constant. Open lengths ("5%", "3 epochs") are those of the fit.
        controllers: from `surefoot.control`. They read the logs of each epoch.
        per: "step" or "epoch", what the schedule is a function of.
        reads: "epoch", or "step": the controllers read the logs of each batch (Keras' running means), which costs a
            synchronization per step on JAX.
        total_steps: updates of the whole run, where the data does not tell its length.
        verbose: 1 prints each decision.

    Attributes:
        changes: the decisions so far, with their causes.
        history: (time, rate) of each update, or of each epoch.

    Raises:
        ArgumentError: a value that is not allowed; at the start of a fit, a length that is not known.
        ArgumentTypeError: a type that is not allowed, or a rate that cannot be changed.

    Examples:
        >>> import numpy as np
        >>> from surefoot.control import Plateau
        >>> from surefoot.schedules import linear_decay
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> control = LearningRateControl(linear_decay(to=0.5), [Plateau("loss", patience=2)], per="epoch")
        >>> x = np.zeros((4, 1))
        >>> log = model.fit(x, x, epochs=4, verbose=0, callbacks=[control])
        >>> print(np.round(log.history["learning_rate"], 6))
        [0.01     0.00875  0.0075   0.000625]
        >>> print(control.changes[0])
        step 3: 0.00625 -> 0.000625: loss has not improved on 0 for 2 readings (Plateau)
    """

    def __init__(
        self,
        schedule: Schedule | None = None,
        controllers: Iterable[Controller] = (),
        *,
        per: str = "step",
        reads: str = "epoch",
        total_steps: int | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        where = "LearningRateControl"
        if schedule is not None and not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
            cure = "See `surefoot.schedules`; for a function of the epoch take LearningRateScheduler."
            raise refuse_type(where, "schedule", schedule, "a schedule of surefoot", cure)
        self.schedule = schedule
        self.controllers = check_controllers(where, controllers)
        self.per = "step" if one_of(where, "per", per, ("step", "epoch")) == "step" else "epoch"
        self.reads = one_of(where, "reads", reads, ("step", "epoch"))
        cure = "It counts updates, for per='step'; per='epoch' takes the epochs of the fit."
        if total_steps is not None and self.per == "epoch":
            raise refuse(where, "total_steps", total_steps, "left out", cure)
        self.total_steps = None if total_steps is None else integer(where, "total_steps", total_steps, at_least=1)
        self.verbose = check_verbose(where, verbose)
        if self.reads == "step":
            if self.per == "epoch":
                raise refuse(where, "reads", reads, "epoch where per='epoch'", "Take per='step' too.")
            self.read_batches()
        for controller in flat(self.controllers):
            if getattr(controller, "action", None) == "skip":
                raise refuse(
                    where,
                    "controllers",
                    controller,
                    "ones that do not skip updates: Keras has made the update when it tells of it",
                    "Take action='cut' or 'rewind'. A keras.optimizers.LossScaleOptimizer skips updates that are not "
                    "finite.",
                )
        self._initial = [controller.state_dict() for controller in self.controllers]

    def begin_anew(self) -> None:
        """Put the controllers back to what they were when they were given."""
        for controller, state in zip(self.controllers, self._initial, strict=True):
            controller.load_state_dict(state)

    def tell(self, epoch: int, changes: list[tuple[Change, Decision]], metrics: dict[str, float]) -> None:
        """Say what has changed and what could not be read."""
        for controller in flat(self.controllers) if self.reads == "epoch" else ():
            monitor = getattr(controller, "monitor", None)
            if monitor is not None and monitor not in metrics:
                self.owner.warn(
                    missing_monitor(type(controller).__name__, monitor, epoch, metrics), cause=f"no {monitor}"
                )
        if self.verbose:
            for change, _ in changes:
                verb = "keeping" if change.new == change.old else "reducing" if change.new < change.old else "raising"
                action = "" if change.action == "continue" else f" [{change.action.replace('_', ' ')}]"
                name = type(self).__name__
                say(f"\nEpoch {epoch + 1}: {name} {verb} learning rate to {change.new:g}: {change.cause}{action}.")


def missing_monitor(where: str, monitor: str, epoch: int, metrics: Iterable[str]) -> str:
    """Return the sentence on a metric that does not appear."""
    there = ", ".join(name for name in metrics if not name.startswith("learning_rate"))
    cure = (
        "Pass `validation_data` or `validation_split` to fit (with a `validation_freq` it may still come)."
        if monitor.startswith("val_")
        else "Is it compiled as a metric of the model?"
    )
    return f"`{where}` cannot act: the metric {monitor!r} is not in the logs of epoch {epoch + 1}, only {there}. {cure}"


def check_verbose(where: str, verbose: object) -> int:
    """Return how much to print: 0, 1 or 2; True and False too, as in Keras."""
    if isinstance(verbose, bool):
        return int(verbose)
    return integer(where, "verbose", verbose, at_least=0)
