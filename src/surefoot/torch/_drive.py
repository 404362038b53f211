"""Own the learning rate of a torch optimizer: write it, answer for it, save it and bring it back."""

from __future__ import annotations

import warnings
import weakref
from typing import Any, cast

import torch
from surefoot._checks import integer, number, refuse_type
from surefoot._errors import ArgumentError, StateError, SurefootError, SurefootWarning
from surefoot.learning_rate import LearningRate
from surefoot.schedules import Schedule

_VERSION = 1

_owners: weakref.WeakKeyDictionary[Any, weakref.ref[TorchLearningRate]] = weakref.WeakKeyDictionary()


def drive(
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    total_steps: int,
    steps_per_epoch: float | None = None,
) -> TorchLearningRate:
    """Let a schedule drive the learning rate of any torch optimizer.

    Call it once, after the optimizer is built, then call `step()` on what it returns after each `optimizer.step()` that
    really happened: once per update, not per batch, when gradients are accumulated, and not when AMP skipped one. Use
    nothing else that writes the learning rate of this optimizer.

    Each parameter group's present rate is its base rate, at which the schedule's factor is 1; `group["initial_lr"]`
    goes first where it is present, as it is after `optimizer.load_state_dict`, so that a rate that has already decayed
    is never taken for the base. The rate of step 0 is written at once. A float stays a float; a tensor is filled in
    place, so that compiled steps and CUDA graphs see it.

    Args:
        optimizer: the optimizer.
        schedule: what multiplies the base rates.
        total_steps: the optimizer steps of the whole run.
        steps_per_epoch: the optimizer steps of one pass over the data; needed for lengths in epochs.

    Returns:
        The owner of the rate. Keep it: its `state_dict()` belongs into the checkpoint.

    Raises:
        ArgumentError: if an argument is not allowed, or the optimizer is driven already.

    Examples:
        >>> from surefoot.schedules import linear_decay
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([weight], lr=0.5)
        >>> learning_rate = drive(optimizer, linear_decay(), total_steps=4)
        >>> optimizer.step(), learning_rate.step(), optimizer.param_groups[0]["lr"]
        (None, None, 0.375)
    """
    return TorchLearningRate(optimizer, schedule, total_steps=total_steps, steps_per_epoch=steps_per_epoch)


class TorchLearningRate:
    """The owner of a torch optimizer's learning rate; made by `drive`.

    Attributes:
        optimizer: the optimizer that is driven.
        schedule: the schedule, with lengths in steps.
        step_count: how many updates have been made; the optimizer holds the rate of this step.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        *,
        total_steps: int,
        steps_per_epoch: float | None = None,
    ) -> None:
        if not isinstance(getattr(optimizer, "param_groups", None), list):
            raise refuse_type("drive", "optimizer", optimizer, "a torch optimizer")
        if not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
            cure = 'As in `drive(optimizer, linear_warmup("5%") >> cosine_decay(), total_steps=...)`.'
            raise refuse_type("drive", "schedule", schedule, "a schedule of surefoot.schedules", cure)
        resolved = schedule.resolve(total_steps, steps_per_epoch)
        owner = _owners.get(optimizer, _nobody)()
        if owner is not None:
            raise ArgumentError(
                "`drive(optimizer=...)`: this optimizer is driven already, by a schedule at step "
                f"{owner.step_count}. Call `.release()` on the first, or drive another optimizer."
            )
        self.optimizer = optimizer
        self.schedule = resolved
        self.step_count = 0
        self._rate = LearningRate([_base_of(group) for group in optimizer.param_groups], resolved)
        self._write()
        _owners[optimizer] = weakref.ref(self)

    @property
    def learning_rate(self) -> float:
        """The present learning rate of the first parameter group."""
        return self._rate.at(self.step_count)

    @property
    def learning_rates(self) -> list[float]:
        """The present learning rate of every parameter group."""
        return self._rate.current(self.step_count)

    def get_last_lr(self) -> list[float]:
        """Return `learning_rates`, under the name that torch's schedulers and their callers use."""
        return self.learning_rates

    def at(self, step: float, group: int = 0) -> float:
        """Return the learning rate of a parameter group at any step, without going there."""
        return self._rate.at(step, group)

    def step(self) -> None:
        """Go on by one step: call it after each `optimizer.step()` that really happened."""
        if _owners.get(self.optimizer, _nobody)() is not self:
            raise SurefootError(
                "`step()`: this learning rate was released, so it may not write to the optimizer. "
                "Use the one that `drive` returned last."
            )
        self.step_count += 1
        self._write()

    def release(self) -> None:
        """Give the optimizer free, so that it can be driven anew; its rate stays as it is.

        `group["initial_lr"]` stays too, and is the base rate of whoever drives the optimizer next.
        """
        if _owners.get(self.optimizer, _nobody)() is self:
            del _owners[self.optimizer]

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data; `torch.load(weights_only=True)` reads it."""
        self._meet_new_groups()
        return {
            "version": _VERSION,
            "step_count": self.step_count,
            "base_lrs": list(self._rate.base_lrs),
            "schedule": repr(self.schedule),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the step and the base rates of a saved run, and write its rate to the optimizer.

        It may be called before or after the optimizer's own `load_state_dict`. The schedule is this object's, not the
        saved one's: if they differ, that is said in a warning.

        Raises:
            StateError: if the state is not one of `TorchLearningRate`, or has other parameter groups.
        """
        step_count, base_lrs = _read(state_dict)
        groups = len(self.optimizer.param_groups)
        if len(base_lrs) != groups:
            raise StateError(
                f"`load_state_dict`: the state has {len(base_lrs)} parameter groups, the optimizer has {groups}. "
                "Add the same groups to the optimizer before loading."
            )
        saved, own = state_dict.get("schedule"), repr(self.schedule)
        if saved != own:
            text = f"The run was saved with the schedule `{saved}` and goes on with `{own}`, from step {step_count}."
            warnings.warn(text, SurefootWarning, stacklevel=2)
        self._rate = LearningRate(base_lrs, self.schedule)
        self.step_count = step_count
        for group, base in zip(self.optimizer.param_groups, base_lrs, strict=True):
            group["initial_lr"] = base
        self._write()

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
        self._rate = LearningRate(bases, self.schedule)

    def _write(self) -> None:
        """Write the rates of the present step to the optimizer."""
        self._meet_new_groups()
        rates = self._rate.current(self.step_count)
        for group, base, rate in zip(self.optimizer.param_groups, self._rate.base_lrs, rates, strict=True):
            group.setdefault("initial_lr", base)
            lr = group["lr"]
            if _is_tensor(lr):
                with torch.no_grad():
                    lr.fill_(rate)
            else:
                group["lr"] = rate

    def __repr__(self) -> str:
        return f"<TorchLearningRate {self.learning_rate:g} at step {self.step_count} of {self.schedule!r}>"


def _nobody() -> None:
    """Stand in for the weak reference to an owner where there is none."""


def _is_tensor(lr: object) -> bool:
    return isinstance(lr, torch.Tensor)


def _base_of(group: dict[str, Any]) -> float:
    """Return the base rate of a parameter group: its `initial_lr` if present, else its `lr`."""
    return float(group["initial_lr"] if "initial_lr" in group else group["lr"])


def _read(state: object) -> tuple[int, list[float]]:
    """Return step count and base rates of a state, or raise."""
    values = cast("dict[str, Any]", state) if isinstance(state, dict) else {}
    if values.get("version") != _VERSION:
        raise StateError(
            f"`load_state_dict`: this is not a state of TorchLearningRate, version {_VERSION}. "
            "Pass what its `state_dict()` returned."
        )
    try:
        step_count = integer("load_state_dict", "step_count", values["step_count"], at_least=0)
        return step_count, [number("load_state_dict", "base_lrs", base, at_least=0) for base in values["base_lrs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"`load_state_dict`: the state is damaged: {error}.") from error
