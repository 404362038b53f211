"""The one owner of a model's learning rate, which all callbacks of a fit share.

Time is counted in epochs, or in updates from the start of the schedule; `LearningRate` itself does not care. Every rate
is computed from that count and from plain state, and written through the model's optimizer of the moment.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import json
import math
import warnings
import weakref
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from surefoot._errors import ArgumentError, ArgumentTypeError, StateError, SurefootWarning
from surefoot.control import Controller, Decision, flat
from surefoot.keras._kept import VERSION, Kept, read
from surefoot.keras._rates import (
    accumulation,
    batches,
    can_hold_schedule,
    host_schedule,
    is_settable,
    latest_host_rate,
    leaves,
    log_names,
    make_step_anew,
    metrics_of,
    present_rate,
    put_in_step,
    raw_rate,
    rounded,
    updates,
    write_raw,
)
from surefoot.keras._snapshots import Snapshots
from surefoot.keras._step import InStep
from surefoot.learning_rate import Change, LearningRate
from surefoot.schedules import Schedule, constant

Per = Literal["epoch", "step"]


class Member(Protocol):
    """What a callback brings into the one learning rate.

    Attributes:
        per: what its schedule or function is a function of.
        schedule: factors of the base rate, or None.
        function: `(time, rate, index of the optimizer) -> rate`, or None.
        controllers: what watches the run.
        reads: whether the controllers read the logs of each "epoch" or "step".
        is_lasting: whether base and counts outlive a fit; Keras' own callbacks begin anew with each.
    """

    per: Per
    schedule: Schedule | None
    function: Callable[[int, float, int], float] | None
    controllers: tuple[Controller, ...]
    reads: str
    is_lasting: bool

    def begin_anew(self) -> None:
        """Forget what has been counted."""
        ...


class Owner:
    """The learning rate of one model, and the callbacks that have a say in it.

    Attributes:
        learning_rate: None before the first epoch.
        members: the callbacks of the present fit.
        is_running: whether an epoch has begun and not ended.
    """

    def __init__(self) -> None:
        self.learning_rate: LearningRate | None = None
        self.members: list[Member] = []
        self.is_running = False
        self._model: Callable[[], Any] = lambda: None
        self._optimizer: Any = None
        self._kept = [Kept()]
        self._had_state = False  # before this fit; what is loaded later, BackupAndRestore has loaded
        self._fit: dict[str, Any] | None = None  # the `params` of the fit, one object for all its callbacks
        self._is_started = False
        self._epoch = 0  # whose begin was seen last
        self._epochs_read = 0
        self._pending: dict[str, float] = {}  # what is known of the epoch before its reading
        self._factor_before: float | None = None  # the controllers', before the latest reading of this epoch
        self._saved: tuple[int, set[str]] | None = None  # at the latest save within an epoch: updates, known metrics
        self._origin = 0  # updates that had been made where the schedule begins
        self._batches = 0  # that the optimizer had seen when the epoch began
        self._is_validated = False  # the epoch, which is trained then
        self._asked: int | None = None  # the time that the function was asked about last
        self._first: tuple[float, ...] | None = None  # the rates when training began for the first time
        self._written: list[float] = []
        self._is_in_step = False
        self._is_hosted = False  # the optimizer was built with a schedule of Keras
        self._steps, self._rates = array("q"), array("d")
        self._recorded = 0  # time up to which there is a record
        self._logged: object = None
        self._snapshots = Snapshots()
        self._said: set[str] = set()

    # Who takes part

    def attach(self, model: Any) -> None:
        """Let Keras' files carry the state of this owner with those of the model."""
        self._kept = [self._kept[0]]
        model._learning_rate_state = self._kept[0]  # noqa: SLF001 - Keras' saving finds it there
        for leaf in leaves(model.optimizer) if getattr(model, "optimizer", None) is not None else ():
            if isinstance(getattr(leaf, "learning_rate_state", None), Kept):
                self._kept.append(leaf.learning_rate_state)
        for kept in self._kept:
            kept.write = self._dump
        self._model = weakref.ref(model)
        self._had_state = any(kept.loaded is not None for kept in self._kept)

    def join(self, member: Member, model: Any, params: dict[str, Any] | None) -> None:
        """Take a callback into the fit that begins, and check that all fits together."""
        if self._is_started or self._fit is not params or member in self.members:  # all join before the first epoch
            self.members, self._fit = [], params
        self.members.append(member)
        self._is_started = self.is_running = False
        where = type(member).__name__
        scheduled = [m for m in self.members if m.schedule is not None or m.function is not None]
        if len(scheduled) > 1:
            raise ArgumentError(
                f"`{where}`: this fit has two schedules, also that of {type(scheduled[0]).__name__}. "
                "Multiply them (`a * b`) in one callback, or leave one out."
            )
        if len([m for m in self.members if m.controllers]) > 1 and any(m.reads == "step" for m in self.members):
            raise ArgumentError(f"`{where}`: controllers that read each step cannot share a fit with others.")
        if not leaves(model.optimizer):  # a MultiOptimizer that asks a function, on TensorFlow before the first batch
            model.optimizer.build(model.trainable_variables)
        for leaf in leaves(model.optimizer):
            self._check_settable(member, leaf)
        self._schedule(model)  # raises now if a length is not known
        state = self._peek()
        if state is not None and not self._had_state and state["trained"] == (model._initial_epoch or 0) + 1 > 1:  # noqa: SLF001
            # BackupAndRestore was killed after it had written the weights, and before it wrote down the epoch.
            model._initial_epoch = state["trained"]  # noqa: SLF001

    def _check_settable(self, member: Member, leaf: Any) -> None:
        where = type(member).__name__
        if host_schedule(leaf) is not None:
            if member.schedule is not None or member.function is not None:
                raise ArgumentTypeError(
                    "This optimizer was created with a `LearningRateSchedule`, and "
                    f"`{where}` brings a schedule of its own. Give the optimizer a number as `learning_rate`."
                )
        elif not is_settable(leaf):
            raise ArgumentTypeError(
                f"`{where}`: the learning rate of the optimizer {leaf.name!r} is a function, which cannot be changed. "
                "Give the optimizer a number as `learning_rate`."
            )

    def end(self) -> None:
        """End the fit; its callbacks stay until others come, so that one may ask them."""
        self._is_started, self.is_running = True, False

    def leave(self, member: Member) -> None:
        """Let a callback go that serves another model now."""
        if member in self.members:
            self.members.remove(member)
            if self.is_running:
                self.warn(
                    f"A `{type(member).__name__}` goes to another model within an epoch of its first. It begins anew "
                    "there, and no longer serves the first: make one callback per model."
                )

    @property
    def observer(self) -> Member | None:
        """The callback at whose turn readings are taken: the last that has controllers, for logs that others add."""
        return next((m for m in reversed(self.members) if m.controllers), self.members[-1] if self.members else None)

    @property
    def epoch(self) -> int:
        """The epoch that began last."""
        return self._epoch

    @property
    def per(self) -> Per:
        """What time is counted in."""
        scheduled = [m for m in self.members if m.schedule is not None or m.function is not None]
        first = next(iter(scheduled or [m for m in self.members if m.is_lasting]), None)
        return "epoch" if first is None else first.per

    def total_of(self, model: Any, total_steps: int | None = None) -> tuple[int | None, float | None]:
        """Return the time that the fit will take, and that of one epoch; None where it is not known."""
        params = self._fit or {}
        epochs, batches = params.get("epochs"), params.get("steps")
        if self.per == "epoch":
            return epochs, 1
        every = max(accumulation(leaf) for leaf in leaves(model.optimizer))
        each = batches / every if batches else None
        return total_steps or (max(1, epochs * batches // every) if each and epochs else None), each

    def _schedule(self, model: Any) -> Schedule:
        """Return the schedule with lengths in the units of time."""
        member = next((m for m in self.members if m.schedule is not None), None)
        if member is None or member.schedule is None:
            return constant()
        if member.schedule.is_resolved:
            return member.schedule  # this fit may be a part of it
        total, each = self.total_of(model, getattr(member, "total_steps", None))
        if total is None:
            cure = "Pass `total_steps`, " if hasattr(member, "total_steps") else ""
            raise ArgumentError(
                f"`{type(member).__name__}(schedule={member.schedule!r})`: how many steps this fit takes is not known, "
                f'as the data does not tell its length. {cure}`steps_per_epoch` to fit, or per="epoch".'
            )
        return member.schedule.resolve(total, each)

    @property
    def is_scheduled(self) -> bool:
        """Whether the rate changes by itself."""
        found = leaves(self._optimizer) if self._optimizer is not None else []
        has_schedule = any(m.schedule is not None or m.function is not None for m in self.members)
        return has_schedule or any(host_schedule(leaf) is not None for leaf in found)

    @property
    def _function(self) -> Callable[[int, float, int], float] | None:
        return next((m.function for m in self.members if m.function is not None), None)

    # When an epoch begins

    def begin_epoch(self, model: Any, epoch: int) -> None:
        """Write the rate of the epoch; at the first of a fit, find out where the run stands."""
        found = leaves(model.optimizer)
        if self._is_started:
            self._adopt(found)
        else:
            self._start(model, epoch)
        self._epoch, self._pending = epoch, {}
        self.is_running, self._saved, self._asked, self._factor_before = True, None, None, None
        self._batches, self._is_validated = batches(found), False
        time = self.time(model.optimizer)
        self.ask(found, time)
        if self.raw(time) != self._written:  # what is written is there: `_adopt` has just looked
            self._write(model, time)

    def time(self, optimizer: Any) -> int:
        """Return the present time: the epoch, or the updates since the start of the schedule."""
        if self.per == "epoch":
            return self._epoch
        return updates(leaves(optimizer)) - self._origin

    def _start(self, model: Any, epoch: int) -> None:
        optimizer, before = model.optimizer, self.learning_rate
        found = leaves(optimizer)
        is_lasting = all(m.is_lasting for m in self.members)
        is_same = self._optimizer is optimizer and before is not None
        state = self._loaded(epoch)
        goes_on = state is None and is_same and is_lasting and epoch > 0
        if not goes_on:
            for member in self.members:
                member.begin_anew()
            self._steps, self._rates, self._recorded = array("q"), array("d"), -1
        is_untouched = is_same and [raw_rate(leaf) for leaf in found] == rounded(self._written)
        bases = self._first if is_lasting and is_untouched else None
        if bases is None:
            if state is None and epoch > 0 and not is_same and is_lasting and self.is_scheduled and updates(found):
                self.warn(
                    f"The run goes on at epoch {epoch + 1}, and no state of its learning rate was loaded: the rate that "
                    "the optimizer has is taken for the base, also if it is one that a schedule has lowered. "
                    "Optimizers of surefoot.keras keep the state in every file."
                )
            bases = tuple(present_rate(leaf) for leaf in found)
        controllers = [c for m in self.members for c in m.controllers]
        lr = self.learning_rate = LearningRate(bases, self._schedule(model), controllers=controllers)
        state = None if state is None else self._take(state, len(found))
        if goes_on and before is not None:
            lr.base_lrs = before.base_lrs
            lr.changes.extend(before.changes)
        elif self.per == "step":
            each = self.total_of(model)[1] or 0
            self._origin = updates(found) - round(epoch * each) if state is None else state["origin"]
        self._first = lr.base_lrs if is_lasting else None
        self._optimizer, self._epoch, self._epochs_read = optimizer, epoch, epoch
        self._is_hosted = host_schedule(found[0]) is not None
        self._is_in_step = (
            self.per == "step" and any(m.schedule is not None for m in self.members) and can_hold_schedule(optimizer)
        )
        in_step = InStep(lr.schedule, self._origin) if self._is_in_step else None
        if any([put_in_step(leaf, in_step) for leaf in found if hasattr(leaf, "in_step")]):  # noqa: C419 - all of them
            make_step_anew(model)
        time = self.time(optimizer)
        self._recorded = max(self._recorded, time) if goes_on else time
        if state is not None and state["epoch"] == epoch - 1 and state["pending"]:
            lr.observe(time, state["pending"])  # saved after the epoch, before its reading
        self._snapshots.begin(model, controllers)
        self._written, self._is_started = [], True

    def ask(self, found: Sequence[Any], time: int) -> None:
        """Let a function of the time say the base rates."""
        function = self._function
        lr = self.learning_rate
        if function is None or lr is None:
            return
        self._asked = time
        factor = lr.factor or 1.0
        lr.base_lrs = tuple(function(time, raw_rate(leaf) / factor, i) for i, leaf in enumerate(found))

    def rate_of(self, index: int) -> float:
        """Return the rate that was written last for one of the optimizers, unrounded."""
        lr = self.learning_rate
        assert lr is not None
        return lr.at(self.time(self._optimizer), index) if self._is_in_step else self._written[index]

    def _adopt(self, found: Sequence[Any]) -> None:
        """Take a rate that somebody else has written for the base: what we decide multiplies it, as in Keras."""
        lr = self.learning_rate
        if lr is None or not self._written:
            return
        present = [raw_rate(leaf) for leaf in found]
        if present == rounded(self._written):
            return
        shares = [w / base if base else 0.0 for w, base in zip(self._written, lr.base_lrs, strict=True)]
        lr.base_lrs = tuple(rate / share if share else rate for rate, share in zip(present, shares, strict=True))
        self._written = present
        if any(m.is_lasting for m in self.members):
            self.warn(
                f"Something else has set the learning rate to {present[0]:g}; the schedule goes on from there. Use a "
                "`surefoot.control.Manual` among the controllers: it is logged, and survives a resume.",
                cause="written by others",
            )

    # Writing

    def raw(self, time: int) -> list[float]:
        """Return what the optimizers must hold for the rates at a time."""
        lr = self.learning_rate
        assert lr is not None
        if self._is_in_step or self._is_hosted:
            return [base * lr.factor for base in lr.base_lrs]
        rates = lr.current(time)
        if len(rates) > 1:  # each has its own floor, as in Keras; one alone is held there by its Plateau
            floor = max((float(getattr(c, "min_lr", 0.0)) for c in flat(lr.controllers)), default=0.0)
            rates = [max(rate, min(floor, base)) for rate, base in zip(rates, lr.base_lrs, strict=True)]
        return rates

    def _write(self, model: Any, time: int) -> None:
        found = leaves(model.optimizer)
        self._written = self.raw(time)
        if any([write_raw(leaf, rate) for leaf, rate in zip(found, self._written, strict=True)]):  # noqa: C419
            make_step_anew(model)

    def needs_batches(self) -> bool:
        """Whether rates must be written before each batch: those of Keras' own optimizers, and of functions."""
        return self.per == "step" and not self._is_in_step and not self._is_hosted

    def begin_batch(self, model_of: Callable[[], Any], batch: int) -> None:
        """Write the rate of a batch, and touch the model only if it differs: on JAX that costs as much as a step."""
        lr = self.learning_rate
        if lr is None or not self.needs_batches():
            return
        estimate = (self._batches + batch) // accumulation(leaves(self._optimizer)[0]) - self._origin
        if estimate == self._asked or (self._function is None and lr.current(estimate) == self._written):
            return
        model = model_of()
        found, time = leaves(model.optimizer), self.time(model.optimizer)
        self.record(time)
        self.ask(found, time)
        self._asked = estimate
        if self.raw(time) != self._written:
            self._write(model, time)

    # When an epoch ends

    def rates(self, found: Sequence[Any], time: int) -> list[float]:
        """Return the true rates of the latest update, which was made at this time."""
        lr = self.learning_rate
        assert lr is not None
        if not self._is_hosted:
            return lr.current(time) if self._is_in_step else self.raw(time)
        return [latest_host_rate(leaf) * factor for leaf, factor in zip(found, self.raw(time), strict=True)]

    def log(self, model: Any, epoch: int, logs: dict[str, Any]) -> None:
        """Write the rates of the epoch's last update into its logs, once for all callbacks."""
        if not self._is_started:
            self.begin_epoch(model, epoch)  # driven by hand
        if self._logged is logs:
            return
        self._logged, self._epoch = logs, epoch
        optimizer = model.optimizer
        found, time = leaves(optimizer), self.time(optimizer)
        self._adopt(found)
        latest = time if self.per == "epoch" else max(0, time - 1)
        rates = list(self._written) if self.needs_batches() else self.rates(found, latest)
        if self._factor_before and self.learning_rate is not None and self.learning_rate.factor:
            rates = [rate * self._factor_before / self.learning_rate.factor for rate in rates]  # read after that update
        for i, leaf in enumerate(found):
            if getattr(leaf, "decay", 0.0):
                rates[i] /= 1.0 + leaf.decay * max(0, updates([leaf]) - 1)
        logs.update(zip(log_names(optimizer), rounded(rates), strict=True))
        if self._is_hosted:  # the schedule of Keras is asked once an epoch: each answer is a call to the device
            self._steps.append(latest)
            self._rates.append(rates[0])
        self.record(time + 1 if self.per == "epoch" else time)

    def record(self, until: int) -> None:
        """Record the rates of all times before `until`, with the factors of now."""
        lr = self.learning_rate
        if lr is None or self._is_hosted:
            return
        for time in range(self._recorded, until):
            self._steps.append(time)
            self._rates.append(self._written[0] if self.needs_batches() and self._written else lr.at(time))
        self._recorded = max(self._recorded, until)

    def observe(self, model: Any, time: int, metrics: dict[str, float]) -> list[tuple[Change, Decision]]:
        """Show a reading to all controllers, write the new rate, and do what they ask for."""
        lr = self.learning_rate
        assert lr is not None
        self._factor_before = lr.factor
        is_best = self._snapshots.watch(lr.controllers)
        decisions = lr.observe(time, metrics)
        changes = list(lr.changes)[len(lr.changes) - len(decisions) :]
        if is_best():
            self._snapshots.keep_best(model)
        for decision in decisions:
            self._do(model, decision)
        if not any(d.action == "rewind" for d in decisions) and all(map(math.isfinite, metrics.values())):
            self._snapshots.keep_good(model)
        if decisions:
            self._write(model, time)
        return list(zip(changes, decisions, strict=True))

    def end_epoch(self, model: Any, epoch: int, metrics: dict[str, float]) -> list[tuple[Change, Decision]]:
        """Take the reading of an epoch."""
        time = epoch + 1 if self.per == "epoch" else self.time(model.optimizer)
        assert self.learning_rate is not None
        monitored = {str(getattr(c, "monitor", None)) for c in flat(self.learning_rate.controllers)} & set(metrics)
        if self._saved is not None and self._saved[0] == updates(leaves(model.optimizer)):
            lacking = sorted(monitored - self._saved[1])
            if lacking:
                self.warn(
                    f"The model is saved before the reading of {lacking[0]} is taken, so that a resumed run lacks one. "
                    "In fit's list of callbacks put BackupAndRestore and ModelCheckpoint after those of surefoot."
                )
        reads_steps = any(m.reads == "step" for m in self.members)
        found = [] if reads_steps else self.observe(model, time, metrics)
        self._epochs_read, self.is_running = epoch + 1, False
        return found

    def note(self, metrics: dict[str, float], *, is_validation: bool = False) -> None:
        """Note what has been measured of the epoch before it ends; a save may come before the reading."""
        if self.is_running:
            self._pending.update(metrics)
            self._is_validated = self._is_validated or is_validation

    def _do(self, model: Any, decision: Decision) -> None:
        if decision.action == "stop":
            model.stop_training = True
        elif decision.action == "skip":
            self.warn("A controller asks to skip an update, which Keras has made already; it stays.")
        elif decision.action in {"restore_best", "rewind"} and not self._snapshots.restore(model, decision.action):
            self.warn(
                f"A controller asks to go back ({decision.action}), and there is no snapshot yet: those in memory do "
                "not outlive a process. The weights stay."
            )

    def warn(self, text: str, cause: str = "") -> None:
        """Warn once of each cause."""
        cause = cause or text
        if cause not in self._said:
            self._said.add(cause)
            warnings.warn(text, SurefootWarning, stacklevel=2)

    # State

    @property
    def history(self) -> list[tuple[int, float]]:
        """Time and rate of all that has been trained since the run began, or was resumed."""
        return list(zip(self._steps, self._rates, strict=True))

    def _dump(self) -> str | None:
        if self.learning_rate is None:
            return next((kept.loaded for kept in self._kept if kept.loaded is not None), None)
        pending: dict[str, float] = {}
        trained, model = self._epochs_read, self._model()
        if self.is_running and model is not None:
            found, steps = leaves(model.optimizer), (self._fit or {}).get("steps")
            is_trained = self._is_validated or (steps is not None and batches(found) - self._batches >= steps)
            trained += is_trained
            pending = self._pending or metrics_of(model.get_metrics_result())
            self._saved = updates(found), set(pending)
        return json.dumps(
            {
                "version": VERSION,
                "epoch": self._epochs_read,
                "trained": trained,
                "pending": pending,
                "origin": self._origin,
                "per": self.per,
                "learning_rate": self.learning_rate.state_dict(),
            }
        )

    def _peek(self) -> dict[str, Any] | None:
        """Return the state that Keras has loaded, if there is one."""
        return read(self._kept)

    def _loaded(self, epoch: int) -> dict[str, Any] | None:
        """Return the state that Keras has loaded, if it belongs to a run that stands at this epoch; once."""
        state = self._peek()
        for kept in self._kept:
            kept.loaded = None
        if state is None:
            return None
        reached = state["trained"]
        if reached == epoch + 1 and not self._had_state:
            self.warn(
                f"The weights are those after epoch {reached}, and BackupAndRestore has noted {epoch}: it was killed "
                f"between the two. Epoch {reached} is trained a second time; the learning rate goes on where it was."
            )
            return state
        return state if reached == epoch and (epoch > 0 or not self._had_state) else None

    def _take(self, state: dict[str, Any], count: int) -> dict[str, Any] | None:
        lr = self.learning_rate
        assert lr is not None
        if len(state["learning_rate"]["base_lrs"]) != count or state["per"] != self.per:
            self.warn("The learning rate begins anew: its saved state is of another optimizer, or counted otherwise.")
            return None
        try:
            lr.load_state_dict(state["learning_rate"])
        except StateError as error:
            self.warn(f"The learning rate begins anew: its saved state does not fit. {error}")
            return None
        return state


def owner_of(model: Any) -> Owner:
    """Return the one owner of a model's learning rate; make it if there is none."""
    owner = getattr(model, "_learning_rate_owner", None)
    if owner is None:
        owner = model._learning_rate_owner = Owner()  # noqa: SLF001
    owner.attach(model)
    return owner
