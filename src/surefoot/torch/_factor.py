"""What all schedulers of `surefoot.torch.lr_scheduler` share: a step, a factor, a state of plain data."""

# torch's schedulers are typed in part, and what is overridden here returns less than theirs: never a tensor.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from __future__ import annotations

import copy
import numbers
import warnings
from collections.abc import Mapping
from typing import Any, cast

from torch.optim.lr_scheduler import EPOCH_DEPRECATION_WARNING, LRScheduler

import torch
from surefoot._errors import ArgumentTypeError, StateError, SurefootError, SurefootWarning
from surefoot.torch._team import team_of

_ORDER = "See https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
_OURS = {"base_lrs", "cuts", "products"}  # what a state of torch's class may lack


class GroupsError(SurefootError, RuntimeError):
    """A parameter group was added, and a scheduler was given one value for each of the others."""


class Factor(LRScheduler):
    """Beside one of torch's classes, which checks and keeps the arguments: take steps, and hold a factor of the rate.

    A subclass defines `factor_of`, or `applied` where torch's class knows rates and not factors; both are computed from
    `last_epoch`, and `go` is all that changes with a step.
    """

    leaves_its_factor = True  # to the rate, when it is dropped; as torch's class, which multiplies the present rate
    _writes_rate_first = False  # whether torch's constructor does

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "get_lr" in vars(cls):
            raise ArgumentTypeError(
                f"`class {cls.__name__}`: `get_lr` is never asked here. Subclass torch's LRScheduler, or give LambdaLR a function."
            )

    def factor_of(self, group: int) -> float:
        """Return what the rate of a parameter group is multiplied with."""
        raise NotImplementedError

    def applied(self, rate: float, base: float, group: int) -> float:
        """Return the rate of a parameter group after this scheduler's part; `base` is its initial rate."""
        del base
        return rate * self.factor_of(group)

    def go(self, step: Any) -> None:
        """Be at a step."""
        self.last_epoch = step

    def check(self) -> None:
        """Refuse arguments that torch takes and cannot use."""

    def write_momentum(self) -> None:
        """Write what goes beside the rate."""

    def welcome(self) -> None:
        """Give parameter groups that were added since what they need."""

    def step(self, epoch: Any = None) -> None:
        """Go to the next step and write the rate of every parameter group.

        Args:
            epoch: the step to go to instead; torch has deprecated it.
        """
        team, groups = team_of(self.optimizer), self.optimizer.param_groups
        is_first = self._step_count == 0  # torch's constructor takes it
        if is_first:
            self.check()
            if self.last_epoch >= 0:
                team.supersede(self)
        elif self._step_count == 1:
            self._warn_of_order()
        if not is_first or not (team.is_new or self._writes_rate_first):
            team.note_edits(groups)
        if not is_first:
            self.welcome()  # before the step counts, as it may be refused
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self.go(self.last_epoch + 1 if epoch is None else epoch)
        self.write()

    def write(self) -> None:
        """Write the rates of the present step."""
        team, groups = team_of(self.optimizer), self.optimizer.param_groups
        self.welcome()
        team.join(self)
        team.write(groups)
        self.write_momentum()

    def get_last_lr(self) -> list[float]:
        """Return the present rate of every parameter group, all schedulers of the optimizer together."""
        return team_of(self.optimizer).rates(self.optimizer.param_groups)

    def get_lr(self) -> list[float]:
        """Return the same: unlike torch's, it is the rate of now wherever one asks."""
        return self.get_last_lr()

    @property
    def _last_lr(self) -> list[float]:
        return self.get_last_lr()

    @_last_lr.setter
    def _last_lr(self, value: object) -> None:
        """Let torch's constructors write it."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data; `torch.load(weights_only=True)` reads it."""
        shared = team_of(self.optimizer).state(self.optimizer.param_groups)
        return {**self.state(), "surefoot": shared}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go to where a saved run was, and write its rate; before or after the optimizer's own `load_state_dict`.

        A state of torch's class of the same name is taken too.

        Raises:
            StateError: if the state is another class's, or of an optimizer with other parameter groups.
        """
        if not isinstance(state_dict, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise StateError(f"`load_state_dict`: this is not a state of {type(self).__name__}.")
        groups, shared = self.optimizer.param_groups, state_dict.get("surefoot")
        count = len(shared["initial_lrs"] if shared else state_dict.get("base_lrs", groups))
        if count != len(groups):
            raise StateError(
                f"`load_state_dict`: the state has {count} parameter groups, the optimizer has {len(groups)}. "
                "Add the same groups to the optimizer before loading."
            )
        self.load(state_dict)
        if shared:
            team_of(self.optimizer).load(groups, shared)
        self.write()

    def state(self) -> dict[str, Any]:
        """Return this scheduler's own part of the state."""
        return {name: plain(value) for name, value in vars(self).items() if name != "optimizer"}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take this scheduler's own part of a state."""
        needed = {name for name in vars(self) if not name.startswith("_")} - {"optimizer", *_OURS}
        missing = sorted(needed - set(state))
        if missing:
            raise StateError(
                f"`load_state_dict`: this is not a state of {type(self).__name__}: {', '.join(missing)} missing. "
                "Pass what its `state_dict()` returned."
            )
        others = {"surefoot", "optimizer", "factors", "_last_lr"}
        vars(self).update({name: copy.copy(value) for name, value in state.items() if name not in others})

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        team_of(self.optimizer).join(self)

    def of_group(self, name: str, group: int) -> Any:
        """Return a parameter group's value of a list; what is the same for all is so for a group added later."""
        values: list[Any] = getattr(self, name)
        if group < len(values):
            return values[group]
        if any(value is not values[0] and value != values[0] for value in values):
            raise GroupsError(
                f"`{type(self).__name__}`: the optimizer has a parameter group {group}, and there are {len(values)} "
                f"{name}. Append one to `scheduler.{name}`."
            )
        return values[0]

    def warn_once(self, text: str, stacklevel: int = 3) -> None:
        """Say something once in the life of this scheduler."""
        if not vars(self).get("_is_said"):
            self._is_said = True
            warnings.warn(text, SurefootWarning, stacklevel=stacklevel)

    def _warn_of_order(self) -> None:
        if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
            text = (
                "`optimizer.step()` has been overridden after the scheduler was made, so nobody can tell whether it is "
                f"called before `scheduler.step()`, as it must be. {_ORDER}"
            )
            warnings.warn(text, UserWarning, stacklevel=3)
        elif not getattr(self.optimizer, "_opt_called", False) and not _has_overflow(self.optimizer):
            text = (
                "`scheduler.step()` was called before `optimizer.step()`, so the first rate of the schedule is skipped. "
                f"Call them in the opposite order. {_ORDER}"
            )
            warnings.warn(text, UserWarning, stacklevel=3)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at step {vars(self).get('last_epoch', 0)}>"


class Absolute(Factor):
    """One whose formula gives a rate, not a factor: its factor is that rate by the initial one."""

    def target(self, base: float, group: int) -> float:
        """Return the rate of a parameter group if this were its only scheduler."""
        raise NotImplementedError

    def applied(self, rate: float, base: float, group: int) -> float:
        """Return the formula's rate itself where there is nothing to multiply it with."""
        target = self.target(base, group)
        return target if rate == base or not base else rate * (target / base)


class Lambdas(Factor):
    """One that was given functions."""

    lr_lambdas: list[Any]

    def welcome(self) -> None:
        """Refuse a group that is new if there is no function for it."""
        self.of_group("lr_lambdas", len(self.optimizer.param_groups) - 1)

    def state(self) -> dict[str, Any]:
        """Return the state; of a function its attributes, if it has any, as torch."""
        state = {name: plain(value) for name, value in vars(self).items() if name not in {"optimizer", "lr_lambdas"}}
        state["lr_lambdas"] = [_attributes(function) for function in self.lr_lambdas]
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state, and the attributes of the functions."""
        own = self.lr_lambdas
        super().load(state)
        self.lr_lambdas = own
        for function, attributes in zip(own, state["lr_lambdas"], strict=False):
            if attributes is not None:
                vars(function).update(attributes)


def _attributes(function: object) -> dict[str, Any] | None:
    is_plain = isinstance(function, type(_attributes)) or not hasattr(function, "__dict__")
    return None if is_plain else plain(vars(function))


def plain(value: Any) -> Any:
    """Return a copy that is made of numbers, strings, lists and dicts."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, bool | int | float | str) or value is None:
        return value if type(value) in {bool, int, float, str} or value is None else _builtin(value)
    return _builtin(value) if isinstance(value, numbers.Real) else value


def _builtin(value: Any) -> Any:
    """Return a number of NumPy as Python's own."""
    return value.item() if hasattr(value, "item") else value


def _has_overflow(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the gradients are such that GradScaler skips the step."""
    gradients = (p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
    return any(not bool(torch.isfinite(gradient).all()) for gradient in gradients)
