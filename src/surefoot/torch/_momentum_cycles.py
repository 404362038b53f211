"""torch's schedulers that also write the momentum: cycles, and one cycle."""

# torch's schedulers are typed in part, and what is overridden here returns less than theirs: never a tensor.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch.optim import lr_scheduler as theirs

import torch
from surefoot._checks import integer
from surefoot.torch._factor import Absolute, GroupsError, plain
from surefoot.torch._team import team_of


class _WithMomentum(Absolute):
    """One that also writes the momentum, or the first of the betas."""

    leaves_its_factor = False
    cycle_momentum: bool
    use_beta1: bool

    def momentum(self, group: int) -> float:
        """Return the momentum of a parameter group."""
        raise NotImplementedError

    def write_momentum(self) -> None:
        """Write the momentum of every parameter group."""
        if not self.cycle_momentum:
            return
        for i, group in enumerate(self.optimizer.param_groups):
            if not self.use_beta1:
                group["momentum"] = self.momentum(i)
            elif isinstance(group["betas"][0], torch.Tensor):
                with torch.no_grad():
                    group["betas"][0].fill_(self.momentum(i))  # a new tensor would have compiled steps compiled again
            else:
                group["betas"] = (self.momentum(i), *group["betas"][1:])


class CyclicLR(_WithMomentum, theirs.CyclicLR):
    """Go up and down between `base_lr` and `max_lr`, momentum the other way round.

    The initial rate is `base_lr`, unless another scheduler has set it. Source: Smith, 2017.
    """

    _writes_rate_first = True

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,  # noqa: FBT001, FBT002 - torch's order
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        integer("CyclicLR", "step_size_up", step_size_up, at_least=1)
        if isinstance(optimizer, torch.optim.Optimizer) and not team_of(optimizer).is_new:  # pyright: ignore[reportUnnecessaryIsInstance]
            team_of(optimizer).note_edits(optimizer.param_groups)
        super().__init__(
            optimizer,
            base_lr,
            max_lr,
            step_size_up,
            step_size_down,
            mode,
            gamma,
            scale_fn,
            scale_mode,
            cycle_momentum,
            base_momentum,
            max_momentum,
            last_epoch,
        )
        self.write()  # torch sets `base_lrs` after the first step

    def target(self, base: float, group: int) -> float:
        """Return the rate of the cycle."""
        del base
        low, high = float(self.of_group("base_lrs", group)), float(self.of_group("max_lrs", group))
        return low + (high - low) * self._height()

    def momentum(self, group: int) -> float:
        """Return the momentum of the cycle."""
        low, high = float(self.of_group("base_momentums", group)), float(self.of_group("max_momentums", group))
        return high - (high - low) * self._height()

    def _height(self) -> float:
        """Return where the triangle is, from 0 to 1, times the scale of this cycle."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        triangle = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        return triangle * float(self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch))

    def state(self) -> dict[str, Any]:
        """Return the state; of a function its attributes, if it has any, as torch."""
        hidden = ("optimizer", "_scale_fn_ref", "_scale_fn_custom")
        state = {name: plain(value) for name, value in vars(self).items() if name not in hidden}
        function = self._scale_fn_custom
        has_none = function is None or isinstance(function, type(plain)) or not hasattr(function, "__dict__")
        return {**state, "_scale_fn_custom": None if has_none else plain(vars(function))}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state, and the attributes of the function."""
        own = self._scale_fn_custom
        super().load(state)
        attributes, self._scale_fn_custom = state.get("_scale_fn_custom"), own
        if attributes is not None:
            vars(own).update(attributes)
        self._init_scale_fn()


class OneCycleLR(_WithMomentum, theirs.OneCycleLR):
    """Rise to `max_lr` and fall far below the start within `total_steps`, momentum the other way round.

    As in torch, the initial rate becomes `max_lr / div_factor` and the momentum changes as soon as it is made. After
    the end the last rate stays, which is said once. A state that was saved with another `total_steps` goes on in the
    new cycle, so that a run can be extended. Source: Smith and Topin, 2018.
    """

    def target(self, base: float, group: int) -> float:
        """Return the rate of the phase."""
        values = self.optimizer.param_groups[group]
        return self._between(values, "lr") if "max_lr" in values else base

    def momentum(self, group: int) -> float:
        """Return the momentum of the phase."""
        return self._between(self.optimizer.param_groups[group], "momentum")

    def step(self, epoch: Any = None) -> None:
        """Go to the next step, and say once that the end is behind."""
        super().step(epoch)
        if self.last_epoch > self.total_steps:
            self.warn_once(
                f"Step {self.last_epoch} is after total_steps={self.total_steps}: OneCycleLR keeps its last rate. "
                "Count the steps of the whole run, not of an epoch."
            )

    def welcome(self) -> None:
        """Give the groups that were added since the same cycle."""
        groups = self.optimizer.param_groups
        first, keys = groups[0], ("max_momentum", "base_momentum")
        for i, group in enumerate(groups):
            if "min_lr" in group:
                continue
            if "max_lr" not in group:
                if len({float(known["max_lr"]) for known in groups[:i]}) > 1:
                    raise GroupsError(
                        f"`OneCycleLR`: parameter group {i} was added without a `max_lr`, and those of the others differ. "
                        'As in `optimizer.add_param_group({"params": ..., "max_lr": 0.1})`.'
                    )
                group["max_lr"] = first["max_lr"]
            share = float(group["max_lr"]) / float(first["max_lr"])
            group.update({name: share * float(first[name]) for name in ("initial_lr", "min_lr")})
            group.update({name: first[name] for name in keys if name in first})

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state, but for the length, which is the new one's."""
        own = {"total_steps": self.total_steps, "_schedule_phases": self._schedule_phases}
        super().load(state)
        if state["total_steps"] != own["total_steps"]:
            vars(self).update(own)
        if "anneal_func" in state:  # as torch saved it before 2.0
            is_linear = "linear" in getattr(vars(self).pop("anneal_func"), "__name__", "")
            self._anneal_func_type = "linear" if is_linear else "cos"

    def _between(self, group: Mapping[str, Any], what: str) -> float:
        """Return a value between the two ends of the present phase."""
        step, start = min(self.last_epoch, self.total_steps - 1), 0.0
        phase: Mapping[str, Any] = self._schedule_phases[-1]
        for phase in self._schedule_phases:
            if step <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            start = phase["end_step"]
        length = phase["end_step"] - start
        share = (step - start) / length if length else 1.0
        first, last = (float(group[phase[f"{end}_{what}"]]) for end in ("start", "end"))
        if vars(self).get("_anneal_func_type", "cos") == "linear":
            return (last - first) * share + first
        return last + (first - last) / 2.0 * (math.cos(math.pi * share) + 1.0)
