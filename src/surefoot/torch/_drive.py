"""Own the learning rate of a torch optimizer: write it, answer for it, save it and bring it back."""

from __future__ import annotations

import logging
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from surefoot._checks import refuse, refuse_type
from surefoot._errors import ArgumentError, SurefootError, SurefootWarning
from surefoot.control import Controller, Decision, DivergenceGuard, Plateau, flat
from surefoot.learning_rate import LearningRate, check_controllers
from surefoot.run import DecisionLog
from surefoot.schedules import Schedule
from surefoot.schedules._fast import fast
from surefoot.schedules._plans import check_plans
from surefoot.torch._deadline import Deadline
from surefoot.torch._drive_change import Changeable
from surefoot.torch._drive_state import VERSION, base_of, bases_of, plain, read
from surefoot.torch._momentum import Momentum
from surefoot.torch._ranks import is_distributed, mean_over_ranks, rank
from surefoot.torch._rates import RateWriter, writer_of
from surefoot.torch._updates import Updates, innermost

log = logging.getLogger("surefoot")

_MANY = 100  # calls without an update are no accumulation any more

_owners: weakref.WeakKeyDictionary[Any, weakref.ref[TorchLearningRate]] = weakref.WeakKeyDictionary()


def drive(
    optimizer: torch.optim.Optimizer,
    schedule: Schedule | Sequence[Schedule],
    *,
    total_steps: int,
    steps_per_epoch: float | None = None,
    total_time: float | str | None = None,
    momentum: Schedule | Sequence[Schedule] | None = None,
    controllers: Iterable[Controller] = (),
    run_dir: str | Path | None = None,
    now: Callable[[], float] = time.monotonic,
) -> TorchLearningRate:
    """Let a schedule and controllers drive the learning rate of any torch optimizer.

    Call it once, after the optimizer is built; then call `step()` on what it returns once a batch, wherever you like.
    Only updates that the optimizer really made are counted: accumulated batches are not, nor are steps that AMP skipped.
    Use nothing else that writes the learning rate of this optimizer.

    Each parameter group's present rate is its base rate, at which all factors are 1; `group["initial_lr"]` goes first
    where it is present, as it is after `optimizer.load_state_dict`, so that a rate that has already decayed is never
    taken for the base. The rate of step 0 is written at once. A float stays a float; a tensor is filled in place, so
    that compiled steps and CUDA graphs see it.

    A run may also end at a time. With `total_time="2h"` the rate follows the clock: after half of the time it is that of
    half of the schedule, however many updates there were, and from the deadline on that of the end. Lengths stand for
    their share of `total_steps`, which is a guess then; the steps of `at` and `simulate` are meant so, too, and a change
    has both its step and its `position`. The clock starts when this is called; time between a kill and a resume does not
    count. In a distributed run that of rank 0 decides, which costs a broadcast of one number at each update: the ranks
    wait for each other, and with NCCL also for what their devices have to do still. Where steps are what counts, count
    steps: runs of different speed are not comparable otherwise.

    Args:
        optimizer: the optimizer.
        schedule: what multiplies the base rates; a list gives each parameter group its own. A group that is added later
            has that of the others if they agree; if not, an error asks you to say it with `replace`.
        total_steps: the optimizer steps of the whole run.
        steps_per_epoch: the optimizer steps of one pass over the data; needed for lengths in epochs.
        total_time: the time of the whole run, in seconds or as in "2h", "90 min", "1:30:00"; None counts steps.
        momentum: a schedule of the momentum, or the first of the betas: its values are written as they are, as those of
            `one_cycle_momentum` and `cyclic_momentum`; `0.9 * schedule` are factors of 0.9. A list is for the groups.
        controllers: what watches the readings given to `step` and `observe`; see `surefoot.control`.
        run_dir: a folder in which every decision is written down as it happens; `surefoot show` reads it. In a
            distributed run only rank 0 writes.
        now: a clock, in seconds, for `total_time`.

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
        total_time=total_time,
        momentum=momentum,
        controllers=controllers,
        run_dir=run_dir,
        now=now,
    )


class TorchLearningRate(Changeable):
    """The owner of a torch optimizer's learning rate, as `drive` returns it; also by the name `surefoot.torch.Scheduler`.

    It is a torch scheduler, so Lightning, transformers' Trainer and accelerate take it as it is. Since it counts the
    optimizer's updates itself, it does not matter how often they call `step()`, if only once an update (in Lightning:
    `"interval": "step"`).

    Attributes:
        optimizer: the optimizer that is driven.
        step_count: how many updates have been made; the optimizer holds the rate of this step.
        should_stop: whether a controller has asked to stop; `why()` says why. The loop is yours: look at it.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule | Sequence[Schedule],
        *,
        total_steps: int,
        steps_per_epoch: float | None = None,
        total_time: float | str | None = None,
        momentum: Schedule | Sequence[Schedule] | None = None,
        controllers: Iterable[Controller] = (),
        run_dir: str | Path | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(getattr(optimizer, "param_groups", None), list):
            raise refuse_type("drive", "optimizer", optimizer, "a torch optimizer")
        groups = optimizer.param_groups
        cure = 'As in `drive(optimizer, linear_warmup("5%") >> cosine_decay(), total_steps=...)`.'
        plans = check_plans("drive", "schedule", schedule, len(groups), cure).resolved(total_steps, steps_per_epoch)
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
        moving = None if momentum is None else Momentum(momentum, groups, total_steps, steps_per_epoch)
        # Not super().__init__(): it would take a first step, and wrap the optimizer's.
        self.optimizer = optimizer
        self._step_count = 1  # accelerate counts in it
        self.step_count = 0
        self.should_stop = False
        self._idle_calls = 0
        bases = [base_of(group) for group in groups]
        self._rate = LearningRate(bases, plans.value, total_steps, steps_per_epoch=steps_per_epoch, controllers=given)
        self._momentum, self._steps_per_epoch = moving, steps_per_epoch
        self._deadline = None if total_time is None else Deadline(total_time, now)
        self._log = None if run_dir is None or (is_distributed() and rank()) else DecisionLog(run_dir)
        if self._log:
            weakref.finalize(self, self._log.close)
        self._note_start()
        self._updates = Updates(optimizer)
        weakref.finalize(self, self._updates.remove)
        self._is_released = False
        self._tensors = RateWriter()
        self._take_over()
        _owners[innermost(optimizer)] = weakref.ref(self)

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
            if self._deadline is None:
                self.step_count = step = self.step_count + updates.count
                updates.count = self._idle_calls = 0
                if metrics is None and not named and self._write_all(step):
                    return  # the way of nearly all steps of nearly all runs: one function, and no other call
            else:
                self._count()
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
        decisions = self._rate.observe(self.step_count, reading, position=self._position)
        if self._log and decisions:
            for change in self.changes[-len(decisions) :]:
                self._log.add(asdict(change))
        for decision in decisions:
            if decision.action == "stop":
                self.should_stop = True
                log.warning("stop at step %d: %s", self.step_count, decision.cause)
            elif decision.action == "skip":
                self._updates.is_next_skipped = True
        self._bind()
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
            self._bind()
            self._updates.remove()
            if self._log:
                self._log.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data; `torch.load(weights_only=True)` reads it."""
        self._meet_new_groups()
        state = {**self._rate.state_dict(), "version": VERSION, "step_count": self.step_count + self._updates.count}
        if self._momentum is not None:
            state["momentum"] = self._momentum.state_dict()
        if self._deadline is not None:
            state["time"] = self._deadline.state_dict()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go to the step, the base rates and the controllers' states of a saved run, and write its rate.

        It may be called before or after the optimizer's own `load_state_dict`. The schedule is this object's, not the
        saved one's: if they differ, that is said in a warning. But a run that has replaced its own schedule goes on with
        that one if it is given the schedule with which it began, or the new one.

        Raises:
            StateError: if the state is not one of `TorchLearningRate`, or has other parameter groups or controllers, or
                a replaced schedule that holds a function. Nothing has been changed then.
        """
        groups = self.optimizer.param_groups
        step_count, saved_time, saved_momentum = read(state_dict, len(groups))
        moving = self._momentum
        plans = None if moving is None else moving.loaded(saved_momentum, len(groups))
        self._rate.load_state_dict(state_dict)
        if moving is not None and plans is not None:
            moving.use(plans)
        self.step_count = step_count
        differences: list[tuple[str, object, object]] = [
            ("the schedule", state_dict.get("schedule"), self._rate.plan),
            ("the momentum", (saved_momentum or {}).get("schedule"), moving and moving.plans.words),
        ]
        if self._deadline is not None:
            is_replaced = "replaced" in state_dict and state_dict.get("schedule") == self._rate.plan
            self._deadline.load(saved_time, step_count / self._total_steps, is_replaced=is_replaced)
        own_time = self._deadline and self._deadline.total_time
        differences.append(("the time", saved_time and saved_time["total_time"], own_time))
        for what, saved, own in differences:
            if saved != own:
                text = f"The run was saved with {what} `{saved}` and goes on with `{own}`, from step {step_count}."
                warnings.warn(text, SurefootWarning, stacklevel=2)
        self._updates.take()
        self._note_start()
        for group in groups:
            group.pop("initial_lr", None)
        self._take_over()

    def _note_start(self) -> None:
        if self._log:
            state, total_time = self._rate.state_dict(), self._deadline and self._deadline.total_time
            self._log.start(self.step_count, self._total_steps, state, plain(self.schedule), total_time=total_time)

    def _count(self) -> None:
        """Take notice of the updates since the last call, and of the time."""
        self.step_count += self._updates.take()
        self._idle_calls = 0
        if self._deadline is not None:
            self._deadline.look()

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
        moving = None if self._momentum is None else self._momentum.plans.resized(len(groups))
        self._rate.regroup(bases_of(groups, known))
        if self._momentum is not None and moving is not None:
            self._momentum.use(moving)
        self._take_over()

    def _take_over(self) -> None:
        """Hold what every step needs, as it is now, and write the present rates."""
        for group, base in zip(self.optimizer.param_groups, self._rate.base_lrs, strict=True):
            group.setdefault("initial_lr", base)
        known = {schedule: fast(schedule) for schedule in dict.fromkeys(self.schedules)}
        self._factors_at = [known[schedule] for schedule in (known if len(known) == 1 else self.schedules)]
        self._bind()
        self._write()

    def _bind(self) -> None:
        """Make the function anew that writes the rates of a step."""
        rate = self._rate
        self._write_rates = writer_of(self.optimizer, rate.base_lrs, self._factors_at, rate.factor, self._tensors)
        self._write_all = self._write_rates if self._momentum is None and not self._is_released else _write_nothing

    def _write(self) -> None:
        """Write the rates of the present step to the optimizer, and its momentum."""
        if self._is_released:
            self._check_ownership()
        at = self._at
        if not self._write_rates(at):
            self._meet_new_groups()
        if self._momentum is not None:
            self._momentum.write(self.optimizer.param_groups, at)

    def __repr__(self) -> str:
        return f"<TorchLearningRate {self.learning_rate:g} at step {self.step_count} of {self._rate.plan}>"


Scheduler = TorchLearningRate


def _write_nothing(step: float) -> bool:
    """Stand in for what writes all that a step changes, where that is more than the rates, or nothing."""
    del step
    return False


def _nobody() -> None:
    """Stand in for the weak reference to an owner where there is none."""
