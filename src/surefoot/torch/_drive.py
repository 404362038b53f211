"""Own the learning rate of a torch optimizer: write it, answer for it, save it and bring it back."""

from __future__ import annotations

import logging
import warnings
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from torch.optim.lr_scheduler import LRScheduler

import torch
from surefoot._checks import integer, number, refuse, refuse_type
from surefoot._errors import ArgumentError, StateError, SurefootError, SurefootWarning
from surefoot.control import Controller, Decision, DivergenceGuard, Plateau, flat
from surefoot.learning_rate import Change, LearningRate, Rates, check_controllers
from surefoot.run import DecisionLog
from surefoot.schedules import Schedule
from surefoot.schedules._fast import fast
from surefoot.torch._ranks import is_distributed, mean_over_ranks, rank
from surefoot.torch._rates import RateWriter
from surefoot.torch._updates import Updates, innermost

log = logging.getLogger("surefoot")

_VERSION = 1
_MANY = 100  # calls without an update are no accumulation any more

_owners: weakref.WeakKeyDictionary[Any, weakref.ref[TorchLearningRate]] = weakref.WeakKeyDictionary()


def drive(
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    total_steps: int,
    steps_per_epoch: float | None = None,
    controllers: Iterable[Controller] = (),
    run_dir: str | Path | None = None,
) -> TorchLearningRate:
    """Let a schedule and controllers drive the learning rate of any torch optimizer.

    Call it once, after the optimizer is built; then call `step()` on what it returns once a batch, wherever you like.
    Only updates that the optimizer really made are counted: accumulated batches are not, nor are steps that AMP skipped.
    Use nothing else that writes the learning rate of this optimizer.

    Each parameter group's present rate is its base rate, at which all factors are 1; `group["initial_lr"]` goes first
    where it is present, as it is after `optimizer.load_state_dict`, so that a rate that has already decayed is never
    taken for the base. The rate of step 0 is written at once. A float stays a float; a tensor is filled in place, so
    that compiled steps and CUDA graphs see it.

    Args:
        optimizer: the optimizer.
        schedule: what multiplies the base rates.
        total_steps: the optimizer steps of the whole run.
        steps_per_epoch: the optimizer steps of one pass over the data; needed for lengths in epochs.
        controllers: what watches the readings given to `step` and `observe`; see `surefoot.control`.
        run_dir: a folder in which every decision is written down as it happens; `surefoot show` reads it. In a
            distributed run only rank 0 writes.

    Returns:
        The owner of the rate. Keep it: its `state_dict()` belongs into the checkpoint.

    Raises:
        ArgumentError: if an argument is not allowed, or the optimizer is driven already.

    Examples:
        >>> from surefoot.control import Plateau
        >>> from surefoot.schedules import linear_decay
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([weight], lr=0.5)
        >>> lr = drive(optimizer, linear_decay(), total_steps=4, controllers=[Plateau(patience=1, factor=0.5)])
        >>> for loss in (1.0, 1.0):
        ...     optimizer.step()
        ...     lr.step(loss=loss)
        >>> optimizer.param_groups[0]["lr"]
        0.125
        >>> print(lr.why())
        0.125 at step 2: base 0.5, schedule 0.5, Plateau 0.5
        step 2: 0.25 -> 0.125: loss has not improved on 1 for 1 reading (Plateau)
    """
    return TorchLearningRate(
        optimizer,
        schedule,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        controllers=controllers,
        run_dir=run_dir,
    )


class TorchLearningRate(LRScheduler):
    """The owner of a torch optimizer's learning rate, as `drive` returns it; also by the name `surefoot.torch.Scheduler`.

    It is a torch scheduler, so Lightning, transformers' Trainer and accelerate take it as it is. Since it counts the
    optimizer's updates itself, it does not matter how often they call `step()`, if only once an update (in Lightning:
    `"interval": "step"`).

    Attributes:
        optimizer: the optimizer that is driven.
        schedule: the schedule, with lengths in steps.
        step_count: how many updates have been made; the optimizer holds the rate of this step.
        should_stop: whether a controller has asked to stop; `why()` says why. The loop is yours: look at it.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        *,
        total_steps: int,
        steps_per_epoch: float | None = None,
        controllers: Iterable[Controller] = (),
        run_dir: str | Path | None = None,
    ) -> None:
        if not isinstance(getattr(optimizer, "param_groups", None), list):
            raise refuse_type("drive", "optimizer", optimizer, "a torch optimizer")
        if not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
            cure = 'As in `drive(optimizer, linear_warmup("5%") >> cosine_decay(), total_steps=...)`.'
            raise refuse_type("drive", "schedule", schedule, "a schedule of surefoot.schedules", cure)
        resolved = schedule.resolve(total_steps, steps_per_epoch)
        given = check_controllers("drive", controllers)
        for controller in flat(given):
            if isinstance(controller, DivergenceGuard) and controller.action == "rewind" and controller.rewind is None:
                cure = "As in `DivergenceGuard(rewind=Checkpointer(model=model, optimizer=optimizer))`."
                raise refuse("drive", "controllers", controller, "able to rewind: it keeps no snapshots", cure)
            if isinstance(controller, Plateau) and controller.restore_best:
                cure = "Leave out `restore_best`: nothing here holds the best weights. Keras' callbacks do."
                raise refuse("drive", "controllers", controller, "one that asks for nothing but rates", cure)
        owner = _owners.get(innermost(optimizer), _nobody)()
        if owner is not None:
            raise ArgumentError(
                "`drive(optimizer=...)`: this optimizer is driven already, by a schedule at step "
                f"{owner.step_count}. Call `.release()` on the first, or drive another optimizer."
            )
        # Not super().__init__(): it would take a first step, and wrap the optimizer's.
        self.optimizer = optimizer
        self._step_count = 1  # accelerate counts in it
        self.schedule = resolved
        self.step_count = 0
        self.should_stop = False
        self._idle_calls = 0
        self._rate = LearningRate([_base_of(group) for group in optimizer.param_groups], resolved, controllers=given)
        self._total_steps = total_steps
        self._log = None if run_dir is None or (is_distributed() and rank()) else DecisionLog(run_dir)
        if self._log:
            weakref.finalize(self, self._log.close)
        self._note_start()
        self._updates = Updates(optimizer)
        weakref.finalize(self, self._updates.remove)
        self._is_released = False
        self._writer = RateWriter()
        self._factor_at = fast(resolved)
        self._take_over()
        _owners[innermost(optimizer)] = weakref.ref(self)

    @property
    def learning_rate(self) -> float:
        """The present learning rate of the first parameter group."""
        return self._rate.at(self.step_count)

    @property
    def learning_rates(self) -> list[float]:
        """The present learning rate of every parameter group."""
        return self._rate.current(self.step_count)

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """What watches the readings."""
        return self._rate.controllers

    @property
    def changes(self) -> list[Change]:
        """The latest decisions of the controllers, oldest first."""
        return list(self._rate.changes)

    def get_last_lr(self) -> list[float]:  # pyright: ignore[reportIncompatibleMethodOverride] - never a tensor
        """Return `learning_rates`, under the name that torch's schedulers and their callers use."""
        return self.learning_rates

    def get_lr(self) -> list[float]:  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        """Return the same: unlike in torch's schedulers, it is the rate of now wherever one asks."""
        return self.learning_rates

    @property
    def base_lrs(self) -> list[float]:  # pyright: ignore[reportIncompatibleVariableOverride] - there it is written, too
        """The base rate of every parameter group."""
        return list(self._rate.base_lrs)

    @property
    def last_epoch(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] - as above
        """`step_count`, under torch's name."""
        return self.step_count

    def at(self, step: float, group: int = 0) -> float:
        """Return the learning rate of a parameter group at any step, without going there."""
        return self._rate.at(step, group)

    def simulate(self, total_steps: int | None = None, *, group: int = 0) -> Rates:
        """Return the rates of all updates of the run, with the controllers' present factors; `.plot(path)` draws them."""
        return self._rate.simulate(self._total_steps if total_steps is None else total_steps, group=group)

    def why(self, step: float | None = None) -> str:
        """Return in words what the rate is made of, now or at a step, and the decisions that have led to it."""
        return self._rate.why(self.step_count if step is None else step)

    def step(self, metrics: Mapping[str, Any] | None = None, /, **named: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - torch's `epoch` is deprecated
        """Take notice of the updates since the last call, show a reading to the controllers, and write the rate.

        Call it once a batch, before or after `optimizer.step()`. The step is the number of updates that the optimizer
        really made, so a call after an accumulated batch, or after a step that AMP skipped, leaves it where it is.

        Args:
            metrics: a reading: names and values, tensors too. Only what a controller looks at is copied to the host.
            **named: the same, as in `step(loss=loss)`.
        """
        updates = self._updates
        if updates.count:
            self.step_count += updates.count
            updates.count = self._idle_calls = 0
        else:
            self._note_idle()
        if metrics is None and not named:
            self._write()
            return
        if not isinstance(metrics, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            cure = "As in `step(loss=loss)`. The step is counted, and cannot be given."
            raise refuse_type("step", "metrics", metrics, "a mapping of names to values", cure)
        self.observe(metrics, **named)

    def observe(self, metrics: Mapping[str, Any] | None = None, /, **named: Any) -> list[Decision]:
        """Show a reading to the controllers, such as a validation loss; return what they decided.

        In a distributed run every rank must call it: the controllers of all ranks see the mean over the ranks, and so
        decide alike.

        Before `backward` it can also prevent an update: a controller that decides to skip (`DivergenceGuard` with
        `action="skip"`) makes the next `optimizer.step()` leave all parameters alone.

        Args:
            metrics: names and values; see `step`.
            **named: the same.
        """
        self._check_ownership()
        given = {**(metrics or {}), **named}
        reading = {name: v.detach() if isinstance(v, torch.Tensor) else v for name, v in given.items()}
        if self._rate.controllers and is_distributed():
            reading = mean_over_ranks(self.step_count, self.learning_rate, reading)
        decisions = self._rate.observe(self.step_count, reading)
        if self._log and decisions:
            for change in self.changes[-len(decisions) :]:
                self._log.add(asdict(change))
        for decision in decisions:
            if decision.action == "stop":
                self.should_stop = True
                log.warning("stop at step %d: %s", self.step_count, decision.cause)
            elif decision.action == "skip":
                self._updates.is_next_skipped = True
        self._controlled = self._rate.factor
        self._write()
        return decisions

    def release(self) -> None:
        """Give the optimizer free, so that it can be driven anew; its rate stays as it is.

        `group["initial_lr"]` stays too, and is the base rate of whoever drives the optimizer next.
        """
        optimizer = innermost(self.optimizer)
        if _owners.get(optimizer, _nobody)() is self:
            del _owners[optimizer]
            self._is_released = True
            self._updates.remove()
            if self._log:
                self._log.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data; `torch.load(weights_only=True)` reads it."""
        self._meet_new_groups()
        return {**self._rate.state_dict(), "version": _VERSION, "step_count": self.step_count + self._updates.count}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go to the step, the base rates and the controllers' states of a saved run, and write its rate.

        It may be called before or after the optimizer's own `load_state_dict`. The schedule is this object's, not the
        saved one's: if they differ, that is said in a warning.

        Raises:
            StateError: if the state is not one of `TorchLearningRate`, or has other parameter groups or controllers.
        """
        step_count = _read(state_dict, len(self.optimizer.param_groups))
        self._rate.load_state_dict(state_dict)
        saved, own = state_dict.get("schedule"), repr(self.schedule)
        if saved != own:
            text = f"The run was saved with the schedule `{saved}` and goes on with `{own}`, from step {step_count}."
            warnings.warn(text, SurefootWarning, stacklevel=2)
        self.step_count = step_count
        self._updates.take()
        self._note_start()
        for group in self.optimizer.param_groups:
            group.pop("initial_lr", None)
        self._take_over()

    def _note_start(self) -> None:
        if self._log:
            self._log.start(self.step_count, self._total_steps, self._rate.state_dict(), _plain(self.schedule))

    def _note_idle(self) -> None:
        self._idle_calls += 1
        if self._idle_calls == _MANY:
            text = (
                f"`step()` was called {_MANY} times without an update of this optimizer in between, so its learning "
                f"rate stays that of step {self.step_count}. Is another optimizer stepped than the one that is driven?"
            )
            warnings.warn(text, SurefootWarning, stacklevel=3)

    def _check_ownership(self) -> None:
        if self._is_released:
            raise SurefootError(
                "`step()`: this learning rate was released, so it may not write to the optimizer. "
                "Use the one that `drive` returned last."
            )

    def _meet_new_groups(self) -> None:
        """Take over the parameter groups that were added since, each with its own base rate."""
        groups, known = self.optimizer.param_groups, self._rate.base_lrs
        if len(groups) == len(known):
            return
        bases = list(known[: len(groups)])
        for group in groups[len(known) :]:
            # A group without a rate of its own holds the very tensor of the defaults, which the others have filled.
            shared = (i for i in range(len(bases)) if groups[i]["lr"] is group["lr"] and _is_tensor(group["lr"]))
            twin = next(shared, None)
            bases.append(_base_of(group) if twin is None else bases[twin])
        self._rate.base_lrs = tuple(bases)
        self._take_over()

    def _take_over(self) -> None:
        """Hold what every step needs, as it is now, and write the present rates."""
        self._bases, self._controlled = self._rate.base_lrs, self._rate.factor
        for group, base in zip(self.optimizer.param_groups, self._bases, strict=True):
            group.setdefault("initial_lr", base)
        self._write()

    def _write(self) -> None:
        """Write the rates of the present step to the optimizer."""
        if self._is_released:
            self._check_ownership()
        groups = self.optimizer.param_groups
        if len(groups) != len(self._bases):
            self._meet_new_groups()
        factor = self._factor_at(self.step_count) * self._controlled
        for group, base in zip(groups, self._bases, strict=True):
            if type(group["lr"]) is float:
                group["lr"] = base * factor
            else:
                self._writer.write(group, base * factor)

    def __repr__(self) -> str:
        return f"<TorchLearningRate {self.learning_rate:g} at step {self.step_count} of {self.schedule!r}>"


Scheduler = TorchLearningRate


def _nobody() -> None:
    """Stand in for the weak reference to an owner where there is none."""


def _plain(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule's JSON form; nothing for one that holds a function without a name."""
    try:
        return schedule.to_dict()
    except SurefootError:
        return {}


def _is_tensor(lr: object) -> bool:
    return isinstance(lr, torch.Tensor)


def _base_of(group: dict[str, Any]) -> float:
    """Return the base rate of a parameter group: its `initial_lr` if present, else its `lr`."""
    return float(group["initial_lr"] if "initial_lr" in group else group["lr"])


def _read(state: object, groups: int) -> int:
    """Return the step count of a state that fits so many parameter groups, or raise."""
    values = cast("dict[str, Any]", state) if isinstance(state, Mapping) else {}
    if values.get("version") != _VERSION:
        raise StateError(
            f"`load_state_dict`: this is not a state of TorchLearningRate, version {_VERSION}. "
            "Pass what its `state_dict()` returned."
        )
    try:
        step_count = integer("load_state_dict", "step_count", values["step_count"], at_least=0)
        count = len([number("load_state_dict", "base_lrs", base, at_least=0) for base in values["base_lrs"]])
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"`load_state_dict`: the state is damaged: {error}.") from error
    if count != groups:
        raise StateError(
            f"`load_state_dict`: the state has {count} parameter groups, the optimizer has {groups}. "
            "Add the same groups to the optimizer before loading."
        )
    return step_count
